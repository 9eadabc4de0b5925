"""Rows of another session, sent by an Electric that is wrong: over real sockets not one of their bytes arrives."""

import asyncio
import json

import pytest

from proxy.core.request import Kind
from proxy.electric.row_tripwire import SNAPSHOT_BYTES
from proxy.telemetry.events import RowLeak, SchemaLeak, UpstreamFailed
from tests.harness.raw import Broken, connected, until
from tests.harness.refusals import assert_refused
from tests.harness.shared import ON_MODULE_LOOP
from tests.harness.upstream import HEADERS
from tests.relay.asking import CATCH_UP, LIVE, SSE, STREAM, TARGET, Held, counting, ended, get, post

pytestmark = ON_MODULE_LOOP

PAGE = TARGET + "&subset__where=role%20%3D%20%27user%27"
SECRET = b"of bob alone"
CHECKED, UNCHECKED, EVERYTHING = ({"PROXY_ROW_CHECK": mode} for mode in ("live", "off", "all"))


def row(session, body):
    """A message with a row, as Electric writes it."""
    value = {"body": body.decode(), "id": "1", "session_id": session}
    message = {"value": value, "key": "k", "headers": {"operation": "insert"}}
    return json.dumps(message, separators=(",", ":")).encode()


OWN, FOREIGN = row("s-ada", b"of ada"), row("s-bob", SECRET)
UP_TO_DATE = b'{"headers":{"control":"up-to-date","global_last_seen_lsn":"7"}}'


def array(*rows):
    return b"[" + b",".join([*rows, UP_TO_DATE]) + b"]"


def page(*rows):
    return b'{"metadata":{"xmax":"1"}, "data": [' + b",".join(rows) + b"]}"


def events(*rows):
    return b"".join(b"data: " + message + b"\n\n" for message in [*rows, UP_TO_DATE])


ANSWERS = {
    "a snapshot": (Kind.initial, lambda proxy: get(proxy, TARGET), array, HEADERS),
    "a catch-up": (Kind.catch_up, lambda proxy: get(proxy, CATCH_UP), array, HEADERS),
    "a poll": (Kind.live, lambda proxy: get(proxy, LIVE), array, HEADERS),
    "a stream": (Kind.sse, lambda proxy: get(proxy, SSE), events, STREAM),
    "a subset by GET": (Kind.subset, lambda proxy: get(proxy, PAGE), page, HEADERS),
    "a subset by POST": (Kind.subset, post, page, HEADERS),
}
every_answer = pytest.mark.parametrize(("kind", "asking", "form", "fields"), ANSWERS.values(), ids=ANSWERS.keys())


def in_chunks(body, fields, size):
    """Sends an answer in chunks of so many bytes."""

    async def script(connection, _):
        await connection.head(headers=fields)
        for start in range(0, len(body), size):
            await connection.chunk(body[start : start + size])
        await connection.end()

    return script


async def arrived(proxy, said):
    """Every byte that came back, also of an answer that was cut."""
    async with connected(proxy.address) as raw:
        await raw.say(said)
        came = b""
        head = await raw.head()
        try:
            if "content-length" in head.names:
                return await raw.rest(head)
            while piece := await raw.piece():
                came += piece
        except Broken:
            pass
        return came


@every_answer
@pytest.mark.parametrize("size", [7, 1_000_000], ids=["in small chunks", "at once"])
async def test_a_foreign_row_does_not_arrive(starting, upstream, kind, asking, form, fields, size):
    upstream.script = in_chunks(form(OWN, FOREIGN, OWN), fields, size)
    async with starting(**CHECKED) as proxy:
        came = await arrived(proxy, asking(proxy))
        assert SECRET not in came
        assert b"s-bob" not in came
        assert await ended(proxy) == ["upstream_row_leak"]
        assert [seen for seen in proxy.seen if isinstance(seen, RowLeak)] == [RowLeak("chat_messages", kind.value)]
        assert "s-bob" not in str(proxy.seen)


@every_answer
async def test_without_the_check_it_does(starting, upstream, kind, asking, form, fields):
    upstream.script = in_chunks(form(OWN, FOREIGN, OWN), fields, 7)
    async with starting(**UNCHECKED) as proxy:
        assert SECRET in await arrived(proxy, asking(proxy))
        assert await ended(proxy) == ["ok"]


@every_answer
@pytest.mark.parametrize("size", [7, 1_000_000], ids=["in small chunks", "at once"])
async def test_rows_of_the_session_arrive_as_they_were(starting, upstream, kind, asking, form, fields, size):
    body = form(OWN, OWN.replace(b'"insert"', b'"delete"'), OWN)
    upstream.script = in_chunks(body, fields, size)
    async with starting(**EVERYTHING) as proxy:
        assert await arrived(proxy, asking(proxy)) == body
        assert await ended(proxy) == ["ok"]


async def test_an_answer_that_is_here_already_becomes_a_refusal(starting, upstream):
    async def whole(connection, _):
        await connection.reply(body=array(OWN, FOREIGN))

    upstream.script = whole
    async with starting(**CHECKED) as proxy, connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy, LIVE)), "upstream_row_leak")


async def test_a_stream_is_cut_at_once_and_its_connection_to_electric_closed(starting, upstream):
    async def one_by_one(connection, _):
        await connection.head(headers=STREAM)
        await connection.chunk(events(OWN))
        await heard.wait()
        await connection.chunk(b"data: " + FOREIGN + b"\n\n")

    heard = asyncio.Event()
    held = Held(upstream, one_by_one)
    async with starting(**CHECKED) as proxy, connected(proxy.address) as raw:
        await raw.say(get(proxy, SSE))
        await raw.head()
        came = b""
        while not came.endswith(events(OWN)):
            came += await raw.piece()
        heard.set()
        assert await raw.piece() == b""
        await held.gone()
        assert await ended(proxy) == ["upstream_row_leak"]


async def test_a_snapshot_is_checked_at_its_beginning_or_everywhere(starting, upstream):
    many = [OWN] * (2 * SNAPSHOT_BYTES // len(OWN))
    body = array(*many, FOREIGN)
    for mode, arrives in ((CHECKED, True), (EVERYTHING, False)):
        upstream.script = in_chunks(body, HEADERS, 65_536)
        async with starting(**mode) as proxy:
            assert (SECRET in await arrived(proxy, get(proxy, TARGET))) == arrives
            assert SECRET not in await arrived(proxy, get(proxy, CATCH_UP))


async def test_an_answer_that_cannot_be_read_is_a_failure_and_no_leak(starting, upstream):
    upstream.script = in_chunks(b'[{"value":{"session_id', HEADERS, 100)
    async with starting(**CHECKED) as proxy:
        assert b"session_id" not in await arrived(proxy, get(proxy, LIVE))
        assert await ended(proxy) == ["upstream_failed"]
        assert counting(RowLeak)(proxy) == 0
        (failed,) = [seen for seen in proxy.seen if isinstance(seen, UpstreamFailed)]
        assert failed.reason == "rows_unreadable: no_json"


async def test_one_fetch_is_checked_once_for_all_who_share_it(starting, upstream):
    async def when_told(connection, _):
        await go.wait()
        await in_chunks(array(OWN, FOREIGN), HEADERS, 7)(connection, _)

    go = asyncio.Event()
    upstream.script = when_told
    async with starting(**CHECKED, PROXY_SHARE="on") as proxy:
        riders = [asyncio.create_task(arrived(proxy, get(proxy, LIVE))) for _ in range(5)]
        await until(lambda: len(proxy.opened) == 5)
        await upstream.wait_for(1)
        go.set()
        for came in await asyncio.gather(*riders):
            assert SECRET not in came
        assert await ended(proxy, 5) == ["upstream_row_leak"] * 5
        assert (counting(RowLeak)(proxy), counting(SchemaLeak)(proxy)) == (1, 0)
        assert len(upstream.asked) == 1
        assert SECRET not in await arrived(proxy, get(proxy, LIVE)), "and is not cached"
        assert len(upstream.asked) == 2
