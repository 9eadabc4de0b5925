# SPDX-License-Identifier: Apache-2.0
"""The bytes that the mock of Electric sends, as Electric sends them: chunked, with a strong etag.

An answer is in two parts: what comes before the value of `x-request-id`, and what comes after it.
"""

import json
from functools import lru_cache

Answer = tuple[bytes, bytes]

HANDLE = "1-1700000000000000"
OFFSET = "26800448_0"
"""Behind every position that the load requests: an answer that leaves its client where it was may not be cached."""

CHUNK = 256 * 1024
HEAD_END = b"\r\n\r\n"
ROW = 500
SESSION = b"s-0"
COLUMNS = ("id", "session_id", "body")
SCHEMA = "{" + ",".join(f'"{name}":{{"type":"text"}}' for name in COLUMNS) + "}"

OWN_ID = b"GKpVd0fJ3Vb7rWEAAAQh"
"""The request id of an answer whose request had none."""

HEALTH = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{"status":"active"}'
AUTHORIZED = b"HTTP/1.1 204 No Content\r\n\r\n"

DONE = b'"control":"up-to-date"'
"""Only the last message of a live answer has it: a subscriber that has read it is served."""


DONE_SMALL = b'"headers":{"operation":"insert"}}]'
"""The end of the body of an answer that does not wait."""


def _head(cache_control: str, content_type: str = "application/json; charset=utf-8", **more: str) -> bytes:
    fields = {
        "content-type": content_type,
        "cache-control": cache_control,
        "electric-handle": HANDLE,
        "electric-offset": OFFSET,
        "electric-has-data": "true",
        "etag": f'"{HANDLE}:0_0:{OFFSET}"',
        "electric-server": "ElectricSQL/1.7.12",
        "access-control-allow-origin": "*",
        "transfer-encoding": "chunked",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 200 OK\r\n{lines}x-request-id: ".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache(maxsize=20_000)
def snapshot(size: int, session: bytes = SESSION) -> Answer:
    """A whole answer that does not wait, its rows of one session, its body of this size in chunks as Electric writes
    them."""
    rows = [_row(session, ROW) for _ in range(size // ROW - 1)]
    body = b"[" + b"".join(row + b"," for row in rows)
    body += _row(session, size - len(body) - 1) + b"]"
    chunks = [_chunk(body[at : at + CHUNK]) for at in range(0, len(body), CHUNK)]
    head = _head("public, max-age=60, stale-while-revalidate=300", electric_schema=SCHEMA, electric_up_to_date="")
    return head, b"".join([HEAD_END, *chunks, _chunk(b"")])


def _row(session: bytes, size: int) -> bytes:
    """A row of so many bytes."""
    start = b'{"key":"k","value":{"id":"1","session_id":"%b","body":"' % session
    end = b'"},"headers":{"operation":"insert"}}'
    return start + b"x" * (size - len(start) - len(end)) + end


def _messages(number: int, session: bytes) -> list[bytes]:
    change = (
        b'{"key":"\\"public\\".\\"bench_0\\"/\\"%d\\"","value":{"id":"%d","session_id":"%b","body":"%b"},'
        b'"headers":{"operation":"insert","relation":["public","bench_0"],"txids":[%d],"lsn":"%d","op_position":0}}'
    ) % (number, number, session, b"x" * 200, number, number)
    return [change, b'{"headers":{"control":"up-to-date","global_last_seen_lsn":"%d"}}' % number]


@lru_cache(maxsize=20_000)
def change(session: bytes) -> Answer:
    """The answer of a live poll that a change has ended."""
    head = _head("public, max-age=5, stale-while-revalidate=5", electric_up_to_date="", electric_cursor="12345")
    return head, HEAD_END + _chunk(b"[" + b",".join(_messages(7, session)) + b"]") + _chunk(b"")


REVOCATIONS: Answer = (
    _head(
        "public, max-age=60",
        electric_schema='{"id":{"type":"int8"}}',
        electric_up_to_date="",
    ),
    HEAD_END + _chunk(b'[{"headers":{"control":"up-to-date","global_last_seen_lsn":"0"}}]') + _chunk(b""),
)
"""The empty table of revocations, as the proxy itself follows it."""


def revocation(kind: str, value: str) -> Answer:
    """The answer of the poll on that table when a row has come."""
    columns = {"id": "1", "kind": kind, "value": value, "not_before": None, "expires_at": None}
    row = {"key": '"public"."revocations"/"1"', "value": columns, "headers": {"operation": "insert"}}
    body = json.dumps([row, {"headers": {"control": "up-to-date", "global_last_seen_lsn": "1"}}]).encode()
    return _head("public, max-age=5", electric_up_to_date="", electric_cursor="12345"), HEAD_END + _chunk(
        body
    ) + _chunk(b"")


STREAM: Answer = (
    _head(
        "public, max-age=59",
        "text/event-stream",
        electric_offset="0_0",
        electric_up_to_date="",
        electric_cursor="12345",
    ),
    HEAD_END,
)
"""The head of a stream."""


def event(number: int) -> bytes:
    """One change on a stream, with the message that says the stream is up to date."""
    return b"".join(_chunk(b"data: %b\n\n" % message) for message in _messages(number, SESSION))


def event_mark(number: int) -> bytes:
    """What a subscriber reads last of that event."""
    return b'"global_last_seen_lsn":"%d"' % number


def session_of(target: bytes) -> bytes:
    """The session that a proxy asks for, as the value of the policy's parameter; without a proxy the first."""
    _, named, rest = target.partition(b"params%5B1%5D=")
    return rest.partition(b"&")[0] if named else SESSION
