"""Token buckets: how much at once, how much in the long run, and how much memory."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.rates import Rate


def taken(rate: Rate, key: str, now: float, tries: int) -> int:
    return sum(rate.take(key, now) for _ in range(tries))


def test_a_bucket_is_full_at_first_and_fills_again() -> None:
    rate = Rate(per_second=2, burst=5)
    assert taken(rate, "a", 0, 9) == 5
    assert taken(rate, "a", 0.4, 9) == 0
    assert taken(rate, "a", 0.5, 9) == 1
    assert taken(rate, "a", 2, 9) == 3
    assert taken(rate, "a", 100, 9) == 5


def test_each_key_has_a_bucket_of_its_own() -> None:
    rate = Rate(1, 3)
    assert taken(rate, "a", 0, 9) == 3
    assert taken(rate, "b", 0, 9) == 3


def test_a_rate_of_0_bounds_nothing() -> None:
    rate = Rate(0, 1)
    assert taken(rate, "a", 0, 1000) == 1000
    rate.spend("a", 0, 1e9)
    assert rate.has("a", 0)
    assert len(rate) == 0


def test_what_is_spent_beyond_the_bucket_must_come_back_first() -> None:
    rate = Rate(0.2, 0.2)  # 200 ms of each second
    assert rate.has("a", 0)
    rate.spend("a", 0, 0.1)
    assert rate.has("a", 0)
    rate.spend("a", 0, 0.3)
    assert not rate.has("a", 0.9)
    assert rate.has("a", 1.1)


def test_a_token_taken_in_vain_is_given_back() -> None:
    rate = Rate(1, 2)
    assert taken(rate, "a", 0, 2) == 2
    rate.give_back("a", 0)
    assert taken(rate, "a", 0, 2) == 1
    rate.give_back("never seen", 0)
    assert taken(rate, "never seen", 0, 9) == 2


def test_two_full_buckets_are_dropped_with_every_use() -> None:
    rate = Rate(1, 2)
    for number in range(5):
        rate.take(f"key {number}", 0)
    rate.take("another", 100)
    assert len(rate) == 4
    rate.take("another", 100)
    assert len(rate) == 2


def test_full_buckets_are_not_kept() -> None:
    rate = Rate(1, 2)
    for number in range(1000):
        rate.take(f"key {number}", number)
    assert len(rate) <= 3


def test_no_more_keys_are_kept_than_there_may_be() -> None:
    rate = Rate(1, 2, most_keys=10)
    for number in range(1000):
        rate.take(f"key {number}", 0)
    assert len(rate) == 10
    assert taken(rate, "key 999", 0, 9) == 1
    assert taken(rate, "key 0", 0, 9) == 2  # forgotten, and so full


@given(
    st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 5, allow_subnormal=False), min_size=1, max_size=60)
)
def test_in_no_span_of_time_more_is_taken_than_the_burst_and_what_came_back(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    rate, now, times = Rate(per_second, burst), 0.0, []
    for pause in pauses:
        now += pause
        times += [now] * taken(rate, "a", now, burst + 1)
    for start in range(len(times)):
        for end in range(start, len(times)):
            most = burst + (times[end] - times[start]) * per_second
            assert end - start + 1 <= most + 1e-6 or end - start + 1 == pytest.approx(most)


@given(st.floats(0, 1e7), st.integers(1, 600), st.integers(1, 40))
@example(32_767.9, 1, 1)
@example(32_767.9, 7, 1)
def test_a_full_bucket_gives_all_its_tokens_whatever_the_clock_says(now: float, per_minute: int, burst: int) -> None:
    rate = Rate(per_minute / 60, burst)
    assert [rate.take("a", now) for _ in range(burst + 1)] == [True] * burst + [False]
