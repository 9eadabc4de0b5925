"""Remembered decisions: by what was asked and the claims that were read, each subject to its share of the bytes."""

import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from proxy.auth.decision_cache import Decided, DecisionCache, ReadClaims, What, size_of
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.handles import TrustedPosition
from proxy.core.request import parse
from tests.core.samples import policy_set

POLICIES = policy_set()

SHARE = 8


def asked(number: int = 0, width: int = 1) -> tuple[What, ReadClaims, Decided]:
    """A request with a filter of so many characters, the claims that it was decided by, and the decision."""
    what = f"&table=notes&where=mode%3D'{number}-{'x' * width}'".encode()
    request = parse(None, b"offset=-1" + what)
    read = ReadClaims({"session_id": "s-ada"})
    decision = decide(request, Claims("ada", 0.0, read), POLICIES)
    return (None, what), read, Decided(request, decision, upstream.target_of(decision.authorized()))


@pytest.fixture
def decided() -> Decided:
    return asked()[2]


def read_of(**values: Any) -> ReadClaims:
    """Claims of which all these were read."""
    read = ReadClaims(values)
    for name in values:
        read.get(name)
    return read


def store(cache: DecisionCache, subject: str, name: str, decided: Decided, size: int) -> None:
    cache.store(subject, (name, b""), ReadClaims({}), decided, size)


def kept(cache: DecisionCache, names: str) -> str:
    """Which of these keys are remembered."""
    return "".join(name for name in names if cache.find((name, b""), {}))


def test_a_decision_is_found_by_what_was_asked_alone(decided: Decided) -> None:
    cache = DecisionCache(800, SHARE)
    store(cache, "ada", "a", decided, 10)
    assert cache.find(("a", b""), {"sub": "bob"}) is decided
    assert cache.find(("b", b""), {}) is None
    assert cache.find(("a", b"&x=1"), {}) is None
    assert cache.find((None, b""), {}) is None


def test_it_is_found_again_by_the_claims_that_were_read_and_no_others(decided: Decided) -> None:
    cache, what = DecisionCache(8000, SHARE), (None, b"")
    read = ReadClaims({"session_id": "s-ada", "sub": "ada"})
    assert read["session_id"] == "s-ada"
    assert "thread_id" not in read
    cache.store("ada", what, read, decided, 10)
    assert cache.find(what, {"session_id": "s-ada", "sub": "bob", "exp": 7}) is decided
    assert cache.find(what, {"session_id": "s-bob"}) is None
    assert cache.find(what, {"session_id": "s-ada", "thread_id": "t"}) is None
    assert cache.find(what, {}) is None


EXACT: dict[str, tuple[object, object]] = {
    "a truth value is no number": (True, 1),
    "a number is no truth value": (0, False),
    "a text is no number": ("1", 1),
    "a list is no text": (["a"], "a"),
    "a list is not another": (["a", "b"], ["b", "a"]),
    "an empty list is not nothing": ([], None),
    "a float is never found": (1, 1.0),
    "a list of numbers is never found": (["1"], [1]),
}


@pytest.mark.parametrize(("one", "other"), EXACT.values(), ids=EXACT)
def test_claims_are_told_apart_by_type_and_value(decided: Decided, one: object, other: object) -> None:
    cache, what = DecisionCache(8000, SHARE), (None, b"")
    cache.store("ada", what, read_of(claim=one), decided, 10)
    assert cache.find(what, {"claim": one}) is decided
    assert cache.find(what, {"claim": other}) is None


@pytest.mark.parametrize("value", [1.0, None, [{}], [1], [["a"]], float("nan")])
def test_a_decision_by_a_claim_that_cannot_be_told_apart_is_not_remembered(decided: Decided, value: object) -> None:
    cache = DecisionCache(8000, SHARE)
    cache.store("ada", (None, b""), read_of(claim=value), decided, 10)
    assert len(cache) == 0


def at(*path: str) -> Any:
    """Reads what stands at a path, as far as there are objects on the way."""

    def read(claims: ReadClaims) -> None:
        value: object = claims
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None

    return read


NESTED: dict[str, tuple[Any, list[dict[str, object]], list[dict[str, object]]]] = {
    "a claim in an object": (
        at("app", "tenant"),
        [{"app": {"tenant": "t"}}, {"app": {"tenant": "t", "other": 1.5}, "sub": "bob"}],
        [{"app": {"tenant": "u"}}, {"app": {}}, {"app": "t"}, {"app": ["tenant"]}, {"app": None}, {"tenant": "t"}, {}],
    ),
    "a claim in an object in an object": (
        at("a", "b", "c"),
        [{"a": {"b": {"c": True}}}, {"a": {"b": {"c": True}, "c": 1}}],
        [{"a": {"b": {"c": 1}}}, {"a": {"b": {"c": "True"}}}, {"a": {"b": True}}, {"a": {"c": True}}, {"a": True}],
    ),
    "a claim that is missing in its object": (
        at("a", "b"),
        [{"a": {}}, {"a": {"c": "d"}}],
        [{}, {"a": []}, {"a": {"b": ""}}, {"a": {"b": {}}}, {"a": {"b": None}}],
    ),
    "an object of which nothing was read": (
        at("a"),
        [{"a": {}}, {"a": {"b": "c"}}],
        [{}, {"a": []}, {"a": "b"}, {"a": None}],
    ),
    "two claims in one object": (
        lambda claims: [at("a", "b")(claims), at("a", "c")(claims)],
        [{"a": {"b": "1", "c": ["2"]}}, {"a": {"c": ["2"], "b": "1"}}],
        [{"a": {"b": "1", "c": "2"}}, {"a": {"b": "1"}}, {"a": {"c": ["2"]}}, {"a": {"b": "1", "c": ["3"]}}],
    ),
}


@pytest.mark.parametrize(("read", "same", "others"), NESTED.values(), ids=NESTED)
def test_what_was_read_of_an_object_is_told_apart_and_the_rest_of_it_does_not_count(
    decided: Decided, read: Any, same: list[dict[str, object]], others: list[dict[str, object]]
) -> None:
    cache, what = DecisionCache(8000, SHARE), (None, b"")
    first = ReadClaims(same[0])
    read(first)
    cache.store("ada", what, first, decided, 10)
    assert [cache.find(what, claims) for claims in same] == [decided] * len(same)
    assert [cache.find(what, claims) for claims in others] == [None] * len(others)


LISTING: dict[str, Any] = {
    "list": list,
    "len": len,
    "bool": bool,
    "equality": lambda claims: claims == {},
    "names": lambda claims: claims.keys() <= {"b"},
}


@pytest.mark.parametrize("listing", LISTING.values(), ids=LISTING)
def test_an_object_whose_names_were_listed_is_found_by_its_names(decided: Decided, listing: Any) -> None:
    cache, what = DecisionCache(8000, SHARE), (None, b"")
    read = ReadClaims({"a": {"b": "c", "d": [1]}})
    listing(read["a"])
    cache.store("ada", what, read, decided, 10)
    assert cache.find(what, {"a": {"b": "c", "d": [1], "e": None}}) is None
    assert cache.find(what, {"a": {"b": "c"}}) is None
    assert cache.find(what, {"a": {}}) is None
    assert cache.find(what, {"a": "b"}) is None
    assert cache.find(what, {}) is None


def test_of_an_object_that_was_read_whole_every_value_counts(decided: Decided) -> None:
    cache, what = DecisionCache(8000, SHARE), (None, b"")
    read = ReadClaims({"a": {"b": "c", "d": {"1": "e"}}})
    assert {name: value for name, value in read["a"].items() if value == "c"} == {"b": "c"}  # type: ignore[attr-defined]
    assert dict(read["a"]["d"]) == {"1": "e"}  # type: ignore[index]
    cache.store("ada", what, read, decided, 10)
    assert cache.find(what, {"sub": "x", "a": {"b": "c", "d": {"1": "e"}}}) is decided
    for other in ({"b": "x", "d": {"1": "e"}}, {"b": "c", "d": {"1": "f"}}, {"b": "c", "d": {"1": "e", "2": "e"}}):
        assert cache.find(what, {"a": other}) is None


def test_a_decision_that_read_all_claims_is_not_remembered(decided: Decided) -> None:
    cache = DecisionCache(8000, SHARE)
    for read_all in (list, len):
        read = ReadClaims({"a": "b"})
        read_all(read)
        cache.store("ada", (None, b""), read, decided, 10)
    assert len(cache) == 0


def test_a_claim_that_is_read_later_counts_from_then_on(decided: Decided) -> None:
    cache, what = DecisionCache(8000, SHARE), (None, b"")
    cache.store("ada", what, read_of(a="1"), decided, 10)
    cache.store("ada", what, read_of(a="2", b="3"), decided, 10)
    assert cache.find(what, {"a": "1"}) is None  # found by fewer claims than count now
    assert cache.find(what, {"a": "2", "b": "3"}) is decided
    assert cache.find(what, {"a": "2", "b": "4"}) is None


def test_over_its_share_a_subject_displaces_its_own_least_recently_used(decided: Decided) -> None:
    cache = DecisionCache(SHARE * 30, SHARE)
    store(cache, "bob", "z", decided, 10)
    for name in "abc":
        store(cache, "ada", name, decided, 10)
    assert kept(cache, "a")
    store(cache, "ada", "d", decided, 10)
    assert kept(cache, "abcdz") == "acdz"
    store(cache, "ada", "e", decided, 30)
    assert kept(cache, "abcdez") == "ez"
    assert cache.used == 40


def test_over_the_whole_the_least_recently_used_of_all_gives_way(decided: Decided) -> None:
    cache = DecisionCache(80, SHARE)
    for name in "abcdefgh":
        store(cache, f"of {name}", name, decided, 10)
    assert kept(cache, "a")
    store(cache, "of i", "i", decided, 10)
    assert kept(cache, "abcdefghi") == "acdefghi"
    assert cache.used == 80


def test_what_is_larger_than_a_share_is_not_remembered(decided: Decided) -> None:
    cache = DecisionCache(80, SHARE)
    store(cache, "ada", "a", decided, 11)
    assert (len(cache), cache.used) == (0, 0)
    nothing = DecisionCache(0, SHARE)
    store(nothing, "ada", "a", decided, 1)
    assert len(nothing) == 0


def test_what_is_forgotten_leaves_nothing_behind(decided: Decided) -> None:
    cache = DecisionCache(8, SHARE)
    for number in range(100):
        cache.store(f"of {number}", (str(number), b""), read_of(claim=str(number)), decided, 1)
    assert len(cache) == 8
    assert [len(table) for table in (cache._by_what, cache._by_subject, cache._used_by)] == [8, 8, 8]


@pytest.mark.parametrize("width", [1, 3000])
def test_it_holds_no_more_memory_than_it_counts(width: int) -> None:
    cache = DecisionCache(4_000_000, SHARE)
    asked(0, width)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1500):
            what, read, decided = asked(number, width)
            decided.target.at(TrustedPosition(decided.request.position), 99_999)
            cache.store(f"subject {number % 16}", what, read, decided, size_of(what, decided))
        del what, read, decided
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cache.used <= 4_000_000
    assert len(cache) < 1500
    assert held < 2 * cache.used
