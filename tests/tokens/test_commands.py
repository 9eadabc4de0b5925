"""The commands that make and read tokens, with a file of issuers and with keys at an address."""

import asyncio
from pathlib import Path

import jwt
import pytest

from tests.test_cli import POLICIES, TODOS, run
from tests.tokens.issuing import AUDIENCE, ISSUER, SigningKey, issuing, jwks, payload

FIRST, SECOND = SigningKey("first"), SigningKey("second", "EdDSA")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Three issuers: one has public keys alone, two have private ones."""
    for name, member in (
        ("public", FIRST.member()),
        ("first", FIRST.member(private=True)),
        ("second", SECOND.member(private=True)),
    ):
        (tmp_path / f"{name}.json").write_bytes(jwks(member))
    (tmp_path / "issuers.toml").write_text(
        "\n".join(
            f'[[issuer]]\nissuer = "https://{name}"\nkeys = "{name}.json"\nmax_seconds = {seconds}\n{whom}\n'
            for name, seconds, whom in (
                ("public", 60, 'audience = "a"'),
                ("first", 120, 'audience = ["b", "a"]\nrequire = { token_use = "access" }'),
                ("second", 180, 'authorized_party = "web"'),
            )
        )
    )
    return {"PROXY_ISSUERS": str(tmp_path / "issuers.toml"), "PROXY_POLICIES": str(POLICIES)}


def minted(environment: dict[str, str], *arguments: str) -> dict[str, object]:
    """The claims of a minted token."""
    result = run("mint", "--sub", "ada", *arguments, env=environment)
    assert result.exit_code == 0, result.stderr
    claims = jwt.decode(result.stdout.strip(), options={"verify_signature": False})
    return {name: value for name, value in claims.items() if name not in ("iat", "exp")} | {
        "seconds": claims["exp"] - claims["iat"]
    }


def test_a_token_is_minted_for_the_first_issuer_that_can_sign(environment: dict[str, str]) -> None:
    wanted = {"sub": "ada", "iss": "https://first", "aud": "a", "token_use": "access", "seconds": 120}
    assert minted(environment) == wanted


def test_or_for_the_one_that_is_named(environment: dict[str, str]) -> None:
    wanted = {"sub": "ada", "iss": "https://second", "azp": "web", "seconds": 180}
    assert minted(environment, "--issuer", "https://second") == wanted


@pytest.mark.parametrize("issuer", ["https://public", "https://nobody"])
def test_an_issuer_that_cannot_sign_is_one_line(environment: dict[str, str], issuer: str) -> None:
    result = run("mint", "--sub", "ada", "--issuer", issuer, env=environment)
    assert (result.exit_code, result.stderr) == (2, f"no private key to sign with: {issuer}\n")


def test_more_seconds_than_the_issuer_permits_are_refused(environment: dict[str, str]) -> None:
    result = run("mint", "--sub", "ada", "--seconds", "121", env=environment)
    assert result.exit_code == 2
    assert "--seconds 121 would make a token that is refused: 120 are permitted" in result.stderr


def test_every_fault_of_the_file_is_a_line(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "issuers.toml").write_text('[[issuer]]\nissuer = "https://a"\nkeys = "x"\naudiance = "b"\n')
    result = run("mint", "--sub", "ada", env=environment)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"{tmp_path}/issuers.toml: issuer 1 keys: there is no file {tmp_path}/x",
        f"{tmp_path}/issuers.toml: issuer 1 audiance: there is no such member; did you mean audience?",
    ]


def test_every_key_file_that_cannot_be_used_is_a_line(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.json").write_text("{}")
    result = run("mint", "--sub", "ada", env=environment)
    assert result.exit_code == 2
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
        f"{tmp_path}/first.json",
        f"{tmp_path}/second.json",
    ]


async def test_a_token_is_explained_with_keys_that_are_fetched() -> None:
    token = FIRST.sign(payload())
    async with issuing(FIRST) as made:
        single = {"PROXY_TOKEN_KEYS": made.url, "PROXY_TOKEN_ISSUER": ISSUER, "PROXY_TOKEN_AUDIENCE": AUDIENCE}
        said = single | {"PROXY_POLICIES": str(POLICIES)}
        result = await asyncio.to_thread(run, "explain", "--token", token, TODOS, env=said)
        assert result.exit_code == 0, result.stderr + result.stdout
        made.status = 404
        result = await asyncio.to_thread(run, "explain", "--token", token, TODOS, env=said)
        assert (result.exit_code, result.stderr) == (2, f"{made.url}: status 404\n")
