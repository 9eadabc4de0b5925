"""An Electric of raw bytes that sends request ids back, and a listener that records its calls."""

import asyncio
import re
from typing import Any

from proxy.core.headers import Headers
from proxy.core.request import Kind
from proxy.electric.client import ElectricConfig
from proxy.electric.source import Fault
from tests.http1.origin import Link, Script

REQUEST_ID = re.compile(rb"\r\nx-request-id: ([^\r\n]+)\r\n")


def config(url: str, *, echoes_request_id: bool = True) -> ElectricConfig:
    """Where Electric is, with short waits."""
    return ElectricConfig(url, 2, dict.fromkeys(Kind, 2), echoes_request_id=echoes_request_id)


class Collected:
    """A listener. It holds those who tell it to their promises: the head once, data behind it, one end."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: Headers = []
        self.body = b""
        self.fault: Any = None
        self.headed = asyncio.Event()
        self.over = asyncio.Event()

    def head(self, status: int, fields: Headers) -> None:
        """The head."""
        assert not self.headed.is_set()
        assert not self.over.is_set()
        self.headed.set()
        self.status, self.fields = status, fields

    def data(self, piece: bytes) -> None:
        """A piece of the body."""
        assert self.headed.is_set()
        assert not self.over.is_set()
        assert piece
        self.body += piece

    def end(self, fault: Fault) -> None:
        """The end."""
        assert not self.over.is_set()
        self.fault = fault
        self.over.set()

    async def ended(self) -> "Collected":
        """Waits for the end."""
        async with asyncio.timeout(5):
            await self.over.wait()
        return self


def id_of(request: bytes) -> bytes:
    """The id of a request."""
    found = REQUEST_ID.search(request)
    assert found is not None
    return found[1]


def echo(head: bytes, request: bytes) -> bytes:
    """A status line and fields with the id of the request among them."""
    line, end, rest = head.partition(b"\r\n")
    return line + end + b"x-request-id: " + id_of(request) + b"\r\n" + rest


def echoing(head: bytes, *pieces: bytes) -> Script:
    """Gives every request this answer."""

    async def script(link: Link) -> None:
        while True:
            await link.part(echo(head, await link.request()), *pieces)

    return script


def echoing_then_closing(head: bytes, *pieces: bytes) -> Script:
    """Gives one request this answer, and closes."""

    async def script(link: Link) -> None:
        await link.part(echo(head, await link.request()), *pieces)

    return script
