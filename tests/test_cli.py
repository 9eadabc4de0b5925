"""The command line: what it prints, where, and with which exit code; whatever is wrong is one line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy import settings
from proxy.audit import pasted
from proxy.auth.issuers import TYP, Issuer
from proxy.auth.keys import KeyRing, new_keys
from proxy.auth.tokens import TokenBounds, Verifier
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.cli import main
from proxy.sandbox import EmbeddedPostgres, app_schema
from tests.tree import ROOT

POLICIES = ROOT / "policies"
ADA = '{"session_id":"s-ada"}'
TODOS = "table=todos&offset=-1"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What `serve`, `mint` and `explain --token` need; nothing of the environment of these tests."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(new_keys()))
    return {
        "PROXY_TOKEN_KEYS": str(keys),
        "PROXY_TOKEN_ISSUER": "https://app.example",
        "PROXY_TOKEN_AUDIENCE": "shape-proxy",
        "PROXY_POLICIES": str(POLICIES),
        "PROXY_HANDLE_KEY": "k" * 32,
    }


def run(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
    cleared: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith(("PROXY_", "ELECTRIC_", "DATABASE_"))
    }
    return CliRunner().invoke(main, arguments, env={**cleared, **(env or {})})


def minted(environment: Mapping[str, str], *arguments: str) -> str:
    result = run("mint", "--sub", "acc-ada", *arguments, env=environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def said(environment: Mapping[str, str], token: str) -> Mapping[str, object]:
    ring = KeyRing.read(Path(environment["PROXY_TOKEN_KEYS"]))
    issuer = Issuer("https://app.example", Path(), frozenset({"shape-proxy"}), typs=frozenset({TYP}))
    return Verifier(Trust.of(TrustedIssuer(issuer, ring)), TokenBounds()).verify([f"Bearer {token}".encode()]).values


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in ("serve", "check", "explain", "mint", "demo"))
    assert "env-example" not in result.stdout


# --- check


def test_check_prints_every_case_and_a_digest() -> None:
    result = run("check", "--policies", str(POLICIES))
    assert (result.exit_code, result.stderr) == (0, "")
    *cases, last = result.stdout.splitlines()
    assert "todos: allow: a token for s-ada reads its own rows" in cases
    assert last.startswith(f"14 policies, {len(cases)} cases, digest ")


def test_check_reads_the_folder_of_the_settings() -> None:
    assert run("check", env={"PROXY_POLICIES": str(POLICIES)}).stdout.splitlines()[-1].startswith("14 policies")


WARNED = """
table = "public.notes"
key = ["id"]
columns = ["id", "session_id"]
where = "session_id = {session_id} AND (id = 1 OR id IN (SELECT a FROM public.m WHERE b = {session_id}))"
claims = { session_id = "text" }
[[case]]
name = "a long query"
claims = { session_id = "s-ada" }
request = "table=notes&offset=-1"
expect = "allow"
[[case]]
name = "nobody's"
request = "table=notes&offset=-1"
expect = "claim_missing"
"""


def test_check_prints_warnings_on_stderr_and_exits_0(tmp_path: Path) -> None:
    (tmp_path / "notes.toml").write_text(WARNED)
    result = run("check", "--policies", str(tmp_path))
    assert result.exit_code == 0
    assert result.stderr == (
        f"warning: {tmp_path}/notes.toml: where: OR beside IN (SELECT …): "
        "rows with NULL in a tested column can arrive late\n"
    )


def test_check_judges_by_the_limits_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "notes.toml").write_text(WARNED)
    result = run("check", "--policies", str(tmp_path), env={"PROXY_LIMIT_QUERY_BYTES": "10"})
    assert result.exit_code == 1
    assert "case 'a long query': expected allow, came target_too_long" in result.stderr
    with_secret = run("check", "--policies", str(tmp_path), env={"ELECTRIC_SECRET": "x" * 9000})
    assert "case 'a long query': expected allow, came target_too_long" in with_secret.stderr
    wrong = run("check", "--policies", str(tmp_path), env={"PROXY_LIMIT_QUERY_BYTES": "x"})
    assert (wrong.exit_code, wrong.stderr.partition(":")[0]) == (2, "PROXY_LIMIT_QUERY_BYTES")


@pytest.mark.parametrize("named", [True, False], ids=["by the option", "by DATABASE_URL"])
def test_check_holds_policies_against_a_database(postgres: EmbeddedPostgres, tmp_path: Path, named: bool) -> None:
    dsn = postgres.create_database(sql="CREATE TABLE todos (id int PRIMARY KEY)")
    options = ["--database", dsn] if named else ["--database"]
    result = run("check", *options, "--policies", str(POLICIES), env={} if named else {"DATABASE_URL": dsn})
    postgres.drop_database(dsn)
    assert result.exit_code == 1
    assert f"{POLICIES}/todos.toml: the table has no column session_id" in result.stderr.splitlines()
    assert f'{POLICIES}/accounts.toml: the database has no table "public"."accounts"' in result.stderr.splitlines()


def test_check_of_policies_that_fit_the_database_exits_0(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.create_database(sql=app_schema())
    result = run("check", "--database", dsn, "--policies", str(POLICIES))
    postgres.drop_database(dsn)
    assert (result.exit_code, result.stderr) == (0, "")


def test_check_of_a_database_that_is_away_is_one_line() -> None:
    result = run("check", "--database", "postgresql://ada:s3cr3t@127.0.0.1:1/x", "--policies", str(POLICIES))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "the database cannot be asked (OperationalError)\n"


def test_check_tells_every_fault_in_a_line_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("x = 1")
    (tmp_path / "b.toml").write_text("y = ")
    result = run("check", "--policies", str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(line.startswith((f"{tmp_path}/a.toml:", f"{tmp_path}/b.toml:")) for line in result.stderr.splitlines())
    assert "Traceback" not in result.stderr


def test_check_as_json_is_one_object_with_the_same_exit_code(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    dsn = postgres.create_database(sql=app_schema() + "; ALTER TABLE todos DROP COLUMN done, ADD COLUMN fresh int")
    result = run("check", "--json", "--database", dsn, "--policies", str(POLICIES))
    postgres.drop_database(dsn)
    told = json.loads(result.stdout)
    file = str(POLICIES / "todos.toml")
    assert (result.exit_code, result.stderr) == (1, "")
    assert {"file": file, "line": None, "sentence": "the table has no column done"} in told["differences"]
    fresh = "the table has the column fresh, which neither columns nor never names"
    assert {"file": file, "line": None, "sentence": fresh} in told["warnings"]
    assert (told["loaded"], len(told["policies"]), {"policy", "case", "expect"}) == (True, 14, set(told["cases"][0]))
    (tmp_path / "a.toml").write_text("x = 1")
    faulty = run("check", "--json", "--policies", str(tmp_path))
    assert (faulty.exit_code, faulty.stderr) == (1, "")
    unknown = next(fault for fault in json.loads(faulty.stdout)["faults"] if fault["sentence"].startswith("x: "))
    assert (unknown["file"], unknown["line"]) == (f"{tmp_path}/a.toml", 1)


# --- explain


def test_explain_of_an_allowed_request_exits_0() -> None:
    result = run("explain", "--policies", str(POLICIES), "--claims", ADA, TODOS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "ok       shape      todos" in result.stdout
    assert 'where = ("session_id" = $1) AND (TRUE)' in result.stdout


def test_explain_judges_by_the_limits_of_the_settings() -> None:
    query = TODOS + "&where=label%20%3D%20%27" + "x" * 900 + "%27"
    arguments = ("explain", "--policies", str(POLICIES), "--claims", ADA, query)
    assert run(*arguments).exit_code == 0
    for name, code in (("FILTER_BYTES", "filter_malformed"), ("TARGET_BYTES", "target_too_long")):
        result = run(*arguments, env={f"PROXY_LIMIT_{name}": "800"})
        assert result.exit_code == 1
        assert code in result.stdout


def test_explain_of_a_refused_request_exits_1() -> None:
    result = run("explain", "--policies", str(POLICIES), "--claims", ADA, "table=secrets&offset=-1")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == ["refused  shape      shape_forbidden: no policy for this table or name"]


@pytest.mark.parametrize(("query", "allowed"), [(TODOS, True), ("table=secrets&offset=-1", False)])
def test_explain_as_json_is_one_object(query: str, allowed: bool) -> None:
    result = run("explain", "--json", "--policies", str(POLICIES), "--claims", ADA, query)
    assert json.loads(result.stdout)["allowed"] is allowed
    assert result.exit_code == (0 if allowed else 1)


def test_explain_knows_named_shapes_and_bodies() -> None:
    body = '{"where":"done = true"}'
    result = run(
        "explain", "--policies", str(POLICIES), "--claims", ADA, "--shape", "todos", "--body", body, "offset=-1"
    )
    assert result.exit_code == 0
    assert "after    upstream   POST /v1/shape" in result.stdout


def test_explain_takes_the_claims_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "claims.json").write_text('{"session_id": "s-ada"}')
    result = run(
        "explain", "--policies", str(POLICIES), "--claims", f"@{tmp_path / 'claims.json'}", "table=todos&offset=-1"
    )
    assert result.exit_code == 0
    missing = run(
        "explain", "--policies", str(POLICIES), "--claims", f"@{tmp_path / 'none.json'}", "table=todos&offset=-1"
    )
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)


def test_explain_verifies_a_token_as_serve_does(environment: dict[str, str]) -> None:
    token = minted(environment, "--claim", "session_id=s-ada")
    assert run("explain", "--token", token, TODOS, env=environment).exit_code == 0
    result = run("explain", "--token", token + "x", TODOS, env=environment)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].startswith("refused  token      token_invalid: ")
    assert token not in result.output


@pytest.mark.parametrize("query", ["table=todos&offset=-1&where=\udcff", "\udcff"])
def test_explain_takes_bytes_that_are_no_text(query: str) -> None:
    result = run("explain", "--policies", str(POLICIES), "--claims", ADA, query)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].startswith("refused  request    malformed_request: ")


ENCODED = "where=label%20%3D%20%241&params[1]=a%26b"
PLAIN = "where=label = $1&params[1]=a%26b"
PASTED: dict[str, tuple[str, bool]] = {
    "a URL": (f"https://app.example/v1/shapes/todos?offset=-1&{ENCODED}", True),
    "a URL with a port and the prefix of a mount": (f"http://localhost:8080/electric/v1/shape?{TODOS}&{ENCODED}", True),
    "a host without a scheme": (f"localhost:8080/v1/shape?{TODOS}&{ENCODED}", True),
    "a path": (f"/v1/shape?{TODOS}&{ENCODED}", True),
    "a path without a query": ("/v1/shapes/todos", False),
    "a query with its question mark": (f"?{TODOS}", True),
    "a plain query": (f"{TODOS}&where=label = 'it''s 100% & more + \n=b'", True),
    "a plain URL": ("https://app.example/v1/shapes/todos?offset=-1&where=label = $1&params[1]=a", True),
    "plain characters that a browser encodes": (f"{TODOS}&where=label='ü'", True),
    "a filter with &&": (f"{TODOS}&where=label = 'a' && done = true&log=full", False),
    "another path": ("https://app.example/v1/things?offset=-1", False),
    "another path below shapes": ("/v1/shapes/todos/?offset=-1", False),
    "no path of ours": ("https://app.example/?offset=-1", False),
}


@pytest.mark.parametrize(("given", "allowed"), PASTED.values(), ids=PASTED)
def test_explain_takes_a_request_as_it_is_pasted(given: str, allowed: bool) -> None:
    result = run("explain", "--policies", str(POLICIES), "--claims", ADA, given)
    assert (result.exit_code, result.stderr) == (0 if allowed else 1, "")


def test_what_is_pasted_is_read_in_time_that_grows_with_its_length() -> None:
    """The console reads it on the loop of all requests. By the square of its length this takes 20 minutes."""
    assert pasted.parse("/" * 262_144 + "=").name is None


def test_a_plain_value_is_what_it_says(tmp_path: Path) -> None:
    plain = f"{TODOS}&where=label = $1 AND label <> $2&params[1]=100% & more+&params[2]=a%20b"
    result = run("explain", "--json", "--policies", str(POLICIES), "--claims", ADA, plain)
    assert json.loads(result.stdout)["upstream"]["parameters"]["params[2]"] == "100% & more+"
    assert json.loads(result.stdout)["upstream"]["parameters"]["params[3]"] == "a%20b"
    assert json.loads(result.stdout)["before"]["client"] == "label = $1 AND label <> $2"


def test_explain_names_a_path_that_is_nearly_ours() -> None:
    result = run("explain", "--policies", str(POLICIES), "--claims", ADA, "/v1/shapes?table=todos&offset=-1")
    assert "refused  path       not_found: the path is neither" in result.stdout
    assert "did you mean /v1/shape?" in result.stdout


USAGE: dict[str, list[str]] = {
    "no query": ["explain", "--claims", ADA],
    "neither a token nor claims": ["explain", TODOS],
    "a token and claims": ["explain", "--token", "x", "--claims", ADA, TODOS],
    "claims that are no JSON": ["explain", "--claims", "x", TODOS],
    "claims that are a list": ["explain", "--claims", '[["session_id","s-ada"]]', TODOS],
    "a URL of another shape": ["explain", "--claims", "{}", "--shape", "todos", "/v1/shapes/sessions?offset=-1"],
    "no subject": ["mint"],
    "a claim without a value": ["mint", "--sub", "ada", "--claim", "session_id"],
    "more claims that are no JSON": ["mint", "--sub", "ada", "--claims", "{"],
    "more claims that are a list": ["mint", "--sub", "ada", "--claims", "[]"],
    "seconds that are no number": ["mint", "--sub", "ada", "--seconds", "x"],
    "more seconds than permitted": ["mint", "--sub", "ada", "--seconds", "5000"],
    "a database without an address": ["check", "--database", "--policies", str(POLICIES)],
    "an unknown command": ["serves"],
    "an unknown option": ["check", "--policy", "x"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_a_wrong_use_exits_2_and_says_how(environment: dict[str, str], arguments: list[str]) -> None:
    result = run(*arguments, env=environment)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr


# --- mint


def test_a_minted_token_says_what_it_was_told(environment: dict[str, str]) -> None:
    token = minted(environment, "--claim", "session_id=s=ada", "--claim", "mode=", "--claims", '{"n":1,"ok":true}')
    claims = said(environment, token)
    assert {key: claims[key] for key in ("sub", "session_id", "mode", "n", "ok")} == {
        "sub": "acc-ada",
        "session_id": "s=ada",
        "mode": "",
        "n": 1,
        "ok": True,
    }


@pytest.mark.parametrize(
    ("arguments", "seconds"), [([], 900), (["--seconds", "60"], 60)], ids=["the longest", "a minute"]
)
def test_a_minted_token_lives_as_long_as_it_was_told(
    environment: dict[str, str], arguments: list[str], seconds: int
) -> None:
    claims = said(environment, minted(environment, *arguments))
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == seconds


def test_a_token_of_no_seconds_is_over(environment: dict[str, str]) -> None:
    token = minted(environment, "--seconds", "0", "--claim", "session_id=s-ada")
    assert run("explain", "--token", token, TODOS, env=environment).exit_code == 1


# --- faults

FAULTS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "serve: a setting is missing": (["serve"], {"PROXY_TOKEN_ISSUER": ""}, "PROXY_TOKEN_ISSUER: is required: "),
    "serve: an unknown setting": (["serve"], {"PROXY_X": "1"}, "PROXY_X: there is no such setting"),
    "serve: no policies": (["serve"], {"PROXY_POLICIES": "/none"}, "/none: there are no policies here"),
    "serve: nothing to bind handles with": (
        ["serve"],
        {"PROXY_HANDLE_KEY": ""},
        "PROXY_HANDLE_KEY: is required where ELECTRIC_SECRET is empty; 32 characters or more",
    ),
    "serve: a short key for handles": (
        ["serve"],
        {"PROXY_HANDLE_KEY": "k" * 31, "ELECTRIC_SECRET": "s"},
        "PROXY_HANDLE_KEY: must have 32 characters or more",
    ),
    "serve: no keys": (["serve"], {"PROXY_TOKEN_KEYS": "/none"}, "PROXY_TOKEN_KEYS: there is no file /none"),
    "serve: an address of another machine": (
        ["serve"],
        {"PROXY_LISTEN": "192.0.2.1:1"},
        "PROXY_LISTEN: cannot listen on 192.0.2.1:1: ",
    ),
    "explain: no policies": (
        ["explain", "--claims", "{}", TODOS],
        {"PROXY_POLICIES": "/none"},
        "/none: there are no policies here",
    ),
    "explain: a setting is missing": (
        ["explain", "--token", "x", TODOS],
        {"PROXY_TOKEN_ISSUER": ""},
        "PROXY_TOKEN_ISSUER",
    ),
    "mint: a setting is missing": (["mint", "--sub", "ada"], {"PROXY_TOKEN_AUDIENCE": ""}, "PROXY_TOKEN_AUDIENCE"),
}


@pytest.mark.parametrize(("arguments", "changes", "line"), FAULTS.values(), ids=FAULTS)
def test_what_keeps_a_command_from_running_is_one_line_on_stderr_and_exit_2(
    environment: dict[str, str], arguments: list[str], changes: dict[str, str], line: str
) -> None:
    result = run(*arguments, env=environment | changes)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "mint --sub ada", f"explain --token x {TODOS}"])
def test_a_key_file_that_cannot_be_used_is_one_line(environment: dict[str, str], command: str) -> None:
    Path(environment["PROXY_TOKEN_KEYS"]).write_text("{}")
    result = run(*command.split(), env=environment)
    assert result.exit_code == 2
    assert result.stderr == f"{environment['PROXY_TOKEN_KEYS']}: this is no JWKS file (KeyError)\n"


def test_the_example_is_printed() -> None:
    assert run("env-example").stdout == settings.example()


def test_a_proof_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "proxy.proof.report", None)
    monkeypatch.delattr(import_module("proxy.proof"), "report", raising=False)  # the one that `prove` imports from
    result = run("prove", "--policies", str(POLICIES))
    assert result.exit_code == 2
    assert "pip install 'shape-proxy[prove]'" in result.stderr


def test_as_a_process_it_has_the_same_exit_codes(environment: dict[str, str]) -> None:
    def process(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "proxy", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    refused = process("explain", "--claims", ADA, "table=secrets&offset=-1")
    assert (refused.returncode, refused.stderr) == (1, "")
    assert refused.stdout.splitlines()[1].startswith("refused  shape      shape_forbidden")
    faulty = process("check", "--policies", "none")
    assert (faulty.returncode, faulty.stdout, faulty.stderr) == (1, "", "none: there are no policies here\n")
    assert process("explain", "--claims", ADA, TODOS).returncode == 0


def test_a_demo_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "proxy.demo.demo", None)
    result = run("demo")
    assert result.exit_code == 2
    assert result.stderr.endswith(": pip install 'shape-proxy[sandbox]'\n")
    assert result.stderr.count("\n") == 1
