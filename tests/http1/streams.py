"""What origins say, as bytes: good responses with what they mean, and bad ones with what becomes of them."""

from proxy.http1.response_parser import HEAD_BYTES, HEADERS

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
EMPTY = b"content-length: 0\r\n\r\n"

LENGTH, CODING = (b"content-length", b"3"), (b"transfer-encoding", b"chunked")

GOOD: dict[str, tuple[bytes, int, list[tuple[bytes, bytes]], bytes]] = {
    "a length": (OK + b"Content-Length: 3\r\n\r\nabc", 200, [LENGTH], b"abc"),
    "chunks": (CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", 200, [CODING], b"abc"),
    "chunks in capitals": (
        OK + b"Transfer-Encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        200,
        [(b"transfer-encoding", b"CHUNKED")],
        b"0123456789",
    ),
    "a chunk with an extension": (CHUNKED + b'3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n', 200, [CODING], b"abc"),
    "a chunk with zeros before": (CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n", 200, [CODING], b"abc"),
    "trailers": (CHUNKED + b"3\r\nabc\r\n0\r\nx: y\r\n\r\n", 200, [CODING], b"abc"),
    "an empty length": (OK + EMPTY, 200, [(b"content-length", b"0")], b""),
    "empty chunks": (CHUNKED + b"0\r\n\r\n", 200, [CODING], b""),
    "an empty header": (
        OK + b"electric-up-to-date: \r\nx:\r\n" + EMPTY,
        200,
        [(b"electric-up-to-date", b""), (b"x", b""), (b"content-length", b"0")],
        b"",
    ),
    "space around a value": (OK + b"x: \t a b\t \r\n" + EMPTY, 200, [(b"x", b"a b"), (b"content-length", b"0")], b""),
    "a value above ASCII": (
        OK + b"x: \xc3\xa9\xff\r\n" + EMPTY,
        200,
        [(b"x", b"\xc3\xa9\xff"), (b"content-length", b"0")],
        b"",
    ),
    "a header twice": (
        OK + b"x: 1\r\nX: 2\r\n" + EMPTY,
        200,
        [(b"x", b"1"), (b"x", b"2"), (b"content-length", b"0")],
        b"",
    ),
    "no reason": (b"HTTP/1.1 200 \r\n" + EMPTY, 200, [(b"content-length", b"0")], b""),
    "not even a space before it": (b"HTTP/1.1 200\r\n" + EMPTY, 200, [(b"content-length", b"0")], b""),
    "a 304 with a length": (b"HTTP/1.1 304 X\r\ncontent-length: 3\r\n\r\n", 304, [LENGTH], b""),
    "a 304 in chunks": (b"HTTP/1.1 304 X\r\ntransfer-encoding: chunked\r\n\r\n", 304, [CODING], b""),
    "a 304 without": (b"HTTP/1.1 304 X\r\netag: x\r\n\r\n", 304, [(b"etag", b"x")], b""),
    "a 204": (b"HTTP/1.1 204 X\r\n\r\n", 204, [], b""),
    "a 409 with a body": (b"HTTP/1.1 409 X\r\ncontent-length: 3\r\n\r\nabc", 409, [LENGTH], b"abc"),
    "100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 3\r\n\r\nabc", 200, [LENGTH], b"abc"),
    "103 and 102 before": (
        b"HTTP/1.1 103 X\r\nlink: x\r\n\r\nHTTP/1.1 102 X\r\n\r\n" + OK + b"content-length: 3\r\n\r\nabc",
        200,
        [LENGTH],
        b"abc",
    ),
    "HTTP/1.0 with a length": (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", 200, [LENGTH], b"abc"),
}
"""Responses that end by themselves: the bytes, and the status, headers and body that they mean."""

UNTIL_CLOSE: dict[str, tuple[bytes, bytes]] = {
    "no length": (OK + b"x: y\r\n\r\nabc", b"abc"),
    "nothing at all": (OK + b"\r\n", b""),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nabc", b"abc"),
}
"""Responses that the end of the connection ends: the bytes, and the body."""

BAD_HEAD: dict[str, bytes] = {
    "HTTP/0.9": b"hello world",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "the name in small letters": b"http/1.1 200 OK\r\n" + EMPTY,
    "no status": b"HTTP/1.1\r\n" + EMPTY,
    "status 99": b"HTTP/1.1 99 X\r\n" + EMPTY,
    "status 1000": b"HTTP/1.1 1000 X\r\n" + EMPTY,
    "status 2x0": b"HTTP/1.1 2x0 X\r\n" + EMPTY,
    "status -200": b"HTTP/1.1 -200 X\r\n" + EMPTY,
    "two spaces before the status": b"HTTP/1.1  200 X\r\n" + EMPTY,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + EMPTY,
    "HTTP/11.1": b"HTTP/11.1 200 OK\r\n" + EMPTY,
    "a header without a colon": OK + b"nonsense\r\n" + EMPTY,
    "a header without a name": OK + b": x\r\n" + EMPTY,
    "space before the colon": OK + b"x : y\r\n" + EMPTY,
    "space before the name": OK + b" x: y\r\n" + EMPTY,
    "a folded header": OK + b"x: a\r\n b\r\n" + EMPTY,
    "a NUL in a value": OK + b"x: a\0b\r\n" + EMPTY,
    "a NUL in a name": OK + b"x\0: a\r\n" + EMPTY,
    "a CR in a value": OK + b"x: a\rb\r\n" + EMPTY,
    "lines ended by LF": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "a length of -1": OK + b"content-length: -1\r\n\r\n",
    "a length of +1": OK + b"content-length: +1\r\n\r\na",
    "a length of 1_0": OK + b"content-length: 1_0\r\n\r\n0123456789",
    "a length of 0x1": OK + b"content-length: 0x1\r\n\r\na",
    "a length of x": OK + b"content-length: x\r\n\r\n{}",
    "a length of nothing": OK + b"content-length: \r\n\r\n",
    "a length of 1, 1": OK + b"content-length: 1, 1\r\n\r\na",
    "a length beyond 64 bits": OK + b"content-length: 99999999999999999999999\r\n\r\na",
    "two lengths": OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "one length twice": OK + b"content-length: 1\r\ncontent-length: 1\r\n\r\na",
    "a length, then chunks": OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunks, then a length": OK + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "a length, then gzip": OK + b"content-length: 1\r\ntransfer-encoding: gzip\r\n\r\na",
    "gzip": OK + b"transfer-encoding: gzip\r\n\r\na",
    "gzip, chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunked, gzip": OK + b"transfer-encoding: chunked, gzip\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "chunked twice": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "xchunked": OK + b"transfer-encoding: xchunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "identity": OK + b"transfer-encoding: identity\r\n\r\na",
    "HTTP/1.0 in chunks": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + EMPTY,
    "HTTP/0.9 by name": b"HTTP/0.9 200 OK\r\n" + EMPTY,
    "status 000": b"HTTP/1.1 000 X\r\n" + EMPTY,
    "status 101": b"HTTP/1.1 101 X\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "an endless header": OK + b"x: " + b"a" * (HEAD_BYTES + 20_000) + b"\r\n" + EMPTY,
    "an endless name": OK + b"a" * (HEAD_BYTES + 20_000) + b": x\r\n" + EMPTY,
    "an endless reason": b"HTTP/1.1 200 " + b"a" * (HEAD_BYTES + 20_000) + b"\r\n" + EMPTY,
    "many long headers": OK + (b"x: " + b"a" * 10_000 + b"\r\n") * 30 + EMPTY,
    "too many headers": OK + b"x: y\r\n" * (HEADERS + 1) + EMPTY,
}
"""What is no head. The origin then waits, so that only reading it strictly ends the request."""

BAD_BODY: dict[str, bytes] = {
    "a size of zz": b"zz\r\n",
    "a size of -1": b"-1\r\na\r\n0\r\n\r\n",
    "a size of 0x1": b"0x1\r\na\r\n0\r\n\r\n",
    "a size of +1": b"+1\r\na\r\n0\r\n\r\n",
    "a size of nothing": b"\r\n",
    "a size beyond 64 bits": b"fffffffffffffffff\r\na\r\n0\r\n\r\n",
    "space before the size": b" 1\r\na\r\n0\r\n\r\n",
    "space after the size": b"1 \r\na\r\n0\r\n\r\n",
    "a chunk longer than its size": b"1\r\nab\r\n0\r\n\r\n",
    "no line end after a chunk": b"1\r\na0\r\n\r\n",
    "sizes ended by LF": b"1\na\n0\n\n",
    "a CR in an extension": b"1;a\rb\r\na\r\n0\r\n\r\n",
    "a NUL in an extension": b"1;a\0\r\na\r\n0\r\n\r\n",
    "a trailer without a colon": b"1\r\na\r\n0\r\nnonsense\r\n\r\n",
    "a length as a trailer": b"1\r\na\r\n0\r\ncontent-length: 9\r\n\r\n",
    "an endless extension": b"1;" + b"a" * (HEAD_BYTES + 300_000) + b"\r\na\r\n0\r\n\r\n",
    "an endless trailer": b"1\r\na\r\n0\r\nx: " + b"a" * (HEAD_BYTES + 300_000) + b"\r\n\r\n",
    "trailers without end": b"1\r\na\r\n0\r\n" + b"x: y\r\n" * 200_000 + b"\r\n",
}
"""What is no chunked body, after a good chunk."""

EARLY: dict[str, bytes] = {
    "before its length": OK + b"content-length: 1000\r\n\r\nabc",
    "after the head of a length": OK + b"content-length: 1000\r\n\r\n",
    "after the head of chunks": CHUNKED,
    "in a size": CHUNKED + b"1",
    "in a chunk": CHUNKED + b"a\r\nabc",
    "after a chunk": CHUNKED + b"3\r\nabc\r\n",
    "before the last line": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "in a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nx: y\r\n",
}
"""Responses whose connection closes too early."""

JUNK: dict[str, bytes] = {
    "junk": b"junk",
    "a second response": OK + b"content-length: 1\r\n\r\nx",
    "half a second response": OK + b"content-length: 10\r\n\r\nx",
    "a NUL": b"\0",
}
"""What nobody asked for, after a complete response."""

DISAGREED: dict[str, str] = {
    "space before the name": "aiohttp takes the space away",
    "a folded header": "aiohttp unfolds",
    "lines ended by LF": "aiohttp forgives a lone LF",
    "space after the size": "aiohttp forgives it",
    "gzip": "aiohttp reads on to the end of the connection",
    "gzip, chunked": "aiohttp takes away the chunks, and leaves the gzip",
    "chunked, gzip": "aiohttp reads on to the end of the connection",
    "chunked twice": "aiohttp takes the second for the first",
    "xchunked": "aiohttp reads on to the end of the connection",
    "identity": "aiohttp reads on to the end of the connection",
    "HTTP/1.0 in chunks": "aiohttp reads chunks, which an HTTP/1.0 proxy between would not have (RFC 9112 6.1)",
    "HTTP/2.0": "aiohttp does not look at the version",
    "HTTP/0.9 by name": "aiohttp does not look at the version",
    "status 000": "aiohttp takes any three digits",
    "status 101": "aiohttp takes it for the answer, though nobody asked to switch",
    "many long headers": "aiohttp bounds each header, not all together",
    "an endless extension": "aiohttp bounds no extension",
    "junk": "aiohttp forgets the response that came in the same read",
    "a NUL": "aiohttp forgets the response that came in the same read",
}
"""Where the oracle does otherwise, and what. Ours is the stricter in all but the last two, where the response is
whole and only the connection is spoilt."""
