"""`shape-proxy demo`: every line that it prints does what stands above it, and nothing is left of it afterwards."""

import asyncio
import json
import os
import re
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest
import pytest_asyncio

from proxy.runtime import server as serve
from proxy.sandbox import EmbeddedPostgres, StandIn, StandInSettings
from proxy.settings import Address
from tests.harness.processes import SECONDS, Running, command
from tests.harness.raw import until

LISTEN = {"PROXY_LISTEN": "127.0.0.1:0", "PROXY_ADMIN_LISTEN": "127.0.0.1:0"}
STREAM_SECONDS = 4
"""A message is written every two seconds."""


@dataclass
class Demo:
    """One run from its first line to its last, and what is left of it."""

    printed: str = ""
    answers: list[str] = field(default_factory=list)
    exit_code: int = -1
    err: str = ""
    temporary: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    folders_left: list[str] = field(default_factory=list)
    postgres_ran: bool = False

    @property
    def ada(self) -> str:
        return self.answers[0]

    @property
    def bob(self) -> str:
        return self.answers[1]

    @property
    def poll(self) -> str:
        return self.answers[2]

    @property
    def stream(self) -> str:
        return self.answers[3]

    @property
    def refusals(self) -> list[str]:
        return self.answers[4:8]

    @property
    def ready(self) -> str:
        return self.answers[8]

    @property
    def metrics(self) -> str:
        return self.answers[9]


async def tried(printed: str) -> list[str]:
    """What each printed line answers, all of them in one shell, in order."""
    lines = [line.strip() for line in printed.split("\n") if line.startswith("  ")]
    script = []
    for line in lines:
        stream = line.startswith("curl -sN")
        script.append(f"timeout {STREAM_SECONDS} {line}" if stream else line)
        script += ["printf '\\0'"] if line.startswith("curl") else []
    shell = await asyncio.create_subprocess_exec(
        "bash", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        out, err = await shell.communicate("\n".join(script).encode())
    assert err == b""
    return out.decode().split("\0")[:-1]


def of(running: Running) -> list[psutil.Process]:
    """The processes of a run: its children, and the server that its PostgreSQL is, which has left the family."""
    children = psutil.Process(running.process.pid).children(recursive=True)
    folders = folders_of(children)
    others = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(folder in argument for folder in folders for argument in process.info["cmdline"] or [])
    ]
    return list({process.pid: process for process in [*children, *others]}.values())


def folders_of(processes: list[psutil.Process]) -> set[str]:
    """The folders of embedded servers, as their guards name them."""
    return {line[-1] for process in processes if (line := process.cmdline()) and "sandbox-pg-" in line[-1]}


def runs(process: psutil.Process) -> bool:
    """Whether a process is there; one that has ended and that its new parent has not noticed is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def ran(folder: Path, **variables: str) -> Demo:
    """Runs a demo, tries its lines, ends it by Ctrl-C."""
    demo = Demo()
    async with command("demo", "--lines", "--port", "0", folder=folder, environment=LISTEN | variables) as running:
        await running.until(lambda: running.out.startswith("shape-proxy demo: starting …\n"), "the first line")
        await running.until(lambda: "The log follows.\n" in running.out, "the instructions")
        demo.printed = running.out.partition("The log follows.")[0]
        demo.answers = await tried(demo.printed)
        processes = of(running)
        folders = folders_of(processes)
        demo.postgres_ran = any("postgres" in process.name() for process in processes)
        running.process.send_signal(signal.SIGINT)
        demo.exit_code = await running.exit()
        demo.err = running.err
        demo.temporary = running.temporary
        demo.left = [str(process) for process in processes if runs(process)]
        demo.folders_left = [name for name in folders if await asyncio.to_thread(os.path.exists, name)]
        return demo


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def demos(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Demo]:
    """Two finished runs, side by side: with everything embedded, and in front of an Electric that is there already."""
    async with AsyncExitStack() as stack:
        dsn = await asyncio.to_thread(postgres.create_database)
        stack.callback(postgres.drop_database, dsn)
        # A secret with signs that a URL or a shell would take for its own.
        electric = await stack.enter_async_context(StandIn(dsn, StandInSettings(secret="s3&c=r t'")))
        there = {"ELECTRIC_HTTP_URL": electric.url, "ELECTRIC_SECRET": "s3&c=r t'", "DATABASE_URL": dsn}
        runs = [ran(tmp_path_factory.mktemp("demo"), **variables) for variables in ({}, there)]
        return dict(zip(WAYS, await asyncio.gather(*runs), strict=True))


WAYS = ("by itself", "in front of Electric")


@pytest.fixture(scope="module", params=WAYS)
def demo(request: pytest.FixtureRequest, demos: dict[str, Demo]) -> Demo:
    """One of the two runs."""
    return demos[request.param]


def rows(answer: str) -> list[dict[str, str]]:
    """The rows of a shape's answer."""
    return [message["value"] for message in json.loads(answer) if "value" in message]


def test_the_first_line_comes_before_anything_else(demo: Demo) -> None:
    first, *others = demo.printed.splitlines()
    assert first == "shape-proxy demo: starting …"
    assert not any(line.startswith("{") for line in others)
    assert not re.search(r"\{(title|public|private|ada|bob)\}", demo.printed)


def test_the_instructions_say_what_it_stands_in_front_of(demo: Demo) -> None:
    said = "a stand-in for Electric over an embedded PostgreSQL" if demo.postgres_ran else "Electric at http://"
    assert re.search(r"\nOpen http://127\.0\.0\.1:[0-9]+\n", demo.printed)
    assert f"\nIn front of {said}" in demo.printed


def test_every_printed_line_was_tried(demo: Demo) -> None:
    assert len(demo.answers) == 10


def test_ada_reads_the_rows_of_her_session_only(demo: Demo) -> None:
    assert {row["session_id"] for row in rows(demo.ada)} == {"s-ada"}


def test_bob_reads_the_rows_of_his_session_only(demo: Demo) -> None:
    assert {row["session_id"] for row in rows(demo.bob)} == {"s-bob"}


def test_a_long_poll_returns_with_the_next_message(demo: Demo) -> None:
    (row, *_) = rows(demo.poll)
    assert row["session_id"] == "s-ada"
    assert row["body"].startswith("it is ")
    assert '"control":"up-to-date"' in demo.poll


def test_a_stream_brings_messages_as_events(demo: Demo) -> None:
    events = [event for event in demo.stream.split("\n\n") if event.startswith("data: ")]
    assert any('"it is ' in event for event in events)
    assert all(isinstance(json.loads(event.removeprefix("data: ")), dict | list) for event in events)


REFUSALS = [
    (401, "token_missing"),
    (403, "predicate_mismatch"),
    (403, "column_forbidden"),
    (403, "shape_forbidden"),
]


@pytest.mark.parametrize("number", range(4), ids=[code for _, code in REFUSALS])
def test_what_must_not_be_had_is_refused(demo: Demo, number: int) -> None:
    head, _, body = demo.refusals[number].partition("\r\n\r\n")
    status, code = REFUSALS[number]
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert json.loads(body)["code"] == code


def test_it_says_that_it_is_ready(demo: Demo) -> None:
    assert json.loads(demo.ready)["ready"] is True


def test_its_metrics_have_counted_what_was_tried(demo: Demo) -> None:
    assert 'shape_proxy_requests_total{code="token_missing",kind="none",policy="none"} 1.0' in demo.metrics
    assert "shape_proxy_ready 1.0" in demo.metrics


def test_ctrl_c_ends_it_quietly(demo: Demo) -> None:
    assert (demo.exit_code, demo.err) == (0, "")


def test_nothing_is_left_of_it(demo: Demo) -> None:
    assert demo.left == []
    assert demo.folders_left == []
    assert demo.temporary == []


REAL = {"ELECTRIC_HTTP_URL": "http://127.0.0.1:1", "DATABASE_URL": "postgresql://127.0.0.1:1/none"}
NO_ELECTRIC = "ELECTRIC_HTTP_URL: Electric cannot be reached at http://127.0.0.1:1 (ConnectError)"
NO_DATABASE = "DATABASE_URL: the demo cannot make the app's tables there (OperationalError)"
FAULTS: dict[str, tuple[dict[str, str], list[str]]] = {
    "no database behind Electric": (
        REAL | {"DATABASE_URL": ""},
        ["DATABASE_URL: the demo in front of a real Electric writes rows to it"],
    ),
    "neither is there": (REAL, [NO_ELECTRIC, NO_DATABASE]),
    "a port that there is not": (
        REAL | {"ELECTRIC_HTTP_URL": "http://electric:99999"},
        ["ELECTRIC_HTTP_URL: the port must be between 1 and 65535, such as http://electric:3000"],
    ),
    "several settings": (
        {"ELECTRIC_HTTP_URL": "electric", "PROXY_X": "1", "PROXY_WORKERS": "0"},
        [
            "DATABASE_URL: the demo in front of a real Electric writes rows to it",
            "PROXY_X: there is no such setting; .env.example lists them all",
            "ELECTRIC_HTTP_URL: must be an http(s) address without a query, such as http://electric:3000",
            "PROXY_WORKERS: Input should be greater than or equal to 1",
        ],
    ),
    "an address of another machine": (
        {"PROXY_LISTEN": "192.0.2.1:1"},
        ["PROXY_LISTEN: cannot listen on 192.0.2.1:1: Cannot assign requested address"],
    ),
    "no policies": ({"PROXY_POLICIES": "/none"}, ["/none: there are no policies here"]),
}


@pytest.mark.parametrize(("variables", "lines"), FAULTS.values(), ids=FAULTS)
async def test_whatever_is_wrong_is_a_line(tmp_path: Path, variables: dict[str, str], lines: list[str]) -> None:
    async with command("demo", "--port", "0", folder=tmp_path, environment=LISTEN | variables) as running:
        assert await running.exit() == 2
        assert running.err.splitlines() == lines
        assert running.temporary == []


async def test_a_database_that_goes_away_ends_it_with_a_line(tmp_path: Path, postgres: EmbeddedPostgres) -> None:
    dsn = await asyncio.to_thread(postgres.create_database)
    async with StandIn(dsn, StandInSettings()) as electric:
        said = LISTEN | {"ELECTRIC_HTTP_URL": electric.url, "DATABASE_URL": dsn}
        async with command("demo", "--port", "0", folder=tmp_path, environment=said) as running:
            await running.until(lambda: "Ports: " in running.out, "the address")
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute("DROP TABLE chat_messages")
            assert await running.exit() == 2
            assert running.err == ("PostgreSQL: UndefinedTable: the demo writes a message every 2 s and could not\n")
    await asyncio.to_thread(postgres.drop_database, dsn)


async def test_a_port_that_is_taken_is_told_with_the_one_that_is_used(tmp_path: Path) -> None:
    with serve.listening(Address("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = LISTEN | {"PROXY_LISTEN": f"127.0.0.1:{port}"}
        async with command("demo", "--port", "0", folder=tmp_path, environment=said) as running:
            await running.until(lambda: "Ports: " in running.out, "the address")
            (told,) = [line for line in running.out.splitlines() if line.startswith("PROXY_LISTEN")]
            found = re.fullmatch(rf"PROXY_LISTEN: port {port} is taken by another program; here it is ([0-9]+)", told)
            assert found is not None
            assert f"proxy {found[1]}," in running.out
            running.process.send_signal(signal.SIGINT)
            assert await running.exit() == 0


async def test_a_taken_port_of_the_page_is_told_too(tmp_path: Path) -> None:
    with serve.listening(Address("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with command("demo", "--port", str(port), folder=tmp_path, environment=LISTEN) as running:
            await running.until(lambda: "Ports: " in running.out, "the address")
            found = re.search(rf"--port: port {port} is taken by another program; here it is ([0-9]+)\n", running.out)
            assert found is not None
            assert f"\nOpen http://127.0.0.1:{found[1]}\n" in running.out
            assert set(map(int, re.findall(r" (\d+)[,.]", running.out.partition("Ports:")[2]))) >= running.ports()


async def test_clients_of_one_shape_are_counted_with_the_requests_that_answer_them(tmp_path: Path) -> None:
    async with command("demo", "--port", "0", "--clients", "5", folder=tmp_path, environment=LISTEN) as running:
        line = "5 clients follow s-ada; open requests to Electric for it: 1"
        await running.until(lambda: line in running.out, "a line with both counts")
        running.process.send_signal(signal.SIGINT)
        assert await running.exit() == 0


async def test_a_demo_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    async with command("demo", "--port", "0", folder=tmp_path, environment=LISTEN) as running:
        await running.until(lambda: "Ports: " in running.out, "the address")
        assert running.temporary == []
        processes = of(running)
        folders = folders_of(processes)
        assert folders
        running.process.kill()
        await running.exit()
        await until(lambda: not any(map(runs, processes)), "every process to end")
        await until(lambda: not any(map(os.path.exists, folders)), "every folder to go")
        assert running.temporary == []
