"""The public way: CORS as a browser sees it through whatever stands before the proxy, and a stream's first bytes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.doctor.asking import Asker
from proxy.doctor.edge_checks import Pages, cors_findings, first_event_finding
from proxy.doctor.findings import Finding, Level
from tests.doctor.scripted import Asked, Script, Told, serving
from tests.harness.running import ORIGIN, running
from tests.harness.upstream import Asked as Sent
from tests.harness.upstream import Connection, Upstream

PAGES = Pages((ORIGIN,), ("tracestate",))
GOOD = {
    "access-control-allow-origin": ORIGIN,
    "access-control-allow-headers": "authorization, content-type, tracestate",
    "access-control-expose-headers": "electric-handle,electric-offset,electric-schema,electric-up-to-date",
}


def edge(**changes: str) -> Script:
    """An edge that permits our origin, its headers changed by name with _ for -; an empty one is left out."""
    fields = GOOD | {name.replace("_", "-"): value for name, value in changes.items()}
    return lambda asked: Told(204 if asked.method == "OPTIONS" else 401, b"", _to(asked, fields))


def _to(asked: Asked, fields: dict[str, str]) -> dict[str, str]:
    return fields if asked.headers.get("origin") == ORIGIN else {}


def cors(script: Script) -> list[Finding]:
    with serving(script) as url, Asker(url, 10) as asker:
        return list(cors_findings(PAGES, asker))


def test_a_good_edge_permits_its_pages_and_no_others() -> None:
    found = cors(edge())
    assert [one.level for one in found] == [Level.ok, Level.ok]
    assert "its pages may ask and read" in found[0].message


BAD = [
    ("no permission", edge(access_control_allow_origin=""), "its pages may not read answers"),
    ("another's permission", edge(access_control_allow_origin="https://other"), "its pages may not read answers"),
    ("no authorization", edge(access_control_allow_headers="content-type, tracestate"), "authorization not permitted"),
    ("no tracestate", edge(access_control_allow_headers="authorization,content-type"), "tracestate not permitted"),
    ("handles not exposed", edge(access_control_expose_headers="electric-offset"), "electric-handle, electric-schema"),
    (
        "refusals without CORS",
        lambda asked: edge()(asked) if asked.method == "OPTIONS" else Told(401),
        "its pages may not read answers",
    ),
    ("dead", lambda _: Told(0, dies=True), "no answer by http://"),
]


@pytest.mark.parametrize(("script", "sentence"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_each_fault_of_an_edge_is_named(script: Script, sentence: str) -> None:
    found = cors(script)[0]
    assert (found.level, found.check) == (Level.error, "cors")
    assert sentence in found.message
    assert found.action


def test_an_edge_that_permits_everybody_is_an_error() -> None:
    found = cors(lambda _: Told(204, b"", GOOD | {"access-control-allow-origin": "*"}))
    assert [one.level for one in found] == [Level.ok, Level.error]
    assert "pages of any origin are permitted" in found[1].message


def test_an_edge_that_dies_at_a_strange_origin_is_an_error() -> None:
    found = cors(lambda asked: edge()(asked) if asked.headers["origin"] == ORIGIN else Told(0, dies=True))
    assert [one.level for one in found] == [Level.ok, Level.error]


@pytest.mark.parametrize(
    ("pages", "levels"),
    [
        (Pages(()), [Level.ok]),
        (PAGES, [Level.ok, Level.ok]),
        (Pages(("*",)), [Level.ok, Level.warning]),
    ],
    ids=["none", "one", "all"],
)
def test_without_a_running_proxy_it_is_judged_in_this_process(pages: Pages, levels: list[Level]) -> None:
    assert [one.level for one in cors_findings(pages, None)] == levels


async def test_our_own_listener_is_a_good_edge(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream.url, tmp_path, PROXY_ALLOWED_HEADERS="tracestate") as proxy:

        def look() -> list[Finding]:
            with Asker(proxy.url, 10) as asker:
                return list(cors_findings(PAGES, asker))

        assert [one.level for one in await asyncio.to_thread(look)] == [Level.ok, Level.ok]


# --- the first event


def streaming(send: Callable[[Connection], object]) -> Callable[[Connection, Sent], object]:
    """An Electric whose streams begin as given; everything else is answered at once."""

    async def script(connection: Connection, asked: Sent) -> None:
        if "live_sse" not in asked.params:
            await connection.reply()
            return
        await connection.head(
            200, {"content-type": "text/event-stream", "electric-handle": "1-2", "electric-offset": "7_0"}
        )
        await send(connection)  # type: ignore[misc]

    return script


async def first_event(upstream: Upstream, folder: Path, seconds: float, names: tuple[str, ...] = ("todos",)) -> Finding:
    async with running(upstream.url, folder) as proxy:

        def look() -> Finding:
            with Asker(proxy.url, seconds) as asker:
                return first_event_finding(asker, proxy.token(), names, seconds)

        return await asyncio.to_thread(look)


async def comment(connection: Connection) -> None:
    await connection.chunk(b": keep-alive\n\n")
    await connection.end()


async def nothing(connection: Connection) -> None:
    await connection.closed.wait()


async def test_a_stream_that_begins_is_ok(upstream: Upstream, tmp_path: Path) -> None:
    upstream.script = streaming(comment)  # type: ignore[assignment]
    found = await first_event(upstream, tmp_path, 10)
    assert (found.level, found.message) == (Level.ok, "the first bytes of a stream came in time")


async def test_a_stream_that_is_held_back_is_an_error(upstream: Upstream, tmp_path: Path) -> None:
    upstream.script = streaming(nothing)  # type: ignore[assignment]
    found = await first_event(upstream, tmp_path, 0.5)
    assert found.level is Level.error
    assert "within 0.5 s: something holds it back" in found.message


async def test_a_token_that_may_read_nothing_tries_no_stream(upstream: Upstream, tmp_path: Path) -> None:
    found = await first_event(upstream, tmp_path, 10, ("no_such_shape",))
    assert (found.level, "no stream was tried" in found.message) == (Level.warning, True)


def shape_then(told: Told) -> Script:
    """A position that is up to date, then a stream as given."""
    place = {"electric-handle": "1-2", "electric-offset": "7_0", "electric-up-to-date": "yes"}
    return lambda asked: told if "live" in asked.query else Told(200, b"[]", place)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (shape_then(Told(503, b"{}")), "answered 503 with a body"),
        (shape_then(Told(200)), "answered 200 without a body"),
        (shape_then(Told(0, dies=True)), "no stream through"),
        (lambda _: Told(200, b"[]", {"electric-handle": "1-2", "electric-offset": "7_0"}), "no stream was tried"),
    ],
    ids=["refused", "empty", "dead", "never up to date"],
)
def test_a_stream_that_is_none_is_named(script: Script, sentence: str) -> None:
    with serving(script) as url, Asker(url, 10) as asker:
        found = first_event_finding(asker, "token", ["todos"], 10)
    assert found.level is not Level.ok
    assert sentence in found.message
    assert "token" not in found.message.replace("the token", "")
