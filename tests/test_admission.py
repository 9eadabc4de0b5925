"""Admission over real sockets: what is judged before a body comes is judged again when it is there, and what is too
large by its own account is refused before anything is verified."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from proxy.auth.keys import new_keys
from proxy.gateway.open_requests import MOST_ARRIVING
from proxy.telemetry.events import PoliciesLoaded, RequestEnded
from tests.harness.raw import SECONDS, Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.harness.upstream import Upstream
from tests.relay.asking import BODY, TARGET, post

LIFETIME = 3


@asynccontextmanager
async def admitting(upstream: Upstream, folder: Path) -> AsyncIterator[Proxy]:
    (folder / "revoked").touch()
    said = {"PROXY_REVOCATIONS": str(folder / "revoked"), "PROXY_TOKEN_LEEWAY_SECONDS": "0"}
    async with running(upstream.url, folder, **said) as proxy:
        yield proxy


async def verified(proxy: Proxy) -> int:
    """How many tokens were verified, or found verified."""
    host, port = proxy.admin_url.removeprefix("http://").split(":")
    async with connected((host, int(port))) as raw:
        text = (await raw.ask(request("/metrics"))).body.decode()
    lines = [line for line in text.split("\n") if line.startswith("shape_proxy_token_checks_total")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


async def begun(proxy: Proxy, raw: Raw, seconds: int = 300) -> None:
    """Sends a POST but for the end of its body, and waits until its token has been verified."""
    await raw.say(
        request(
            TARGET,
            f"authorization: Bearer {proxy.token(seconds=seconds)}",
            "content-type: application/json",
            f"content-length: {len(BODY)}",
            method="POST",
            body=BODY[:-1],
        )
    )
    async with asyncio.timeout(SECONDS):
        while not await verified(proxy):  # noqa: ASYNC110 - a metric announces nothing
            await asyncio.sleep(0.01)


async def revoke(proxy: Proxy) -> None:
    path = proxy.settings.revocations
    assert path is not None
    path.write_text("sub acc-ada\n")
    async with asyncio.timeout(SECONDS), connected(proxy.address) as other:
        said = request(TARGET, f"authorization: Bearer {proxy.token()}")
        while (await other.ask(said)).status != 401:  # noqa: ASYNC110 - the file is looked at each second
            await asyncio.sleep(0.02)


async def remove_the_key(proxy: Proxy) -> None:
    def reloads() -> int:
        return sum(isinstance(seen, PoliciesLoaded) for seen in proxy.seen)

    before = reloads()
    proxy.settings.token_keys.write_text(json.dumps(new_keys()))
    proxy.hangup.set()
    await until(lambda: reloads() > before)


async def let_expire(_: Proxy) -> None:
    over = time.time() + LIFETIME
    await until(lambda: time.time() > over)


MEANWHILE: dict[str, tuple[Callable[[Proxy], Awaitable[None]], str]] = {
    "its token is revoked": (revoke, "token_revoked"),
    "its key is removed": (remove_the_key, "token_invalid"),
    "its token ends": (let_expire, "token_expired"),
}


@pytest.mark.parametrize(("happens", "code"), MEANWHILE.values(), ids=MEANWHILE)
async def test_a_body_that_ends_too_late_is_not_served(
    upstream: Upstream, tmp_path: Path, happens: Callable[[Proxy], Awaitable[None]], code: str
) -> None:
    async with admitting(upstream, tmp_path) as proxy, connected(proxy.address) as raw:
        await begun(proxy, raw, LIFETIME if happens is let_expire else 300)
        await happens(proxy)
        asked = len(upstream.asked)
        await raw.say(BODY[-1:])
        assert_refused(await raw.answer(), code)
        assert len(upstream.asked) == asked


async def test_a_body_that_comes_in_pieces_in_time_is_served(upstream: Upstream, tmp_path: Path) -> None:
    async with admitting(upstream, tmp_path) as proxy, connected(proxy.address) as raw:
        await begun(proxy, raw)
        await raw.say(BODY[-1:])
        assert (await raw.answer()).status == 200


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (request(f"{TARGET}&where={'x' * 25_000}"), "target_too_long"),
        (request(TARGET, "content-length: 1048577", method="POST"), "body_too_large"),
        (request(TARGET, f"content-length: {'9' * 18}", method="POST"), "body_too_large"),
    ],
    ids=["a query", "a body", "a body beyond measure"],
)
async def test_what_is_too_large_is_refused_before_its_token_is_looked_at(
    upstream: Upstream, tmp_path: Path, said: bytes, code: str
) -> None:
    async with admitting(upstream, tmp_path) as proxy, connected(proxy.address) as raw:
        assert_refused(await raw.ask(said), code)
        assert await verified(proxy) == 0


async def test_only_so_many_bodies_of_a_subject_arrive_at_a_time(upstream: Upstream, tmp_path: Path) -> None:
    async with admitting(upstream, tmp_path) as proxy, AsyncExitStack() as stack:
        arriving = [await stack.enter_async_context(connected(proxy.address)) for _ in range(MOST_ARRIVING)]
        for raw in arriving:
            await raw.say(post(proxy)[:-1])
        async with asyncio.timeout(SECONDS), connected(proxy.address) as more:
            while await verified(proxy) < MOST_ARRIVING:  # noqa: ASYNC110 - a metric announces nothing
                await asyncio.sleep(0.01)
            async with connected(proxy.address) as refused:
                assert_refused(await refused.ask(post(proxy)), "too_many_streams")
                assert await refused.is_closed()  # nobody reads the body
            assert (await more.ask(request(TARGET, f"authorization: Bearer {proxy.token()}"))).status == 200
            fields = ("content-type: application/json", f"content-length: {len(BODY)}")
            bob = f"authorization: Bearer {proxy.token('acc-bob')}"
            assert (await more.ask(request(TARGET, bob, *fields, method="POST", body=BODY))).status == 200
            await arriving[0].say(BODY[-1:])
            assert (await arriving[0].answer()).status == 200
            assert (await more.ask(post(proxy))).status == 200


async def test_a_body_of_a_mebibyte_is_served_and_one_byte_more_is_not(upstream: Upstream, tmp_path: Path) -> None:
    async with admitting(upstream, tmp_path) as proxy, connected(proxy.address) as raw:
        assert (await raw.ask(post(proxy, BODY.ljust(2**20)))).status == 200
        assert_refused(await raw.ask(post(proxy, BODY.ljust(2**20 + 1))), "body_too_large")


async def test_a_subject_that_is_no_unicode_is_refused_and_told_of(upstream: Upstream, tmp_path: Path) -> None:
    async with admitting(upstream, tmp_path) as proxy, connected(proxy.address) as raw:
        said = request(TARGET, f"authorization: Bearer {proxy.token('ada' + chr(0xD800))}")
        assert_refused(await raw.ask(said), "token_invalid")
        await until(lambda: [seen for seen in proxy.seen if isinstance(seen, RequestEnded)])
        assert [seen.code for seen in proxy.ended] == ["token_invalid"]
