"""What random schedules seldom come by, step by step."""

from proxy.core.handles import UNKNOWN
from proxy.core.request import Kind
from proxy.sharing.bounds import Bounds
from proxy.sharing.broadcast import Broadcasts
from proxy.sharing.cache import MOST_DEAD, Cache, Doorkeeper
from proxy.sharing.coalescer import Coalescer, Found
from proxy.sharing.fetch import Step
from tests.sharing.asking import Place, asking, head
from tests.sharing.clients import up_to_date


def completed(coalescer, offset, size=3_000):
    """A cached answer, with a reader that has read nothing of it."""
    fetch, _ = coalescer.find(asking(offset=offset), 0.0)
    reader = Place()
    fetch.enter(reader)
    coalescer.head_arrived(fetch, head())
    coalescer.piece_arrived(fetch, b"x" * size)
    coalescer.completed(fetch, 0.0)
    return fetch, reader


def test_what_somebody_reads_does_not_give_way():
    coalescer = Coalescer(Bounds(cache_bytes=12_000, cache_entry_bytes=9_000, cache_share=0))
    read, reader = completed(coalescer, "0_0")
    unread, other = completed(coalescer, "1_0")
    coalescer.leave(unread, other)
    completed(coalescer, "2_0")
    assert coalescer.find(asking(offset="0_0"), 1.0) == (read, Found.cached)
    assert coalescer.find(asking(offset="1_0"), 1.0)[1] is Found.started
    assert coalescer.cache.evicted > 3_000
    assert read.take(reader) == b"x" * 3_000


def test_if_all_is_read_nothing_gives_way():
    coalescer = Coalescer(Bounds(cache_bytes=12_000, cache_entry_bytes=9_000, cache_share=0))
    completed(coalescer, "0_0")
    completed(coalescer, "1_0")
    third, _ = completed(coalescer, "2_0")
    assert not third.whole
    assert coalescer.cache.evicted == 0
    assert coalescer.cache.used <= 12_000


def test_a_body_that_is_not_cached_is_not_joined_under_way():
    coalescer = Coalescer(Bounds(cache_bytes=0))
    fetch, _ = coalescer.find(asking(), 0.0)
    fetch.enter(Place())
    coalescer.head_arrived(fetch, head())
    assert coalescer.find(asking(), 0.0)[1] is Found.started


def test_a_position_whose_pieces_are_gone_opens_another_broadcast():
    broadcasts = Broadcasts(600, Cache(0, 0))
    reader, late, near = Place(), Place(), Place()
    broadcast, _ = broadcasts.enter(reader, asking(kind=Kind.sse))
    broadcasts.head_arrived(broadcast, head())
    for lsn in range(1, 5):
        broadcasts.piece_arrived(broadcast, up_to_date(lsn))
        assert broadcast.take(reader) == up_to_date(lsn)
        assert broadcast.room()
    other, started = broadcasts.enter(late, asking(kind=Kind.sse))
    assert started
    assert other is not broadcast
    assert broadcasts.enter(near, asking(kind=Kind.sse, offset="4_0")) == (broadcast, False)
    assert broadcast.take(near) is Step.wait


def test_the_handle_of_no_shape_never_dies():
    coalescer = Coalescer(Bounds())
    coalescer.cache.saw(asking(handle=UNKNOWN), head(409, handle="1-2"))
    assert not coalescer.cache._dead


def test_dead_handles_are_remembered_up_to_a_bound():
    coalescer = Coalescer(Bounds())
    for number in range(MOST_DEAD + 10):
        coalescer.cache.saw(asking(handle=f"9-{number}"), head(409, handle="1-2"))
    assert len(coalescer.cache._dead) == MOST_DEAD


def test_an_answer_is_cached_as_long_as_it_may_be():
    coalescer = Coalescer(Bounds())
    for now, how in ((0.0, Found.started), (59.9, Found.cached), (60.0, Found.started), (119.0, Found.cached)):
        fetch, found = coalescer.find(asking(), now)
        assert found is how
        if found is Found.started:
            coalescer.head_arrived(fetch, head(keep=60.0))
            coalescer.completed(fetch, now)


def full() -> Coalescer:
    """A coalescer whose cache has no room for one more answer."""
    coalescer = Coalescer(Bounds(cache_bytes=31_000, cache_entry_bytes=9_000, cache_share=0))
    for number in range(100):
        if coalescer.cache.used < 29_062:
            coalescer.leave(*completed(coalescer, f"{number}_9", 500))
    assert 29_062 <= coalescer.cache.used <= 31_000
    return coalescer


def is_cached(coalescer, offset):
    return coalescer.find(asking(offset=offset), 1.0)[1] is Found.cached


def test_a_full_cache_takes_what_is_asked_for_a_second_time_and_not_before():
    coalescer = full()
    for number in range(20):
        coalescer.leave(*completed(coalescer, f"{number}_0", 500))
    assert coalescer.cache.evicted == 0
    assert not is_cached(coalescer, "7_0")
    coalescer = full()
    for _ in range(2):
        coalescer.leave(*completed(coalescer, "7_0", 500))
    assert is_cached(coalescer, "7_0")
    assert coalescer.cache.evicted > 0


def test_a_full_cache_takes_what_several_wait_for():
    coalescer = full()
    fetch, _ = coalescer.find(asking(offset="7_0"), 0.0)
    readers = [Place(), Place()]
    for reader in readers:
        assert coalescer.find(asking(offset="7_0"), 0.0)[0] is fetch
        fetch.enter(reader)
    coalescer.head_arrived(fetch, head())
    coalescer.piece_arrived(fetch, b"x" * 3_000)
    coalescer.completed(fetch, 0.0)
    assert is_cached(coalescer, "7_0")


def test_what_is_too_old_leaves_a_full_cache_for_newcomers():
    coalescer = full()
    for _ in range(4):
        coalescer.find(asking(offset="8_0", cache_buster="x"), 61.0)
        coalescer.in_flight.clear()
        coalescer._joinable.clear()
    assert coalescer.cache.used < 29_062
    coalescer.leave(*completed(coalescer, "7_0", 500))
    assert is_cached(coalescer, "7_0")


def test_the_doorkeeper_remembers_a_bounded_number_of_keys():
    doorkeeper = Doorkeeper(4)
    keys = [asking(offset=f"{number}_0").key for number in range(100)]
    assert not any(doorkeeper.has_seen(key) for key in keys)
    assert doorkeeper.has_seen(keys[-1])
    assert not doorkeeper.has_seen(keys[0])
    assert len(doorkeeper._seen) + len(doorkeeper._before) <= 8
