"""Several workers: one port, one set of metrics, one health, one end. The command itself runs, with real signals."""

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.plain import plain
from tests.harness.processes import Running, serving
from tests.harness.raw import SECONDS, Answered, Raw, connected, request
from tests.harness.refusals import assert_refused
from tests.harness.running import POLICIES
from tests.harness.shared import ON_MODULE_LOOP, forget
from tests.harness.upstream import HEADERS, Upstream, scripted
from tests.relay.asking import LIVE, TARGET, Held

pytestmark = ON_MODULE_LOOP

CLIENTS = 24
"""Connections that the kernel spreads over two workers: that one gets none is not seen in 2^23 runs."""
ADMIN_TOKEN = "an admin token of 32 characters or more"
FORM = {"claims": '{"session_id": "s-ada"}', "url": "/v1/shape?table=chat_messages&offset=-1"}
WHOLE = {"policies_loaded": True, "electric_active": True, "not_draining": True}


@dataclass
class Fleet:
    """A running `serve` with two workers, and where it listens."""

    running: Running
    public: tuple[str, int]
    admin: str

    async def ask(self, path: str) -> httpx.Response:
        """The supervisor's answer."""
        async with plain(base_url=self.admin, timeout=10) as client:
            return await client.get(path)

    async def metric(self, name: str, **labels: str) -> float:
        """One sample of /metrics."""
        text = (await self.ask("/metrics")).text
        found = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"shape_proxy_{name}" and sample.labels == labels
        ]
        assert len(found) == 1, f"{name}{labels}: {found}"
        return found[0]

    async def until(self, asked: Callable[[], Awaitable[object]]) -> None:
        """Waits, bounded, until a question is answered with something true."""
        async with asyncio.timeout(SECONDS):
            while not await asked():  # noqa: ASYNC110 - another process announces nothing
                await asyncio.sleep(0.05)

    def get(self, target: str, subject: str = "acc-ada") -> bytes:
        """A GET with a token."""
        return request(target, f"authorization: Bearer {self.running.token(subject)}")

    def taken(self) -> list[int]:
        """How many clients each worker has."""
        return [
            sum(c.laddr.port == self.public[1] and c.status == "ESTABLISHED" for c in worker.net_connections("inet"))
            for worker in self.running.workers
        ]

    async def clients(self, stack: AsyncExitStack) -> list[Raw]:
        """Clients of which each worker has some."""
        raws = [await stack.enter_async_context(connected(self.public)) for _ in range(CLIENTS)]
        await self.running.until(lambda: sum(self.taken()) >= CLIENTS, "accepting")
        assert all(self.taken()), self.taken()
        return raws


@asynccontextmanager
async def fleet(folder: Path, upstream: Upstream, **variables: str) -> AsyncIterator[Fleet]:
    """`serve` with two workers, ready."""
    async with serving(folder, upstream.url, PROXY_WORKERS="2", **variables) as running:
        await running.until(lambda: len(running.said("process", what="serving")) == 2, "serving")
        host, port = running.said("process", what="serving")[0]["detail"].split(" ")[0].split(":")
        await running.until(lambda: len(running.ports()) == 1, "the supervisor")
        fleet = Fleet(running, (host, int(port)), f"http://127.0.0.1:{running.ports().pop()}")
        await fleet.until(lambda: _is_ready(fleet))
        yield fleet


async def _is_ready(fleet: Fleet) -> bool:
    return (await fleet.ask("/ready")).status_code == 200


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with scripted() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(POLICIES, tmp_path_factory.mktemp("policies") / "policies"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(upstream: Upstream, policies: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two workers for the tests that leave them running."""
    folder = tmp_path_factory.mktemp("two")
    said = {
        "PROXY_PROBE_FAILURES": "1",
        "PROXY_READY_REQUIRES_ELECTRIC": "true",
        "PROXY_POLICIES": str(policies),
        "PROXY_ADMIN_TOKEN": ADMIN_TOKEN,
        "PROXY_RELOAD_ON_CHANGE": "true",
    }
    async with fleet(folder, upstream, **said) as running:
        yield running


@pytest.fixture(autouse=True)
def forgotten(upstream: Upstream) -> None:
    forget(upstream)


# Two that are one.


async def test_each_worker_takes_the_handles_that_the_others_gave_out(shared: Fleet, upstream: Upstream) -> None:
    async with AsyncExitStack() as stack:
        raws = await shared.clients(stack)
        answers = await asyncio.gather(*(raw.ask(shared.get(TARGET)) for raw in raws))
        [handle] = {answer.head["electric-handle"] for answer in answers}
        upstream.asked.clear()
        fresh = [f"/v1/shape?table=chat_messages&offset=0_0&handle={handle}&cache-buster={n}" for n in range(CLIENTS)]
        await asyncio.gather(*(raw.ask(shared.get(target)) for raw, target in zip(raws, fresh, strict=True)))
    assert [asked.params["handle"] for asked in upstream.asked] == [HEADERS["electric-handle"]] * CLIENTS


async def test_both_workers_answer_on_one_port_and_their_counts_are_added_up(shared: Fleet) -> None:
    ok = {"policy": "chat_messages", "kind": "initial", "code": "ok"}
    before = await shared.metric("requests_total", **ok)
    async with AsyncExitStack() as stack:
        raws = await shared.clients(stack)
        answers = await asyncio.gather(*(raw.ask(shared.get(TARGET)) for raw in raws))
        assert [answer.status for answer in answers] == [200] * CLIENTS
    await shared.until(lambda: _is(shared, before + CLIENTS, "requests_total", **ok))
    buckets = await shared.metric("request_seconds_bucket", kind="initial", le="+Inf")
    assert buckets == await shared.metric("request_seconds_count", kind="initial") == before + CLIENTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ready", 1),
        ("policies", len(list(POLICIES.glob("*.toml")))),
        ("policies_rejected", 0),
        ("open_request_places_limit", 40_000),
        ("open_request_places", 0),
    ],
)
async def test_amounts_are_added_and_states_are_compared(shared: Fleet, name: str, value: float) -> None:
    assert await shared.metric(name) == value


async def test_ready_says_the_checks_of_each_worker(shared: Fleet) -> None:
    answer = await shared.ask("/ready")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert [worker["checks"] for worker in answer.json()["workers"]] == [WHOLE, WHOLE]


async def test_what_each_worker_finds_of_electric_makes_all_unready(shared: Fleet, upstream: Upstream) -> None:
    upstream.health = (500, b"")
    await shared.until(lambda: _unready(shared, "electric_active", 2))
    assert await shared.metric("ready") == 0
    upstream.health = (200, b'{"status":"active"}')
    await shared.until(lambda: _is_ready(shared))
    assert await shared.metric("ready") == 1


async def _unready(fleet: Fleet, check: str, count: int) -> bool:
    answer = await fleet.ask("/ready")
    return (
        answer.status_code == 503 and [w["checks"].get(check) for w in answer.json()["workers"]].count(False) == count
    )


async def test_one_worker_that_does_not_answer_makes_all_unready(shared: Fleet) -> None:
    worker = shared.running.workers[0]
    worker.send_signal(signal.SIGSTOP)
    try:
        answer = await shared.ask("/ready")
    finally:
        worker.send_signal(signal.SIGCONT)
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert sorted(len(one["checks"]) for one in answer.json()["workers"]) == [1, 3]
    assert {"ready": False, "checks": {"answering": False}} in answer.json()["workers"]
    await shared.until(lambda: _is_ready(shared))


async def test_workers_that_run_have_written_nothing(shared: Fleet) -> None:
    """A container's file system may be read-only, without a temporary folder."""
    assert shared.running.temporary == []
    opened = [file.path for process in _all(shared) for file in process.open_files()]
    assert {Path(path).parent for path in opened} <= {shared.running.folder}  # standard output and error
    connections = [one.laddr for process in _all(shared) for one in process.net_connections("unix")]
    assert not any(str(name).startswith("/") for name in connections)


def _all(fleet: Fleet) -> list[psutil.Process]:
    return [psutil.Process(fleet.running.process.pid), *fleet.running.workers]


async def test_live_says_that_all_workers_are_there(shared: Fleet) -> None:
    answer = await shared.ask("/live")
    assert (answer.status_code, answer.text) == (200, "live\n")


async def test_a_hangup_reaches_every_worker(shared: Fleet) -> None:
    running = shared.running
    loaded = len(running.said("policies_loaded"))
    running.process.send_signal(signal.SIGHUP)
    await running.until(lambda: len(running.said("policies_loaded")) == loaded + 2, "loaded")


async def test_a_file_that_changes_reaches_every_worker_without_a_signal(shared: Fleet, policies: Path) -> None:
    running = shared.running
    loaded, text = len(running.said("policies_loaded")), (policies / "todos.toml").read_text()
    put(policies / "todos.toml", "x = ")
    await running.until(lambda: len(running.said("policies_rejected")) == 2, "rejected")
    assert await shared.metric("policies_rejected") == 1
    put(policies / "todos.toml", text + "# changed\n")
    await running.until(lambda: len(running.said("policies_loaded")) == loaded + 2, "loaded")
    assert await shared.metric("policies_rejected") == 0
    assert len({line["digest"] for line in running.said("policies_loaded")[-2:]}) == 1
    assert running.said("policies_loaded")[-1]["digest"] != running.said("policies_loaded")[0]["digest"]


def put(file: Path, text: str) -> None:
    """Replaces a file at once: nobody reads half of it."""
    new = file.parents[1] / file.name
    new.write_text(text)
    new.replace(file)


async def test_a_worker_holds_no_socket_of_another(shared: Fleet) -> None:
    held = [
        [c for c in worker.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        for worker in shared.running.workers
    ]
    assert [[c.laddr.port for c in one] for one in held] == [[shared.public[1]]] * 2


# One end.


async def test_sigterm_drains_every_worker(upstream: Upstream, tmp_path: Path) -> None:
    held = Held(upstream)
    async with fleet(tmp_path, upstream, PROXY_DRAIN_SECONDS="4") as two, AsyncExitStack() as stack:
        raws = await two.clients(stack)
        for raw in raws:
            await raw.say(two.get(LIVE))
        await two.until(lambda: _is(two, CLIENTS, "open_request_places"))
        assert held.connections
        workers = two.running.workers
        assert two.running.temporary == []
        begun = time.monotonic()
        two.running.process.send_signal(signal.SIGTERM)
        await two.until(lambda: _unready(two, "not_draining", 2))
        answers: list[Answered] = await asyncio.gather(*(raw.answer() for raw in raws))
        took = time.monotonic() - begun
        for answer in answers:
            assert_refused(answer, "draining")  # their handles are none of ours
        assert took > 2  # spread over the time of the drain
        assert await two.running.exit() == 0
        assert not any(worker.is_running() for worker in workers)
        assert two.running.temporary == []
        assert two.running.err == ""
        assert len(two.running.said("process", what="stopped")) == 2


async def _is(fleet: Fleet, value: float, name: str, **labels: str) -> bool:
    return await fleet.metric(name, **labels) == value


async def test_a_worker_that_is_killed_ends_everything(upstream: Upstream, tmp_path: Path) -> None:
    async with fleet(tmp_path, upstream) as two:
        first, other = two.running.workers
        first.kill()
        assert await two.running.exit() == 1
        assert two.running.err == "worker 0 ended by itself (-9): the others were ended too\n"
        assert not other.is_running()
        assert two.running.temporary == []


async def test_a_supervisor_that_is_killed_leaves_no_worker(upstream: Upstream, tmp_path: Path) -> None:
    held = Held(upstream)
    async with fleet(tmp_path, upstream, PROXY_DRAIN_SECONDS="0.2") as two, connected(two.public) as raw:
        workers = two.running.workers
        await raw.say(two.get(LIVE))
        await two.until(lambda: _is(two, 1, "open_request_places"))
        assert held.connections
        two.running.process.kill()
        assert_refused(await raw.answer(), "draining")
        async with asyncio.timeout(30):
            while any(map(_runs, workers)):  # noqa: ASYNC110 - another process announces nothing
                await asyncio.sleep(0.05)
        assert len(two.running.said("process", what="supervisor_gone")) == 2
        assert len(two.running.said("process", what="stopped")) == 2
        assert two.running.err == ""


def _runs(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has waited for does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_a_signal_to_the_whole_group_is_an_end_as_any_other(upstream: Upstream, tmp_path: Path) -> None:
    async with fleet(tmp_path, upstream) as two:
        os.killpg(two.running.process.pid, signal.SIGINT)
        assert await two.running.exit() == 0
        assert two.running.err == ""
        assert two.running.temporary == []


@pytest.mark.parametrize("setting", ["PROXY_LISTEN", "PROXY_ADMIN_LISTEN"])
async def test_an_address_that_is_taken_is_one_line(upstream: Upstream, tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = {"PROXY_WORKERS": "2", setting: f"127.0.0.1:{port}"}
        async with serving(tmp_path, upstream.url, **variables) as running:
            assert await running.exit() == 2
            (line,) = running.err.splitlines()
            assert "Address already in use" in line
            assert str(port) in line
            assert running.out == ""
            assert running.temporary == []


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="there is no IPv6 here")
async def test_both_listeners_may_be_ipv6(upstream: Upstream, tmp_path: Path) -> None:
    variables = {"PROXY_LISTEN": "[::1]:0", "PROXY_ADMIN_LISTEN": "[::1]:0"}
    async with serving(tmp_path, upstream.url, PROXY_WORKERS="2", **variables) as running:
        await running.until(lambda: len(running.said("process", what="serving")) == 2, "serving")
        assert all(line["detail"].startswith("[::1]:") for line in running.said("process", what="serving"))
        running.process.terminate()
        assert await running.exit() == 0


async def test_the_console_shows_all_workers_as_one(shared: Fleet) -> None:
    assert (await shared.ask("/console/sections")).status_code == 401
    allowed = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(plain(base_url=shared.admin, headers=allowed))
        sections = (await client.get("/console/sections")).json()
        assert [worker["ready"] for worker in sections["status"]["workers"]] == [True, True]
        for raw in await shared.clients(stack):
            await raw.ask(shared.get("/v1/shape?table=secrets&offset=-1"))
        refusals = (await client.get("/console/sections")).json()["refusals"]
        assert [one["code"] for one in refusals[:CLIENTS]] == ["shape_forbidden"] * CLIENTS
        assert (await client.post("/console/explain", json=FORM)).json()["allowed"] is True
        assert (await client.post("/console/explain", json=FORM | {"claims": "{"})).status_code == 400
        assert "Explain a request" in (await client.get("/")).text
