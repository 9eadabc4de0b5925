"""`shape-proxy doctor` as a whole: what it prints, its exit codes, and that no secret is in it."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from proxy.auth.keys import new_keys
from proxy.cli import main
from proxy.sandbox import StandIn
from tests.doctor.conftest import replicated
from tests.doctor.scripted import Asked, Told, electric, serving
from tests.doctor.test_local_checks import of_curve
from tests.harness.running import ORIGIN, POLICIES, SECRET, running

SLOT = "doctor_whole"
POLICY = """
table   = "public.todos"
key     = ["id"]
columns = ["id", "session_id", "label"]
where   = "session_id = {session_id}"

[claims]
session_id = "text"
"""
CASE = """
[[case]]
name    = "its own rows"
claims  = { session_id = "s-ada" }
request = "table=todos&offset=-1"
expect  = "allow"

[[case]]
name    = "nothing without the claim"
claims  = { }
request = "table=todos&offset=-1"
expect  = "claim_missing"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one policy and a key file."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "todos.toml").write_text(POLICY + CASE)
    (tmp_path / "keys.json").write_text(json.dumps(new_keys()))
    (tmp_path / "keys.json").chmod(0o600)
    return tmp_path


def environment(folder: Path, url: str, **more: str) -> dict[str, str]:
    return {
        "ELECTRIC_HTTP_URL": url,
        "ELECTRIC_SECRET": SECRET,
        "PROXY_TOKEN_KEYS": str(folder / "keys.json"),
        "PROXY_TOKEN_ISSUER": "https://app.example",
        "PROXY_TOKEN_AUDIENCE": "shape-proxy",
        "PROXY_ALLOWED_ORIGINS": ORIGIN,
        "PROXY_POLICIES": str(folder / "policies"),
        "PROXY_LISTEN": "127.0.0.1:1",  # where nothing listens
    } | more


def run(env: Mapping[str, str], *arguments: str) -> Result:
    cleared: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith(("PROXY_", "ELECTRIC_", "DATABASE_"))
    }
    return CliRunner().invoke(main, ["doctor", *arguments], env={**cleared, **env})


def findings(result: Result) -> list[dict[str, str]]:
    return json.loads(result.stdout)["findings"]  # type: ignore[no-any-return]


def levels(result: Result, check: str) -> list[str]:
    return [found["level"] for found in findings(result) if found["check"] == check]


async def test_all_is_well(folder: Path, stand_in: StandIn, database: str) -> None:
    env = environment(folder, stand_in.url, DATABASE_URL=database, PROXY_REPLICATION_SLOT=SLOT)
    with replicated(database, SLOT):
        async with running(stand_in.url, folder, **_served(folder)) as proxy:
            result = await asyncio.to_thread(run, env, "--json", "--url", proxy.url, "--clock", proxy.admin_url)
    bad = [found for found in findings(result) if found["level"] != "ok"]
    assert [found["check"] for found in bad] == ["replication"]  # no shape has been asked for, so nothing is published
    assert result.exit_code == 0
    assert json.loads(result.stdout)["level"] == "warning"
    assert {found["check"] for found in findings(result)} == {
        "electric_reachable",
        "electric_version",
        "electric_secret",
        "electric_closed",
        "electric_deletion",
        "policies",
        "policy_electric",
        "policy_database",
        "replication_slot",
        "replication",
        "open_files",
        "handle_key",
        "token_keys",
        "clock",
        "cors",
        "first_event",
    }


def _served(folder: Path) -> dict[str, str]:
    return {"PROXY_POLICIES": str(folder / "policies")}


async def test_without_a_database_the_policies_are_held_against_electric(folder: Path, stand_in: StandIn) -> None:
    result = await asyncio.to_thread(run, environment(folder, stand_in.url))
    assert result.exit_code == 0
    assert 'ok      policy_electric: todos: Electric serves "public"."todos" with these columns\n' in result.stdout
    assert "warning database: DATABASE_URL is not set" in result.stdout


async def test_the_listener_of_a_running_proxy_is_asked(folder: Path, stand_in: StandIn) -> None:
    async with running(stand_in.url, folder, **_served(folder)) as proxy:
        listen = proxy.url.removeprefix("http://")
        result = await asyncio.to_thread(run, environment(folder, stand_in.url, PROXY_LISTEN=listen))
    assert f"ok      cors: {ORIGIN}: its pages may ask and read, by http://{listen}" in result.stdout


POLICY_FAULTS = [
    (
        'columns = ["id", "session_id", "label"]',
        'columns = ["id", "session_id", "lable"]',
        "todos: Electric answers 400",
    ),
    ('table   = "public.todos"', 'table   = "public.todoos"', "Electric answers 400"),
    (
        'where   = "session_id = {session_id}"',
        'where   = "label = {session_id} AND done < 3"',
        "orders the column done",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), POLICY_FAULTS, ids=["a column", "a table", "a type"])
async def test_a_policy_that_electric_cannot_serve_is_an_error(
    folder: Path, stand_in: StandIn, old: str, new: str, sentence: str
) -> None:
    text = (POLICY + CASE).replace(old, new)
    named = text.replace("table=todos", "table=todoos") if "todoos" in new else text
    (folder / "policies" / "todos.toml").write_text(named)
    result = await asyncio.to_thread(run, environment(folder, stand_in.url), "--json")
    told = [found for found in findings(result) if found["check"] in ("policy_electric", "policies")]
    assert sentence in " ".join(found["message"] for found in told)
    assert result.exit_code == 1


async def test_a_policy_that_the_database_contradicts_is_an_error(
    folder: Path, stand_in: StandIn, database: str
) -> None:
    (folder / "policies" / "todos.toml").write_text(POLICY + '[types]\nsession_id = "uuid"\n' + CASE)
    result = await asyncio.to_thread(run, environment(folder, stand_in.url, DATABASE_URL=database), "--json")
    assert set(levels(result, "policy_database")) == {"error"}


async def test_a_database_that_is_away_is_an_error(folder: Path, stand_in: StandIn) -> None:
    away = "postgresql://someone:hidden@127.0.0.1:1/nothing"
    result = await asyncio.to_thread(run, environment(folder, stand_in.url, DATABASE_URL=away), "--json")
    assert levels(result, "policy_database") == levels(result, "database") == ["error"]
    assert "hidden" not in result.output


@pytest.mark.parametrize("text", ["table = 3", POLICY.replace("[claims]", "[clames]")])
async def test_policies_that_do_not_load_are_errors(folder: Path, stand_in: StandIn, text: str) -> None:
    (folder / "policies" / "todos.toml").write_text(text)
    result = await asyncio.to_thread(run, environment(folder, stand_in.url), "--json")
    assert set(levels(result, "policies")) == {"error"}
    assert result.exit_code == 1


async def test_the_shipped_policies_are_all_served(folder: Path, stand_in: StandIn, database: str) -> None:
    env = environment(folder, stand_in.url, DATABASE_URL=database, PROXY_POLICIES=str(POLICIES))
    result = await asyncio.to_thread(run, env, "--json")
    shipped = len(list(POLICIES.glob("*.toml")))
    assert levels(result, "policy_electric") == ["ok"] * shipped
    assert levels(result, "policy_database") == ["ok"]


def test_an_electric_that_is_away_leaves_the_other_checks(folder: Path) -> None:
    result = run(environment(folder, "http://127.0.0.1:1"), "--json")
    assert result.exit_code == 1
    assert levels(result, "electric_reachable") == ["error"]
    assert levels(result, "policies") == levels(result, "open_files") == ["ok"]
    assert levels(result, "policy_electric") == levels(result, "clock") == []


def test_settings_that_cannot_be_read_are_exit_2(folder: Path) -> None:
    result = run(environment(folder, "electric"))
    assert result.exit_code == 2
    assert result.stderr.startswith("ELECTRIC_HTTP_URL: ")
    assert result.stdout == ""


def test_a_handle_key_that_is_missing_and_connections_without_files_are_errors(folder: Path) -> None:
    env = environment(folder, "http://127.0.0.1:1", ELECTRIC_SECRET="", PROXY_MAX_CONNECTIONS="1000000")
    result = run(env, "--json")
    assert levels(result, "handle_key") == levels(result, "open_files") == ["error"]


ODD_ELECTRIC = [
    ("no answer", Told(0, dies=True), "Electric did not answer"),
    ("no types", Told(200, b"[]"), "does not report the types"),
    ("no sentences", Told(400, b"<html>"), "Electric answers 400"),
    ("its own sentence", Told(400, b'{"errors":{"table":["Table is odd"]}}'), "Electric answers 400: Table is odd"),
]


@pytest.mark.parametrize(("told", "sentence"), [row[1:] for row in ODD_ELECTRIC], ids=[row[0] for row in ODD_ELECTRIC])
def test_what_electric_says_of_a_policy_is_told(folder: Path, told: Told, sentence: str) -> None:
    def script(asked: Asked) -> Told:
        return told if "table" in asked.query else electric(asked, SECRET)

    with serving(script) as url:
        result = run(environment(folder, url), "--json")
    (found,) = [found for found in findings(result) if found["check"] == "policy_electric"]
    assert (found["level"], sentence in found["message"]) == ("error", True)


def test_no_secret_is_printed(folder: Path) -> None:
    key = json.loads((folder / "keys.json").read_text())["keys"][0]["k"]
    with serving(lambda asked: Told(500, json.dumps(dict(asked.query)).encode())) as url:
        env = environment(folder, url, DATABASE_URL="postgresql://u:hidden@127.0.0.1:1/d", PROXY_HANDLE_KEY="h" * 40)
        printed = run(env, "--url", url, "--token", "a.secret.token").output
    for secret in (SECRET, quote(SECRET, safe=""), key, "hidden", "h" * 40, "a.secret.token"):
        assert secret not in printed


async def test_a_token_of_ones_own_is_tried(folder: Path, stand_in: StandIn) -> None:
    async with running(stand_in.url, folder, **_served(folder)) as proxy:
        result = await asyncio.to_thread(
            run, environment(folder, stand_in.url), "--json", "--url", proxy.url, "--token", proxy.token()
        )
    assert levels(result, "first_event") == ["ok"]


async def test_without_a_private_key_no_stream_is_tried(folder: Path, stand_in: StandIn) -> None:
    (folder / "keys.json").write_text(json.dumps({"keys": [of_curve(private=False)]}))
    (folder / "served").mkdir()
    async with running(stand_in.url, folder / "served", **_served(folder)) as proxy:
        result = await asyncio.to_thread(run, environment(folder, stand_in.url), "--json", "--url", proxy.url)
    assert levels(result, "first_event") == ["warning"]
