"""A query in two: what it asks for, byte for byte, and where in the log. What is not plain is left to the parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refusal
from proxy.core.limits import Limits
from proxy.core.request import PROTOCOL, Position, parse
from proxy.core.split import POSITION, is_separate, split
from tests.core.samples import outcome

SPLIT: dict[str, tuple[bytes, bytes, Position]] = {
    "first": (b"table=notes&offset=-1", b"&table=notes", Position("-1")),
    "another order": (b"offset=-1&table=notes", b"&table=notes", Position("-1")),
    "now": (b"offset=now", b"", Position("now")),
    "live": (
        b"offset=0_inf&handle=1-2.a_b&live=true&cursor=",
        b"",
        Position("0_inf", "1-2.a_b", live=True),
    ),
    "a stream": (
        b"offset=0_0&handle=h&live=true&live_sse=true&experimental_live_sse=true&cursor=7",
        b"",
        Position("0_0", "h", live=True, sse=True, cursor="7"),
    ),
    "the older name": (
        b"offset=0_0&handle=h&live=true&experimental_live_sse=true",
        b"",
        Position("0_0", "h", live=True, sse=True),
    ),
    "after a 409": (
        b"offset=-1&expired_handle=1-2&cache-buster=b-1&where=a%20%3D%201",
        b"&where=a%20%3D%201",
        Position("-1", expired_handle="1-2", cache_buster="b-1"),
    ),
    "what is strange is what": (b"&&offset=-1&x", b"&&&x", Position("-1")),
}
LEFT_TO_THE_PARSER: dict[str, bytes] = {
    "no offset": b"table=notes",
    "an encoded offset": b"offset=%2d1",
    "a repeated one": b"offset=-1&offset=-1",
    "a blank": b"offset=-1&cache-buster=a+b",
    "a wrong form": b"offset=-2",
    "a handle with a quote": b"offset=0_0&handle=%22",
    "two words for streams": b"offset=0_0&handle=h&live=true&live_sse=true&experimental_live_sse=false",
    "live at the start": b"offset=-1&live=true",
    "a stream that is not live": b"offset=0_0&handle=h&live_sse=true",
    "no handle": b"offset=0_0",
    "nothing": b"",
}


@pytest.mark.parametrize(("query", "what", "position"), SPLIT.values(), ids=SPLIT)
def test_a_plain_query_is_split(query: bytes, what: bytes, position: Position) -> None:
    assert split(query) == (what, position)


@pytest.mark.parametrize("query", LEFT_TO_THE_PARSER.values(), ids=LEFT_TO_THE_PARSER)
def test_what_is_not_plain_is_left_to_the_parser(query: bytes) -> None:
    assert split(query) is None


@pytest.mark.parametrize(
    ("what", "separate"),
    [
        (b"", True),
        (b"&table=notes&where=x", True),
        (b"&off%73et=-1", False),
        (b"&cursor%3d=1", True),
        (b"&c%75rsor=", False),
        (b"&a=1" * 504, False),
    ],
)
def test_a_position_in_another_spelling_is_not_separate(what: bytes, separate: bool) -> None:
    if what.count(b"&") == 504:
        assert is_separate(b"&a=1", 24_576, 9)
        assert not is_separate(b"&a=1&b=2", 24_576, 9)
    assert is_separate(what, 24_576, 512 if what.count(b"&") < 504 else 500) is separate


def test_it_knows_every_parameter_that_the_protocol_has_for_a_position() -> None:
    assert {name.decode() for name in POSITION} == PROTOCOL.keys() - {"log", "replica"}


WORDS = st.sampled_from(
    ["-1", "now", "0_0", "5_inf", "true", "false", "", "h", "1-2.abc", "7", "%2d1", "a+b", "é", '"', "b-1"]
)
NAMES = st.sampled_from([*PROTOCOL, "table", "where", "off%73et", "c%75rsor", "liv%65", "columns", "params[1]", ""])
PARTS = st.tuples(NAMES, WORDS).map("=".join) | st.sampled_from(["", "x", "offset=-1", "table=notes"])
QUERIES = st.lists(PARTS, max_size=7).map(lambda parts: "&".join(parts).encode("latin-1"))


@given(QUERIES)
def test_the_position_is_what_the_parser_finds(query: bytes) -> None:
    """For a query that the parser accepts, and whose first part says nothing of a position."""
    found, parsed = split(query), outcome(lambda: parse(None, query))
    if found is None or isinstance(parsed, Refusal) or not is_separate(found[0], 24_576, 512):
        return
    assert parsed.position == found[1]


@given(QUERIES, QUERIES)
def test_what_has_passed_once_passes_at_every_position(one: bytes, other: bytes) -> None:
    """A query whose first part has been accepted beside one position is accepted beside another, and is the same."""
    first, second = split(one), split(other)
    parsed = outcome(lambda: parse(None, one))
    if first is None or second is None or isinstance(parsed, Refusal) or not is_separate(first[0], 24_576, 512):
        return
    plain = b"&".join(part for part in other.split(b"&") if part.partition(b"=")[0] in POSITION)
    joined = parse(None, plain + first[0], limits=Limits())
    assert joined.position == second[1]
    assert (joined.table, joined.where, joined.params, joined.columns) == (
        parsed.table,
        parsed.where,
        parsed.params,
        parsed.columns,
    )
