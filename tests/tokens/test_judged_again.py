"""An issuer whose settings change while requests are open by its tokens: each is judged again by all of them."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.telemetry.events import RequestsJudged
from tests.harness.raw import Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.harness.upstream import Upstream
from tests.relay.asking import EVENT, LIVE, SSE, Held, one_event
from tests.tokens.issuing import AUDIENCE, ISSUER, SigningKey, jwks, payload

SIGNING, OTHER = SigningKey("one"), SigningKey("other", "RS256")
BEFORE = {"audience": f'"{AUDIENCE}"', "leeway_seconds": "60"}
WITHOUT_ONE = {"PROXY_TOKEN_KEYS": "", "PROXY_TOKEN_ISSUER": "", "PROXY_TOKEN_AUDIENCE": ""}

CHANGES: dict[str, tuple[dict[str, str], str]] = {
    "another typ": ({"typ": '"at+jwt"'}, "token_invalid"),
    "another audience": ({"audience": '"https://other.example"'}, "token_invalid"),
    "no audience any more": ({"audience": "", "authorized_party": '"app"'}, "token_invalid"),
    "another authorized party": ({"authorized_party": '"other"'}, "token_invalid"),
    "a claim that is required": ({"require": '{ scope = "write" }'}, "token_invalid"),
    "a shorter life": ({"max_seconds": "299"}, "token_invalid"),
    "another algorithm": ({"algorithms": '"RS256"'}, "token_invalid"),
    "another issuer": ({"issuer": '"https://other.example"'}, "token_invalid"),
    "more than before": (
        {
            "typ": '["JWT", "at+jwt"]',
            "audience": f'["https://other.example", "{AUDIENCE}"]',
            "authorized_party": '"app"',
            "require": '{ scope = "read" }',
            "max_seconds": "300",
            "algorithms": '"ES256"',
            "leeway_seconds": "0",
        },
        "",
    ),
}


def write_issuer(folder: Path, changes: dict[str, str]) -> Path:
    """The file of the one issuer; a setting that is empty is left out."""
    said = {"issuer": f'"{ISSUER}"', "keys": '"issuer-keys.json"'} | BEFORE | changes
    file = folder / "issuers.toml"
    file.write_text("[[issuer]]\n" + "".join(f"{name} = {value}\n" for name, value in said.items() if value))
    return file


@pytest.fixture
async def proxy(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Proxy]:
    (tmp_path / "issuer-keys.json").write_bytes(jwks(SIGNING.member(), OTHER.member()))
    said = {"PROXY_ISSUERS": str(write_issuer(tmp_path, {})), "PROXY_ROW_CHECK": "off"}
    async with running(upstream.url, tmp_path, **said, **WITHOUT_ONE) as proxy:
        yield proxy


@pytest.fixture
async def raw(proxy: Proxy) -> AsyncIterator[Raw]:
    async with connected(proxy.address) as raw:
        yield raw


@pytest.fixture(params=[LIVE, SSE], ids=["poll", "stream"])
def target(request: pytest.FixtureRequest) -> str:
    """What is open."""
    return str(request.param)


async def opened(proxy: Proxy, raw: Raw, upstream: Upstream, target: str, **claims: object) -> Held:
    """Opens it by a token of the issuer."""
    held = Held(upstream, one_event if target is SSE else None)
    token = SIGNING.sign(payload(azp="app", scope="read", **claims))
    await raw.say(request(proxy.bound(target), f"authorization: Bearer {token}"))
    await until(lambda: held.connections)
    if target is SSE:
        assert (await raw.head()).status == 200
        assert await raw.piece() == EVENT
    return held


async def ends(raw: Raw, target: str, code: str) -> None:
    """A poll ends by a refusal, a stream behind its last event."""
    if target is SSE:
        assert await raw.piece() == b""
    else:
        assert_refused(await raw.answer(), code)


def judged(proxy: Proxy) -> list[RequestsJudged]:
    """What became of open requests."""
    return [seen for seen in proxy.seen if isinstance(seen, RequestsJudged)]


@pytest.mark.parametrize(("changes", "code"), CHANGES.values(), ids=CHANGES)
async def test_what_is_open_ends_if_its_token_is_not_accepted_any_more(
    proxy: Proxy, raw: Raw, upstream: Upstream, tmp_path: Path, target: str, changes: dict[str, str], code: str
) -> None:
    held = await opened(proxy, raw, upstream, target)
    write_issuer(tmp_path, changes)
    proxy.hangup.set()
    if code:
        await ends(raw, target, code)
        assert judged(proxy) == [RequestsJudged(0, 0, 1)]
        assert [seen.code for seen in proxy.ended] == [code]
    else:
        await until(lambda: judged(proxy) == [RequestsJudged(1, 0, 0)])
        held.go.set()
        assert target is SSE or (await raw.answer()).status == 200


async def test_what_is_open_by_a_token_that_only_the_leeway_kept_ends_with_the_leeway(
    proxy: Proxy, raw: Raw, upstream: Upstream, tmp_path: Path, target: str
) -> None:
    await opened(proxy, raw, upstream, target, exp=time.time() - 1, iat=time.time() - 100)
    write_issuer(tmp_path, {"leeway_seconds": "0"})
    proxy.hangup.set()
    await ends(raw, target, "token_expired")
    assert judged(proxy) == [RequestsJudged(0, 0, 1)]


async def test_what_goes_on_ends_when_its_token_does_by_the_new_leeway(
    proxy: Proxy, raw: Raw, upstream: Upstream, tmp_path: Path, target: str
) -> None:
    await opened(proxy, raw, upstream, target, exp=time.time() + 2, iat=time.time() - 100)
    write_issuer(tmp_path, {"leeway_seconds": "0"})
    proxy.hangup.set()
    await ends(raw, target, "token_expired")  # by the old one it would last another minute
