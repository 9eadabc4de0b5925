"""The command itself, as an operator runs it: a process with an environment, its lines, its exit code."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from proxy.auth.keys import KeyRing, new_keys
from proxy.auth.tokens import mint
from proxy.runtime.configuration import token_rules
from proxy.settings import load
from tests.harness.running import environment

SECONDS = 60
"""The bound on every wait for a process: it has other work beside it."""
COMMAND = Path(sys.executable).with_name("shape-proxy")


@dataclass
class Running:
    """One run of the command; `folder` has what it wrote, and is its TMPDIR's parent."""

    process: asyncio.subprocess.Process
    folder: Path
    environment: Mapping[str, str]

    @property
    def temporary(self) -> list[str]:
        """What is in the process's own TMPDIR."""
        return os.listdir(self.folder / "tmp")

    @property
    def out(self) -> str:
        """Standard output until now."""
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """Standard error until now."""
        return (self.folder / "err").read_text()

    def said(self, event: str, **members: object) -> list[dict[str, Any]]:
        """The whole log lines of an event that have these members."""
        lines = [json.loads(line) for line in self.out.split("\n")[:-1] if line.startswith("{")]
        return [line for line in lines if line["event"] == event and members.items() <= line.items()]

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that it started."""
        return psutil.Process(self.process.pid).children()

    def ports(self) -> set[int]:
        """Where this process itself listens."""
        bound = psutil.Process(self.process.pid).net_connections("inet")
        return {connection.laddr.port for connection in bound if connection.status == psutil.CONN_LISTEN}

    def token(self, subject: str = "acc-ada") -> str:
        """A token for session s-ada."""
        keys = KeyRing.read(Path(self.environment["PROXY_TOKEN_KEYS"]))
        claims = {"session_id": "s-ada", "account_id": "acc-ada"}
        return mint(keys, token_rules(load(self.environment)), subject, claims, 300)

    async def until(self, condition: Any, what: str = "") -> None:
        """Waits, bounded, for what no event announces; a process that ends is the end of waiting."""
        async with asyncio.timeout(SECONDS):
            while not condition():
                assert self.process.returncode is None, f"{what}: exit {self.process.returncode}: {self.err}"
                await asyncio.sleep(0.02)

    async def exit(self) -> int:
        """Its exit code, once it has ended by itself."""
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def command(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    stdout: int | None = None,
    files: int | None = None,
) -> AsyncIterator[Running]:
    """Runs `shape-proxy` with these arguments and nothing of this environment's settings; kills it if it still runs.
    It may open so many `files`."""
    limit = None if files is None else partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, files))
    (folder / "tmp").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            COMMAND,
            *arguments,
            env={**kept, "TMPDIR": str(folder / "tmp"), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out if stdout is None else stdout,
            stderr=err,
            start_new_session=True,
            preexec_fn=limit,
        )
    try:
        yield Running(process, folder, environment)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def serving_environment(folder: Path, upstream_url: str, **variables: str) -> dict[str, str]:
    """The settings of a `serve` with fresh keys in the folder."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps(new_keys()))
    return environment(upstream_url, keys) | {"PROXY_PROBE_SECONDS": "0.2"} | variables


@asynccontextmanager
async def serving(
    folder: Path, upstream_url: str, stdout: int | None = None, files: int | None = None, **variables: str
) -> AsyncIterator[Running]:
    """Runs `shape-proxy serve` in front of an upstream."""
    said = serving_environment(folder, upstream_url, **variables)
    async with command("serve", folder=folder, environment=said, stdout=stdout, files=files) as running:
        yield running
