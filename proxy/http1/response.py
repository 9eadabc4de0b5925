# SPDX-License-Identifier: Apache-2.0
"""The head of a response: rendered once for all who get it, with room for the few fields that are each client's own."""

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from proxy.http1.request import Fields

_LINES: Final = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
CLOSE: Final = b"\r\nconnection: close\r\n\r\n"
"""The end of a head after which the connection closes."""

LONG_BYTES: Final = 32_768
"""A piece from this length on is part of a large body."""

BODILESS: Final = frozenset({204, 304})
"""Statuses whose responses have neither a body nor a length of one (RFC 9110 8.6)."""


class FieldLines:
    """Header fields, and the same as bytes."""

    __slots__ = ("fields", "wire")

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.fields = list(fields)
        self.wire = b"".join([b"%b: %b\r\n" % field for field in self.fields])


NO_FIELDS: Final = FieldLines()


class ResponseHead:
    """A status and fields that many clients get alike. `length` is that of the body, None while it is not known; the
    fields have none of their own."""

    __slots__ = ("bodiless", "fields", "length", "status", "wire")

    def __init__(self, status: int, fields: Fields, length: int | None) -> None:
        self.status = status
        self.fields = fields
        self.length = length
        self.bodiless = status in BODILESS
        lines = [_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in fields:
            lines += (name, b": ", value, b"\r\n")
        if length is not None and not self.bodiless:
            lines.append(b"content-length: %d\r\n" % length)
        self.wire = b"".join(lines)

    @property
    def chunked(self) -> bool:
        """Whether the end of the body is known from its framing alone."""
        return self.length is None and not self.bodiless


class DateLine:
    """The date header (RFC 9110 6.6.1), rendered once a second."""

    __slots__ = ("_second", "_wire")

    def __init__(self) -> None:
        self._second, self._wire = 0, b""

    def wire(self) -> bytes:
        """The line as it is now."""
        now = int(time.time())
        if self._second != now:
            self._second, self._wire = now, b"date: %b\r\n" % formatdate(now, usegmt=True).encode()
        return self._wire


class Chunks:
    """Pieces of a body as chunks. Thousands send the very same piece one after another: it is framed once."""

    __slots__ = ("_framed", "_piece")

    def __init__(self) -> None:
        self._piece = b""
        self._framed = (b"",)

    def framed(self, piece: bytes) -> tuple[bytes, ...]:
        """A piece, which is not empty, with its framing (RFC 9112 7.1), in parts if it is too long to be copied."""
        if len(piece) >= LONG_BYTES:
            return b"%x\r\n" % len(piece), piece, b"\r\n"
        if self._piece is not piece:
            self._piece, self._framed = piece, (b"%x\r\n%b\r\n" % (len(piece), piece),)
        return self._framed
