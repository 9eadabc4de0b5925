"""One authority: what is in force, swapped whole; and what it caches says nothing that the rules would not say now."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.authority import Authority, AuthorityConfig
from proxy.auth.authorizer import Authorizer
from proxy.auth.callers import CALLERS_BYTES, Caller, Callers
from proxy.auth.issuers import Issuer
from proxy.auth.keys import Key, KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.revoked import Revoked
from proxy.auth.tokens import TokenBounds
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Code, Refusal
from proxy.core.handles import BoundHandles, trusted
from proxy.core.policy import PolicySet
from proxy.core.request import parse
from proxy.core.rule_limits import DEFAULT_RULE_LIMITS, RuleLimits
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest
from tests.core.samples import policy, policy_set, refused

RING = KeyRing((Key(None, "HS256", b"k" * 32, b"k" * 32),))
TRUST = Trust.of(TrustedIssuer(Issuer("i", Path("keys.json"), frozenset({"a"})), RING))
HANDLES = BoundHandles(bytes(32))
POLICIES = policy_set(
    policy(),
    policy(
        "counts",
        table="public.counts",
        where="account_id = {account_id} AND open = {open}",
        columns=["id", "account_id", "open", "mode"],
        claims={"account_id": "integer", "open": "boolean"},
        narrow=[],
        client={"filter": ["mode"]},
        case=[
            {"name": "yes", "request": "table=counts&offset=-1", "expect": "allow"},
            {"name": "no", "request": "table=others&offset=-1", "expect": "shape_forbidden"},
        ],
    ),
    policy(
        "deep",
        table="public.deep",
        where="tenant = {tenant} AND (grade = {grade} OR grade IS NULL)",
        columns=["id", "tenant", "grade", "mode"],
        claims={
            "tenant": {"type": "text", "from": ["app", "tenant"]},
            "grade": {"type": "integer", "from": ["app", "more", "grade"]},
        },
        narrow=[],
        client={"filter": ["mode"]},
        case=[
            {"name": "yes", "request": "table=deep&offset=-1", "expect": "allow"},
            {"name": "no", "request": "table=others&offset=-1", "expect": "shape_forbidden"},
        ],
    ),
)


def loaded(policies: PolicySet = POLICIES, digest: str = "0123456789ab") -> LoadedPolicies:
    return LoadedPolicies(policies, (), digest)


def authorizer(cache_bytes: int = 4_000_000, limits: RuleLimits = DEFAULT_RULE_LIMITS) -> Authorizer:
    config = AuthorityConfig(TokenBounds(), cache_bytes)
    return Authorizer(Authority.of(config, loaded(), TRUST), limits, HANDLES)


def outcome(call: Callable[[], UpstreamRequest]) -> Any:
    try:
        return call()
    except Refusal as refusal:
        return refusal.code, refusal.detail, refusal.reason


def by_the_rules(
    name: str | None, query: bytes, claims: Claims, policies: PolicySet, limits: RuleLimits
) -> UpstreamRequest:
    """The way that caches nothing."""
    request = parse(name, query, None, limits.request)
    shape = decide(request, claims, policies, limits.filter).authorized()
    position = trusted(HANDLES, upstream.definition(shape), request.position)
    return upstream.build(shape, request, position, limits.target_bytes)


# Random queries and claims.

VALUES = st.sampled_from(["s-ada", "s-bob", "", " ", "1", 1, True, False, 0, None, 1.0, ["s-ada"], ["a", "b"], {}, 7])
DEEP = st.fixed_dictionaries(
    {},
    optional={
        "tenant": VALUES,
        "more": VALUES | st.fixed_dictionaries({}, optional={"grade": VALUES, "other": VALUES}),
        "other": VALUES,
    },
)
GOOD_DEEP = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["t-1", "t-2"]),
        "more": st.fixed_dictionaries({"grade": st.sampled_from([1, 7, True])}, optional={"other": VALUES}),
    },
    optional={"other": VALUES},
)
SHAPES = st.sampled_from([["notes", "deep"], ["deep"], [], "deep", None])
SHAPE = st.fixed_dictionaries(
    {"table": st.sampled_from(["deep", "notes", 1])},
    optional={
        "namespace": st.sampled_from(["public", "other"]),
        "where": st.sampled_from(["mode = $1", "mode = 'a'", 1]),
        "params": st.sampled_from(
            [["a"], ["b"], [1], [True], {"1": "a"}, {"1": "b"}, {"1": 1}, {"1": True}, {"2": "a"}]
        ),
        "columns": st.sampled_from([["id"], ["id", "mode"], "id,mode", []]),
        "more": st.just(1),
    },
)
CLAIMS = st.dictionaries(st.sampled_from(["session_id", "thread_id", "account_id", "open", "sub"]), VALUES, max_size=4)
GOOD_CLAIMS = st.fixed_dictionaries(
    {
        "session_id": st.sampled_from(["s-ada", "s-bob"]),
        "account_id": st.sampled_from([1, 7, True, "1"]),
        "open": st.sampled_from([True, False, 1]),
    },
    optional={
        "thread_id": st.sampled_from(["t-1", "t-2", 3]),
        "sub": st.sampled_from(["ada", "bob"]),
        "app": GOOD_DEEP | DEEP | VALUES,
        "shapes": SHAPES,
        "shape": SHAPE | VALUES,
    },
)
ALMOST = {"tenant": "t-1", "more": {"grade": 1}}
DEEP_CLAIMS = st.fixed_dictionaries(
    {"app": st.just(ALMOST) | GOOD_DEEP | DEEP},
    optional={
        "shapes": st.sampled_from([["deep"], ["deep", "notes"], ["notes"]]),
        "shape": st.fixed_dictionaries(
            {"table": st.just("deep")},
            optional={
                "where": st.just("mode = $1"),
                "params": st.sampled_from([["a"], ["1"], [1], {"1": "a"}, {"1": "1"}, {"1": 1}, {"1": True}]),
                "columns": st.sampled_from([["id", "mode"], "id,mode"]),
                "more": st.just(1),
            },
        ),
    },
)
POSITIONS = st.sampled_from(
    [
        b"offset=-1",
        b"offset=now",
        b"offset=0_0&handle=1-2",
        b"offset=0_0&handle=1-2.AAAAAAAAAAAAAAAA&live=true&cursor=5",
        b"offset=0_inf&handle=1-2&live=true&live_sse=true",
        b"offset=-1&expired_handle=1-2&cache-buster=b",
        b"offset=-1&live=true",
        b"offset=%2d1",
        b"offset=-1&cursor=1&cursor=2",
        b"",
    ]
)
WHATS = st.sampled_from(
    [
        b"table=notes",
        b"table=counts",
        b"table=others",
        b"table=deep",
        b"table=deep&where=mode%3D%27a%27",
        b"table=notes&where=mode%3D%27a%27",
        b"table=notes&where=mode+%3D+$1&params[1]=x",
        b"table=notes&where=nonsense",
        b"table=notes&columns=id",
        b"table=notes&columns=never",
        b"table=notes&replica=full&log=changes_only",
        b"table=notes&off%73et=-1",
        b"table=notes&c%75rsor=",
        b"table=notes&subset__limit=5&subset__order_by=id",
        b"table=notes&",
        b"table=notes&x",
        b"",
    ]
)
NAMES = st.sampled_from([None, None, "notes", "counts", "others", "deep"])
REQUESTS = st.tuples(
    NAMES,
    st.tuples(st.booleans(), POSITIONS, WHATS).map(
        lambda said: b"&".join(part for part in (said[1:] if said[0] else said[:0:-1]) if part)
    ),
    GOOD_CLAIMS | CLAIMS,
)


Request = tuple[str | None, bytes, dict[str, object]]


def check_against_the_rules(requests: list[Request], cache_bytes: int) -> None:
    """Asks each twice, and finds what the way says that caches nothing."""
    limits = RuleLimits()
    judge = authorizer(cache_bytes, limits)
    for name, query, values in requests:
        claims = Claims("ada", float("inf"), values)
        expected = outcome(lambda: by_the_rules(name, query, claims, POLICIES, limits))  # noqa: B023
        for _ in range(2):
            assert outcome(lambda: judge.ask(name, query, claims).admitted()[1]) == expected  # noqa: B023


@given(st.lists(REQUESTS, max_size=12), st.sampled_from([4_000_000, 40_000, 0]))
def test_the_cached_way_says_what_parse_decide_and_build_say(requests: list[Request], cache_bytes: int) -> None:
    check_against_the_rules(requests, cache_bytes)


@given(st.lists(GOOD_CLAIMS, min_size=2, max_size=12))
def test_tokens_that_ask_for_the_same_share_only_what_is_decided_alike(claims: list[dict[str, object]]) -> None:
    check_against_the_rules([(None, b"table=counts&offset=-1", values) for values in claims], 4_000_000)


@given(st.lists(DEEP_CLAIMS, min_size=2, max_size=12))
def test_tokens_that_differ_inside_their_objects_share_only_what_is_decided_alike(
    claims: list[dict[str, object]],
) -> None:
    check_against_the_rules([(None, b"table=deep&offset=-1", values) for values in claims], 4_000_000)


def trail(judge: Authorizer, values: dict[str, object], query: bytes) -> Trail:
    return judge.ask(None, query, Claims("ada", float("inf"), values))


PAIRS: dict[str, tuple[bytes, bytes]] = {
    "a position in another spelling": (b"offset=-1&table=notes&c%75rsor=", b"offset=-1&cursor=5&table=notes&c%75rsor="),
    "a truth value in another spelling": (
        b"offset=-1&table=notes&liv%65=false",
        b"offset=0_0&handle=h&live=true&table=notes&liv%65=false",
    ),
    "an empty parameter": (b"offset=-1&table=notes", b"offset=-1&table=notes&"),
    "a parameter of a position twice": (b"offset=-1&table=notes", b"offset=-1&offset=-1&table=notes"),
    "another position": (b"offset=-1&table=notes", b"table=notes&offset=0_0&handle=h&live=true&cursor=5"),
    "a stream that is not live": (b"offset=-1&table=notes", b"table=notes&offset=0_0&handle=h&live_sse=true"),
    "another table": (b"offset=-1&table=notes", b"offset=-1&table=others"),
}


@pytest.mark.parametrize(("first", "second"), PAIRS.values(), ids=PAIRS)
def test_what_was_found_out_for_one_query_is_not_said_of_another(first: bytes, second: bytes) -> None:
    judge, limits = authorizer(), RuleLimits()
    claims = Claims("ada", float("inf"), {"session_id": "s-ada"})
    assert isinstance(outcome(lambda: judge.ask(None, first, claims).admitted()[1]), UpstreamRequest)
    expected = outcome(lambda: by_the_rules(None, second, claims, POLICIES, limits))
    for _ in range(2):
        assert outcome(lambda: judge.ask(None, second, claims).admitted()[1]) == expected


def ask(judge: Authorizer, values: dict[str, object], query: bytes = b"table=notes&offset=-1") -> UpstreamRequest:
    return trail(judge, values, query).admitted()[1]


def test_another_token_with_the_same_claims_finds_the_decision() -> None:
    judge = authorizer()
    one = ask(judge, {"session_id": "s-ada", "jti": "1", "sub": "ada"})
    other = ask(judge, {"session_id": "s-ada", "jti": "2", "sub": "bob"}, b"offset=now&table=notes")
    assert one.shape is other.shape  # the very same text
    assert len(judge.authority.decisions) == 1


def test_another_token_with_the_same_claims_in_an_object_finds_the_decision() -> None:
    judge, query = authorizer(), b"table=deep&offset=-1"
    one = ask(judge, {"app": {"tenant": "t-1", "more": {"grade": 1}}, "jti": "1"}, query)
    other = ask(judge, {"app": {"more": {"grade": 1, "x": 0.5}, "tenant": "t-1", "y": None}, "jti": "2"}, query)
    assert one.shape is other.shape  # the very same text
    assert ask(judge, {"app": {"tenant": "t-2", "more": {"grade": 1}}}, query).shape != one.shape
    assert len(judge.authority.decisions) == 2


def test_another_token_for_the_same_shape_finds_the_decision_and_one_for_other_rows_does_not() -> None:
    judge, app = authorizer(), {"tenant": "t-1", "more": {"grade": 1}}

    def of(mode: str, jti: str) -> UpstreamRequest:
        shape = {"table": "deep", "where": "mode = $1", "params": [mode]}
        return ask(judge, {"app": app, "shape": shape, "jti": jti}, b"table=deep&offset=-1")

    assert of("a", "1").shape is of("a", "2").shape  # the very same text
    assert of("b", "3").shape != of("a", "4").shape
    assert len(judge.authority.decisions) == 2


def test_a_handle_that_was_given_out_is_known_on_the_cached_way() -> None:
    judge = authorizer()
    defined = ask(judge, {"session_id": "s-ada"}).definition
    query = b"table=notes&offset=0_0&handle=" + HANDLES.sign(defined, "1-2").encode()
    assert "&handle=1-2&" in ask(judge, {"session_id": "s-ada"}, query + b"&live=true").target
    assert "&handle=0-0&" in ask(judge, {"session_id": "s-bob"}, query + b"&live=true").target


def test_a_target_that_is_too_long_at_one_position_is_refused_there() -> None:
    whole = len(ask(authorizer(), {"session_id": "s-ada"}).target)
    judge = authorizer(limits=RuleLimits(secret_bytes=RuleLimits().request.target_bytes - whole))
    assert ask(judge, {"session_id": "s-ada"})
    found = trail(judge, {"session_id": "s-ada"}, b"table=notes&offset=0_0&handle=h")
    assert found.refusal is not None
    assert found.refusal.code is Code.target_too_long
    assert found.decision is not None
    assert found.request is not None
    assert found.request.position.offset == "0_0"


# What is in force.

CALLER = Caller(Claims("ada", time.time() + 86_400, {"sub": "ada", "session_id": "s-ada"}), "hash", None, None)


def test_other_policies_or_keys_begin_with_empty_caches() -> None:
    judge = authorizer()
    assert ask(judge, {"session_id": "s-ada"})
    judge.authority.callers.store(b"block", CALLER)
    before = judge.authority
    judge.replace(loaded(policy_set(policy(columns=["id", "session_id"], client={})), "ba9876543210"), TRUST)
    assert judge.authority.loaded.digest == "ba9876543210"
    assert judge.authority.callers.find(b"block") is None
    assert ask(judge, {"session_id": "s-ada"}).columns == frozenset({"id", "session_id"})
    assert before.callers.find(b"block") is CALLER  # what was in force is as it was


def test_other_revocations_keep_what_is_cached_and_hold_at_once() -> None:
    judge = authorizer()
    assert ask(judge, {"session_id": "s-ada"})
    judge.authority.callers.store(b"block", CALLER)
    judge.check(CALLER.claims)
    judge.revoke(Revoked.of([("subject", "ada")]))
    assert judge.authority.callers.find(b"block") is CALLER
    assert len(judge.authority.decisions) == 1
    with refused(Code.token_revoked):
        judge.check(CALLER.claims)
    judge.revoke(Revoked())
    judge.check(CALLER.claims)
    judge.revoke(Revoked.of([("jti", "t-1")]))
    judge.check(CALLER.claims)


def test_revocations_outlive_other_policies() -> None:
    judge = authorizer()
    judge.revoke(Revoked.of([("subject", "ada")]))
    judge.replace(loaded(), TRUST)
    with refused(Code.token_revoked):
        judge.check(CALLER.claims)


def test_a_caller_whose_token_has_ended_is_refused() -> None:
    with refused(Code.token_expired):
        authorizer().check(Claims("ada", time.time() - 1, {}))


def test_tokens_are_counted_on_over_a_reload() -> None:
    judge = authorizer()
    judge.authority.callers.store(b"block", CALLER)
    assert judge.authority.callers.find(b"block")
    judge.replace(loaded(), TRUST)
    judge.authority.callers.store(b"block", CALLER)
    assert judge.authority.callers.find(b"block")
    assert judge.token_checks() == {"verified": 0, "cached": 2}


# Callers.


def test_callers_are_bounded_in_bytes_and_the_least_recently_used_gives_way() -> None:
    callers = Callers(3 * (1536 + 2))
    for block in (b"a", b"b", b"c"):
        callers.store(block, CALLER)
    assert callers.find(b"a")
    callers.store(b"d", CALLER)
    callers.store(b"d", CALLER)
    assert [bool(callers.find(block)) for block in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert (len(callers), callers.used) == (3, 3 * (1536 + 2))
    callers.store(b"x" * 2000, CALLER)
    assert callers.find(b"x" * 2000) is None


def caller(subject: str) -> Caller:
    """Somebody else."""
    return Caller(Claims(subject, time.time() + 86_400, {"sub": subject}), "hash", None, None)


def test_over_its_share_a_subject_displaces_its_own_least_recently_used_block() -> None:
    callers, size = Callers(4 * (1536 + 2), 2), 1536 + 2
    callers.store(b"z", caller("bob"))
    callers.store(b"a", caller("ada"))
    callers.store(b"b", caller("ada"))
    assert callers.find(b"a")
    callers.store(b"c", caller("ada"))
    assert [bool(callers.find(block)) for block in (b"a", b"b", b"c", b"z")] == [True, False, True, True]
    assert (len(callers), callers.used) == (3, 3 * size)
    callers.store(b"x" * 2000, caller("eve"))  # larger than a share
    assert callers.find(b"x" * 2000) is None


def test_a_flood_of_one_subject_leaves_the_callers_of_all_others() -> None:
    callers = Callers(share=8)
    callers.store(b"first of bob", caller("bob"))
    for number in range(10_000):
        callers.store(b"%d" % number + b"x" * 1000, caller("ada"))
    assert callers.find(b"first of bob")
    assert callers.used < CALLERS_BYTES / 8 + 2000


def test_callers_that_gave_way_leave_nothing_behind() -> None:
    callers = Callers(2 * (1536 + 2))
    for number in range(9):
        callers.store(str(number).encode() + b"x", caller(f"of {number}"))
    assert [len(table) for table in (callers._callers, callers._only, callers._several, callers._used_by)] == [
        1,
        1,
        0,
        1,
    ]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 3)), max_size=60))
def test_whoever_gives_way_is_the_least_recently_used_of_its_subject_and_then_of_all(
    steps: list[tuple[bool, str, int]],
) -> None:
    size = 1536 + 2 * len(b"a0")
    callers = Callers(5 * size, 2)  # two of a subject, five in all
    recent: list[tuple[str, int]] = []
    for stores, subject, number in steps:
        block, known = f"{subject}{number}".encode(), (subject, number) in recent
        if stores:
            callers.store(block, caller(subject))
        else:
            assert (callers.find(block) is not None) is known
        if known and not stores:
            recent.remove((subject, number))
        if stores != known:
            recent.append((subject, number))
        own = [each for each in recent if each[0] == subject]
        for given_up in [own[0]] if len(own) > 2 else recent[:-5]:
            recent.remove(given_up)
        assert (len(callers), callers.used) == (len(recent), len(recent) * size)


@pytest.mark.parametrize("other", [b"", b"bloc", b"block ", b"Block"])
def test_a_caller_is_found_by_the_very_bytes_of_its_block(other: bytes) -> None:
    callers = Callers()
    callers.store(b"block", CALLER)
    assert callers.find(other) is None
