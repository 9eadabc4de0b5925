"""What is on this machine: open files, the handle key, the keys of tokens."""

import json
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from proxy.auth.keys import new_keys
from proxy.doctor.findings import Finding, Level, error, ok, warning, worst
from proxy.doctor.local_checks import OLD_DAYS, files_finding, handle_key_finding, key_findings

Jwk = Mapping[str, Any]


def shared(secret: bytes) -> Jwk:
    return {"kty": "oct", "alg": "HS256", "kid": "a", "k": jwt.utils.base64url_encode(secret).decode()}


def of_curve(*, private: bool) -> Jwk:
    key = generate_private_key(SECP256R1())
    own = key if private else key.public_key()
    return {**jwt.algorithms.ECAlgorithm.to_jwk(own, as_dict=True), "kid": "b"}  # type: ignore[arg-type]


def checked(folder: Path, *keys: Jwk, mode: int = 0o600, later: float = 0) -> list[Finding]:
    path = folder / "keys.json"
    path.write_text(json.dumps({"keys": keys}))
    path.chmod(mode)
    return list(key_findings(path, now=time() + later))


def levels(found: list[Finding]) -> list[Level]:
    return [one.level for one in found]


def test_a_random_key_that_nobody_else_reads_is_ok(tmp_path: Path) -> None:
    (found,) = checked(tmp_path, *new_keys()["keys"])
    assert (found.level, found.message) == (Level.ok, f"{tmp_path}/keys.json: 1 keys verify tokens")


def test_a_file_without_a_key_is_an_error(tmp_path: Path) -> None:
    (found,) = checked(tmp_path)
    assert (found.level, "at least one key" in found.message) == (Level.error, True)


def test_a_key_for_another_purpose_is_a_warning(tmp_path: Path) -> None:
    found = checked(tmp_path, *new_keys()["keys"], {"kty": "RSA", "alg": "RSA-OAEP", "kid": "c"})
    assert levels(found) == [Level.ok, Level.warning]
    assert "not used: key 2 (kid 'c')" in found[1].message


def test_a_shared_key_that_is_a_password_is_an_error(tmp_path: Path) -> None:
    found = checked(tmp_path, shared(b"secretsecretsecretsecretsecretsecret"))
    assert levels(found) == [Level.ok, Level.error]
    assert "secretsecret" not in found[1].line()


@pytest.mark.parametrize(
    ("key", "mode", "expected"),
    [
        (shared(bytes(range(32))), 0o644, [Level.ok, Level.warning]),
        (shared(bytes(range(32))), 0o640, [Level.ok, Level.warning]),
        (of_curve(private=True), 0o644, [Level.ok, Level.warning]),
        (of_curve(private=False), 0o644, [Level.ok]),
    ],
    ids=["shared, all", "shared, the group", "private", "public"],
)
def test_a_secret_key_that_others_may_read_is_a_warning(
    tmp_path: Path, key: Jwk, mode: int, expected: list[Level]
) -> None:
    assert levels(checked(tmp_path, key, mode=mode)) == expected


def test_an_old_file_of_keys_is_a_warning(tmp_path: Path) -> None:
    found = checked(tmp_path, *new_keys()["keys"], later=86_400 * (OLD_DAYS + 2))
    assert levels(found) == [Level.ok, Level.warning]
    assert "days old" in found[1].message


@pytest.mark.parametrize(
    ("connections", "fault", "level"),
    [(9000, "", Level.ok), (400, "", Level.warning), (9000, "PROXY_MAX_CONNECTIONS: needs more", Level.error)],
)
def test_open_files_are_enough_or_not(connections: int, fault: str, level: Level) -> None:
    assert files_finding(connections, fault).level is level


@pytest.mark.parametrize(
    ("fault", "guessable", "level"),
    [("", False, Level.ok), ("", True, Level.warning), ("PROXY_HANDLE_KEY: is required", True, Level.error)],
)
def test_the_handle_key_is_there_and_long_or_not(fault: str, guessable: bool, level: Level) -> None:
    assert handle_key_finding(fault=fault, guessable=guessable).level is level


def test_the_worst_finding_decides() -> None:
    good, bad, worse = ok("a", "fine"), warning("b", "so so", "look"), error("c", "broken", "mend")
    assert worst([]) is worst([good]) is Level.ok
    assert worst([good, bad]) is Level.warning
    assert worst([worse, bad, good]) is Level.error
    assert (good.line(), worse.line()) == ("ok      a: fine", "error   c: broken → mend")
