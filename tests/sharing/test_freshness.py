"""What the head of a shared answer means: how long it is cached, whose validator it meets, how it reads to joiners."""

import pytest

from proxy.core.request import Kind
from proxy.sharing.broadcast import MOST_CHANGE_BYTES, Boundaries, offset_of, position_after
from proxy.sharing.freshness import ReceivedHead, joined, not_modified, read
from tests.sharing.asking import asking

BASE = {
    b"electric-handle": b"1-2",
    b"electric-offset": b"7_0",
    b"etag": b'"1-2:0_0:7_0"',
    b"cache-control": b"public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746",
}


def sign(definition, handle):
    """Signs nothing."""
    return handle


@pytest.mark.parametrize(
    ("kind", "status", "changed", "seconds"),
    [
        (Kind.initial, 200, {}, 60),
        (Kind.catch_up, 200, {}, 60),
        (Kind.live, 200, {b"electric-has-data": b"true"}, 5),
        (Kind.live, 200, {b"electric-has-data": b"false"}, 0),
        (Kind.catch_up, 200, {b"electric-has-data": b"false"}, 0),
        (Kind.live, 200, {b"etag": b'"1-2:0_0:0_0:-576460721182609820"'}, 0),
        (Kind.sse, 200, {}, 0),
        (Kind.subset, 200, {}, 0),
        (Kind.catch_up, 200, {b"electric-snapshot": b"true"}, 0),
        (Kind.catch_up, 200, {b"cache-control": b"public, max-age=9"}, 9),
        (Kind.catch_up, 200, {b"cache-control": b"public, max-age=604800, s-maxage=7"}, 7),
        (Kind.live, 200, {b"cache-control": b"public, max-age=2"}, 2),
        (Kind.catch_up, 200, {b"cache-control": b"Public, Max-Age=9"}, 9),
        (Kind.catch_up, 200, {b"cache-control": b"max-age=60, private"}, 0),
        (Kind.catch_up, 200, {b"cache-control": b"no-cache, max-age=60"}, 0),
        (Kind.catch_up, 200, {b"cache-control": b"public"}, 0),
        (Kind.catch_up, 200, {b"cache-control": b""}, 0),
        (Kind.catch_up, 200, {b"cache-control": b"max-age=20", b"age": b"15"}, 5),
        (Kind.catch_up, 200, {b"cache-control": b"max-age=20", b"age": b"21"}, 0),
        (Kind.catch_up, 200, {b"age": b"soon"}, 0),
        (Kind.catch_up, 200, {b"age": b"9" * 5000}, 0),
        (Kind.catch_up, 200, {b"electric-handle": b""}, 0),
        (Kind.catch_up, 200, {b"electric-offset": b"0_0"}, 0),
        (Kind.live, 200, {b"electric-offset": b"0_0"}, 0),
        (Kind.catch_up, 200, {b"electric-up-to-date": b""}, 5),
        (Kind.initial, 200, {b"electric-up-to-date": b"true"}, 5),
        (Kind.catch_up, 200, {b"electric-up-to-date": b"", b"cache-control": b"public, max-age=2"}, 2),
        (Kind.catch_up, 409, {}, 0),
        (Kind.catch_up, 503, {}, 0),
    ],
)
def test_how_long_an_answer_is_cached(kind, status, changed, seconds):
    head = read(asking(kind=kind), status, list((BASE | changed).items()), (60, 5), sign)
    assert head.keep_seconds == seconds


@pytest.mark.parametrize("missing", [b"electric-handle", b"electric-offset", b"cache-control"])
def test_an_answer_that_lacks_what_clients_need_is_not_cached(missing):
    received = [(name, value) for name, value in BASE.items() if name != missing]
    assert read(asking(), 200, received, (60, 5), sign).keep_seconds == 0


def test_only_a_length_of_digits_is_one():
    for value, length in ((b"12", 12), (b"", None), (b"+1", None), (b"x", None)):
        assert read(asking(), 200, [*BASE.items(), (b"content-length", value)], (60, 5), sign).length == length


def test_clients_get_the_handle_bound_to_their_definition_and_the_cache_knows_electrics_own():
    request = asking()
    head = read(request, 200, list(BASE.items()), (60, 5), lambda definition, handle: f"{handle}-{definition}")
    assert dict(head.fields)[b"electric-handle"].decode() == f"1-2-{request.definition}"
    assert head.handle == "1-2"


def test_an_answer_with_a_handle_that_its_client_knows_to_be_dead_is_not_cached():
    assert read(asking(expired_handle="1-2"), 200, list(BASE.items()), (60, 5), sign).keep_seconds == 0


def test_only_what_may_reach_a_client_is_held():
    head = read(asking(), 200, [*BASE.items(), (b"set-cookie", b"a=b"), (b"server", b"x")], (60, 5), sign)
    assert {name for name, _ in head.fields} == {b"electric-handle", b"electric-offset", b"etag"}


FIELDS = [(b"etag", b'"1:2:3"'), (b"electric-schema", b"{}"), (b"content-type", b"x")]


@pytest.mark.parametrize(
    ("sent", "matches"),
    [
        (b'"1:2:3"', True),
        (b'"a", "1:2:3"', True),
        (b'W/"a","1:2:3"', True),
        (b'W/"1:2:3"', False),
        (b'W/"a", W/"1:2:3"', False),
        (b'"1:2:4"', False),
        (b'"x"1:2:3"', False),
        (b"1:2:3", False),
        (b"*", False),
        (b"", False),
        (None, False),
        (b'"' + b"x" * 2000 + b'", "1:2:3"', False),
    ],
)
def test_validators_are_compared_strongly(sent, matches):
    fields = not_modified(ReceivedHead(200, FIELDS, etag=b'"1:2:3"'), sent)
    assert fields == ([FIELDS[0], FIELDS[2]] if matches else None)


@pytest.mark.parametrize(
    "head",
    [
        ReceivedHead(409, FIELDS, etag=b'"1:2:3"'),
        ReceivedHead(200, []),
        ReceivedHead(200, [], etag=b'W/"1:2:3"'),
    ],
)
def test_an_error_or_an_answer_without_a_strong_validator_is_never_not_modified(head):
    assert not_modified(head, b'"1:2:3", W/"1:2:3"') is None


@pytest.mark.parametrize(
    ("cursor", "given"),
    [
        (None, b"100"),
        ("99", b"100"),
        ("100", b"101"),
        ("7000", b"7001"),
        ("9" * 20, b"100"),
    ],
)
def test_the_cursor_moves_on_from_the_clients(cursor, given):
    head = ReceivedHead(200, [(b"electric-cursor", b"100"), (b"electric-offset", b"0_0")], handle="1-2")
    seen = joined(head, "0_0", cursor, late=False)
    assert seen == [(b"electric-cursor", given), (b"electric-offset", b"0_0")]


def test_who_joins_late_starts_at_its_own_position():
    head = ReceivedHead(200, [(b"electric-offset", b"0_0"), (b"etag", b'"1-2:0_0:0_0"')], handle="1-2")
    assert joined(head, "5_0", None, late=True) == [(b"electric-offset", b"5_0"), (b"etag", b'"1-2:5_0:5_0"')]


UP_TO_DATE = b'data: {"headers":{"control":"up-to-date","global_last_seen_lsn":"7"}}\n\n'


@pytest.mark.parametrize(
    ("event", "position"),
    [
        (UP_TO_DATE, "7_0"),
        (UP_TO_DATE.replace(b"data: ", b"data:"), "7_0"),
        (UP_TO_DATE.replace(b'"control":"up-to-date",', b"").replace(b"}}", b',"control":"up-to-date"}}'), "7_0"),
        (UP_TO_DATE.replace(b'"7"', b"7"), None),
        (UP_TO_DATE.replace(b'"7"', b'"seven"'), None),
        (UP_TO_DATE.replace(b'"7"', '"٧"'.encode()), None),
        (UP_TO_DATE.replace(b'"7"', b'""'), None),
        (UP_TO_DATE.replace(b'{"headers"', b'{"key":"k","headers"'), None),
        (UP_TO_DATE.replace(b"}}", b"}"), None),
        (UP_TO_DATE.replace(b"data", b"event"), None),
        (b': {"headers":{"control":"up-to-date","global_last_seen_lsn":"7"}}\n\n', None),
        (b'data: ["up-to-date"]\n\n', None),
        (UP_TO_DATE.replace(b"}}", b"}" + b" " * 1024 + b"}"), None),
        (b'data: {"value":{"body":"{\\"headers\\":{\\"control\\":\\"up-to-date\\"}}"},"headers":{}}\n\n', None),
    ],
)
def test_only_an_up_to_date_has_a_position(event, position):
    assert position_after(event) == position


CHANGE = (
    b'data: {"key":"k","value":{"id":"1"},"headers":{"last":true,"operation":"insert","lsn":"7","op_position":3}}\n\n'
)


@pytest.mark.parametrize(
    ("event", "offset"),
    [
        (CHANGE, "7_3"),
        (CHANGE.replace(b":3", b":0"), "7_0"),
        (CHANGE.replace(b'"last":true,', b""), None),
        (CHANGE.replace(b'"last":true', b'"last":false'), None),
        (CHANGE.replace(b'"7"', b"7"), None),
        (CHANGE.replace(b'"7"', b'"seven"'), None),
        (CHANGE.replace(b'"7"', '"٧"'.encode()), None),
        (CHANGE.replace(b":3", b":true"), None),
        (CHANGE.replace(b":3", b":-3"), None),
        (CHANGE.replace(b":3", b':"3"'), None),
        (CHANGE.replace(b',"op_position":3', b""), None),
        (CHANGE.replace(b"}}", b"}"), None),
        (CHANGE.replace(b'"headers"', b'"value"'), None),
        (CHANGE.replace(b'"1"', b'"' + b"1" * MOST_CHANGE_BYTES + b'"'), None),
        (b'data: ["last"]\n\n', None),
        (UP_TO_DATE, None),
        (b"", None),
    ],
)
def test_a_change_that_ends_a_transaction_has_a_position(event, offset):
    assert offset_of(event) == offset


def cut(*chunks):
    boundaries = Boundaries()
    return [piece for events in chunks for piece in boundaries.cut(events)]


def test_events_are_cut_behind_each_up_to_date():
    row, alive = b'data: {"value":{}}\n\n', b": keep-alive\n\n"
    assert cut(row + UP_TO_DATE + UP_TO_DATE + alive + row) == [
        (row + UP_TO_DATE, ("7_0",)),
        (UP_TO_DATE, ("7_0",)),
        (alive + row, ()),
    ]
    assert cut(b"") == []
    assert cut(b"a piece of a long event") == [(b"a piece of a long event", ())]


def test_a_boundary_behind_a_change_has_the_position_of_the_change_too():
    alive = b": keep-alive\n\n"
    earlier = CHANGE.replace(b":3", b":1").replace(b'"last":true,', b"")
    assert cut(earlier + CHANGE + UP_TO_DATE + UP_TO_DATE) == [
        (earlier + CHANGE + UP_TO_DATE, ("7_0", "7_3")),
        (UP_TO_DATE, ("7_0",)),
    ]
    assert cut(CHANGE, alive, UP_TO_DATE) == [(CHANGE, ()), (alive, ()), (UP_TO_DATE, ("7_0", "7_3"))]
    assert cut(CHANGE + earlier + UP_TO_DATE) == [(CHANGE + earlier + UP_TO_DATE, ("7_0",))]
