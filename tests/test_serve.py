"""One process from its start to its end: what it says, the order in which it drains, and its signals."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn

from proxy.core.request import Kind
from proxy.runtime import server as serve
from proxy.runtime.descriptors import BACKLOG
from proxy.settings import Address, load
from proxy.telemetry.events import Lifecycle, Observation, PoliciesLoaded, ReadinessChanged, RequestEnded
from tests.harness.processes import SECONDS, Running, serving, serving_environment
from tests.harness.raw import Broken, Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.harness.shared import DIRECT
from tests.harness.upstream import Upstream
from tests.relay.asking import EVENT, LIVE, SSE, Held, get, half_a_body, one_event

IPV6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="there is no IPv6 here")


# Where it listens.

ADDRESSES = {
    "IPv4": (Address("127.0.0.1", 0), socket.AF_INET, "127.0.0.1"),
    "a name": (Address("localhost", 0), socket.AF_INET, "127.0.0.1"),
    "all of IPv4": (Address("0.0.0.0", 0), socket.AF_INET, "0.0.0.0"),  # noqa: S104
}
ADDRESSES_6 = {
    "IPv6": (Address("::1", 0), socket.AF_INET6, "::1"),
    "all of IPv6": (Address("::", 0), socket.AF_INET6, "::"),
}


def _check(address: Address, family: socket.AddressFamily, host: str) -> None:
    with serve.listening(address) as bound:
        assert (bound.family, bound.getsockname()[0]) == (family, host)
        assert bound.getsockname()[1] > 0
        assert not bound.getblocking()
        assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(("address", "family", "host"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_is_bound(address: Address, family: socket.AddressFamily, host: str) -> None:
    _check(address, family, host)


@IPV6
@pytest.mark.parametrize(("address", "family", "host"), ADDRESSES_6.values(), ids=ADDRESSES_6)
def test_an_address_of_ipv6_is_bound(address: Address, family: socket.AddressFamily, host: str) -> None:
    _check(address, family, host)


def test_an_address_is_bound_once() -> None:
    with serve.listening(Address("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        for shared in (False, True):
            with pytest.raises(OSError, match=f"Address already in use.*{port}"):
                serve.listening(Address("127.0.0.1", port), shared=shared)


def test_an_address_that_is_shared_is_bound_as_often_as_one_likes() -> None:
    with serve.listening(Address("127.0.0.1", 0), shared=True) as first:
        same = Address("127.0.0.1", first.getsockname()[1])
        with serve.listening(same, shared=True) as second:
            assert first.getsockname() == second.getsockname()
            assert second.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["PROXY_LISTEN", "PROXY_ADMIN_LISTEN"])
async def test_an_address_that_is_taken_is_one_line_that_names_the_setting(
    upstream: Upstream, tmp_path: Path, name: str, workers: str
) -> None:
    with serve.listening(Address("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with serving(tmp_path, upstream.url, **{name: address, "PROXY_WORKERS": workers}) as served:
            assert await served.exit() == 2
            assert served.err == f"{name}: cannot listen on {address}: Address already in use\n"


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how long a backlog is")
TCP_INFO_BACKLOG = struct.Struct("8x 5I I")
"""Of a listening socket, `tcpi_sacked` is the length of its backlog (Linux, tcp_get_info)."""


@LINUX
async def test_a_wave_of_connections_waits_in_the_kernel(upstream: Upstream, tmp_path: Path) -> None:
    settings, stop = load(serving_environment(tmp_path, upstream.url)), asyncio.Event()
    seen: list[Observation] = []
    sockets = public, _ = serve.listening(settings.listen), serve.listening(settings.admin_listen)
    task = asyncio.create_task(serve.serve(settings, serve.load(settings), sockets, stop, seen.append))
    await until(lambda: "serving" in lifecycle(seen))
    async with connected(public.getsockname()) as raw:  # once it answers, it listens
        assert (await raw.ask(request("/nowhere"))).status == 404
    said = public.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BACKLOG.size)
    allowed = int(await asyncio.to_thread(Path("/proc/sys/net/core/somaxconn").read_text))
    assert TCP_INFO_BACKLOG.unpack(said)[-1] == min(BACKLOG, allowed)
    stop.set()
    await task


async def test_at_the_limit_of_open_files_the_admin_listener_still_answers(upstream: Upstream, tmp_path: Path) -> None:
    async with (
        serving(tmp_path, upstream.url, files=256, PROXY_HEADER_SECONDS="600") as served,
        AsyncExitStack() as stack,
    ):
        host, port = (await where(served)).split(":")
        (admin,) = served.ports() - {int(port)}
        first = await stack.enter_async_context(connected((host, int(port))))
        others = await asyncio.gather(*(stack.enter_async_context(connected((host, int(port)))) for _ in range(499)))
        async with asyncio.timeout(SECONDS), httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin}") as client:
            while _refused((await client.get("/metrics")).text) < 200:  # noqa: ASYNC110 - a metric announces nothing
                await asyncio.sleep(0.05)
            assert "shape_proxy_connections_limit 96.0" in (await client.get("/metrics")).text
            assert (await client.get("/live")).status_code == 200
        token = f"authorization: Bearer {served.token()}"
        assert (await first.ask(request("/v1/shape?table=chat_messages&offset=-1", token))).status == 200
        answers = [asyncio.create_task(other.answer()) for other in others]
        answered, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert_refused(answered.pop().result(), "overloaded")
        for task in waiting:
            task.cancel()


def _refused(exposition: str) -> float:
    """How many connections were refused."""
    [line] = [line for line in exposition.splitlines() if line.startswith("shape_proxy_connections_refused_total ")]
    return float(line.rpartition(" ")[2])


async def test_more_connections_than_open_files_allow_are_no_setting(upstream: Upstream, tmp_path: Path) -> None:
    async with serving(tmp_path, upstream.url, files=256, PROXY_MAX_CONNECTIONS="200") as served:
        assert await served.exit() == 2
        assert served.err == "PROXY_MAX_CONNECTIONS: needs 264 open files or more; the limit (ulimit -n) is 256\n"


@IPV6
async def test_clients_of_ipv6_are_answered(upstream: Upstream, tmp_path: Path) -> None:
    async with serving(tmp_path, upstream.url, PROXY_LISTEN="[::1]:0") as served:
        host, port = (await where(served)).rsplit(":", 1)
        assert host == "[::1]"
        async with connected(("::1", int(port))) as raw:
            assert_refused(await raw.ask(request("/v1/shape?table=todos&offset=-1")), "token_missing")
        served.process.terminate()
        assert await served.exit() == 0


async def where(served: Running) -> str:
    """The public address that it says."""
    await served.until(lambda: served.said("process", what="serving"), "serving")
    return str(served.said("process", what="serving")[0]["detail"].split(" ")[0])


# What is observed, and in which order.


@pytest.fixture
async def ended(upstream: Upstream, tmp_path: Path) -> Proxy:
    """A proxy that has started and ended, with nothing open."""
    async with running(upstream.url, tmp_path) as proxy:
        pass
    return proxy


def lifecycle(seen: list[Observation]) -> list[str]:
    """Its events in order."""
    return [one.event for one in seen if isinstance(one, Lifecycle)]


async def test_a_life_is_serving_draining_stopped(ended: Proxy) -> None:
    assert lifecycle(ended.seen) == ["serving", "draining", "stopped"]
    assert isinstance(ended.seen[0], PoliciesLoaded)
    assert ended.seen[-1] == Lifecycle("stopped")
    assert Lifecycle("draining", "0 open") in ended.seen


async def test_it_says_where_it_listens(ended: Proxy) -> None:
    (serving,) = [one.detail for one in ended.seen if isinstance(one, Lifecycle) and one.event == "serving"]
    assert serving == f"{ended.url.removeprefix('http://')} admin {ended.admin_url.removeprefix('http://')}"


async def test_nobody_listens_any_more_when_it_has_stopped(ended: Proxy) -> None:
    for url in (ended.url, ended.admin_url):
        host, port = url.removeprefix("http://").split(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))


async def test_with_nothing_open_it_ends_at_once(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="3600") as proxy:
        proxy.stop.set()
        await until(lambda: lifecycle(proxy.seen)[-1] == "stopped")


async def draining(proxy: Proxy) -> None:
    """Begins to drain."""
    proxy.stop.set()
    await until(lambda: "draining" in lifecycle(proxy.seen))


async def stream(raw: Raw, proxy: Proxy) -> None:
    """Starts a stream and reads its first event."""
    await raw.say(get(proxy, SSE))
    assert (await raw.head()).status == 200
    assert await raw.piece() == EVENT


async def test_a_drain_ends_streams_cleanly_and_polls_with_nothing_new(upstream: Upstream, tmp_path: Path) -> None:
    async with (
        running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="1", PROXY_SHARE="off") as proxy,
        connected(proxy.address) as streaming,
        connected(proxy.address) as polling,
    ):
        Held(upstream, one_event)
        await stream(streaming, proxy)
        Held(upstream)
        await polling.say(get(proxy, LIVE))
        await upstream.wait_for(2)
        await draining(proxy)
        assert Lifecycle("draining", "2 open") in proxy.seen
        assert await streaming.piece() == b""
        assert (await polling.answer()).json[0]["headers"]["control"] == "up-to-date"
        await until(lambda: lifecycle(proxy.seen)[-1] == "stopped")
        kinds = {(str(one.kind), one.code) for one in proxy.seen if isinstance(one, RequestEnded)}
        assert kinds == {(str(Kind.sse), "draining"), (str(Kind.live), "draining")}


async def test_a_snapshot_that_takes_longer_is_refused_at_the_end_of_the_drain(
    upstream: Upstream, tmp_path: Path
) -> None:
    Held(upstream)
    async with (
        running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="0.5") as proxy,
        connected(proxy.address) as raw,
    ):
        await raw.say(get(proxy))
        await upstream.wait_for(1)
        begun = time.monotonic()
        await draining(proxy)
        assert_refused(await raw.answer(), "draining")
        assert time.monotonic() - begun >= 0.5
        await until(lambda: lifecycle(proxy.seen)[-1] == "stopped")


async def test_a_body_that_is_not_over_by_then_is_cut_and_never_made_whole(upstream: Upstream, tmp_path: Path) -> None:
    Held(upstream, half_a_body)
    async with (
        running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="0.3", **DIRECT) as proxy,
        connected(proxy.address) as raw,
    ):
        await raw.say(get(proxy))
        assert (await raw.head()).status == 200
        assert await raw.piece() == b"[1,"
        await draining(proxy)
        with pytest.raises(Broken):
            await raw.piece()
        await until(lambda: lifecycle(proxy.seen)[-1] == "stopped")


async def test_newcomers_are_refused_while_it_drains(upstream: Upstream, tmp_path: Path) -> None:
    held = Held(upstream)
    async with (
        running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="30") as proxy,
        connected(proxy.address) as old,
        connected(proxy.address) as kept,
        connected(proxy.address) as admin,
    ):
        await old.say(get(proxy))
        await upstream.wait_for(1)
        assert_refused(await kept.ask(request("/")), "not_found")
        await draining(proxy)
        asked = len(upstream.asked)
        async with connected(proxy.address) as new:
            assert_refused(await new.ask(get(proxy, LIVE)), "draining")
        assert_refused(await admin.ask(get(proxy, LIVE)), "draining")
        assert len(upstream.asked) == asked
        host, port = proxy.admin_url.removeprefix("http://").split(":")
        async with connected((host, int(port))) as private:
            ready = await private.ask(request("/ready"))
            assert (ready.status, ready.json["checks"]["not_draining"]) == (503, False)
            assert (await private.ask(request("/live"))).status == 200
        held.go.set()
        assert (await old.answer()).status == 200


async def test_an_electric_that_is_away_is_observed_once(upstream: Upstream, tmp_path: Path) -> None:
    said = {"PROXY_PROBE_FAILURES": "2", "PROXY_PROBE_SECONDS": "0.02", "PROXY_READY_REQUIRES_ELECTRIC": "true"}
    async with running(upstream.url, tmp_path, **said) as proxy:
        ready, away = ReadinessChanged(True, ""), ReadinessChanged(False, "electric_active")
        await until(lambda: ready in proxy.seen)
        upstream.health = (500, b"")
        await until(lambda: away in proxy.seen)
        upstream.health = (200, b'{"status":"active"}')
        await until(lambda: proxy.seen.count(ready) == 2)
        assert [one for one in proxy.seen if isinstance(one, ReadinessChanged)] == [ready, away, ready]


# The command, with real signals.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_drains_and_ends_with_exit_0(upstream: Upstream, tmp_path: Path, number: signal.Signals) -> None:
    Held(upstream)
    async with serving(tmp_path, upstream.url, PROXY_DRAIN_SECONDS="0.5") as served:
        host, port = (await where(served)).split(":")
        async with connected((host, int(port))) as raw:
            await raw.say(request(LIVE, f"authorization: Bearer {served.token()}"))
            await upstream.wait_for(1)
            served.process.send_signal(signal.SIGHUP)
            await served.until(lambda: len(served.said("policies_loaded")) == 2, "reloading")
            served.process.send_signal(number)
            assert_refused(await raw.answer(), "draining")
        assert await served.exit() == 0
        assert served.err == ""
        events = [line["what"] for line in served.said("process")]
        assert events == ["serving", "draining", "stopped"]
        assert served.said("request", code="draining", status=503)
        assert served.temporary == []


async def test_a_reader_of_the_log_that_is_gone_changes_nothing(upstream: Upstream, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    async with serving(tmp_path, upstream.url, stdout=writer) as served:
        os.close(writer)
        first = await asyncio.to_thread(os.read, reader, 65536)
        os.close(reader)
        assert b'"policies_loaded"' in first
        served.process.send_signal(signal.SIGHUP)
        await served.until(lambda: len(served.ports()) == 2, "listening")
        for port in served.ports():
            async with connected(("127.0.0.1", port)) as raw:
                assert (await raw.ask(request("/nowhere"))).status == 404
        served.process.terminate()
        assert await served.exit() == 0
        assert served.err == ""


async def test_the_private_listener_ends_with_every_connection_also_those_that_are_not_answered() -> None:
    asked = asyncio.Event()

    async def silent(_scope: object, _receive: object, _send: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    config = uvicorn.Config(silent, lifespan="off", log_config=None, timeout_graceful_shutdown=0)
    server, listening = serve.PrivateServer(config), serve.listening(Address("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listening]))
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asked.wait()
    server.stop()
    await running
    async with asyncio.timeout(SECONDS):
        with contextlib.suppress(ConnectionResetError):  # either is an end
            assert await reader.read() == b""
    writer.close()
