"""Handles that clients get, and what becomes of those that they send."""

import hashlib
import string
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decision import decide
from proxy.core.handles import UNKNOWN, BoundHandles, signed, trusted
from proxy.core.policy import PolicySet
from proxy.core.request import PROTOCOL, Position, parse
from proxy.core.upstream import definition
from tests.core.samples import asked, claims, decided, policy, policy_set, query

KEY = bytes(range(32))
HANDLES = BoundHandles(KEY)
ADA, BOB = "&table=notes&params%5B1%5D=s-ada", "&table=notes&params%5B1%5D=s-bob"
RAW = "38083685-1729874417404867"
OURS = HANDLES.sign(ADA, RAW)
DEFINITIONS = st.text(string.ascii_letters + "&=%5B", max_size=40)
RAW_HANDLES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), min_size=1, max_size=60)


def test_a_client_gets_electrics_handle_and_a_tag_that_no_url_escapes() -> None:
    handle, dot, tag = OURS.rpartition(".")
    assert (handle, dot, len(tag)) == (RAW, ".", 16)
    assert set(tag) <= set(string.ascii_letters + string.digits + "-_")
    assert PROTOCOL["handle"].fullmatch(OURS)


def test_the_tag_is_keyed_blake2b_of_version_definition_and_handle() -> None:
    told = f"{ADA}\n{RAW}".encode()
    mac = hashlib.blake2b(told, key=KEY, digest_size=12, person=b"shape-handle v1")
    assert f"{RAW}.{urlsafe_b64encode(mac.digest()).decode()}" == OURS


@given(DEFINITIONS, RAW_HANDLES)
def test_what_is_signed_is_verified_and_comes_back_as_it_was(defined: str, handle: str) -> None:
    given_out = HANDLES.sign(defined, handle)
    assert HANDLES.verify(defined, given_out) == handle
    assert HANDLES.sign(defined, handle) == given_out


@given(DEFINITIONS, DEFINITIONS, RAW_HANDLES)
def test_no_other_definition_takes_it(one: str, other: str, handle: str) -> None:
    assert (HANDLES.verify(other, HANDLES.sign(one, handle)) is not None) is (one == other)


def test_all_processes_with_one_key_take_it_and_those_with_another_do_not() -> None:
    assert BoundHandles(KEY).verify(ADA, OURS) == RAW
    assert BoundHandles(KEY[::-1]).verify(ADA, OURS) is None


FORGED = {
    "Electric's own": RAW,
    "a tag of nothing": f"{RAW}.",
    "no handle": f".{OURS.rpartition('.')[2]}",
    "another tag": f"{RAW}.{'A' * 16}",
    "a short tag": OURS[:-1],
    "a long tag": f"{OURS}A",
    "padding": f"{OURS}=",
    "two tags": f"{OURS}.{OURS.rpartition('.')[2]}",
    "another handle": f"1-2.{OURS.rpartition('.')[2]}",
    "the tag in capitals": f"{RAW}.{OURS.rpartition('.')[2].swapcase()}",
    "the word null": "null",
    "nothing": "",
    "dots": "...",
    "no ASCII": f"{RAW}.{'ü' * 16}",
    "a lone surrogate": f"{RAW}.\ud800",
    "the definition's end in it": f"\n{OURS}",
}


@pytest.mark.parametrize("given_out", FORGED.values(), ids=FORGED)
def test_what_is_not_ours_is_not_taken(given_out: str) -> None:
    assert HANDLES.verify(ADA, given_out) is None


@pytest.mark.parametrize("place", range(len(OURS)))
def test_one_changed_character_is_enough(place: int) -> None:
    other = "1" if OURS[place] != "1" else "2"
    assert HANDLES.verify(ADA, OURS[:place] + other + OURS[place + 1 :]) is None


def test_an_end_of_a_definition_never_counts_as_the_start_of_a_handle() -> None:
    assert HANDLES.verify(ADA[:-1], HANDLES.sign(ADA, RAW).replace(RAW, ADA[-1] + RAW)) is None


@pytest.mark.parametrize("offset", ["0_0", "0_inf", "26800448_0"])
@pytest.mark.parametrize(("given_out", "sent"), [(OURS, RAW), *((forged, UNKNOWN) for forged in FORGED.values())])
def test_in_the_log_a_handle_goes_on_as_electrics_or_as_nobodys(offset: str, given_out: str, sent: str) -> None:
    position = Position(offset, given_out, live=True, sse=True, cursor="7", cache_buster="b")
    found = trusted(HANDLES, ADA, position)
    assert found == Position(offset, sent, live=True, sse=True, cursor="7", cache_buster="b")


@pytest.mark.parametrize("offset", ["-1", "now"])
@pytest.mark.parametrize("given_out", [OURS, *FORGED.values()])
def test_at_the_start_of_a_log_no_handle_goes_on(offset: str, given_out: str) -> None:
    assert trusted(HANDLES, ADA, Position(offset, given_out)) == Position(offset)


@pytest.mark.parametrize("offset", ["-1", "0_0"])
@pytest.mark.parametrize(("given_out", "sent"), [(OURS, RAW), *((forged, None) for forged in FORGED.values())])
def test_an_expired_handle_goes_on_if_it_is_ours(offset: str, given_out: str, sent: str | None) -> None:
    found = trusted(HANDLES, ADA, Position(offset, OURS, expired_handle=given_out))
    assert found.expired_handle == sent


def test_a_position_without_handles_stays_as_it_is() -> None:
    assert trusted(HANDLES, ADA, Position("-1", cache_buster="b")) == Position("-1", cache_buster="b")


def test_an_empty_handle_of_electrics_is_no_handle() -> None:
    """Sent on, Electric would take it for left out."""
    assert trusted(HANDLES, ADA, Position("0_0", HANDLES.sign(ADA, ""))).handle == UNKNOWN
    assert trusted(HANDLES, ADA, Position("-1", expired_handle=HANDLES.sign(ADA, ""))).expired_handle is None


def test_the_headers_of_an_answer_carry_the_signed_handle_and_nothing_else_changes() -> None:
    fields = [(b"etag", b'"1-2:-1:0_0"'), (b"electric-handle", b"1-2"), (b"electric-offset", b"0_0")]
    told = HANDLES.sign(ADA, "1-2").encode()
    assert signed(HANDLES, ADA, fields) == [fields[0], (b"electric-handle", told), fields[2]]
    assert signed(HANDLES, ADA, fields[:1]) == fields[:1]


@given(RAW_HANDLES)
def test_a_handle_of_any_bytes_comes_back_by_way_of_a_client(handle: str) -> None:
    """A client reads a header as Latin-1, and writes a query as UTF-8."""
    [(_, told)] = signed(HANDLES, ADA, [(b"electric-handle", handle.encode("latin-1"))])
    sent = parse(None, query(handle=told.decode("latin-1"), offset="0_0"))
    assert trusted(HANDLES, ADA, sent.position).handle == handle


# --- which requests may use a handle


FILTERED = {"where": "mode = 'a'"}
OTHERS: dict[str, dict[str, object]] = {
    "a filter": FILTERED,
    "fewer columns": {"columns": "id"},
    "replica": {"replica": "full"},
    "log": {"log": "changes_only"},
}


def defined(given: PolicySet | None = None, who: str = "s-ada", **params: object) -> str:
    """The definition of the shape that this request is allowed."""
    return definition(decide(asked(**params), claims(session_id=who), given or policy_set()).authorized())


@pytest.mark.parametrize("params", OTHERS.values(), ids=OTHERS)
def test_another_definition_of_the_same_session_is_another(params: dict[str, object]) -> None:
    assert HANDLES.verify(defined(**params), HANDLES.sign(defined(), RAW)) is None


def test_another_session_is_another_definition() -> None:
    assert HANDLES.verify(defined(who="s-bob"), HANDLES.sign(defined(), RAW)) is None
    assert HANDLES.verify(defined(who="s-bob", **FILTERED), HANDLES.sign(defined(**FILTERED), RAW)) is None


def test_a_page_by_either_method_and_the_named_form_take_the_handle_of_the_shape() -> None:
    ours = HANDLES.sign(defined(), RAW)
    page, named = decided(subset__where="mode = 'a'"), parse("notes", b"offset=-1")
    posted = decide(asked(body=b'{"where":"mode = \'a\'"}'), claims(), policy_set()).authorized()
    for shape in (page, posted, decide(named, claims(), policy_set()).authorized()):
        assert HANDLES.verify(definition(shape), ours) == RAW


CHANGED = {
    "another predicate": policy(where="session_id = {session_id} AND mode = 'a'"),
    "another table": policy(table="public.others"),
    "fewer columns": policy(columns=["id", "session_id", "thread_id", "mode", "body"]),
}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_a_policy_that_changes_its_shapes_moves_their_clients(changed: object) -> None:
    moved = policy_set(changed)  # type: ignore[arg-type]
    ours = HANDLES.sign(defined(), RAW)
    assert HANDLES.verify(definition(decide(parse("notes", b"offset=-1"), claims(), moved).authorized()), ours) is None


def test_a_policy_that_only_changes_what_clients_may_ask_keeps_them() -> None:
    ours = HANDLES.sign(defined(), RAW)
    assert HANDLES.verify(defined(policy_set(policy(client={"filter": ["mode"]}))), ours) == RAW
