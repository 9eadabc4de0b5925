# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Electric that is never the bottleneck: `python -m bench.mock PORT CONTROL_PORT CLOSE_AFTER`.

Every request head is expected whole, without a body. Its target decides what it gets: `live_sse=true` a stream,
`live=true` a held poll, everything else an answer at once, of 1 KB unless configured otherwise. Like Electric, it sends
the `x-request-id` of the request back, and closes a connection without notice after CLOSE_AFTER answers (Electric: 50;
0: never). The control port takes one JSON object a line and answers with one; its commands are the methods of Control.
"""

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from typing import Any

import uvloop

from bench import answers

LARGE = 65_536


class Electric:
    """What the connections share: the answer in force, who waits, and what was counted."""

    def __init__(self, close_after: int) -> None:
        self.close_after = close_after
        self.size = 1024
        self.delay = 0.0
        self.track = False
        self.requests = 0
        self.targets: Counter[str] = Counter()
        self.held: set[Connection] = set()
        self.streams: set[Connection] = set()
        self.closed: list[tuple[str, float]] = []

    def answer(self, target: bytes) -> answers.Answer:
        """The rows of the session that the target asks for."""
        return answers.snapshot(self.size, answers.session_of(target))


def _request_id(data: bytes) -> bytes:
    at = data.find(b"\r\nx-request-id: ")
    return data[at + 16 : data.index(b"\r\n", at + 16)] if at >= 0 else answers.OWN_ID


class Connection(asyncio.Protocol):
    """One connection of a proxy's, or of a client's without any proxy."""

    __slots__ = ("electric", "left", "request_id", "rest", "target", "transport")

    def __init__(self, electric: Electric) -> None:
        self.electric = electric
        self.left = electric.close_after
        self.request_id = answers.OWN_ID
        self.rest = b""
        self.target = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keeps the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers a whole head."""
        if self.rest:
            data = self.rest + data
        if not data.endswith(b"\r\n\r\n"):
            self.rest = data
            return
        self.rest = b""
        self.target = target = data[4 : data.index(b" ", 4)]
        if not target.startswith(b"/v1/shape?"):
            self.transport.write(answers.AUTHORIZED if target == b"/auth" else answers.HEALTH)
            self.count()
            return
        self.request_id = _request_id(data)
        electric = self.electric
        electric.requests += 1
        if electric.track:
            electric.targets[target.decode()] += 1
        if b"live" in target:
            self.wait(target)
        elif b"revocations" in target:
            self.write(answers.REVOCATIONS)
        elif electric.delay:
            asyncio.get_running_loop().call_later(electric.delay, self.write, electric.answer(target))
        else:
            self.write(electric.answer(target))

    def write(self, answer: answers.Answer) -> None:
        """Sends a whole answer, with the id of its request."""
        before, after = answer
        if len(after) < LARGE:
            self.transport.write(before + self.request_id + after)
        else:
            self.transport.writelines((before + self.request_id, after))
        self.count()

    def count(self) -> None:
        """Closes behind the last answer that a connection has."""
        self.left -= 1
        if not self.left:
            self.transport.close()

    def wait(self, target: bytes) -> None:
        """Holds a poll, or begins a stream."""
        if b"live_sse=true" in target:
            before, after = answers.STREAM
            self.transport.write(before + self.request_id + after)
            self.electric.streams.add(self)
        else:
            self.electric.held.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        """Notes when a connection closed whose poll was still held."""
        if self in self.electric.held:
            self.electric.held.discard(self)
            self.electric.closed.append((self.target.decode(), time.monotonic()))
        self.electric.streams.discard(self)


class Control:
    """The commands. Each returns what the control port answers."""

    def __init__(self, electric: Electric) -> None:
        self._electric = electric

    def set(self, *, body: int = 1024, delay: float = 0.0, track: bool = False) -> dict[str, Any]:
        """Sets the answer's size, how long it takes, and whether targets are counted one by one."""
        self._electric.size = body
        self._electric.delay, self._electric.track = delay, track
        return {}

    def counts(self) -> dict[str, Any]:
        """How many requests were received, and how many wait."""
        electric = self._electric
        return {"requests": electric.requests, "held": len(electric.held), "streams": len(electric.streams)}

    def targets(self) -> dict[str, Any]:
        """How often each target was requested."""
        return {"targets": self._electric.targets}

    def wake(self) -> dict[str, Any]:
        """Answers every held poll; returns when it began."""
        at = time.monotonic()
        waiting, self._electric.held = self._electric.held, set()
        for connection in waiting:
            if b"revocations" in connection.target:
                self._electric.held.add(connection)
                continue
            connection.write(answers.change(answers.session_of(connection.target)))
        return {"at": at, "woken": len(waiting)}

    def revoke(self, *, kind: str, value: str) -> dict[str, Any]:
        """Sends a row to the poll on the table of revocations; returns when."""
        at = time.monotonic()
        for connection in [each for each in self._electric.held if b"revocations" in each.target]:
            self._electric.held.discard(connection)
            connection.write(answers.revocation(kind, value))
        return {"at": at}

    def event(self, *, number: int) -> dict[str, Any]:
        """Sends one event to every stream; returns when it began."""
        at = time.monotonic()
        frame = answers.event(number)
        for connection in self._electric.streams:
            connection.transport.write(frame)
        return {"at": at, "streams": len(self._electric.streams)}

    def closed(self) -> dict[str, Any]:
        """The targets of the polls whose connection was closed, each with the time."""
        return {"closed": self._electric.closed}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the harness."""
        async for line in reader:
            command = json.loads(line)
            answer = getattr(self, command.pop("do"))(**command)
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()


async def _serve(port: int, control_port: int, close_after: int) -> None:
    electric = Electric(close_after)
    loop = asyncio.get_running_loop()
    await asyncio.start_server(Control(electric).serve, "127.0.0.1", control_port)
    server = await loop.create_server(lambda: Connection(electric), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    gc.disable()  # a pause of the mock would look like one of the proxy
    uvloop.run(_serve(*map(int, sys.argv[1:])))
