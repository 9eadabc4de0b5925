# SPDX-License-Identifier: Apache-2.0
"""Thousands of clients that wait, on one epoll without any framework, so that the load costs as little as it can."""

import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

TAIL = 80


@dataclass(slots=True)
class Subscribers:
    """Open connections, each with one request under way. `failed` counts those that ended without their answer."""

    sockets: dict[int, socket.socket] = field(default_factory=dict)
    tails: dict[int, bytes] = field(default_factory=dict)
    epoll: select.epoll = field(default_factory=select.epoll)
    failed: int = 0

    def open(self, port: int, requests: Iterable[bytes]) -> None:
        """Connects once for each request, and sends it."""
        for request in requests:
            client = socket.socket()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(30)
            client.connect(("127.0.0.1", port))
            client.sendall(request)
            client.setblocking(False)
            self.sockets[client.fileno()] = client
            self.epoll.register(client, select.EPOLLIN)

    def again(self, request: bytes) -> None:
        """Sends the same request on every connection."""
        for client in self.sockets.values():
            client.sendall(request)

    def served(self, mark: bytes, seconds: float) -> list[float]:
        """The monotonic times at which each subscriber had read the mark; ends when all have, or after `seconds`."""
        times: list[float] = []
        waiting, end = set(self.sockets), time.monotonic() + seconds
        self.tails = dict.fromkeys(waiting, b"")
        while waiting and (left := end - time.monotonic()) > 0:
            for number, _ in self.epoll.poll(left, 512):
                if self._read(number, mark) and number in waiting:
                    waiting.discard(number)
                    times.append(time.monotonic())
        self.failed += len(waiting)
        return times

    def _read(self, number: int, mark: bytes) -> bool:
        """Reads what arrived; whether the mark is in it. A closed connection is never served."""
        try:
            data = self.sockets[number].recv(65_536)
        except OSError:
            data = b""
        if not data:
            self.epoll.unregister(number)
            return False
        data = self.tails[number] + data
        self.tails[number] = data[-TAIL:]
        return mark in data

    def close(self) -> None:
        """Closes all connections."""
        for client in self.sockets.values():
            client.close()
        self.epoll.close()
