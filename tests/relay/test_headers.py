"""What crosses, both ways: allow-lists, our own headers, conditions, and the exact upstream target."""

import json
import re
from urllib.parse import quote

import pytest

from proxy.core.headers import EXPOSED
from tests.harness.raw import connected, request
from tests.harness.refusals import assert_refused
from tests.harness.running import ORIGIN, SECRET, running
from tests.harness.shared import ON_MODULE_LOOP, mode
from tests.harness.shared import every_way as way
from tests.harness.upstream import HEADERS, ROWS

pytestmark = ON_MODULE_LOOP
__all__ = ["mode", "way"]  # direct: the conditions of one client are not those of the others who share its answer

TARGET = "/v1/shape?table=chat_messages&offset=-1"
LIVE = "/v1/shape?table=chat_messages&offset=0_0&handle=1-2&live=true"
SSE = LIVE + "&live_sse=true"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STRANGE = {
    "server": "Electric",
    "date": "Thu, 01 Jan 1970 00:00:00 GMT",
    "set-cookie": "a=b",
    "surrogate-control": "no-store",
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "*",
    "access-control-allow-methods": "DELETE",
    "x-request-id": "theirs",
    "vary": "accept-encoding",
    "electric-internal-known-error": "true",
    "electric-unheard-of": "1",
    "location": "http://electric:3000/",
    "www-authenticate": "Basic",
    "strict-transport-security": "max-age=1",
    "alt-svc": 'h3=":443"',
    "link": "<x>",
}
OURS = {
    "cache-control",
    "connection",
    "date",
    "transfer-encoding",
    "vary",
    "via",
    "x-accel-buffering",
    "x-content-type-options",
    "x-request-id",
}
THEIRS = {
    "content-length",
    "content-type",
    "electric-cursor",
    "electric-handle",
    "electric-has-data",
    "electric-offset",
    "electric-schema",
    "electric-snapshot",
    "electric-up-to-date",
    "etag",
    "retry-after",
}


async def ask(proxy, target=TARGET, *fields):
    """The answer to a request with a token."""
    async with connected(proxy.address) as raw:
        return await raw.ask(request(target, f"authorization: Bearer {proxy.token()}", *fields))


def sent_upstream(asked):
    """The fields of a request to Electric, without the id that the proxy gives it."""
    fields = {name.lower(): value for name, value in asked.headers}
    assert len(fields) == len(asked.headers)
    assert re.fullmatch("[0-9a-f]{24}", fields.pop("x-request-id"))
    return fields


def answering(upstream, headers=None, body=ROWS, status=200):
    """Has the upstream answer so."""

    async def script(connection, _):
        await connection.reply(status, body, HEADERS | (headers or {}))

    upstream.script = script


async def test_nothing_but_the_protocol_comes_back(proxy, upstream):
    answering(upstream, STRANGE | {"electric-cursor": "7", "electric-has-data": "true", "electric-snapshot": "true"})
    head = (await ask(proxy)).head
    assert head.names <= OURS | THEIRS
    assert head["electric-cursor"] == "7"
    assert head["electric-has-data"] == "true"
    assert head["electric-snapshot"] == "true"
    assert head["electric-handle"] == proxy.handle(HEADERS["electric-handle"])
    assert head["electric-offset"] == HEADERS["electric-offset"]
    assert head["electric-schema"] == HEADERS["electric-schema"]
    assert head["etag"] == HEADERS["etag"]
    assert "1970" not in head["date"]
    assert head["x-request-id"] != "theirs"


async def test_an_empty_header_stays_for_its_presence_is_the_signal(proxy, upstream):
    assert (await ask(proxy)).head["electric-up-to-date"] == ""


async def test_a_header_that_electric_leaves_out_is_not_made_up(proxy, upstream):
    async def bare(connection, _):
        await connection.reply(headers={"content-type": "application/json"})

    upstream.script = bare
    head = (await ask(proxy)).head
    assert not [name for name in head.names if name.startswith("electric-")]
    assert "etag" not in head.names


CACHING = {
    "a snapshot": (TARGET, 200, "private, no-cache"),
    "a poll": (LIVE, 200, "private, no-cache"),
    "a stream": (SSE, 200, "private, no-cache, no-transform"),
    "a must-refetch": (LIVE, 409, "private, no-cache"),
    "a fault of the request": (LIVE, 400, "no-store"),
    "an outage": (LIVE, 503, "no-store"),
}


@pytest.mark.parametrize(("target", "status", "caching"), CACHING.values(), ids=CACHING.keys())
async def test_no_shared_cache_keeps_an_answer(proxy, upstream, target, status, caching):
    answering(upstream, {"cache-control": "public, max-age=604800, s-maxage=3600"}, status=status)
    head = (await ask(proxy, target)).head
    assert (head.status, head["cache-control"]) == (status, caching)
    assert head["vary"] == "authorization, origin"
    assert head["via"] == "1.1 shape-proxy"
    assert head["x-content-type-options"] == "nosniff"
    assert len(head["x-request-id"]) == 24


async def test_a_stream_tells_proxies_in_front_not_to_buffer(proxy, upstream):
    answering(upstream, {"content-type": "text/event-stream"}, body=b"data: {}\n\n")
    assert (await ask(proxy, SSE)).head["x-accel-buffering"] == "no"
    assert "x-accel-buffering" not in (await ask(proxy, LIVE)).head.names


CORS = {
    "the allowed origin": (ORIGIN, [ORIGIN]),
    "another origin": ("https://evil.example", []),
    "its suffix": (ORIGIN + ".evil.example", []),
    "another scheme": (ORIGIN.replace("https", "http"), []),
    "another port": (ORIGIN + ":8443", []),
    "its name in capitals": (ORIGIN.upper(), []),
    "a file's": ("null", []),
    "an asterisk": ("*", []),
    "two in one": (f"{ORIGIN}, https://evil.example", []),
}


@pytest.mark.parametrize("token", [True, False], ids=["an answer", "a refusal"])
@pytest.mark.parametrize(("origin", "echoed"), CORS.values(), ids=CORS.keys())
async def test_only_pages_of_the_allowed_origin_may_read(proxy, upstream, origin, echoed, token):
    async with connected(proxy.address) as raw:
        bearer = [f"authorization: Bearer {proxy.token()}"] if token else []
        head = (await raw.ask(request(TARGET, f"origin: {origin}", *bearer))).head
    assert head.all("access-control-allow-origin") == echoed
    assert head.all("access-control-expose-headers") == [EXPOSED.decode()] * len(echoed)
    assert "access-control-allow-credentials" not in head.names


async def test_two_origins_are_none(proxy, upstream):
    answered = await ask(proxy, TARGET, f"origin: {ORIGIN}", f"origin: {ORIGIN}")
    assert_refused(answered, "malformed_request")


@pytest.mark.parametrize("status", [400, 409, 503, 401, 500], ids=str)
async def test_pages_may_read_what_electric_says_and_what_we_say_of_it(proxy, upstream, status):
    answering(upstream, status=status)
    head = (await ask(proxy, TARGET, f"origin: {ORIGIN}")).head
    assert head["access-control-allow-origin"] == ORIGIN


async def preflight(proxy, *fields, target=TARGET):
    """The answer to a preflight, which never has a token."""
    async with connected(proxy.address) as raw:
        return await raw.ask(request(target, *fields, method="OPTIONS"))


async def test_a_preflight_is_answered_here_and_without_a_token(proxy, upstream):
    asked = ("access-control-request-method: POST", "access-control-request-headers: authorization,content-type")
    answered = await preflight(proxy, f"origin: {ORIGIN}", *asked)
    head = answered.head
    assert (answered.status, answered.body) == (204, b"")
    assert head["access-control-allow-origin"] == ORIGIN
    assert head["access-control-allow-methods"] == "GET, HEAD, POST, OPTIONS"
    assert head["access-control-allow-headers"] == "authorization, content-type, if-none-match, traceparent"
    assert head["access-control-max-age"] == "7200"
    assert head["vary"] == "authorization, origin"
    assert upstream.asked == []
    assert [(ended.code, ended.status) for ended in proxy.ended] == [("ok", 204)]


@pytest.mark.parametrize(
    "fields", [[], ["origin: https://evil.example"], ["origin: null"]], ids=["none", "evil", "null"]
)
async def test_a_preflight_of_another_origin_gets_no_permission(proxy, upstream, fields):
    answered = await preflight(proxy, *fields)
    assert answered.status == 204
    assert not [name for name in answered.head.names if name.startswith("access-control-")]
    assert upstream.asked == []


async def test_more_headers_can_be_permitted_and_none_of_them_travels(upstream, tmp_path, way):
    async with running(
        upstream.url, tmp_path, way=way, PROXY_ALLOWED_HEADERS="tracestate,Baggage,sentry-trace,origin"
    ) as proxy:
        asked = ("access-control-request-method: GET", "access-control-request-headers: baggage,tracestate")
        head = (await preflight(proxy, f"origin: {ORIGIN}", *asked)).head
        assert head["access-control-allow-headers"].split(", ") == [
            *["authorization", "content-type", "if-none-match", "traceparent"],
            *["tracestate", "baggage", "sentry-trace", "origin"],
        ]
        sent = ("tracestate: a=b", "baggage: c=d", "sentry-trace: e-f", f"origin: {ORIGIN}")
        assert (await ask(proxy, TARGET, *sent)).status == 200
    (asked,) = upstream.asked
    assert sent_upstream(asked).keys() == {"host", "accept-encoding"}


async def test_a_preflight_of_another_path_is_refused(proxy, upstream):
    assert_refused(await preflight(proxy, f"origin: {ORIGIN}", target="/v1/other"), "not_found", origin=ORIGIN)


ETAG = '"1-2:-1:7_0"'
CONDITIONS = {
    "its etag": (ETAG, ETAG),
    "two etags": (f'{ETAG}, "1-2:0_0:0_0:77"', f'{ETAG}, "1-2:0_0:0_0:77"'),
    "a weak one beside a strong one": (f'W/"x y", {ETAG}', ETAG),
    "an asterisk": ("*", None),
    "no quotes": ("1-2:-1:7_0", None),
    "other characters": ('"a b;c"', None),
    "nothing": ("", None),
    "a long one": (f'"{"a" * 2000}"', None),
}


@pytest.mark.parametrize(("said", "sent"), CONDITIONS.values(), ids=CONDITIONS.keys())
async def test_only_well_formed_etags_travel_on(proxy, upstream, said, sent):
    await ask(proxy, TARGET, f"if-none-match: {said}")
    headers = {name.lower(): value for name, value in upstream.asked[0].headers}
    assert headers.get("if-none-match") == sent


@pytest.mark.parametrize("length", [{}, {"content-length": "0"}, {"content-length": "65"}], ids=["none", "0", "65"])
async def test_a_browser_revalidates_what_it_has(proxy, upstream, length):
    fields = {key: HEADERS[key] for key in ("electric-handle", "electric-offset", "etag", "electric-up-to-date")}

    async def unless_it_matches(connection, asked):
        if ("if-none-match", ETAG) in [(name.lower(), value) for name, value in asked.headers]:
            said = fields | length | {"x-request-id": connection.request_id}
            lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
            connection.writer.write(f"HTTP/1.1 304 Not Modified\r\n{lines}\r\n".encode())
            await connection.writer.drain()
        else:
            await connection.reply()

    upstream.script = unless_it_matches
    async with connected(proxy.address) as raw:
        bearer = f"authorization: Bearer {proxy.token()}"
        etag = (await raw.ask(request(TARGET, bearer))).head["etag"]
        again = await raw.ask(request(TARGET, bearer, f"if-none-match: {etag}"))
        assert (again.status, again.body) == (304, b"")
        assert again.head["etag"] == etag
        assert again.head["electric-handle"] == proxy.handle("1-2")
        assert again.head["electric-up-to-date"] == ""
        assert again.head["cache-control"] == "private, no-cache"
        assert (await raw.ask(request(TARGET, bearer))).status == 200
    assert [ended.code for ended in proxy.ended] == ["ok"] * 3


TRACES = {
    "well-formed": (TRACE, TRACE),
    "in capitals": (TRACE.upper(), None),
    "of another version": ("ff" + TRACE[2:], None),
    "with more behind it": (TRACE + "-x", None),
    "too short": (TRACE[:-1], None),
    "empty": ("", None),
}


@pytest.mark.parametrize(("said", "sent"), TRACES.values(), ids=TRACES.keys())
async def test_only_a_well_formed_traceparent_travels_on(proxy, upstream, said, sent):
    await ask(proxy, TARGET, f"traceparent: {said}")
    headers = {name.lower(): value for name, value in upstream.asked[0].headers}
    assert headers.get("traceparent") == sent


async def test_nothing_else_of_the_client_reaches_electric(proxy, upstream):
    said = {
        "accept": "application/json",
        "accept-encoding": "gzip, br",
        "cookie": "session=1",
        "origin": ORIGIN,
        "referer": "https://app.example/page",
        "user-agent": "browser",
        "forwarded": "for=127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "evil",
        "x-forwarded-proto": "https",
        "x-real-ip": "127.0.0.1",
        "x-request-id": "a" * 30,
        "x-http-method-override": "DELETE",
        "proxy-authorization": "Basic YTpi",
        "te": "trailers",
        "connection": "x-secret, keep-alive",
        "x-secret": "1",
        "range": "bytes=0-",
        "baggage": "a=b",
        "tracestate": "a=b",
        "content-type": "text/plain",
    }
    answered = await ask(proxy, TARGET, *[f"{name}: {value}" for name, value in said.items()])
    assert answered.status == 200
    [asked] = upstream.asked
    assert sent_upstream(asked) == {
        "host": upstream.url.removeprefix("http://"),
        "accept-encoding": "identity",
    }


async def test_the_upstream_target_is_built_in_one_order_with_the_secret_last(proxy, upstream):
    where = "role%20%3D%20%241"
    target = f"/v1/shape?cursor=7&live=true&offset=0_0&handle=1-2&params[1]=u%26b&where={where}&table=chat_messages"
    assert (await ask(proxy, target)).status == 200
    [asked] = upstream.asked
    path, _, query = asked.target.partition("?")
    assert path == "/v1/shape"
    names = [pair.split("=")[0] for pair in query.split("&")]
    assert names == [
        *("table", "where", "params%5B1%5D", "params%5B2%5D", "columns", "queryable_columns", "replica", "log"),
        *("offset", "handle", "live", "cursor", "secret"),
    ]
    assert asked.target.endswith("&secret=" + quote(SECRET, safe=""))
    assert "params%5B2%5D=u%26b" in query
    assert "where=" + quote('("session_id" = $1) AND ("role" = $2)', safe="") in query
    assert asked.body == b""


async def test_a_body_is_rebuilt_and_never_forwarded(proxy, upstream):
    body = b'{ "limit" : 5, "order_by": "created_at",\n "where": "role = $1", "params": {"1": "user"} }'
    async with connected(proxy.address) as raw:
        fields = (f"authorization: Bearer {proxy.token()}", "content-type: application/json; charset=utf-8")
        said = request(TARGET, *fields, f"content-length: {len(body)}", method="POST", body=body)
        assert (await raw.ask(said)).status == 200
    [asked] = upstream.asked
    assert asked.method == "POST"
    assert json.loads(asked.body) == {
        "where": '("session_id" = $1) AND ("role" = $2)',
        "params": {"1": "s-ada", "2": "user"},
        "order_by": '"created_at"',
        "limit": 5,
    }
    assert b" :" not in asked.body
    assert sent_upstream(asked) == {
        "host": upstream.url.removeprefix("http://"),
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(asked.body)),
    }
    assert asked.params["params[1]"] == "s-ada"
