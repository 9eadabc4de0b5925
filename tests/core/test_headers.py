"""Which headers cross, both ways, and what every answer says of caching and origins."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import headers
from proxy.core.errors import Code
from proxy.core.headers import ANSWER, EXPOSED, Origins
from proxy.core.request import Kind

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ETAG = b'"38083685-1729874417404867:-1:0_0"'


def sent(if_none_match: bytes | None = None, traceparent: bytes | None = None, *, body: bool = False) -> dict[str, str]:
    return headers.upstream(if_none_match=if_none_match, traceparent=traceparent, body=body)


# --- to Electric


def test_little_is_sent_to_electric() -> None:
    assert sent() == {"accept-encoding": "identity"}
    assert sent(body=True) == {"accept-encoding": "identity", "content-type": "application/json"}


@pytest.mark.parametrize("value", [ETAG, b'"1-2:0_inf:26_4:77"', b'"a"', b'"' + b"a" * 160 + b'"'])
def test_an_etag_of_electrics_form_is_sent(value: bytes) -> None:
    assert sent(value)["if-none-match"] == value.decode()


def test_several_etags_are_sent_in_one_line() -> None:
    assert sent(b'"1-2:-1:0_0","1-2:0_0:1_0"')["if-none-match"] == '"1-2:-1:0_0", "1-2:0_0:1_0"'


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"*",
        b'""',
        b"abc",
        b'"abc',
        b'"ab c"',
        b'"ab\x00c"',
        b'"ab\r\nsecret: c"',
        b'"' + b"a" * 161 + b'"',
        b'"A"',
    ],
)
def test_any_other_etag_stays_behind(value: bytes) -> None:
    assert "if-none-match" not in sent(value)


@given(st.binary(max_size=80) | st.text('"W/, *ab0:_-\r\n', max_size=80).map(str.encode))
def test_whatever_a_client_says_only_etags_are_sent(value: bytes) -> None:
    line = sent(value).get("if-none-match", '"x"')
    assert all(etag[0] == etag[-1] == '"' and etag.strip('"') for etag in line.split(", "))
    assert set(line) <= set('", abcdefghijklmnopqrstuvwxyz0123456789_:-')


def test_no_more_than_a_kibibyte_of_etags_is_looked_at() -> None:
    assert len(sent(b'"a",' * 9999)["if-none-match"]) <= 1024 + 256


def test_a_trace_of_the_standards_form_is_sent() -> None:
    assert sent(traceparent=TRACE)["traceparent"] == TRACE.decode()


@pytest.mark.parametrize("junk", [b" ", b"\n", b"-", b"0", b"\x00", b",", b"\xff"])
def test_a_trace_with_junk_before_or_behind_stays_behind(junk: bytes) -> None:
    for value in (junk + TRACE, TRACE + junk):
        assert "traceparent" not in sent(traceparent=value)


@pytest.mark.parametrize("value", [b"", TRACE.upper(), TRACE + TRACE, b"01" + TRACE[2:], TRACE[:-1] + b"g"])
def test_any_other_trace_stays_behind(value: bytes) -> None:
    assert "traceparent" not in sent(traceparent=value)


# --- to the client

PROTOCOL = [
    (b"electric-handle", b"1-2"),
    (b"electric-offset", b"0_0"),
    (b"electric-schema", b"{}"),
    (b"electric-cursor", b"17"),
    (b"electric-up-to-date", b""),
    (b"electric-has-data", b"true"),
    (b"electric-snapshot", b"true"),
    (b"etag", ETAG),
    (b"retry-after", b"5"),
    (b"content-type", b"application/json; charset=utf-8"),
    (b"content-length", b"2"),
]
OURS = [(b"x-content-type-options", b"nosniff"), (b"via", b"1.1 shape-proxy")]
VARY = (b"vary", b"authorization, origin")
STRANGE = [
    *[b"electric-server", b"electric-internal-known-error", b"server", b"date", b"set-cookie", b"connection"],
    *[b"keep-alive", b"transfer-encoding", b"content-encoding", b"surrogate-control", b"cache-control", b"vary"],
    *[b"x-request-id", b"access-control-allow-origin", b"access-control-expose-headers", b"location", b"via", b"link"],
    *[b"x-electric-offset", b"electric-offset2", b"electric_offset", b"ELECTRIC-OFFSET", b"electric-offset ", b""],
]


def test_the_protocols_headers_pass_in_order_and_untouched() -> None:
    kept = [field for field in PROTOCOL if field[0] != b"content-length"]  # it belongs to one body, not to the head
    assert headers.response_fields(PROTOCOL, 200, Kind.initial)[: len(kept)] == kept
    assert {name for name, _ in PROTOCOL} == ANSWER


def test_an_answer_that_is_not_modified_has_no_length() -> None:
    names = [name for name, _ in headers.response_fields(PROTOCOL, 304, Kind.catch_up)]
    assert b"content-length" not in names
    assert set(names) >= ANSWER - {b"content-length"}


@pytest.mark.parametrize("name", STRANGE)
def test_any_other_header_stays_behind(name: bytes) -> None:
    came = headers.response_fields([(name, b"evil")], 200, Kind.initial)
    assert came == [*OURS, (b"cache-control", b"private, no-cache"), VARY]


def test_the_empty_signal_of_an_up_to_date_answer_survives() -> None:
    assert (b"electric-up-to-date", b"") in headers.response_fields(PROTOCOL, 200, Kind.live)


CACHING = {
    "a log": (200, Kind.initial, b"private, no-cache"),
    "a poll": (200, Kind.live, b"private, no-cache"),
    "a page": (200, Kind.subset, b"private, no-cache"),
    "not modified": (304, Kind.catch_up, b"private, no-cache"),
    "must refetch": (409, Kind.catch_up, b"private, no-cache"),
    "a stream": (200, Kind.sse, b"private, no-cache, no-transform"),
    "a stream's must refetch": (409, Kind.sse, b"private, no-cache, no-transform"),
    "a fault": (400, Kind.initial, b"no-store"),
    "a fault of a stream": (400, Kind.sse, b"no-store"),
    "not available": (503, Kind.live, b"no-store"),
}


@pytest.mark.parametrize(("status", "kind", "said"), CACHING.values(), ids=CACHING)
def test_no_shared_cache_ever_keeps_an_answer(status: int, kind: Kind, said: bytes) -> None:
    came = headers.response_fields([(b"cache-control", b"public, max-age=604800")], status, kind)
    assert [value for name, value in came if name == b"cache-control"] == [said]


@pytest.mark.parametrize(("status", "kind"), [(200, Kind.live), (409, Kind.sse), (200, Kind.subset)])
def test_only_a_stream_asks_not_to_be_buffered(status: int, kind: Kind) -> None:
    assert (b"x-accel-buffering", b"no") in headers.response_fields([], 200, Kind.sse)
    assert (b"x-accel-buffering", b"no") not in headers.response_fields([], status, kind)


# --- refusals


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_a_refusal_is_json_that_nobody_keeps(code: Code) -> None:
    came = headers.refusal(code, code.value.retry_after)
    assert (b"content-type", b"application/json") in came
    assert (b"cache-control", b"no-store") in came
    assert VARY in came
    assert len({name for name, _ in came}) == len(came)


CHALLENGES = {code: b'Bearer error="invalid_token"' for code in Code if code.value.status == 401} | {
    Code.token_missing: b"Bearer"
}


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_a_refusal_says_what_to_do_next(code: Code) -> None:
    came = dict(headers.refusal(code, code.value.retry_after))
    assert came.get(b"www-authenticate") == CHALLENGES.get(code)
    wait = code.value.retry_after
    assert came.get(b"retry-after") == (None if wait is None else str(wait).encode())


# --- origins

APP = "https://app.example"
SOME, ALL, NONE = Origins.of([APP, "http://localhost:5173"]), Origins.of(["*"]), Origins.of([])


def test_an_origin_on_the_list_is_echoed() -> None:
    assert SOME.cors(APP.encode()) == [
        (b"access-control-allow-origin", APP.encode()),
        (b"access-control-expose-headers", EXPOSED),
    ]
    assert SOME.allow(b"http://localhost:5173")


ELSEWHERE = [
    *[b"", b"null", b"https://app.example/", b"https://app.example:443", b"http://app.example", b"https://APP.example"],
    *[
        b"https://app.example.evil.example",
        b"https://evil-app.example",
        b" https://app.example",
        b"https://app.example ",
    ],
    *[b"https://app.examplehttps://app.example", b"https://app.example, https://app.example", b"*", b"\xff"],
]


@pytest.mark.parametrize("origin", ELSEWHERE)
def test_an_origin_that_is_not_on_the_list_gets_no_permission(origin: bytes) -> None:
    assert SOME.cors(origin) == NONE.cors(APP.encode()) == []
    assert SOME.preflight(origin) == [VARY]
    assert not SOME.allow(origin)


def test_without_an_origin_there_is_nothing_to_permit() -> None:
    assert SOME.cors(None) == ALL.cors(None) == []
    assert SOME.preflight(None) == [VARY]


def test_a_star_permits_all_and_echoes_none() -> None:
    assert ALL.cors(b"https://any.example")[0] == (b"access-control-allow-origin", b"*")
    assert ALL.allow(b"null")


def test_a_preflight_permits_what_clients_need() -> None:
    assert SOME.preflight(APP.encode()) == [
        *SOME.cors(APP.encode()),
        (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
        (b"access-control-allow-headers", b"authorization, content-type, if-none-match, traceparent"),
        (b"access-control-max-age", b"7200"),
        VARY,
    ]


def test_a_preflight_permits_more_headers_each_once() -> None:
    more = Origins.of([APP], ["tracestate", "traceparent", "tracestate"]).preflight(APP.encode())
    names = b"authorization, content-type, if-none-match, traceparent, tracestate"
    assert (b"access-control-allow-headers", names) in more


def test_without_the_setting_no_answer_permits_credentials() -> None:
    for origins in (SOME, ALL, NONE):
        names = {name for name, _ in origins.preflight(APP.encode())}
        assert b"access-control-allow-credentials" not in names


def test_pages_may_read_every_header_that_the_client_library_reads() -> None:
    assert EXPOSED.decode().split(", ") == [
        *["electric-cursor", "electric-handle", "electric-has-data", "electric-offset", "electric-schema"],
        *["electric-snapshot", "electric-up-to-date", "etag", "retry-after", "www-authenticate", "x-request-id"],
    ]


# --- the schema of an answer


@pytest.mark.parametrize(
    ("schema", "columns"),
    [
        ("{}", frozenset()),
        ('{"id":{"type":"text"}}', frozenset({"id"})),
        ('{"id":{},"Größe":{}}', frozenset({"id", "Größe"})),
        ('{"i\\u0064":{}}', frozenset({"id"})),
    ],
)
def test_a_schema_names_columns(schema: str, columns: frozenset[str]) -> None:
    assert headers.schema_columns(schema) == columns


@pytest.mark.parametrize("schema", ["", "id", "[]", '["id"]', '"id"', "null", "1", "{", '{"id":{}}x', '{"id":{}}{}'])
def test_anything_else_is_no_schema(schema: str) -> None:
    assert headers.schema_columns(schema) is None


@given(st.dictionaries(st.text(), st.none()))
def test_a_schema_hides_no_column(members: dict[str, None]) -> None:
    assert headers.schema_columns(json.dumps(members)) == members.keys()
