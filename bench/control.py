# SPDX-License-Identifier: Apache-2.0
"""The mock of Electric as the harness uses it: a process of its own, commanded over its control port."""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import processes

ROOT = Path(__file__).parents[1]


class Mock:
    """A running mock; `port` is where it is Electric."""

    def __init__(self, port: int, control: socket.socket) -> None:
        self.port = port
        self._control = control
        self._lines = control.makefile("rb")

    def send(self, what: str, **how: object) -> None:
        """Sends a command without waiting for its answer, which `reply` reads."""
        self._control.sendall(json.dumps({"do": what, **how}).encode() + b"\n")

    def reply(self) -> Any:
        """The answer to the first command that has none yet."""
        return json.loads(self._lines.readline())

    def ask(self, what: str, **how: object) -> Any:
        """A command and its answer."""
        self.send(what, **how)
        return self.reply()

    def wait_for(self, what: str, count: int, seconds: float = 60) -> float:
        """Waits until so many polls are `held`, or `streams` open; the monotonic time. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while self.ask("counts")[what] < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.ask('counts')} after {seconds} s, wanted {count} {what}")
            time.sleep(0.005)
        return time.monotonic()


@contextmanager
def mock(close_after: int) -> Iterator[Mock]:
    """Starts a mock on the core of the load; it closes connections after so many answers, 0 for never."""
    port, control_port = processes.free_port(), processes.free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        log = Path(name) / "stderr"
        argv = [sys.executable, "-m", "bench.mock", str(port), str(control_port), str(close_after)]
        with processes.started(argv, processes.LOAD_CORE, log, folder=ROOT) as pid:
            processes.wait_until_it_answers(port, pid, log)
            with socket.create_connection(("127.0.0.1", control_port)) as control:
                yield Mock(port, control)
