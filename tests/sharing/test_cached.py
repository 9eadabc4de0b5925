"""The short cache over real sockets: what is answered without Electric, and what never is."""

import pytest

from tests.harness.raw import request
from tests.harness.upstream import HEADERS, ROWS
from tests.sharing.clients import CATCH_UP, EMPTY, INITIAL, LIVE, STREAM, Scripted, clients, get, how_subscribed

LIFE = {"cache-control": "public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746"}


async def test_a_cached_answer_is_given_without_electric(proxy, upstream):
    Scripted(upstream, lambda connection: connection.reply(headers=HEADERS | LIFE)).go.set()
    async with clients(proxy, 2) as (first, second):
        one = await first.ask(get(proxy, INITIAL))
        two = await second.ask(get(proxy, INITIAL))
    assert len(upstream.asked) == 1
    assert one.body == two.body == ROWS
    assert two.head["cache-control"] == "private, no-cache"
    assert two.head["vary"] == "authorization, origin"
    unlike = {"x-request-id", "date"}
    assert [f for f in one.head.fields if f[0] not in unlike] == [f for f in two.head.fields if f[0] not in unlike]
    assert how_subscribed(proxy) == ["started", "cached"]


async def test_a_cached_answer_answers_validators(proxy, upstream):
    async with clients(proxy, 1) as (subscriber,):
        await subscriber.ask(get(proxy, INITIAL))
        same = await subscriber.ask(get(proxy, INITIAL, f'if-none-match: W/"x", {HEADERS["etag"]}'))
        weak = await subscriber.ask(get(proxy, INITIAL, f"if-none-match: W/{HEADERS['etag']}"))
        other = await subscriber.ask(get(proxy, INITIAL, 'if-none-match: "1-2:-1:0_1"'))
    assert (same.status, weak.status, other.status) == (304, 200, 200)
    assert "electric-schema" not in same.head.names
    assert len(upstream.asked) == 1


async def test_no_other_session_is_given_it(proxy, upstream):
    async with clients(proxy, 1) as (subscriber,):
        await subscriber.ask(get(proxy, INITIAL))
        await subscriber.ask(get(proxy, INITIAL, session="s-bob"))
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    ("target", "status", "headers"),
    [
        pytest.param(LIVE, 200, EMPTY, id="a poll without news"),
        pytest.param(LIVE, 200, HEADERS | {"etag": '"1-2:0_0:0_0:-5"'}, id="an etag with a unique part"),
        pytest.param(CATCH_UP, 200, HEADERS | {"electric-offset": "0_0"}, id="a catch-up without changes"),
        pytest.param(CATCH_UP, 409, HEADERS, id="a must-refetch"),
        pytest.param(CATCH_UP, 400, HEADERS, id="a fault"),
        pytest.param(CATCH_UP, 503, HEADERS, id="an outage"),
        pytest.param(CATCH_UP, 200, HEADERS | {"cache-control": "no-store"}, id="no-store"),
        pytest.param(CATCH_UP, 200, HEADERS | {"cache-control": "public, max-age=0"}, id="no age"),
        pytest.param(CATCH_UP, 200, HEADERS | {"age": "60"}, id="an age that is over"),
        pytest.param(CATCH_UP + "&expired_handle=1-2", 200, HEADERS, id="a handle its client knows to be dead"),
        pytest.param(CATCH_UP + "&subset__limit=1&subset__order_by=created_at", 200, HEADERS, id="a subset"),
    ],
)
async def test_what_is_never_cached(proxy, upstream, target, status, headers):
    Scripted(upstream, lambda connection: connection.reply(status, headers=headers)).go.set()
    async with clients(proxy, 1) as (subscriber,):
        for _ in range(2):
            assert (await subscriber.ask(get(proxy, target))).status == status
    assert len(upstream.asked) == 2


async def test_a_subset_never_shares(proxy, upstream):
    body = b'{"where":"role = \'user\'"}'
    fields = [
        f"authorization: Bearer {proxy.token()}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    posted = request(INITIAL, *fields, method="POST", body=body)
    held = Scripted(upstream, lambda connection: connection.reply(body=b'{"metadata":{},"data":[]}'))
    async with clients(proxy, 3) as (posts, again, gets):
        await posts.say(posted)
        await again.say(posted)
        await gets.say(get(proxy, INITIAL + "&subset__limit=1&subset__order_by=created_at"))
        await upstream.wait_for(3)
        held.go.set()
        for client in (posts, again, gets):
            assert (await client.answer()).status == 200
    assert how_subscribed(proxy) == []


async def test_a_must_refetch_ends_what_is_cached_of_its_handle(proxy, upstream):
    async def as_asked(connection):
        fields = {"content-type": "application/json", "electric-handle": "1-3"}
        refetch = "5_0" in upstream.asked[-1].target
        await (connection.reply(409, b"[]", fields) if refetch else connection.reply())

    Scripted(upstream, as_asked).go.set()
    async with clients(proxy, 1) as (subscriber,):
        for target in (INITIAL, CATCH_UP):
            await subscriber.ask(get(proxy, target))
            await subscriber.ask(get(proxy, target, session="s-bob"))
        assert len(upstream.asked) == 4
        assert (await subscriber.ask(get(proxy, CATCH_UP.replace("0_0", "5_0")))).status == 409
        for target in (INITIAL, CATCH_UP):
            await subscriber.ask(get(proxy, target, session="s-bob"))
        assert len(upstream.asked) == 5, "another shape's answers stay"
        for target in (INITIAL, CATCH_UP):
            await subscriber.ask(get(proxy, target))
        assert len(upstream.asked) == 7
        await subscriber.ask(get(proxy, INITIAL))
        assert len(upstream.asked) == 8, "an answer with a dead handle is not cached again"


async def test_a_stream_that_is_refused_ends_it_too(proxy, upstream):
    async def as_asked(connection):
        sse = "live_sse" in upstream.asked[-1].target
        await (connection.reply(409, b"[]", {"electric-handle": "1-3"}) if sse else connection.reply())

    Scripted(upstream, as_asked).go.set()
    async with clients(proxy, 1) as (subscriber,):
        await subscriber.ask(get(proxy, CATCH_UP))
        refused = await subscriber.ask(get(proxy, LIVE + "&live_sse=true"))
        await subscriber.ask(get(proxy, CATCH_UP))
    assert (refused.status, refused.body) == (409, b"[]")
    assert len(upstream.asked) == 3


async def test_a_small_cache_forgets_what_was_used_least(upstream, starting):
    large = b"[" + b"1," * 20_000 + b"1]"
    Scripted(upstream, lambda connection: connection.reply(body=large)).go.set()
    async with starting(PROXY_CACHE_BYTES="100000", PROXY_CACHE_SHARE="0") as proxy, clients(proxy, 1) as (subscriber,):
        targets = [CATCH_UP.replace("0_0", f"{number}_0") for number in range(3)]
        for target in (targets[0], targets[1], targets[0], targets[2], targets[0], targets[1]):
            assert (await subscriber.ask(get(proxy, target))).body == large
    assert how_subscribed(proxy) == ["started", "started", "cached", "started", "cached", "started"]


async def test_without_bytes_nothing_is_cached(upstream, starting):
    async with starting(PROXY_CACHE_BYTES="0") as proxy, clients(proxy, 1) as (subscriber,):
        for _ in range(2):
            assert (await subscriber.ask(get(proxy, CATCH_UP))).body == ROWS
    assert len(upstream.asked) == 2


async def test_a_stream_is_never_cached(proxy, upstream):
    async def stream(connection):
        await connection.head(headers=STREAM)
        await connection.end()

    Scripted(upstream, stream).go.set()
    async with clients(proxy, 1) as (subscriber,):
        for _ in range(2):
            assert (await subscriber.ask(get(proxy, LIVE + "&live_sse=true"))).status == 200
    assert len(upstream.asked) == 2


async def test_a_head_of_a_long_cached_answer_has_no_body(proxy, upstream):
    body = b'[{"value":"' + b"x" * 100_000 + b'"}]'
    upstream.script = lambda connection, _: connection.reply(body=body)
    async with clients(proxy, 1) as (reader,):
        assert (await reader.ask(get(proxy, INITIAL))).body == body
        await reader.say(get(proxy, INITIAL).replace(b"GET ", b"HEAD ", 1))
        head = await reader.head()
        assert (head.status, head["content-length"]) == (200, str(len(body)))
        assert (await reader.ask(get(proxy, INITIAL))).body == body
    assert len(upstream.asked) == 1
    assert [ended.code for ended in proxy.ended] == ["ok"] * 3
    assert [ended.sent_bytes for ended in proxy.ended] == [len(body), 0, len(body)]
