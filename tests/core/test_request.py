"""What a client may ask, from raw bytes: every parameter by its grammar, and no other parameter."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Code, Refusal
from proxy.core.limits import Limits
from proxy.core.request import PROTOCOL, Kind, Position, ShapeRequest, parse
from proxy.core.subset import Subset
from tests.core.samples import asked, outcome, query, refused

HANDLE = "38083685-1729874417404867"
CATCH_UP = {"offset": "0_0", "handle": HANDLE}
LIVE = CATCH_UP | {"live": "true"}
SSE = LIVE | {"live_sse": "true"}

SEEN: dict[str, tuple[bytes, Kind]] = {
    # the queries of Electric's TypeScript client, with the table that the application adds
    "first": (b"table=notes&log=full&offset=-1", Kind.initial),
    "changes only from now": (b"table=notes&log=changes_only&offset=now", Kind.initial),
    "catch-up": (f"table=notes&handle={HANDLE}&log=full&offset=0_inf".encode(), Kind.catch_up),
    "first live": (f"table=notes&cursor=&handle={HANDLE}&live=true&log=full&offset=0_0".encode(), Kind.live),
    "live": (f"table=notes&cursor=1674440&handle={HANDLE}&live=true&log=full&offset=26_1".encode(), Kind.live),
    "stream": (
        f"table=notes&cursor=1&experimental_live_sse=true&handle={HANDLE}&live=true&live_sse=true&offset=0_0".encode(),
        Kind.sse,
    ),
    "after a 409": (
        f"table=notes&cache-buster=b-1&expired_handle={HANDLE}&handle={HANDLE}&log=full&offset=-1".encode(),
        Kind.initial,
    ),
    "subset": (
        f"table=notes&handle={HANDLE}&offset=0_0&subset__limit=10&subset__order_by=id&subset__where=true".encode(),
        Kind.subset,
    ),
}


@pytest.mark.parametrize(("raw", "kind"), SEEN.values(), ids=SEEN)
def test_what_client_libraries_send_is_understood(raw: bytes, kind: Kind) -> None:
    assert parse(None, raw).kind is kind


def test_every_parameter_has_its_place() -> None:
    request = asked(
        **SSE | {"offset": "26_0", "cursor": "17", "expired_handle": "1-2", "cache-buster": "b", "where": "mode = $1"},
        p1="general",
        columns="id,body",
        replica="full",
        log="changes_only",
    )
    assert request == ShapeRequest(
        position=Position("26_0", HANDLE, live=True, sse=True, cursor="17", expired_handle="1-2", cache_buster="b"),
        table="notes",
        where="mode = $1",
        params={1: "general"},
        columns="id,body",
        replica="full",
        log="changes_only",
    )


def test_what_is_not_said_is_none() -> None:
    assert asked() == ShapeRequest(position=Position("-1"), table="notes")


def test_a_named_shape_takes_no_table() -> None:
    assert parse("todos", b"offset=-1") == ShapeRequest(position=Position("-1"), name="todos")
    with refused(Code.unknown_parameter, "A named shape takes no table."):
        parse("todos", b"table=todos&offset=-1")


@pytest.mark.parametrize(
    ("raw", "says"),
    [(b"offset=-1", "table is required"), (b"table=notes", "offset is required"), (b"", "is required")],
    ids=["no table", "no offset", "nothing"],
)
def test_a_table_and_an_offset_are_required(raw: bytes, says: str) -> None:
    with refused(Code.malformed_request, says):
        parse(None, raw)


ACCEPTED = {
    "offset": ["-1", "now", "0_0", "0_inf", "26800584_4", "9" * 20 + "_" + "9" * 20],
    "handle": [HANDLE, "", "null", "9" * 40, f"{HANDLE}.{'A' * 16}", "../1-2", "a b", "ö\u00a0%&+='\"", "x" * 128],
    "live": ["true", "false"],
    "live_sse": ["true", "false"],
    "experimental_live_sse": ["true", "false"],
    "cursor": ["", "0", "1674440", "9" * 20],
    "log": ["full", "changes_only"],
    "replica": ["default", "full"],
    "expired_handle": [HANDLE, "", "null", f"{HANDLE}.{'A' * 16}", "x" * 128],
    "cache-buster": ["a", "1776-xyz", "A" * 64],
}
WRONG = {
    "offset": [
        "",
        "0",
        "-2",
        "-1_0",
        "0_",
        "_0",
        "0_0_0",
        "0_infinity",
        "INF",
        "Now",
        "1e3_0",
        "9" * 21 + "_0",
        "0x0_0",
    ],
    "handle": ["x" * 129, "ö" * 129, "x" * 5000],
    "live": ["", "1", "0", "yes", "True", "TRUE", "null"],
    "live_sse": ["", "1", "True"],
    "experimental_live_sse": ["", "1", "True"],
    "cursor": ["-1", "a", "1.0", "9" * 21, "１"],
    "log": ["", "none", "Full", "changes-only", "full,changes_only"],
    "replica": ["", "none", "Full", "default,full"],
    "expired_handle": ["x" * 129, "x" * 5000],
    "cache-buster": ["", "a b", "a_b", "A" * 65, "ö", "a\u0301"],
}
CONTEXT: dict[str, dict[str, str]] = {
    "offset": {"handle": HANDLE},
    "handle": {"offset": "0_0"},
    "live": CATCH_UP,
    "live_sse": LIVE,
    "experimental_live_sse": LIVE,
}


def said(key: str, value: str) -> ShapeRequest:
    return asked(**CONTEXT.get(key, {}) | {key: value})


def flat(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(key, value) for key, values in table.items() for value in values]


def test_the_tables_here_have_every_parameter_of_the_protocol() -> None:
    assert ACCEPTED.keys() == WRONG.keys() == PROTOCOL.keys()


@pytest.mark.parametrize(("key", "value"), flat(ACCEPTED))
def test_a_value_of_its_grammar_is_taken(key: str, value: str) -> None:
    assert isinstance(said(key, value), ShapeRequest)


@pytest.mark.parametrize(("key", "value"), flat(WRONG))
def test_a_value_outside_its_grammar_is_refused(key: str, value: str) -> None:
    with refused(Code.malformed_request, f"The parameter {key} has a wrong form."):
        said(key, value)


@pytest.mark.parametrize(("key", "value"), [(key, values[-1]) for key, values in ACCEPTED.items()])
@pytest.mark.parametrize("junk", [" ", "+", "\t", "'", '"', "%", ";", "$", "(", "\u00a0", ".", "=", "&"])
def test_a_value_with_junk_before_or_behind_is_refused(key: str, value: str, junk: str) -> None:
    for text in (junk + value, value + junk):
        with refused(Code.malformed_request):
            said(key, text)


@pytest.mark.parametrize("key", ["handle", "expired_handle"])
@pytest.mark.parametrize("sign", ["\x00", "\x1f", "\n", "\x7f", "\x9f", "\u2028", "\u2029"])
def test_a_handle_with_a_control_character_is_refused(key: str, sign: str) -> None:
    assert not PROTOCOL[key].fullmatch(HANDLE + sign)
    for text in (HANDLE + sign, sign, sign + HANDLE):
        with refused(Code.malformed_request):
            said(key, text)


@pytest.mark.parametrize("key", ["offset", "live", "live_sse", "log", "replica"])
def test_a_value_doubled_or_in_capitals_is_refused(key: str) -> None:
    value = ACCEPTED[key][0]
    for text in {value + value, f"{value},{value}", value.upper() if value.islower() else value + "X"}:
        with refused(Code.malformed_request):
            said(key, text)


UNKNOWN = [
    *[
        "secret",
        "api_secret",
        "source_id",
        "source_secret",
        "database_id",
        "queryable_columns",
        "token",
        "access_token",
    ],
    *["experimental_compaction", "subset", "subset[where]", "subset__", "subset__table", "subset__columns", "_", ""],
    *["where[]", "where[a]", "columns[]", "params", "params[]", "params[0]", "params[01]", "params[-1]", "params[+1]"],
    *[
        "params[1",
        "params]1[",
        "params[1]]",
        "params[[1]]",
        "params[1][1]",
        "params[1.0]",
        "params[a]",
        "params[100000]",
    ],
    *["params[ 1]", "params[１]", "params[1]x", "xparams[1]", "wherewhere", "where ", " where", "where\u200b", "whеre"],
    *[key.upper() for key in PROTOCOL],
    *["TABLE", "Where", "COLUMNS", "PARAMS[1]", "Subset__where", "live-sse", "cache_buster", "limit", "order_by"],
]


@pytest.mark.parametrize("key", UNKNOWN)
def test_an_unknown_parameter_is_refused(key: str) -> None:
    with refused(Code.unknown_parameter, "does not know one of"):
        asked(where="true", **{key: "1"})


@pytest.mark.parametrize("key", [*PROTOCOL, "table", "where", "columns"])
def test_a_repeated_parameter_is_refused(key: str) -> None:
    pair = f"{key}={ACCEPTED.get(key, ['notes'])[0]}".encode()
    with refused(Code.repeated_parameter):
        asked(b"&".join([pair, b"log=full" if key != "log" else b"table=notes", pair]))


CONTRADICTIONS = {
    "live at -1": ({"live": "true"}, "live cannot be true at offset=-1."),
    "live at now": ({"offset": "now", "live": "true"}, "live cannot be true at offset=now."),
    "a stream that is not live": (CATCH_UP | {"live_sse": "true"}, "live_sse needs live=true."),
    "a stream that is not live by its old name": (CATCH_UP | {"experimental_live_sse": "true"}, "needs live=true"),
    "a stream with live=false": (SSE | {"live": "false"}, "live_sse needs live=true."),
    "two names of a stream that disagree": (LIVE | {"live_sse": "true", "experimental_live_sse": "false"}, "disagree"),
    "two names that disagree, the other way": (
        LIVE | {"live_sse": "false", "experimental_live_sse": "true"},
        "disagree",
    ),
    "a catch-up without a handle": ({"offset": "0_0"}, "handle is required at this offset"),
    "a poll without a handle": ({"offset": "0_0", "live": "true"}, "handle is required at this offset"),
}


@pytest.mark.parametrize(("params", "says"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_positions_that_contradict_themselves_are_refused(params: dict[str, str], says: str) -> None:
    with refused(Code.malformed_request, says):
        asked(**params)


@pytest.mark.parametrize("names", [["live_sse"], ["experimental_live_sse"], ["live_sse", "experimental_live_sse"]])
def test_the_old_name_of_a_stream_means_the_same(names: list[str]) -> None:
    assert asked(**LIVE | dict.fromkeys(names, "true")).position.sse
    assert not asked(**LIVE | dict.fromkeys(names, "false")).position.sse


def test_the_offsets_of_a_start_ignore_the_handle() -> None:
    assert asked(handle=HANDLE).kind is Kind.initial
    assert asked(handle=HANDLE, offset="now").kind is Kind.initial


@pytest.mark.parametrize("key", ["where", "columns"])
def test_blank_is_not_left_out(key: str) -> None:
    assert getattr(asked(**{key: ""}), key) == ""


PARAMS = {
    "a gap": {"p1": "a", "p3": "b"},
    "no first": {"p2": "a"},
    "one of many": {"p100": "a"},
    "one too long": {"p1": "x" * 1025},
    "one too long in bytes": {"p1": "ä" * 513},
}


@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
def test_parameters_out_of_bounds_are_refused(params: dict[str, str]) -> None:
    with refused(Code.filter_malformed):
        asked(where="true", **params)


def test_parameters_within_bounds_are_taken() -> None:
    most = {f"p{number}": "x" * 40 for number in range(1, 101)}
    assert asked(where="true", **most).params == dict.fromkeys(range(1, 101), "x" * 40)
    assert asked(where="true", p1="x" * 1024).params == {1: "x" * 1024}


def test_parameters_need_a_filter() -> None:
    with refused(Code.filter_malformed, "params need a where that uses them."):
        asked(p1="s-bob")


def test_a_query_that_is_too_long_is_refused() -> None:
    with refused(Code.target_too_long):
        parse(None, query(where="x" * 60), limits=Limits(query_bytes=50))


def test_a_body_makes_a_post() -> None:
    request = asked(body=b'{"where":"true"}')
    assert (request.post, request.kind, request.subset) == (True, Kind.subset, Subset(where="true"))
    assert not asked().post


def test_a_request_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        asked().table = "others"  # type: ignore[misc]


words = st.sampled_from(
    [*PROTOCOL, "table", "where", "columns", "params[1]", "subset__where", "-1", "true", "1-2", "0_0"]
)
almost = st.lists(st.tuples(words, words), max_size=6).map(lambda said: "&".join(map("=".join, said)).encode())


@given(st.binary(max_size=80) | almost, st.none() | st.binary(max_size=80), st.sampled_from([None, "notes"]))
def test_any_bytes_are_a_request_or_a_refusal(raw: bytes, body: bytes | None, name: str | None) -> None:
    came = outcome(lambda: parse(name, raw, body))
    assert isinstance(came, ShapeRequest | Refusal)
    if isinstance(came, Refusal):
        assert came.code.value.status in (400, 413, 414)
    else:
        assert came.table is not None or came.name is not None
