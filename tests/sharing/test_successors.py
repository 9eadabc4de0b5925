"""What follows a stream that is over: who is at its latest boundary shares the next one, by either position."""

import pytest

from proxy.core.request import Kind
from proxy.core.sse import MAX_HELD_BYTES
from proxy.sharing.broadcast import MOST_CHANGE_BYTES, MOST_REMEMBERED, Broadcast, Broadcasts
from proxy.sharing.cache import Cache
from tests.sharing.asking import Place, asking, head
from tests.sharing.clients import up_to_date

KEEP_ALIVE = b": keep-alive\n\n"
CHANGE = b'data: {"key":"k","value":{"id":"%b"},"headers":{"last":true,"lsn":"%d","op_position":%d}}\n\n'
LIMIT = 4_000_000
LONG = CHANGE % (b"x" * MAX_HELD_BYTES, 5, 4)


def change(lsn: int, number: int, text: bytes = b"1") -> bytes:
    """The last change of a transaction in its shape."""
    return CHANGE % (text, lsn, number)


def entered(broadcasts: Broadcasts, offset: str, **position: str) -> tuple[Broadcast, bool, Place]:
    """A reader at a position, and the broadcast that it entered."""
    reader = Place()
    return *broadcasts.enter(reader, asking(kind=Kind.sse, offset=offset, **position)), reader


def streamed(
    broadcasts: Broadcasts, offset: str, *chunks: bytes, status: int = 200, reader: Place | None = None
) -> Broadcast:
    """A broadcast that a reader has entered at a position, with what has come on it."""
    broadcast, started = broadcasts.enter(reader or Place(), asking(kind=Kind.sse, offset=offset))
    assert started
    broadcasts.head_arrived(broadcast, head(status))
    for chunk in chunks:
        broadcasts.piece_arrived(broadcast, chunk)
    return broadcast


def starts(broadcasts: Broadcasts, offset: str) -> str:
    """Where on Electric's log a stream starts for a client at this position; the client leaves again."""
    broadcast, started, reader = entered(broadcasts, offset)
    assert started
    assert broadcasts.leave(broadcast, reader)
    return broadcast.request.position.offset


TWO_POSITIONS = {
    "a change and its end": (change(5, 2), up_to_date(5)),
    "in one chunk": (change(5, 2) + up_to_date(5),),
    "several transactions": (change(3, 4) + up_to_date(3) + change(5, 2), up_to_date(5)),
    "comments in between": (KEEP_ALIVE + change(5, 2), KEEP_ALIVE + up_to_date(5)),
    "comments behind": (change(5, 2) + up_to_date(5) + KEEP_ALIVE, KEEP_ALIVE),
    "a change behind": (change(5, 2) + up_to_date(5), change(7, 2)),
    "a part of an event behind": (change(5, 2) + up_to_date(5) + b"data: {",),
    "a part of a long event behind": (change(5, 2) + up_to_date(5), b"data: " + b"x" * MAX_HELD_BYTES),
}
ONE_POSITION = {
    "nothing came": (),
    "only comments came": (KEEP_ALIVE,),
    "a change without its end": (change(5, 2),),
    "a change that is not its transaction's last": (change(5, 2).replace(b"true", b"false"), up_to_date(5)),
    "a change that is too long to be read": (change(5, 2, b"x" * MOST_CHANGE_BYTES), up_to_date(5)),
    "a message behind the change": (change(5, 2), b'data: {"headers":{"event":"move-out"}}\n\n', up_to_date(5)),
    "an event that is no message": (change(5, 2) + b"event: other\n\n" + up_to_date(5),),
    "a comment with data in it": (change(5, 2) + b": other\ndata: {}\n\n" + up_to_date(5),),
    "a long event in parts": (change(5, 2), LONG[:-9], LONG[-9:], up_to_date(5)),
    "an up-to-date without its place": (change(5, 2), b'data: {"headers":{"control":"up-to-date"}}\n\n'),
    "an up-to-date behind it": (change(5, 2) + up_to_date(5) + up_to_date(5),),
}


OVER = {
    "ended": lambda broadcasts, broadcast, _: broadcasts.completed(broadcast, 0.0),
    "broken": lambda broadcasts, broadcast, _: broadcasts.failed(broadcast, "reset"),
    "left by the last reader": lambda broadcasts, broadcast, reader: broadcasts.leave(broadcast, reader),
}


@pytest.mark.parametrize("over", OVER.values(), ids=OVER)
@pytest.mark.parametrize("first", ["5_0", "5_2"])
@pytest.mark.parametrize("chunks", TWO_POSITIONS.values(), ids=TWO_POSITIONS)
def test_who_is_at_the_latest_boundary_goes_on_behind_its_change(chunks, first, over):
    broadcasts, reader = Broadcasts(LIMIT, Cache(0, 0)), Place()
    over(broadcasts, streamed(broadcasts, "0_0", *chunks, reader=reader), reader)
    successor, started, _ = entered(broadcasts, first)
    assert started
    assert successor.request.position.offset == "5_2"
    assert "&offset=5_2&" in f"{successor.request.target}&"
    assert successor.request.key == (successor.request.target, None)
    for position in ("5_0", "5_2"):
        assert entered(broadcasts, position)[:2] == (successor, False)


@pytest.mark.parametrize("chunks", ONE_POSITION.values(), ids=ONE_POSITION)
def test_where_a_boundary_has_one_position_streams_start_where_they_were_requested(chunks):
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    broadcasts.completed(streamed(broadcasts, "0_0", *chunks), 0.0)
    assert [starts(broadcasts, offset) for offset in ("0_0", "5_0", "5_2")] == ["0_0", "5_0", "5_2"]


@pytest.mark.parametrize("position", [{"handle": "1-3"}, {"expired_handle": "1-1"}, {"cache_buster": "b"}], ids=str)
def test_the_end_of_one_stream_says_nothing_about_another(position):
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    broadcasts.completed(streamed(broadcasts, "0_0", change(5, 2), up_to_date(5)), 0.0)
    broadcast, _, _ = entered(broadcasts, "5_0", **position)
    assert broadcast.request.position.offset == "5_0"


def test_where_both_positions_are_one_nothing_is_remembered():
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    broadcasts.completed(streamed(broadcasts, "0_0", change(5, 0), up_to_date(5)), 0.0)
    assert not broadcasts._latest
    assert starts(broadcasts, "5_0") == "5_0"


def test_silent_streams_pass_their_positions_on():
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    broadcasts.completed(streamed(broadcasts, "0_0", change(5, 2), up_to_date(5)), 0.0)
    for _ in range(3):
        broadcasts.completed(streamed(broadcasts, "5_0", KEEP_ALIVE), 0.0)
    successor = streamed(broadcasts, "5_0", change(7, 4), up_to_date(7))
    assert entered(broadcasts, "5_2")[:2] == (successor, False)
    broadcasts.completed(successor, 0.0)
    assert [starts(broadcasts, offset) for offset in ("5_0", "5_2", "7_0", "7_4")] == ["5_0", "5_2", "7_4", "7_4"]


def test_a_transaction_that_is_sent_again_is_sent_again_once():
    """From `5_0` on Electric sends `5_2` and ends the stream, over and over, if nobody knows what was read."""
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    broadcasts.completed(streamed(broadcasts, "5_0", change(5, 2), up_to_date(5)), 0.0)
    assert starts(broadcasts, "5_0") == "5_2"


def test_a_refused_successor_is_not_requested_from_there_again():
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    broadcasts.completed(streamed(broadcasts, "0_0", change(5, 2), up_to_date(5)), 0.0)
    broadcasts.completed(streamed(broadcasts, "5_0", b"[]", status=400), 0.0)
    assert starts(broadcasts, "5_0") == "5_0"


def test_the_ends_of_the_latest_streams_are_remembered_up_to_a_bound():
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    for number in [*range(MOST_REMEMBERED), 0, MOST_REMEMBERED]:  # the first ends a second time
        broadcast, _ = broadcasts.enter(Place(), asking(kind=Kind.sse, handle=f"1-{number}"))
        broadcasts.head_arrived(broadcast, head())
        broadcasts.piece_arrived(broadcast, change(5, 2) + up_to_date(5))
        broadcasts.completed(broadcast, 0.0)
    assert len(broadcasts._latest) == MOST_REMEMBERED
    assert {
        number
        for number in range(MOST_REMEMBERED + 1)
        if (broadcast.stream[0], f"1-{number}", None, None) not in broadcasts._latest
    } == {1}


def test_a_long_event_in_parts_leaves_no_position_of_the_change_before_it():
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    broadcast = streamed(broadcasts, "0_0", change(5, 2), LONG[:-9], LONG[-9:], up_to_date(5))
    assert list(broadcast.places) == ["0_0", "5_0"]


def test_a_position_is_found_in_an_older_stream_when_the_newer_is_over():
    broadcasts = Broadcasts(LIMIT, Cache(0, 0))
    older = streamed(broadcasts, "3_0", change(5, 0) + up_to_date(5))
    newer = streamed(broadcasts, "1_0", change(3, 0), change(5, 0), up_to_date(5))
    assert entered(broadcasts, "5_0")[:2] == (newer, False)
    broadcasts.completed(newer, 0.0)
    assert entered(broadcasts, "5_0")[:2] == (older, False)
