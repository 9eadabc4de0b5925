"""Requests that the server's parser lets through, and that are ours to refuse or to serve with care."""

import asyncio

import pytest

from tests.harness.raw import SECONDS, connected, request
from tests.harness.refusals import ALLOWED_ORIGIN, assert_refused
from tests.harness.running import ORIGIN
from tests.harness.shared import ON_MODULE_LOOP

pytestmark = ON_MODULE_LOOP

TARGET = "/v1/shape?table=chat_messages&offset=-1"
NAMED = "/v1/shapes/chat_messages?offset=-1"
JSON = "content-type: application/json"

BEARER = "authorization: Bearer {token}"

# Each with a good token where BEARER stands: nothing but the oddity is wrong.
HEADS = {
    "no Host": (request(TARGET, BEARER, host=False), "malformed_request"),
    "two Hosts": (request(TARGET, "host: other", BEARER), "malformed_request"),
    "the same Host twice": (request(TARGET, "host: proxy", BEARER), "malformed_request"),
    "two tokens": (request(TARGET, BEARER, "authorization: Bearer x"), "malformed_request"),
    "the same token twice": (request(TARGET, BEARER, BEARER), "malformed_request"),
    "two etags": (request(TARGET, BEARER, *['if-none-match: "1-2"'] * 2), "malformed_request"),
    "two traceparents": (request(TARGET, BEARER, *["traceparent: 00"] * 2), "malformed_request"),
    "a body by content-length": (
        request(TARGET, BEARER, "content-length: 2", body=b"{}"),
        "malformed_request",
    ),
    "a body in chunks": (
        request(TARGET, BEARER, "transfer-encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        "malformed_request",
    ),
    "an empty body in chunks": (
        request(TARGET, BEARER, "transfer-encoding: chunked", body=b"0\r\n\r\n"),
        "malformed_request",
    ),
    "a length of 00": (request(TARGET, BEARER, "content-length: 00"), "malformed_request"),
    "a high-bit Host": (request(TARGET, "host: pröxy", BEARER, host=False), "malformed_request"),
    "a high-bit etag": (request(TARGET, 'if-none-match: "ä"', BEARER), "malformed_request"),
    "a high-bit token": (request(TARGET, "authorization: Bearer tökén"), "token_invalid"),
    "HTTP/2.0": (request(TARGET, BEARER).replace(b"HTTP/1.1", b"HTTP/2.0"), "malformed_request"),
    "HTTP/0.9": (f"GET {TARGET}\r\n\r\n".encode(), "malformed_request"),
    "an empty query": (request("/v1/shape?", BEARER), "malformed_request"),
    "no query": (request("/v1/shape", BEARER), "malformed_request"),
    "a bad percent sign in the query": (request(TARGET + "&where=%zz", BEARER), "malformed_request"),
    "a half percent sign": (request(TARGET + "&where=%4", BEARER), "malformed_request"),
    "an overlong UTF-8 byte": (request(TARGET + "&where=%c0%80", BEARER), "malformed_request"),
    "a NUL in the query": (request(TARGET + "&where=a%00b", BEARER), "malformed_request"),
    "a query beyond its bound": (request(TARGET + "&where=" + "a" * 25_000, BEARER), "target_too_long"),
    "a token beyond its bound": (
        request(TARGET, f"authorization: Bearer {'a' * 5000}"),
        "token_invalid",
    ),
    "no token": (request(TARGET), "token_missing"),
    "Basic credentials": (request(TARGET, "authorization: Basic YTpi"), "token_missing"),
    "an empty token": (request(TARGET, "authorization: Bearer "), "token_missing"),
    "two tokens in one header": (request(TARGET, BEARER + ", Bearer x"), "token_invalid"),
    "a POST of a form": (
        request(TARGET, BEARER, "content-type: text/plain", "content-length: 2", method="POST"),
        "media_type_unsupported",
    ),
    "a POST without a type": (
        request(TARGET, BEARER, "content-length: 2", method="POST", body=b"{}"),
        "media_type_unsupported",
    ),
    "a POST without a body": (request(TARGET, BEARER, JSON, method="POST"), "subset_malformed"),
    "a POST beyond its bound": (
        request(TARGET, BEARER, JSON, "content-length: 1048577", method="POST"),
        "body_too_large",
    ),
}


@pytest.mark.parametrize(("said", "code"), HEADS.values(), ids=HEADS.keys())
async def test_an_odd_request_is_refused_so_that_its_page_can_read_why(proxy, upstream, said, code):
    async with connected(proxy.address) as raw:
        said = said.replace(b"{token}", proxy.token().encode())
        answered = await raw.ask(said.replace(b"\r\n", f"\r\n{ALLOWED_ORIGIN}\r\n".encode(), 1))
        assert_refused(answered, code, origin=ORIGIN)
    assert upstream.asked == []
    [ended] = proxy.ended
    assert (ended.code, ended.status) == (code, answered.status)


TARGETS = {
    "absolute form": "http://proxy" + TARGET,
    "absolute form of another host": "http://127.0.0.1:5432" + TARGET,
    "absolute https": "https://proxy" + TARGET,
    "an asterisk": "*",
    "a fragment": TARGET + "#x",
    "a fragment before the query": "/v1/shape#?table=chat_messages&offset=-1",
    "no slash": "v1/shape?table=chat_messages&offset=-1",
    "authority form": "proxy:443",
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
async def test_a_target_that_is_no_path_is_refused(proxy, upstream, target):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(request(target, f"authorization: Bearer {proxy.token()}"))
        assert_refused(answered, "malformed_request")
        assert await raw.is_closed()
    assert upstream.asked == []


PATHS = [
    "/",
    "/v1",
    "/v1/",
    "/v1//shape",
    "//v1/shape",
    "//proxy/v1/shape",
    "/v1/shape/",
    "/v1/shape//",
    "/v1/%73hape",
    "/%76%31/shape",
    "/v1%2fshape",
    "/v1%2Fshape",
    "/v1/shape%2f",
    "/v1/shape%00",
    "/v1/shape%20",
    "/v1/shape%3f",
    "/v1/shape%",
    "/v1/shape;x",
    "/v1/shape;jsessionid=1",
    "/v1/shape.json",
    "/v1/./shape",
    "/v1/../v1/shape",
    "/v1/%2e%2e/v1/shape",
    "/v1/shape/.",
    "/v1/shape/..",
    "/v1\\shape",
    "/v1/Shape",
    "/V1/shape",
    "/v2/shape",
    "/v1/health",
    "/live",
    "/ready",
    "/metrics",
    "/v1/shapes/",
    "/v1/shapes//",
    "/v1/shapes/CHAT_MESSAGES",
    "/v1/shapes/chat_messages/",
    "/v1/shapes/chat_messages%20",
    "/v1/shapes/chat_messages%00",
    "/v1/shapes/chat%5fmessages",
    "/v1/shapes/../shape",
    "/v1/shapes/.",
    "/v1/shapes/..",
    "/v1/shapes/1chat",
    "/v1/shapes/" + "a" * 64,
]


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_that_only_resembles_ours_is_not_there(proxy, upstream, path):
    async with connected(proxy.address) as raw:
        bearer = f"authorization: Bearer {proxy.token()}"
        answered = await raw.ask(request(path + "?table=chat_messages&offset=-1", bearer, ALLOWED_ORIGIN))
        assert_refused(answered, "not_found", origin=ORIGIN)
    assert upstream.asked == []


@pytest.mark.parametrize("path", ["/v1/shapes/unheard-of", "/v1/shapes/" + "a" * 63, "/v1/shapes/pg_user"])
async def test_a_name_that_no_policy_has_is_forbidden(proxy, upstream, path):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(request(path + "?offset=-1", f"authorization: Bearer {proxy.token()}"))
        assert_refused(answered, "shape_forbidden")
    assert upstream.asked == []


METHODS = ["DELETE", "PUT", "PATCH", "TRACE", "PROPFIND", "M-SEARCH", "PURGE", "LINK", "SEARCH"]


@pytest.mark.parametrize("method", METHODS)
async def test_another_method_is_refused_and_the_allowed_ones_named(proxy, upstream, method):
    async with connected(proxy.address) as raw:
        said = request(TARGET, f"authorization: Bearer {proxy.token()}", ALLOWED_ORIGIN, method=method)
        answered = await raw.ask(said)
        assert_refused(answered, "method_not_allowed", origin=ORIGIN)
        assert answered.head["allow"] == "GET, HEAD, POST, OPTIONS"
        assert_refused(await raw.ask(request(TARGET)), "token_missing")
    assert upstream.asked == []
    assert [ended.code for ended in proxy.ended] == ["method_not_allowed", "token_missing"]


@pytest.mark.parametrize("target", ["proxy:443", TARGET, "127.0.0.1:5432"])
async def test_connect_opens_no_tunnel(proxy, upstream, target):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(request(target, f"authorization: Bearer {proxy.token()}", method="CONNECT"))
        assert answered.status in (400, 405)
        assert await raw.is_closed()
    assert upstream.asked == []


async def test_a_refused_head_has_no_body(proxy, upstream):
    async with connected(proxy.address) as raw:
        await raw.say(request(TARGET, ALLOWED_ORIGIN, method="HEAD"))
        head = await raw.head()
        assert (head.status, head["www-authenticate"]) == (401, "Bearer")
        assert head["content-type"] == "application/json"
        assert int(head["content-length"]) > 0
        assert (await raw.ask(request("/", method="GET"))).status == 404
    assert upstream.asked == []


UPGRADES = {
    "h2c": ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"),
    "websocket": (
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
    "TLS": ("connection: upgrade", "upgrade: TLS/1.0"),
}


@pytest.mark.parametrize("fields", UPGRADES.values(), ids=UPGRADES.keys())
async def test_an_upgrade_is_not_taken_and_what_follows_it_is_not_heard(proxy, upstream, fields):
    async with connected(proxy.address) as raw:
        bearer = f"authorization: Bearer {proxy.token()}"
        answered = await raw.ask(request(TARGET, bearer, *fields) + request(TARGET, bearer))
        assert answered.status == 200
        assert "upgrade" not in answered.head.names
        assert await raw.is_closed()
    [asked] = upstream.asked
    assert {"upgrade", "connection", "http2-settings"} & {name.lower() for name, _ in asked.headers} <= {"connection"}


async def test_http_1_0_is_served_and_its_connection_closed(proxy, upstream):
    async with connected(proxy.address) as raw:
        said = request(TARGET, f"authorization: Bearer {proxy.token()}").replace(b"HTTP/1.1", b"HTTP/1.0")
        await raw.say(said)
        assert (await raw.head()).status == 200
        await raw.reader.read()
    assert len(upstream.asked) == 1


async def test_pipelined_requests_are_answered_in_their_order(proxy, upstream):
    async def tell(connection, asked):
        await connection.reply(body=asked.params["offset"].encode())

    upstream.script = tell
    bearer = f"authorization: Bearer {proxy.token()}"
    target = "/v1/shape?table=chat_messages&handle=1-2&offset="
    async with connected(proxy.address) as raw:
        await raw.say(b"".join(request(f"{target}{n}_0", bearer) for n in range(10)))
        assert [(await raw.answer()).body for _ in range(10)] == [b"%d_0" % n for n in range(10)]


async def test_a_pile_of_pipelined_requests_is_refused(proxy, upstream):
    async def hold(connection, _):
        await connection.closed.wait()

    upstream.script = hold
    async with connected(proxy.address) as raw:
        await raw.say(request(TARGET, f"authorization: Bearer {proxy.token()}") * 100)
        assert await raw.is_closed()
    assert len(upstream.asked) <= 1


async def test_a_client_that_leaves_is_missed_even_with_a_request_behind_the_one_that_waits(proxy, upstream):
    async def hold(connection, _):
        held.append(connection)
        await connection.closed.wait()

    held = []
    upstream.script = hold
    async with connected(proxy.address) as raw:
        await raw.say(request(TARGET, f"authorization: Bearer {proxy.token()}") * 2)
        await upstream.wait_for(1)
    async with asyncio.timeout(SECONDS):
        await held[0].closed.wait()


async def test_a_connection_serves_one_request_after_another(proxy, upstream):
    async with connected(proxy.address) as raw:
        said = request(TARGET, f"authorization: Bearer {proxy.token()}")
        for _ in range(20):
            assert (await raw.ask(said)).status == 200
            assert (await raw.ask(request(TARGET))).status == 401
    assert len(upstream.asked) == 20
    assert len(proxy.ended) == 40


async def test_a_client_may_ask_to_close(proxy, upstream):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(request(TARGET, f"authorization: Bearer {proxy.token()}", "connection: close"))
        assert answered.head["connection"] == "close"
        assert await raw.is_closed()


async def test_expect_100_continue_is_answered_before_the_body_is_sent(proxy, upstream):
    async with connected(proxy.address) as raw:
        body = b'{"where":"role = \'user\'"}'
        fields = (f"authorization: Bearer {proxy.token()}", JSON, f"content-length: {len(body)}")
        await raw.say(request(TARGET, *fields, "expect: 100-continue", method="POST"))
        assert (await raw.head()).status == 100
        assert (await raw.ask(body)).status == 200
    assert upstream.asked[0].method == "POST"


async def test_nobody_without_a_token_is_asked_for_a_body(proxy, upstream):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(request(TARGET, JSON, "content-length: 9", "expect: 100-continue", method="POST"))
        assert_refused(answered, "token_missing")


SERVED = {
    "by table": TARGET,
    "by name": NAMED,
    "by table with a schema": "/v1/shape?table=public.chat_messages&offset=-1",
    "brackets as browsers send them": TARGET + "&where=role+%3D+%241&params[1]=user",
    "brackets encoded": TARGET + "&where=role+%3D+%241&params%5B1%5D=user",
}


@pytest.mark.parametrize("target", SERVED.values(), ids=SERVED.keys())
async def test_both_paths_are_served(proxy, upstream, target):
    async with connected(proxy.address) as raw:
        assert (await raw.ask(request(target, f"authorization: Bearer {proxy.token()}"))).status == 200
    assert upstream.asked[0].params["table"] == '"public"."chat_messages"'


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_of_a_token_is_read_without_regard_to_case(proxy, upstream, scheme):
    async with connected(proxy.address) as raw:
        assert (await raw.ask(request(TARGET, f"authorization: {scheme} {proxy.token()}"))).status == 200


async def test_high_bits_in_a_header_that_nobody_reads_are_nobodys_business(proxy, upstream):
    async with connected(proxy.address) as raw:
        assert (await raw.ask(request(TARGET, f"authorization: Bearer {proxy.token()}", "x-name: Zoë"))).status == 200
    assert "Zo" not in str(upstream.asked[0].headers)
