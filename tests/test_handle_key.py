"""The key that handles are bound with: where it comes from, and that it is one in all processes."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.auth.keys import new_keys
from proxy.runtime import server as serve
from proxy.runtime.configuration import handle_key_is_guessable, key_of_handles
from proxy.settings import Settings, SettingsFault, load
from proxy.telemetry.events import Lifecycle
from tests.harness.running import environment, running

OWN = "0123456789abcdef" * 2


@pytest.fixture
def given(tmp_path: Path):
    """Settings with these secrets."""
    keys = tmp_path / "keys.json"
    keys.write_text(str(new_keys()).replace("'", '"'))

    def settings(**variables: str) -> Settings:
        return load(environment("http://127.0.0.1:1", keys) | variables)

    return settings


def test_a_key_of_its_own_goes_before_electrics_secret(given):
    assert key_of_handles(given(PROXY_HANDLE_KEY=OWN)) == key_of_handles(
        given(PROXY_HANDLE_KEY=OWN, ELECTRIC_SECRET="x")
    )
    assert key_of_handles(given(PROXY_HANDLE_KEY=OWN)) != key_of_handles(given())


def test_either_is_made_into_a_key_of_this_one_purpose(given):
    for settings, secret in ((given(ELECTRIC_SECRET=OWN), OWN), (given(PROXY_HANDLE_KEY=OWN), OWN)):
        derived = HKDF(SHA256(), 32, None, b"shape-proxy handles v1").derive(secret.encode())
        assert key_of_handles(settings) == derived
        assert derived != secret.encode()


@pytest.mark.parametrize("other", [OWN + "x", OWN.upper(), "ü" * 32, "k" * 500])
def test_another_secret_is_another_key(given, other):
    assert key_of_handles(given(PROXY_HANDLE_KEY=other)) != key_of_handles(given(PROXY_HANDLE_KEY=OWN))


def test_without_either_nothing_is_served(given):
    settings = given(ELECTRIC_SECRET="")
    for starting in (key_of_handles, serve.load):
        with pytest.raises(SettingsFault, match="PROXY_HANDLE_KEY: is required where ELECTRIC_SECRET is empty"):
            starting(settings)


def test_a_process_that_starts_again_takes_its_handles(given):
    defined, raw = "&table=todos", "1-2"
    first, second = serve.load(given()).handles, serve.load(given()).handles
    assert second.verify(defined, first.sign(defined, raw)) == raw
    assert serve.load(given(PROXY_HANDLE_KEY=OWN)).handles.verify(defined, first.sign(defined, raw)) is None


@pytest.mark.parametrize(
    ("variables", "guessable"),
    [
        ({"ELECTRIC_SECRET": "x" * 31}, True),
        ({"ELECTRIC_SECRET": "x" * 32}, False),
        ({"ELECTRIC_SECRET": "x", "PROXY_HANDLE_KEY": OWN}, False),
    ],
)
def test_a_key_of_a_short_secret_can_be_guessed(given, variables, guessable):
    assert handle_key_is_guessable(given(**variables)) is guessable


@pytest.mark.parametrize(("key", "lines"), [("", 1), (OWN, 0)])
async def test_a_key_that_can_be_guessed_is_a_line_at_the_start(upstream, tmp_path, key, lines):
    async with running(upstream.url, tmp_path, PROXY_HANDLE_KEY=key, ELECTRIC_SECRET="s3cr3t") as proxy:
        said = [seen for seen in proxy.seen if isinstance(seen, Lifecycle) and seen.event == "handle_key_guessable"]
    assert len(said) == lines
    assert not any("s3cr3t" in seen.detail for seen in said)
