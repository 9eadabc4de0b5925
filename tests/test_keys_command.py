"""`shape-proxy keys`: what is in the files, who may read them, and which tokens verify before and after."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from proxy.auth import tokens
from proxy.auth.issuers import Issuer
from proxy.auth.key_files import ALGORITHMS, KeyFile
from proxy.auth.keys import KeyRing
from proxy.auth.tokens import TokenBounds, Verifier
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core.errors import Refusal
from tests.test_cli import run

ISSUER = Issuer("https://app.example", Path("keys.json"), frozenset({"shape-proxy"}))
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def public_of(file: Path) -> Path:
    return file.with_name("keys.public.json")


def members(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_text())["keys"])


def token(file: Path) -> str:
    return tokens.mint(KeyRing.read(file), ISSUER, "acc-ada", {}, 60)


def verifies(token: str, file: Path) -> bool:
    try:
        Verifier(Trust.of(TrustedIssuer(ISSUER, KeyRing.read(file))), TokenBounds()).verify(
            [f"Bearer {token}".encode()]
        )
    except Refusal:
        return False
    return True


def verifying(file: Path, algorithm: str) -> Path:
    """The file that the proxy reads."""
    return file if algorithm == "HS256" else public_of(file)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_signs_what_its_public_half_verifies(file: Path, algorithm: str) -> None:
    result = run("keys", "new", str(file), "--algorithm", algorithm)
    assert (result.exit_code, result.stderr) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (made,) = members(file)
    assert (made["alg"], made["use"], bool(made["kid"])) == (algorithm, "sig", True)
    assert verifies(token(file), verifying(file, algorithm))


def test_the_default_is_es256_in_keys_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("keys", "new").exit_code == 0
    assert members(tmp_path / "keys.json")[0]["alg"] == "ES256"


@pytest.mark.parametrize("algorithm", [algorithm for algorithm in ALGORITHMS if algorithm != "HS256"])
def test_the_public_file_and_what_is_printed_hold_no_private_member(file: Path, algorithm: str) -> None:
    run("keys", "new", str(file), "--algorithm", algorithm)
    run("keys", "rotate", str(file))
    assert not any(PRIVATE & member.keys() for member in members(public_of(file)))
    assert run("keys", "public", str(file)).stdout == public_of(file).read_text()


def test_a_file_that_is_there_is_never_overwritten(file: Path) -> None:
    file.write_text("mine")
    result = run("keys", "new", str(file))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert file.read_text() == "mine"
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rotation_signs_by_a_new_key_and_still_verifies_by_the_old_one(file: Path, algorithm: str) -> None:
    run("keys", "new", str(file), "--algorithm", algorithm)
    before = token(file)
    (old,) = members(file)
    result = run("keys", "rotate", str(file))
    assert (result.exit_code, result.stderr) == (0, "")
    new, kept = members(file)
    assert new["alg"] == algorithm
    assert new["kid"] != old["kid"] == kept["kid"]
    assert algorithm == "HS256" or not PRIVATE & kept.keys()
    assert verifies(before, verifying(file, algorithm))
    assert verifies(token(file), verifying(file, algorithm))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pruning_removes_a_retired_key_when_its_time_is_over(file: Path, algorithm: str) -> None:
    run("keys", "new", str(file), "--algorithm", algorithm)
    before = token(file)
    run("keys", "rotate", str(file), "--keep", "3600")
    assert "0 removed, 2 kept" in run("keys", "prune", str(file)).stdout
    assert verifies(before, verifying(file, algorithm))
    assert "1 removed, 1 kept" in run("keys", "prune", "--all", str(file)).stdout
    assert not verifies(before, verifying(file, algorithm))
    assert verifies(token(file), verifying(file, algorithm))


def test_a_rotation_removes_what_an_earlier_one_retired_long_ago(file: Path) -> None:
    run("keys", "new", str(file))
    run("keys", "rotate", str(file), "--keep", "0")
    run("keys", "rotate", str(file), "--keep", "60")
    assert len(members(file)) == 2


def test_a_rotation_may_change_the_algorithm(file: Path) -> None:
    run("keys", "new", str(file), "--algorithm", "RS256")
    before = token(file)
    run("keys", "rotate", str(file), "--algorithm", "EdDSA")
    assert [member["alg"] for member in members(file)] == ["EdDSA", "RS256"]
    assert verifies(before, public_of(file))


def test_the_algorithm_of_a_key_that_does_not_say_it_is_its_types(file: Path) -> None:
    made = dict(KeyFile.new("EdDSA").members[0])
    del made["alg"]
    file.write_text(json.dumps({"keys": [made]}))
    assert KeyFile.read(file).algorithm == "EdDSA"


FAULTS = {
    "no file": ("rotate", None),
    "no JWKS": ("rotate", "{}"),
    "public keys alone": ("rotate", KeyFile.new("ES256").public.text()),
    "a shared secret's public half": ("public", KeyFile.new("HS256").text()),
    "public keys alone, to prune": ("prune", KeyFile.new("ES256").public.text()),
}


@pytest.mark.parametrize(("command", "text"), FAULTS.values(), ids=FAULTS)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(file: Path, command: str, text: str | None) -> None:
    if text is not None:
        file.write_text(text)
    result = run("keys", command, str(file))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(f"{file}: ")
    assert text is None or file.read_text() == text
