"""Mistakes planted in every shipped policy: each that lets tokens share a row is found, and nothing else is.

What is found is tried in PostgreSQL. What is not found is looked for there among all rows and tokens over a few values:
the mistake then is one that changes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.core.policy import Policy
from proxy.proof.isolation import PROVED, SHARED
from proxy.proof.widening import NOTHING, WIDER
from tests.proof.exhaustive import Exhaustive
from tests.proof.folders import beside, shipped, unlike
from tests.proof.ground import Connection, Ground
from tests.proof.mutants import mutants
from tests.proof.test_isolation import check_shared
from tests.proof.test_widening import check_gains
from tests.proof.written import change, proof

NAMES = [pytest.param(name, marks=[pytest.mark.long] * (name == "saas-roles/documents")) for name in unlike()]
"""The policy with the most grants takes as long as all others: `make test-long` has it."""


@contextmanager
def everything(policies: list[Policy], others: list[Policy], connection: Connection) -> Iterator[Exhaustive]:
    """Every row over a few values, for a policy and what was made of it."""
    with Ground(connection, policies, others).laid(keys=False, more=Exhaustive.more(policies)) as ground:
        yield Exhaustive(ground, policies)


@pytest.mark.parametrize("name", NAMES)
def test_every_planted_mistake_that_makes_tokens_share_a_row_is_found(name: str, connection: Connection) -> None:
    policy, others = shipped()[name], beside(name)
    planted = {mutant.what: mutant.policy for mutant in mutants(policy)}
    found = {what: proof(mutant, *others) for what, mutant in planted.items()}
    shared = [what for what in planted if found[what].verdict == SHARED]
    harmless = [what for what in planted if found[what].verdict == PROVED]
    assert shared
    assert {*shared, *harmless} == set(planted)
    with Ground(connection, [policy, *planted.values()], others).laid() as ground:
        for what in shared:
            check_shared(planted[what], found[what], ground)
    with everything([policy, *planted.values()], others, connection) as tried:
        assert tried.shared(policy) == []
        assert {what: rows for what in harmless if (rows := tried.shared(planted[what]))} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_planted_mistake_that_lets_a_token_read_more_is_found(name: str, connection: Connection) -> None:
    policy, others = shipped()[name], beside(name)
    planted = {mutant.what: mutant.policy for mutant in mutants(policy)}
    found = {what: change(mutant, policy, *others) for what, mutant in planted.items()}
    wider = [what for what in planted if found[what].verdict == WIDER]
    harmless = [what for what in planted if found[what].verdict == NOTHING]
    assert wider
    assert {*wider, *harmless} == set(planted)
    with Ground(connection, [policy, *planted.values()], others).laid() as ground:
        for what in wider:
            check_gains(planted[what], policy, found[what], ground)
    with everything([policy, *planted.values()], others, connection) as tried:
        assert {what: rows for what in harmless if (rows := tried.gained(planted[what], policy))} == {}
