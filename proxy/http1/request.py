# SPDX-License-Identifier: Apache-2.0
"""The head of a request: read whole, by llhttp and by a stricter look at its first line, or refused.

A head is collected until its empty line has come, so llhttp reads it in one go. What llhttp lets through and two
readers could read in two ways (RFC 9112 11.2) is refused here.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

Fields = list[tuple[bytes, bytes]]
"""Header fields in order, names in lower case."""

END: Final = b"\r\n\r\n"

_LINE: Final = re.compile(rb"([A-Z]{1,16}(?:-[A-Z]{1,16})?) ([!-~]+) HTTP/(1\.[01])\r\n")
_LONE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")
"""A line feed or carriage return by itself, or NUL; a carriage return at the end may still get its line feed."""

_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")


class Unreadable(Enum):
    """Why bytes never became a request."""

    malformed = "malformed"
    too_large = "too_large"
    too_slow = "too_slow"
    no_room = "no_room"


class Refused(Exception):
    """Raised for bytes that are no request, or could be read as two different ones; `why` says why."""

    def __init__(self, why: Unreadable) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a head may be: bytes altogether, and header fields."""

    head_bytes: int
    fields: int


@dataclass(slots=True)
class Head:
    """A request without its body. `version` is `1.1` or `1.0`."""

    method: str
    target: bytes
    fields: Fields
    version: str = "1.1"
    keep_alive: bool = True
    has_body: bool = False
    length: int | None = None
    expects_continue: bool = False
    block: bytes = b""
    """The bytes behind the first line, of a GET that declares nothing else there: no body, no end of the connection.
    What they mean does not depend on the first line."""

    @property
    def is_plain(self) -> bool:
        """Whether it is such a GET."""
        lasting = self.keep_alive and self.version == "1.1"
        return lasting and self.method == "GET" and not (self.has_body or self.expects_continue)


PLAIN_GET: Final = re.compile(rb'GET (/[!"$-~]*) HTTP/1\.1\r\n')
"""The first line of a GET whose target a parser would accept as it stands."""

_UNUSED: Final = HttpRequestParser(object())


class MessageParser:
    """llhttp on one message: its head in one go, and if it has a body, the pieces of that as they come.

    `complete` is set with the end of the message, `overrun` by bytes behind it.
    """

    __slots__ = ("_begun", "_body", "_fields", "_headed", "_keep_alive", "_parser", "_url", "complete", "overrun")

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._body: list[bytes] = []
        self._fields: Fields = []
        self._url = b""
        self._begun = 0
        self._headed = self._keep_alive = False
        self.complete = self.overrun = False

    def head(self, data: bytes, bounds: Bounds) -> Head:
        """The head that these bytes are, from its first line to its empty line. Raises Refused."""
        if len(data) > bounds.head_bytes:
            raise Refused(Unreadable.too_large)
        line = _LINE.match(data)
        if line is None:
            raise Refused(Unreadable.malformed)
        self._feed(data)
        if not self._headed or self._url != line[2] or self.overrun:
            raise Refused(Unreadable.malformed)
        if len(self._fields) > bounds.fields:
            raise Refused(Unreadable.too_large)
        return self._judged(line[1].decode(), line[2], line[3].decode())

    def body(self, data: bytes) -> bytes:
        """The part of the body that these bytes hold. Raises Refused.

        Bytes behind the end of the message are dropped, and `overrun` is set.
        """
        self._feed(data)
        found, self._body = self._body, []
        return found[0] if len(found) == 1 else b"".join(found)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:  # what follows is of another protocol, which is not taken
            self.overrun = upgrade.args[0] < len(data)
        except HttpParserError:
            if not self.complete:
                self._parser = _UNUSED
                raise Refused(Unreadable.malformed) from None
            self.overrun = True
        if self.complete:
            self._parser = _UNUSED  # it and this object hold each other

    def _judged(self, method: str, target: bytes, version: str) -> Head:
        if not target.startswith(b"/") or b"#" in target or method == "CONNECT":  # origin-form alone (RFC 9112 3.2)
            raise Refused(Unreadable.malformed)
        lengths, codings = self._values(b"content-length"), self._values(b"transfer-encoding")
        if codings and (codings != [b"chunked"] or version != "1.1"):  # RFC 9112 6.1, 7
            raise Refused(Unreadable.malformed)
        if lengths and lengths[0] != b"%d" % int(lengths[0]):  # zeros before it: octal, to some
            raise Refused(Unreadable.malformed)
        expects = self._values(b"expect")
        if expects and expects != [b"100-continue"]:  # RFC 9110 10.1.1
            raise Refused(Unreadable.malformed)
        return Head(
            method=method,
            target=target,
            fields=self._fields,
            version=version,
            keep_alive=self._keep_alive and version == "1.1",
            has_body=bool(codings) or lengths not in ([], [b"0"]),
            length=int(lengths[0]) if lengths else None,
            expects_continue=bool(expects) and version == "1.1",
        )

    def _values(self, name: bytes) -> list[bytes]:
        return [value.lower() for key, value in self._fields if key == name]

    # What llhttp calls.

    def on_message_begin(self) -> None:
        """A message begins. A second one is not this parser's: raising stops it."""
        self._begun += 1
        if self._begun > 1:
            raise ValueError("a second message")

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. A trailer is dropped: it must not become a header (RFC 9110 6.5.1)."""
        if not self._headed:
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole. An upgrade is not taken, and what would follow it is not HTTP."""
        self._headed = True
        self._keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()

    def on_body(self, data: bytes) -> None:
        """A part of the body, without its framing."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The message is whole."""
        self.complete = True


def without_empty_lines(data: bytes) -> bytes:
    """What follows the empty lines that may stand before a request (RFC 9112 2.2)."""
    found = _EMPTY_LINES.match(data)
    return data[found.end() :] if found else data


def fault_of_part(data: bytes, looked_at: int, bounds: Bounds) -> Unreadable | None:
    """What is wrong already with the beginning of a head, or None: nobody waits for the rest of nonsense.

    So many bytes of it were `looked_at` before: a head that comes byte by byte must not cost its length for each.
    """
    if len(data) > bounds.head_bytes:
        return Unreadable.too_large
    start = max(looked_at - 1, 0)  # a carriage return may have been the last
    if _LONE.search(data, start) or (data.find(b"\r\n") >= start and _LINE.match(data) is None):
        return Unreadable.malformed
    return None
