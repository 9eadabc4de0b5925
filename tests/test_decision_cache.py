"""Remembered decisions: bounded in bytes, each subject to its share, the least recently used give way."""

import tracemalloc

import pytest

from proxy.auth.decision_cache import SHARE, DecisionCache, size_of
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import Decision, decide
from proxy.core.handles import TrustedPosition
from proxy.core.request import ShapeRequest, parse
from tests.core.samples import policy_set

POLICIES = policy_set()


def decided(number: int = 0, width: int = 1) -> tuple[ShapeRequest, Decision]:
    """A request with a filter of so many characters, and its decision."""
    where = f"mode%3D'{number}-{'x' * width}'"
    request = parse(None, f"table=notes&offset=-1&where={where}".encode())
    return request, decide(request, Claims("ada", 0.0, {"session_id": "s-ada"}), POLICIES)


@pytest.fixture
def decision() -> Decision:
    return decided()[1]


def kept(cache: DecisionCache, names: str) -> str:
    """Which of these keys are remembered."""
    return "".join(name for name in names if cache.find(name))


def test_a_decision_is_found_by_its_key_alone(decision: Decision) -> None:
    cache = DecisionCache(800)
    cache.store("ada", "a", decision, 10)
    assert cache.find("a") is decision
    assert cache.find("b") is None
    cache.clear()
    assert (cache.find("a"), len(cache), cache.used) == (None, 0, 0)


def test_over_its_share_a_subject_displaces_its_own_least_recently_used(decision: Decision) -> None:
    cache = DecisionCache(SHARE * 30)
    cache.store("bob", "z", decision, 10)
    for name in "abc":
        cache.store("ada", name, decision, 10)
    assert cache.find("a")
    cache.store("ada", "d", decision, 10)
    assert kept(cache, "abcdz") == "acdz"
    cache.store("ada", "e", decision, 30)
    assert kept(cache, "abcdez") == "ez"
    assert cache.used == 40


def test_over_the_whole_the_least_recently_used_of_all_gives_way(decision: Decision) -> None:
    cache = DecisionCache(80)
    for name in "abcdefgh":
        cache.store(f"of {name}", name, decision, 10)
    assert cache.find("a")
    cache.store("of i", "i", decision, 10)
    assert kept(cache, "abcdefghi") == "acdefghi"
    assert cache.used == 80


def test_what_is_larger_than_a_share_is_not_remembered(decision: Decision) -> None:
    cache = DecisionCache(80)
    cache.store("ada", "a", decision, 11)
    assert (len(cache), cache.used) == (0, 0)
    nothing = DecisionCache(0)
    nothing.store("ada", "a", decision, 1)
    assert len(nothing) == 0


@pytest.mark.parametrize("width", [1, 3000])
def test_it_holds_no_more_memory_than_it_counts(width: int) -> None:
    cache = DecisionCache(4_000_000)
    decided(0, width)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1500):
            request, decision = decided(number, width)
            upstream.build(decision.authorized(), request, TrustedPosition(request.position), 99_999)
            key = (b"d" * 32, request.what)
            cache.store(f"subject {number % 16}", key, decision, size_of(request, decision.authorized()))
        del request, decision, key
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cache.used <= 4_000_000
    assert len(cache) < 1500
    assert held < 2 * cache.used
