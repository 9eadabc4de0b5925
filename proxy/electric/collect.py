# SPDX-License-Identifier: Apache-2.0
"""A whole answer, for those who can wait for it: the shapes that the proxy follows itself."""

import asyncio
from dataclasses import dataclass

from proxy.core.errors import Refusal
from proxy.core.headers import Headers
from proxy.core.upstream import UpstreamRequest
from proxy.electric.source import Conditions, Fault, Source


class CollectFault(Exception):
    """An answer that is not whole, or too large; the text says why."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A whole answer."""

    status: int
    fields: Headers
    body: bytes


class _Collector:
    """Listens until the end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._status = 0
        self._fields: Headers = []
        self._body = bytearray()
        self.answer: asyncio.Future[Collected] = asyncio.get_running_loop().create_future()

    def head(self, status: int, fields: Headers) -> None:
        """The head is here."""
        self._status, self._fields = status, fields

    def data(self, piece: bytes) -> None:
        """A piece of the body."""
        self._body += piece
        if len(self._body) > self._most:
            self._fail(CollectFault("body_too_large"))

    def end(self, fault: Fault) -> None:
        """Nothing more comes."""
        if fault is None and not self.answer.done():
            self.answer.set_result(Collected(self._status, self._fields, bytes(self._body)))
        elif fault is not None:
            self._fail(fault if isinstance(fault, Refusal) else CollectFault(fault))

    def _fail(self, fault: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(fault)


async def collect(source: Source, request: UpstreamRequest, most: int) -> Collected:
    """The answer to a request, at most so many bytes of body. Raises Refusal, CollectFault."""
    collector = _Collector(most)
    call = source.fetch(request, Conditions(), collector)
    try:
        return await collector.answer
    finally:
        call.cancel()
