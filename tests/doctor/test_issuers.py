"""Issuers whose keys have an address: what `shape-proxy doctor` finds of the keys, the clock and the file."""

import json
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
from click.testing import Result

from proxy.auth.keys import new_keys
from tests.doctor.scripted import Asked, Told, electric, serving
from tests.doctor.test_doctor import CASE, POLICY, environment, findings, levels, run
from tests.doctor.test_local_checks import of_curve
from tests.harness.running import SECRET

OTHER = {"kty": "RSA", "kid": "enc", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one policy."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "todos.toml").write_text(POLICY + CASE)
    return tmp_path


def published(*keys: object, status: int = 200, late: float = 0) -> Told:
    """What an issuer answers whose clock is so many seconds behind."""
    return Told(status, json.dumps({"keys": keys}).encode(), {"date": formatdate(time() - late, usegmt=True)})


def examined(folder: Path, told: Told, lines: str = "", **variables: str) -> Result:
    """What the doctor finds where one issuer has an address, in a file with these lines more."""

    def script(asked: Asked) -> Told:
        return told if asked.path == "/jwks" else electric(asked, SECRET)

    with serving(script) as url:
        file = folder / "issuers.toml"
        file.write_text(f'[[issuer]]\nissuer = "https://id"\nkeys = "{url}/jwks"\naudience = "a"\n{lines}')
        return run(with_issuers(folder, url, file) | variables, "--json")


def with_issuers(folder: Path, url: str, file: Path) -> Mapping[str, str]:
    """The settings with a file of issuers."""
    single = ("PROXY_TOKEN_KEYS", "PROXY_TOKEN_ISSUER", "PROXY_TOKEN_AUDIENCE")
    others = {name: value for name, value in environment(folder, url).items() if name not in single}
    return {**others, "PROXY_ISSUERS": str(file)}


def told_of(result: Result, check: str) -> list[str]:
    """The messages of a check."""
    return [found["message"] for found in findings(result) if found["check"] == check]


def test_keys_at_an_address_are_fetched_and_counted(folder: Path) -> None:
    result = examined(folder, published(of_curve(private=False), OTHER))
    assert levels(result, "token_keys") == ["ok", "warning"]
    one, other = told_of(result, "token_keys")
    assert one.startswith("https://id: 1 keys at http://127.0.0.1:")
    assert other == "https://id: not used: key 2 (kid 'enc'): its use is not sig"
    assert levels(result, "clock") == ["ok", "ok"]
    assert "/jwks agrees with ours" in told_of(result, "clock")[1]


BAD: dict[str, tuple[Told, str, str]] = {
    "no such page": (published(status=404), "", "status 404"),
    "another page": (Told(200, b"<html>"), "", "this is no JWKS file"),
    "no keys": (published(), "", "there must be at least one key"),
    "a published secret": (published(*new_keys()["keys"]), "", "it is secret, and published all the same"),
    "nobody": (Told(0, dies=True), "", "RemoteProtocolError"),
    "another algorithm": (published(of_curve(private=False)), 'algorithms = ["RS256"]', "this issuer does not use"),
}


@pytest.mark.parametrize(("told", "lines", "sentence"), BAD.values(), ids=BAD)
def test_an_address_without_keys_of_use_is_an_error(folder: Path, told: Told, lines: str, sentence: str) -> None:
    result = examined(folder, told, lines)
    (message,) = told_of(result, "token_keys")
    assert (levels(result, "token_keys"), sentence in message) == (["error"], True), message
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("late", "lines", "level"),
    [(5, "", "warning"), (30, "", "error"), (30, "leeway_seconds = 60", "warning"), (-30, "", "error")],
    ids=["within what is tolerated", "beyond it", "tolerated by the issuer", "ahead"],
)
def test_the_clock_of_an_issuer_is_held_against_what_is_tolerated_of_it(
    folder: Path, late: float, lines: str, level: str
) -> None:
    result = examined(folder, published(of_curve(private=False), late=late), lines)
    assert levels(result, "clock") == ["ok", level]


def test_the_keys_of_each_issuer_are_looked_at(folder: Path) -> None:
    (folder / "keys.json").write_text(json.dumps({"keys": [of_curve(private=False)]}))
    second = '[[issuer]]\nissuer = "https://other"\nkeys = "keys.json"\naudience = "a"\nalgorithms = ["EdDSA"]\n'
    result = examined(folder, published(of_curve(private=False)), second)
    assert levels(result, "token_keys") == ["ok", "error"]
    assert f"{folder}/keys.json: there must be at least one key" in told_of(result, "token_keys")[1]


def test_each_fault_of_the_file_is_a_line_and_the_other_checks_are_made(folder: Path) -> None:
    faults = 'audience = "a"\n[[issuer]]\nissuer = "https://x"\nkeys = "keys.json"\n[[issuer]]\nnothing = 1\n'
    result = examined(folder, published(), faults.replace('audience = "a"\n', "", 1), PROXY_LISTEN="127.0.0.1:1")
    messages = told_of(result, "issuers")
    assert len(messages) > 1
    assert not any("\n" in message for message in messages)
    assert levels(result, "token_keys") == []
    assert levels(result, "clock") == ["ok"]
    assert levels(result, "cors")
    assert result.exit_code == 1


def test_an_address_that_must_not_be_used_is_an_error_and_no_stream_is_tried(folder: Path) -> None:
    with serving(lambda asked: electric(asked, SECRET)) as url:
        env = environment(folder, url, PROXY_TOKEN_KEYS="http://id.example/jwks")
        result = run(env, "--json", "--url", url)
    (message,) = told_of(result, "issuers")
    assert message.startswith("PROXY_TOKEN_KEYS: must be an https address")
    assert levels(result, "first_event") == ["warning"]
