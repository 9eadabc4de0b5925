"""Keys that change under load, tokens by keys that are not known yet, and readiness, through the whole proxy."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy import settings
from proxy.gateway import exchange
from proxy.runtime import configuration
from proxy.telemetry.events import KeysLoaded, KeysNotFetched, ReloadRefused, RequestsJudged
from tests.harness.plain import plain
from tests.harness.raw import Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.harness.upstream import Asked, Connection, Upstream
from tests.relay.asking import BODY, EVENT, LIVE, SSE, TARGET, Held, one_event
from tests.tokens.issuing import AUDIENCE, ISSUER, Issuing, SigningKey, issuing, jwks, payload

OLD, NEW, THIRD = SigningKey("old"), SigningKey("new", "RS256"), SigningKey("third")
CLIENTS = 16


@pytest.fixture
async def issuer() -> AsyncIterator[Issuing]:
    """An issuer with one key."""
    async with issuing(OLD) as made:
        yield made


@pytest.fixture
async def proxy(upstream: Upstream, tmp_path: Path, issuer: Issuing) -> AsyncIterator[Proxy]:
    """A proxy that fetches that issuer's keys."""
    single = {"PROXY_TOKEN_KEYS": issuer.url, "PROXY_TOKEN_ISSUER": ISSUER, "PROXY_TOKEN_AUDIENCE": AUDIENCE}
    async with running(upstream.url, tmp_path, **single) as proxy:
        yield proxy


@pytest.fixture
async def raw(proxy: Proxy) -> AsyncIterator[Raw]:
    async with connected(proxy.address) as raw:
        yield raw


def get(key: SigningKey, **changes: Any) -> bytes:
    """A GET with a token of this key."""
    return request(TARGET, f"authorization: Bearer {key.sign(payload(**changes))}")


def post(key: SigningKey) -> bytes:
    """A POST of a subset with a token of this key."""
    token = f"authorization: Bearer {key.sign(payload())}"
    fields = (token, "content-type: application/json", f"content-length: {len(BODY)}")
    return request(TARGET, *fields, method="POST", body=BODY)


async def ready(proxy: Proxy) -> httpx.Response:
    """What /ready says."""
    async with plain() as client:
        return await client.get(f"{proxy.admin_url}/ready")


def known(proxy: Proxy) -> int:
    """How many keys verify tokens."""
    return [seen.usable for seen in proxy.seen if isinstance(seen, KeysLoaded)][-1]


async def test_a_rotation_under_load_loses_no_request(proxy: Proxy, issuer: Issuing) -> None:
    """The worst of issuers: it signs with the new key as soon as it is published, and drops the old one soon after."""
    signing, statuses, numbers = [OLD], [], itertools.count()
    over = asyncio.Event()

    async def client() -> None:
        async with connected(proxy.address) as raw:
            while not over.is_set():
                key = signing[0]
                answered = await raw.ask(get(key, jti=str(next(numbers))))  # a token of its own: none is cached
                statuses.append((key.kid, answered.status))

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    await until(lambda: len(statuses) > 10 * CLIENTS)
    issuer.publish(OLD, NEW)
    signing[0] = NEW
    await until(lambda: statuses.count(("new", 200)) > 10 * CLIENTS)
    issuer.publish(NEW)
    done = len(statuses)
    await until(lambda: len(statuses) > done + 10 * CLIENTS)
    over.set()
    await asyncio.gather(*clients)
    assert {status for _, status in statuses} == {200}
    assert issuer.fetches == 2


@pytest.mark.parametrize("ask", [get, post], ids=["GET", "POST"])
async def test_a_request_by_a_new_key_waits_for_the_fetch(proxy: Proxy, raw: Raw, issuer: Issuing, ask: Any) -> None:
    await until(lambda: known(proxy) == 1)
    go = asyncio.Event()

    async def held(connection: Connection, asked: Asked) -> None:
        await go.wait()
        await issuer.answer(connection, asked)

    issuer.then(held)
    issuer.publish(OLD, NEW)
    await raw.say(ask(NEW))
    await until(lambda: issuer.fetches == 2)
    async with connected(proxy.address) as other:
        assert (await other.ask(get(OLD))).status == 200  # a known key waits for nothing
    go.set()
    assert (await raw.answer()).status == 200


async def test_a_key_that_the_issuer_does_not_have_is_refused_then_and_at_once_from_then_on(
    proxy: Proxy, raw: Raw, issuer: Issuing
) -> None:
    for _ in range(3):
        assert_refused(await raw.ask(get(NEW)), "token_invalid")
    assert issuer.fetches == 2


async def test_a_token_that_is_no_good_otherwise_does_not_wait(proxy: Proxy, raw: Raw, issuer: Issuing) -> None:
    await until(lambda: known(proxy) == 1)
    issuer.then(issuer.silence)
    for changes in ({"aud": "x"}, {"iss": "x"}, {"exp": payload()["iat"] + 10**6}, {"sub": None}):
        assert_refused(await raw.ask(get(NEW, **changes)), "token_invalid")
    old = payload()["iat"] - 1000
    assert_refused(await raw.ask(get(NEW, iat=old, exp=old + 60)), "token_invalid")
    assert issuer.fetches == 1


async def test_while_the_issuer_is_away_a_new_key_is_no_fault_of_the_client(
    proxy: Proxy, raw: Raw, issuer: Issuing
) -> None:
    await until(lambda: known(proxy) == 1)
    issuer.status = 500
    assert_refused(await raw.ask(get(NEW)), "keys_unavailable")
    assert (await raw.ask(get(OLD))).status == 200
    await until(lambda: any(isinstance(seen, KeysNotFetched) for seen in proxy.seen))


async def test_a_request_that_waits_too_long_is_refused(
    proxy: Proxy, raw: Raw, issuer: Issuing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "KEY_SECONDS", 0.05)
    await until(lambda: known(proxy) == 1)
    issuer.then(issuer.silence)
    assert_refused(await raw.ask(get(NEW)), "keys_unavailable")
    assert (await raw.ask(get(OLD))).status == 200


async def test_a_client_that_goes_while_it_waits_is_forgotten(proxy: Proxy, issuer: Issuing) -> None:
    await until(lambda: known(proxy) == 1)
    issuer.then(issuer.silence)
    async with connected(proxy.address) as raw:
        await raw.say(get(NEW))
        await until(lambda: issuer.fetches == 2)
        raw.abort()
    await until(lambda: proxy.ended)
    assert [seen.code for seen in proxy.ended] == ["client_gone"]


async def test_only_so_many_bodies_wait(proxy: Proxy, issuer: Issuing) -> None:
    await until(lambda: known(proxy) == 1)
    issuer.then(issuer.silence)
    async with AsyncExitStack() as stack:
        for _ in range(16):
            raw = await stack.enter_async_context(connected(proxy.address))
            await raw.say(post(NEW))
        raw = await stack.enter_async_context(connected(proxy.address))
        await until(lambda: issuer.fetches == 2)
        assert_refused(await raw.ask(post(NEW)), "too_many_streams")


async def test_until_its_keys_are_there_it_is_not_ready(upstream: Upstream, tmp_path: Path) -> None:
    async with issuing(OLD) as issuer:
        go = asyncio.Event()

        async def held(connection: Connection, asked: Asked) -> None:
            await go.wait()
            await issuer.answer(connection, asked)

        issuer.then(held)
        single = {"PROXY_TOKEN_KEYS": issuer.url, "PROXY_TOKEN_ISSUER": ISSUER, "PROXY_TOKEN_AUDIENCE": AUDIENCE}
        async with running(upstream.url, tmp_path, **single) as proxy, connected(proxy.address) as raw:
            answered = await ready(proxy)
            assert answered.status_code == 503
            assert answered.json()["checks"]["keys_known"] is False
            assert answered.json()["why"] == {"keys_known": f"the keys of {ISSUER} are not known"}
            assert answered.json()["keys"][ISSUER]["fault"] == "not fetched yet"
            await raw.say(get(OLD))  # whoever asks all the same waits
            go.set()
            assert (await raw.answer()).status == 200
            answered = await ready(proxy)
            assert answered.status_code == 200
            assert answered.json()["keys"][ISSUER]["usable"] == 1


async def test_without_addresses_readiness_says_nothing_of_keys(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream.url, tmp_path) as proxy:
        report = (await ready(proxy)).json()
        assert "keys_known" not in report["checks"]
        assert report["keys"] == {}


# --- files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the issuers and their keys are."""
    (made := tmp_path / "issuers").mkdir()
    return made


def issuers_file(folder: Path, **keys: str) -> Path:
    """A file with an issuer for each name."""
    entries = (
        f'[[issuer]]\nissuer = "https://{name}"\nkeys = "{source}"\naudience = "{AUDIENCE}"\n'
        for name, source in keys.items()
    )
    (folder / "issuers.toml").write_text("\n".join(entries))
    return folder / "issuers.toml"


WITHOUT_ONE = {"PROXY_TOKEN_KEYS": "", "PROXY_TOKEN_ISSUER": "", "PROXY_TOKEN_AUDIENCE": ""}


@pytest.fixture
async def several(upstream: Upstream, tmp_path: Path, folder: Path, issuer: Issuing) -> AsyncIterator[Proxy]:
    """A proxy with two issuers: one has a file, the other an address."""
    (folder / "keys.json").write_bytes(jwks(NEW.member()))
    file = issuers_file(folder, a="keys.json", b=issuer.url)
    async with running(upstream.url, tmp_path, PROXY_ISSUERS=str(file), **WITHOUT_ONE) as proxy:
        yield proxy


async def status(proxy: Proxy, key: SigningKey, name: str) -> int:
    """How a token of this issuer is answered."""
    async with connected(proxy.address) as raw:
        return (await raw.ask(get(key, iss=f"https://{name}"))).status


async def test_several_issuers_are_believed_each_by_its_own_keys(several: Proxy) -> None:
    assert await status(several, NEW, "a") == 200
    assert await status(several, OLD, "b") == 200
    assert await status(several, OLD, "a") == 401
    assert await status(several, NEW, "b") == 401
    assert await status(several, NEW, "c") == 401


async def test_a_reload_takes_other_issuers_and_keeps_the_keys_that_it_has(
    several: Proxy, folder: Path, issuer: Issuing
) -> None:
    await until(lambda: known(several) == 2)
    async with issuing(NEW) as third:
        issuers_file(folder, b=issuer.url, c=third.url)
        several.hangup.set()
        await until(lambda: third.fetches)
        assert await status(several, NEW, "c") == 200
        assert await status(several, OLD, "b") == 200
        assert await status(several, NEW, "a") == 401
        assert issuer.fetches == 1


async def test_a_bad_file_of_issuers_leaves_the_old_ones_in_force(several: Proxy, folder: Path) -> None:
    (folder / "issuers.toml").write_text("[[issuer]]\n")
    several.hangup.set()
    await until(lambda: any(isinstance(seen, ReloadRefused) for seen in several.seen))
    told = [seen for seen in several.seen if isinstance(seen, ReloadRefused)]
    assert len(told) == 2
    assert await status(several, NEW, "a") == 200


async def test_a_file_that_the_issuers_name_only_now_is_watched_from_then_on(
    upstream: Upstream, tmp_path: Path, folder: Path
) -> None:
    (folder / "keys.json").write_bytes(jwks(OLD.member()))
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "keys.json").write_bytes(jwks(OLD.member()))
    said = {"PROXY_ISSUERS": str(issuers_file(folder, a="keys.json")), "PROXY_RELOAD_ON_CHANGE": "true"}
    async with running(upstream.url, tmp_path, **said, **WITHOUT_ONE) as proxy:
        issuers_file(folder, a="keys.json", b=f"{elsewhere}/keys.json")
        await until(lambda: known(proxy) == 2)
        (elsewhere / "keys.json").write_bytes(jwks(OLD.member(), NEW.member()))
        await until(lambda: known(proxy) == 3)


async def test_a_bad_file_of_issuers_that_is_mended_is_read_without_a_signal(
    upstream: Upstream, tmp_path: Path, folder: Path
) -> None:
    (folder / "keys.json").write_bytes(jwks(OLD.member()))
    said = {"PROXY_ISSUERS": str(issuers_file(folder, a="keys.json")), "PROXY_RELOAD_ON_CHANGE": "true"}
    async with running(upstream.url, tmp_path, **said, **WITHOUT_ONE) as proxy:
        (folder / "issuers.toml").write_text("[[issuer]]\n")
        await until(lambda: any(isinstance(seen, ReloadRefused) for seen in proxy.seen))
        before = (await ready(proxy)).json()["reload_faults"]
        issuers_file(folder, a="keys.json")
        await until(lambda: sum(isinstance(seen, KeysLoaded) for seen in proxy.seen) == 2)
        assert len(before) == 2
        assert (await ready(proxy)).json()["reload_faults"] == []


def test_the_files_that_are_to_be_watched_are_named(tmp_path: Path, folder: Path) -> None:
    (folder / "keys.json").write_bytes(jwks(NEW.member()))
    file = issuers_file(folder, a="keys.json", b="https://id.example/jwks")
    said = settings.load({"PROXY_ISSUERS": str(file)})
    assert configuration.rule_files(said) == (said.policies, file, folder / "keys.json")
    file.write_text("[[issuer]]")
    assert configuration.rule_files(said) == (said.policies, file)
    single = {"PROXY_TOKEN_ISSUER": "i", "PROXY_TOKEN_AUDIENCE": "a", "PROXY_TOKEN_KEYS": str(folder / "keys.json")}
    assert configuration.rule_files(settings.load(single)) == (said.policies, folder / "keys.json")


async def test_a_key_that_is_withdrawn_ends_its_tokens_though_their_requests_are_known(
    proxy: Proxy, raw: Raw, issuer: Issuing
) -> None:
    known_request = get(OLD)
    for _ in range(3):  # by then the caller is found by the bytes of its request
        assert (await raw.ask(known_request)).status == 200
    issuer.publish(NEW)
    assert (await raw.ask(get(NEW))).status == 200  # which is why the keys are fetched
    assert_refused(await raw.ask(known_request), "token_invalid")


async def test_two_tokens_that_differ_in_their_shape_alone_share_no_decision(
    proxy: Proxy, raw: Raw, upstream: Upstream
) -> None:
    def shaped(mode: str | None) -> bytes:
        claim = {"table": "chat_messages", "where": "mode = $1", "params": [mode]}
        return get(OLD, shape=claim if mode else None)

    for mode in ("a", "b", None, "a"):
        assert (await raw.ask(shaped(mode))).status == 200
    sent = [[value for name, value in asked.query if name.startswith("params[")] for asked in upstream.asked]
    assert sent[:3] == [["s-ada", "a"], ["s-ada", "b"], ["s-ada"]]
    assert_refused(await raw.ask(get(OLD, shapes=["todos"])), "shape_forbidden")
    assert (await raw.ask(get(OLD, shapes=["chat_messages"]))).status == 200


@asynccontextmanager
async def published(upstream: Upstream, folder: Path, *keys: SigningKey) -> AsyncIterator[tuple[Issuing, Proxy]]:
    """An issuer with these keys, and a proxy that has fetched them."""
    async with issuing(*keys) as issuer:
        single = {"PROXY_TOKEN_KEYS": issuer.url, "PROXY_TOKEN_ISSUER": ISSUER, "PROXY_TOKEN_AUDIENCE": AUDIENCE}
        async with running(upstream.url, folder, **single) as proxy:
            await until(lambda: known(proxy) == len(keys))
            yield issuer, proxy


async def fetch_again(proxy: Proxy, issuer: Issuing) -> None:
    """Makes the proxy fetch the keys: somebody asks by one that it does not know."""
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(THIRD)), "token_invalid")
    assert issuer.fetches == 2


def held_open(proxy: Proxy, key: SigningKey, target: str = LIVE) -> bytes:
    """A request that stays open, with a token of this key."""
    return request(proxy.bound(target), f"authorization: Bearer {key.sign(payload())}")


def seen(proxy: Proxy, kind: type) -> list[object]:
    """What was observed of this kind."""
    return [each for each in proxy.seen if isinstance(each, kind)]


@pytest.mark.parametrize("target", [LIVE, SSE], ids=["poll", "stream"])
async def test_what_is_open_by_a_withdrawn_key_ends_with_the_next_fetch_and_others_go_on(
    upstream: Upstream, tmp_path: Path, target: str
) -> None:
    held = Held(upstream, one_event if target is SSE else None)
    async with (
        published(upstream, tmp_path, OLD, NEW) as (issuer, proxy),
        connected(proxy.address) as one,
        connected(proxy.address) as other,
    ):
        await one.say(held_open(proxy, OLD, target))
        await other.say(held_open(proxy, NEW, target))
        await until(lambda: len(proxy.opened) == 2 and held.connections)
        if target is SSE:
            for raw in (one, other):
                assert (await raw.head()).status == 200
                assert await raw.piece() == EVENT
        issuer.publish(NEW)
        await fetch_again(proxy, issuer)
        if target is SSE:
            assert await one.piece() == b""
        else:
            assert_refused(await one.answer(), "token_invalid")
        assert seen(proxy, RequestsJudged) == [RequestsJudged(1, 0, 1)]
        if target is LIVE:
            held.go.set()
            assert (await other.answer()).status == 200
        else:
            await held.connections[0].chunk(EVENT)
            assert await other.piece() == EVENT


SETS: dict[str, tuple[tuple[SigningKey, ...], tuple[SigningKey, ...], int]] = {
    "the same": ((OLD,), (OLD,), 0),
    "in another order": ((OLD, NEW), (NEW, OLD), 0),
    "one more": ((OLD,), (OLD, NEW), 1),
    "without one that nobody used": ((OLD, NEW), (OLD,), 1),
}


@pytest.mark.parametrize(("before", "after", "loads"), SETS.values(), ids=SETS)
async def test_a_fetch_ends_nothing_whose_key_is_still_there_and_judges_only_if_one_is_withdrawn(
    upstream: Upstream, tmp_path: Path, before: tuple[SigningKey, ...], after: tuple[SigningKey, ...], loads: int
) -> None:
    held = Held(upstream)
    async with published(upstream, tmp_path, *before) as (issuer, proxy), connected(proxy.address) as raw:
        await raw.say(held_open(proxy, OLD))
        await until(lambda: held.connections)
        loaded = len(seen(proxy, KeysLoaded))
        issuer.publish(*after)
        await fetch_again(proxy, issuer)
        assert len(seen(proxy, KeysLoaded)) == loaded + loads
        withdrawn = len(after) < len(before)
        assert seen(proxy, RequestsJudged) == [RequestsJudged(1, 0, 0)] * withdrawn
        held.go.set()
        assert (await raw.answer()).status == 200
