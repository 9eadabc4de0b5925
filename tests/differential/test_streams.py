"""No message of a live stream is about a row outside its policy, and at the end the rows held are PostgreSQL's."""

import pytest

from tests.differential.conftest import Ground
from tests.differential.ground import RULES
from tests.differential.streams import followed
from tests.harness.shared import ON_MODULE_LOOP

pytestmark = ON_MODULE_LOOP

EACH, TRANSACTIONS = 4, 90
"""Shapes of each rule, and transactions, in the short run."""


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_rows_that_move_between_sessions_are_seen_by_their_own_only(ground: Ground, seed: int) -> None:
    await hold(ground, seed, each=EACH, transactions=TRANSACTIONS)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
async def test_rows_that_move_between_sessions_are_seen_by_their_own_only_for_long(ground: Ground, seed: int) -> None:
    await hold(ground, seed, each=8, transactions=500)


async def hold(ground: Ground, seed: int, *, each: int, transactions: int) -> None:
    """Follows, and finds nothing."""
    findings = await followed(
        ground.proxy, ground.dsn, ground.oracle, RULES, seed=seed, each=each, transactions=transactions
    )
    assert findings == [], "\n".join(findings)
