# SPDX-License-Identifier: Apache-2.0
"""One response on its way in. No I/O and no waiting: bytes go in, a head and pieces of a body come out.

llhttp parses, strictly as it is by default (httptools names its leniencies "dangerous"). What it lets through and a
client must not is refused here.
"""

from typing import Final

from httptools import HttpParserError, HttpResponseParser

from proxy.http1.request import Fields

HEAD_BYTES: Final = 262_144
"""The longest head that is taken: `electric-schema` grows with the columns."""

HEADERS: Final = 100
"""The most header fields that are taken; Electric sends some twenty."""

_BODILESS: Final = frozenset({204, 304})  # RFC 9112 6.3 rule 1
_FIELD_BYTES: Final = 4  # the colon, a space and the line's end


class _Refused(ValueError):
    """Raised in a callback of the parser, which then stops."""


_UNUSED: Final = HttpResponseParser(object())


class ResponseParser:
    """What has come of one response. `status` is 0 until the head is whole; `fault` is set if it can never be."""

    __slots__ = (
        "_bodiless",
        "_fresh",
        "_odd",
        "_parser",
        "_quiet",
        "_reason_bytes",
        "complete",
        "fault",
        "fields",
        "keep",
        "received",
        "status",
        "until_close",
    )

    def __init__(self, *, bodiless: bool = False) -> None:
        """`bodiless` is for a response to HEAD."""
        self._parser = _UNUSED  # until the first byte, which a poll may wait long for
        self._odd = False
        self._prepare(bodiless=bodiless)

    def again(self, *, bodiless: bool = False) -> bool:
        """Begins with another response on the same connection; False if a new parser is to be made.

        Only an ordinary response, which has been parsed whole, leaves llhttp where it was at the start.
        """
        if self._odd or bodiless or self._parser is _UNUSED or not (self.complete and self.keep):
            return False
        self._prepare(bodiless=bodiless)
        return True

    def release(self) -> None:
        """No other response follows: takes apart what holds each other."""
        self._parser = _UNUSED

    def _prepare(self, *, bodiless: bool) -> None:
        self._bodiless = bodiless
        self._quiet = self._reason_bytes = 0
        self._fresh: list[bytes] = []
        self.status = 0
        self.fields: Fields = []
        self.received = self.complete = self.keep = self.until_close = False
        self.fault: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more can come of it."""
        return self.complete or self.fault is not None

    def feed(self, data: memoryview) -> bytes:
        """The next bytes from the connection; returns what they hold of the body. Not to be called once `over`.

        What follows a complete response spoils the connection, not the response.
        """
        self.received = True
        if self._parser is _UNUSED:
            self._parser = HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except HttpParserError as fault:
            self.keep = False
            self.fail(f"bad response: {fault.__context__ or fault}")
        piece = self._gathered(len(data))
        if self.over and (self._odd or not self.keep):
            self.release()  # it and this object hold each other
        return piece

    def _gathered(self, size: int) -> bytes:
        """Makes one piece of what came at once, and bounds what no piece comes of: heads, trailers, extensions.

        A head that came at once is bounded when it is whole; what is read at once is bounded as well."""
        if fresh := self._fresh:
            self._fresh = []
            self._quiet = 0
            return fresh[0] if len(fresh) == 1 else b"".join(fresh)
        if not self.complete:
            self._quiet += size
            if self._quiet > HEAD_BYTES or len(self.fields) > HEADERS:
                self.fail("bad response: too much without a body")
        return b""

    def ended(self) -> None:
        """The origin will send no more: the end of a body that has no other (RFC 9112 6.3 rule 8)."""
        if self.status and self.until_close:
            self.complete = True
            self.release()
        self.fail("closed in the body" if self.status else "closed in the head")

    def fail(self, why: str) -> None:
        """Nothing more will come, unless all is here."""
        if not self.over:
            self.fault = why
            self.release()

    # What the parser calls. An exception stops it, and is the fault.

    def on_message_begin(self) -> None:
        """A response begins: an interim one, the one, or one that nobody requested."""
        if self.complete:
            raise _Refused("a second one")

    def on_status(self, reason: bytes) -> None:
        """A part of the reason, which nobody needs (RFC 9112 4)."""
        self._reason_bytes += len(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after the body a trailer, which is dropped (RFC 9110 6.5.1)."""
        if not self.status:
            self.fields.append((name.lower(), value.rstrip(b" \t")))  # RFC 9112 5.1: the space is not the value's

    def on_headers_complete(self) -> None:
        """The head is whole; an interim one is forgotten (RFC 9110 15.2), but not its length."""
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:  # nobody asked to switch protocols
                raise _Refused("an odd status")
            self.fields = []
            self._odd = True
            return
        self.until_close = self._framed(self._parser.get_http_version()) and status not in _BODILESS
        self.keep = not self._bodiless  # llhttp would take what follows an answer to HEAD for its body
        self.complete = self._bodiless
        self._odd = self._odd or self._bodiless or self.until_close or self._parser.get_http_version() != "1.1"
        self.status = status

    def _framed(self, version: str) -> bool:
        """Whether only the connection's end can end a body. llhttp has refused two lengths, and both ways at once."""
        if version not in ("1.1", "1.0"):
            raise _Refused("an odd version")
        until_close, size = True, self._reason_bytes
        for name, value in self.fields:
            size += len(name) + len(value) + _FIELD_BYTES
            if name == b"content-length":
                until_close = False
            elif name == b"transfer-encoding":
                # RFC 9112 6.1: nobody asked for another coding, it stands once, and HTTP/1.0 has none
                if value.lower() != b"chunked" or not until_close or version == "1.0":
                    raise _Refused("an odd transfer-encoding")
                until_close = False
        if size > HEAD_BYTES or len(self.fields) > HEADERS:
            raise _Refused("too many headers")
        return until_close

    def on_body(self, data: bytes) -> None:
        """A part of the body, without its framing."""
        if not self.complete:
            self._fresh.append(data)

    def on_message_complete(self) -> None:
        """The response is whole, unless it was an interim one."""
        if self.status and not self.complete:
            self.complete = True
            self.keep = self._parser.should_keep_alive()
