"""Generated predicates: what is proved of them holds for all rows and tokens over a few values, in PostgreSQL, and what
is found is there. The predicates are the same in each run."""

from random import Random

import pytest

from proxy.core.policy import Policy
from proxy.proof.isolation import PROVED, SHARED
from proxy.proof.widening import NOTHING, WIDER
from tests.proof.exhaustive import Exhaustive
from tests.proof.ground import Connection, Ground
from tests.proof.test_isolation import check_shared
from tests.proof.test_widening import check_gains
from tests.proof.written import change, policy, proof

QUICK = 20
TESTS = (
    *("a = {x}", "a = {x}", "{x} = b", "b = {y}", "a <> {x}", "a = 'k'", "b <> 'k'", "a IS NULL", "b IS NOT NULL"),
    *("a IS DISTINCT FROM {x}", "a IS NOT DISTINCT FROM {y}", "a IN ({x}, 'k')", "b NOT IN ({y}, 'k')", "a = b"),
    *("{y} = 'k'", "coalesce(a, b) = {x}", "a = ANY({z})", "b = ANY({z})"),
    *("a IN (SELECT p FROM public.q WHERE r = {x})", "b NOT IN (SELECT p FROM public.q WHERE r = {y})"),
    *("(a, b) IN (SELECT p, r FROM public.q)", "a IN (SELECT p FROM public.q WHERE r = {x} OR p IS NULL)"),
)
REST = """
[types]
id = "int8"
a = "text"
b = "text"
[claims]
x = "text"
y = "text"
z = { type = "text[]", optional = true }
"""
ISOLATIONS = ('by = "x"', 'by = "x"', 'by = ["x", "y"]', 'by = "x"\nthrough = ["public.q"]')


def condition(random: Random, depth: int) -> str:
    """A condition of the tests above."""
    kind = random.choice(("test", "and", "and", "or", "not", "is")) if depth else "test"
    if kind == "test":
        return random.choice(TESTS)
    if kind in ("and", "or"):
        return f"({condition(random, depth - 1)}) {kind.upper()} ({condition(random, depth - 1)})"
    inner = f"({condition(random, 0)})"
    if kind == "not":
        return f"NOT {inner}"
    return f"{inner} IS {random.choice(('TRUE', 'NOT TRUE'))}" if "IS" not in inner else f"NOT {inner}"


def generated(seed: int) -> Policy:
    """The policy of a seed: one grant, or two of which the first needs the optional claim."""
    random = Random(seed)  # noqa: S311 (the same in each run)
    where, second = condition(random, 3), condition(random, 2)
    if random.random() < 0.4:
        where = f"a = {{x}} AND ({where})"
    grants = [where] if random.random() < 0.6 else [f"({where}) AND a = ANY({{z}})", second]
    told = "".join(f"[[grant]]\nname = '{index}'\nwhere = '''{text}'''\n" for index, text in enumerate(grants))
    return policy(f"{REST}{told}[isolation]\n{random.choice(ISOLATIONS)}\n")


@pytest.mark.parametrize("seed", range(QUICK))
def test_what_is_proved_of_a_generated_policy_is_so(seed: int, connection: Connection) -> None:
    check(seed, connection)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(QUICK, 500))
def test_what_is_proved_of_many_generated_policies_is_so(seed: int, connection: Connection) -> None:
    check(seed, connection)


def check(seed: int, connection: Connection) -> None:
    """What is proved of the policy of a seed, and of it against another one, holds in PostgreSQL."""
    new, old = generated(seed), generated(1000 + seed)
    shared, wider = proof(new), change(new, old)
    assert {shared.verdict, wider.verdict} <= {PROVED, SHARED, NOTHING, WIDER}
    with Ground(connection, [new, old]).laid() as ground:
        check_shared(new, shared, ground)
        check_gains(new, old, wider, ground)
    with Ground(connection, [new, old]).laid(keys=False, more=Exhaustive.more([new, old])) as ground:
        tried = Exhaustive(ground, [new, old])
        if shared.verdict == PROVED:
            assert tried.shared(new) == []
        if wider.verdict == NOTHING:
            assert tried.gained(new, old) == []


def test_there_are_generated_policies_of_each_kind() -> None:
    verdicts = {proof(generated(seed)).verdict for seed in range(QUICK)}
    assert verdicts == {PROVED, SHARED}
