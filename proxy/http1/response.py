"""The head of a response: rendered once for all who get it, with room for the few fields that are each client's own."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from proxy.http1.request import Fields

_LINES: Final = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
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

    __slots__ = ("fields", "length", "status", "wire")

    def __init__(self, status: int, fields: Fields, length: int | None) -> None:
        self.status = status
        self.fields = fields
        self.length = length
        lines = [_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in fields:
            lines += (name, b": ", value, b"\r\n")
        if length is not None and status not in BODILESS:
            lines.append(b"content-length: %d\r\n" % length)
        self.wire = b"".join(lines)

    @property
    def chunked(self) -> bool:
        """Whether the end of the body is known from its framing alone."""
        return self.length is None and self.status not in BODILESS
