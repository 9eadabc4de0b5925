"""What random schedules seldom come by, step by step."""

from proxy.core.handles import UNKNOWN
from proxy.core.request import Kind
from proxy.sharing.bounds import Bounds
from proxy.sharing.broadcast import Hubs
from proxy.sharing.cache import MOST_DEAD, Cache
from proxy.sharing.coalescer import Desk, How
from proxy.sharing.fetch import Step
from tests.share.asking import asking, head
from tests.share.clients import up_to_date


def landed(desk, offset, size=3_000):
    """A kept answer, with a rider that has read nothing of it."""
    flight, _ = desk.find(asking(offset=offset), 0.0)
    rider = flight.board()
    desk.head_came(flight, head())
    desk.piece_came(flight, b"x" * size)
    desk.landed(flight, 0.0)
    return flight, rider


def test_what_somebody_reads_does_not_give_way():
    desk = Desk(Bounds(cache_bytes=12_000, cache_entry_bytes=9_000))
    read, rider = landed(desk, "0_0")
    unread, other = landed(desk, "1_0")
    desk.leave(unread, other)
    landed(desk, "2_0")
    assert desk.find(asking(offset="0_0"), 1.0) == (read, How.kept)
    assert desk.find(asking(offset="1_0"), 1.0)[1] is How.started
    assert desk.cache.evicted > 3_000
    assert read.take(rider) == b"x" * 3_000


def test_if_all_is_read_nothing_gives_way():
    desk = Desk(Bounds(cache_bytes=12_000, cache_entry_bytes=9_000))
    landed(desk, "0_0")
    landed(desk, "1_0")
    third, _ = landed(desk, "2_0")
    assert not third.whole
    assert desk.cache.evicted == 0
    assert desk.cache.used <= 12_000


def test_a_body_that_is_not_kept_is_not_joined_under_way():
    desk = Desk(Bounds(cache_bytes=0))
    flight, _ = desk.find(asking(), 0.0)
    flight.board()
    desk.head_came(flight, head())
    assert desk.find(asking(), 0.0)[1] is How.started


def test_a_position_whose_pieces_are_gone_opens_another_hub():
    hubs = Hubs(600, Cache(0, 0))
    hub, rider, _ = hubs.board(asking(kind=Kind.sse))
    hubs.head_came(hub, head())
    for lsn in range(1, 5):
        hubs.piece_came(hub, up_to_date(lsn))
        assert hub.take(rider) == up_to_date(lsn)
        assert hub.room()
    late, _, started = hubs.board(asking(kind=Kind.sse))
    assert started
    assert late is not hub
    near, reader, started = hubs.board(asking(kind=Kind.sse, offset="4_0"))
    assert (near, started) == (hub, False)
    assert near.take(reader) is Step.wait


def test_the_handle_of_no_shape_never_dies():
    desk = Desk(Bounds())
    desk.cache.saw(asking(handle=UNKNOWN), head(409, handle="1-2"))
    assert not desk.cache._dead


def test_dead_handles_are_remembered_up_to_a_bound():
    desk = Desk(Bounds())
    for number in range(MOST_DEAD + 10):
        desk.cache.saw(asking(handle=f"9-{number}"), head(409, handle="1-2"))
    assert len(desk.cache._dead) == MOST_DEAD
