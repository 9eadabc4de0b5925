"""The HTTP server's side of a connection: uvicorn's httptools protocol, with the bounds that it lacks.

The head of a request is bounded in bytes, headers and time while it arrives, and so is the framing of a chunked body;
targets other than origin-form (RFC 9112 3.2.1), other transfer codings than chunked, and everything that the parser
refuses get our JSON. Nothing of it reaches the application, and no trailer does.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from proxy.core import errors, headers
from proxy.core.errors import Code, Refusal
from proxy.gateway.routes import GONE
from proxy.settings import Settings
from proxy.telemetry.events import Observe, ProtocolRefused

PIPELINED = 16
"""The most requests that wait behind another on one connection."""

SMALLEST_CHUNK = 8
"""More than the framing of a byte that is a chunk of its own (RFC 9112 7.1: `1 CRLF x CRLF`)."""


class Wire(HttpToolsProtocol):
    """One client connection. Made by `wire_class`, which sets `settings` and `observe`."""

    settings: Settings
    observe: Observe

    _head_timer: asyncio.TimerHandle | None = None
    _in_head = False
    _in_body = False
    _body_bytes = _framing_bytes = 0
    _unparsed_bytes = 0
    _head_bytes = 0
    _fault = Code.malformed_request
    _answering: RequestResponseCycle | None = None
    _refused = False
    _gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock for the first request head: a connection that says nothing is closed as well."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock, and tells the request that is being answered: uvicorn tells the last one that came."""
        self._head_is_over()
        super().connection_lost(exc)
        self._tell_answering()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; it reports only whole lines, so what it holds back of a head is bounded here."""
        if self._refused:
            return  # read and dropped, see _refuse
        within, before = self._in_body, self._body_bytes
        super().data_received(data)
        if within and self._in_body:
            self._bound_framing(len(data) - (self._body_bytes - before))
        if self._in_head:
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > self.settings.header_bytes:
                self._refuse(Code.headers_too_large)
        elif self.cycle is not None and self.parser is not None and self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the upgrade is not taken, and what follows it is not HTTP

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {GONE: self._on_gone}  # type: ignore[dict-item]
        self._in_head = True
        self._head_bytes = self._unparsed_bytes = self._body_bytes = self._framing_bytes = 0
        if self._head_timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. A trailer, which the parser reports alike, is dropped: it came after the request was judged
        (RFC 9110 6.5.1)."""
        self._count(len(name) + len(value))
        if not self._in_head:
            return
        super().on_header(name, value)
        if len(self.headers) > self.settings.header_count:
            self._refuse_head(Code.headers_too_large)

    def on_headers_complete(self) -> None:
        """The head is whole: it is judged for what only its raw target shows, then handed on."""
        self._head_is_over()
        if not self.url.startswith(b"/") or b"#" in self.url or not self._is_framed_plainly():
            self._refuse_head(Code.malformed_request)
        self._in_body = True
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED:
            self._refuse_head(Code.malformed_request)
        self.flow.resume_reading()  # else nobody would notice that the client leaves

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole. If the answer did not wait for it, the connection ends here."""
        self._in_body = False
        super().on_message_complete()
        if self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
        """An answer is written. What is left of its request's body is read and dropped for a while."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self.pipeline and self.cycle.more_body:
            self._close_later()
        self._cut_later()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Runs the application on one request. An answer that it leaves unfinished is cut, read or not."""

        async def whole(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            if not cycle.response_complete and not cycle.disconnected:
                cycle.disconnected = True
                self.transport.abort()

        self._answering, self._gone = cycle, None
        super()._start_asgi_task(cycle, whole)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own signature
        """What the parser cannot read is refused like everything else."""
        self._refuse(self._fault)

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection."""
        super().timeout_keep_alive_handler()
        self._cut_later()

    def _tell_answering(self) -> None:
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
            if self._gone is not None:
                self._gone()

    def _on_gone(self, tell: Callable[[], None]) -> None:
        """The request that is being answered wants to know; at once, if the client has gone already."""
        self._gone = tell
        if self._answering is not None and self._answering.disconnected:
            self.loop.call_soon(tell)

    def _close_later(self) -> None:
        """Closing on bytes that nobody read would reset the connection, and the client could lose the answer
        (RFC 9112 9.6)."""
        self.loop.call_later(self.settings.header_seconds, self.transport.close)

    def _cut_later(self) -> None:
        """A client that never reads its last answer must not keep it, and the connection, for ever."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.loop.call_later(self.settings.write_seconds, self.transport.abort)

    def _is_framed_plainly(self) -> bool:
        """Whether the body, if there is one, has a length or comes in chunks: no other coding, and none in HTTP/1.0,
        where it is faulty framing (RFC 9112 6.1)."""
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        return not codings or (codings == [b"chunked"] and self.parser.get_http_version() != "1.0")

    def _bound_framing(self, size: int) -> None:
        """Chunk sizes, extensions and trailers are bounded by what a body in the smallest chunks needs."""
        self._framing_bytes += size
        if self._framing_bytes > self.settings.header_bytes + SMALLEST_CHUNK * self._body_bytes:
            self._refuse(Code.malformed_request)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.settings.header_bytes:
            self._refuse_head(Code.headers_too_large)

    def _refuse_head(self, code: Code) -> None:
        """Out of a callback of the parser, which turns the exception into a call of send_400_response."""
        self._fault = code
        raise ValueError(code.name)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_seconds, self._refuse, Code.request_timeout)

    def _head_is_over(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, code: Code) -> None:
        self._head_is_over()
        if self.transport.is_closing() or self._refused:
            return
        self.observe(ProtocolRefused(code.name))
        if not self._may_answer():
            self.transport.abort()
            return
        body = errors.body(Refusal(code), secrets.token_hex(12))
        fields = [*headers.refusal(code), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self._refused = True
        self._tell_answering()
        self.transport.write(STATUS_LINE[code.value.status] + lines + b"\r\n" + body)
        self.transport.write_eof()
        self._close_later()

    def _may_answer(self) -> bool:
        """Whether what is written next is read as the answer to what is refused, not to an earlier request."""
        return self.cycle is None or (
            not self.pipeline
            and self.cycle.response_started == self.cycle.response_complete
            and self.cycle.response_complete != self.cycle.more_body
        )


def wire_class(settings: Settings, observe: Observe) -> type[Wire]:
    """The protocol class that uvicorn makes one of for each connection."""
    return type("BoundWire", (Wire,), {"settings": settings, "observe": staticmethod(observe)})
