"""The comparison has eyes: a leak that is planted between the proxy and Electric is found within the short run.

Each stands for one protection taken out: a policy with an operator or a type that changes are judged otherwise by, and
a filter that is sent without its brackets.
"""

import dataclasses
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from proxy.settings import Settings
from tests.differential.conftest import Ground
from tests.differential.ground import RULES, Row, Rule, proxy_over
from tests.differential.pages import Question, Report, compared
from tests.differential.streams import followed
from tests.differential.test_pages import questions
from tests.differential.test_streams import EACH, TRANSACTIONS
from tests.harness.between import Between
from tests.harness.running import Proxy
from tests.harness.shared import ON_MODULE_LOOP

pytestmark = ON_MODULE_LOOP

OWN = next(rule for rule in RULES if rule.name == "notes")
ENFORCED = '("session_id" = $1)'
ROW_CHECK_OFF = {"PROXY_ROW_CHECK": "off"} if "row_check" in Settings.model_fields else {}


def planted(sql: str, holds: Callable[[Row], bool]) -> Rule:
    """The rule of the own session, with another condition that its policy was to have."""
    return dataclasses.replace(OWN, sql=f"{OWN.sql} AND {sql}", holds=lambda row: OWN.holds(row) and holds(row))


NOT_PRIVATE = planted("body NOT LIKE '%private%'", lambda row: row["body"] is not None and "private" not in row["body"])
ONE_AMOUNT = planted(
    "amount = 9007199254740993",
    lambda row: row["amount"] is not None and Decimal(row["amount"]) == Decimal("9007199254740993"),
)


def also(condition: str) -> Callable[[str], str]:
    """What a policy with this condition would send."""
    return lambda where: where.replace(ENFORCED, f'("session_id" = $1 AND {condition})')


def without_brackets(where: str) -> str:
    """What an emitter would send that takes a condition as an operand."""
    return re.sub(r" AND \((.*)\)$", r" AND (((\1) OR TRUE) IS NOT NULL)", where, flags=re.DOTALL)


@asynccontextmanager
async def sabotaged(ground: Ground, folder: Path, change: Callable[[str], str]) -> AsyncIterator[Proxy]:
    """The proxy in front of an Electric that is asked something else."""

    def changed(target: bytes, body: bytes) -> tuple[bytes, bytes]:
        path, _, query = target.decode().partition("?")
        pairs = [(name, change(value) if name.endswith("where") else value) for name, value in parse_qsl(query, True)]
        return f"{path}?{urlencode(pairs, quote_via=quote)}".encode(), body

    async with (
        Between(ground.electric_url, changed) as between,
        proxy_over(between.url, folder, **ROW_CHECK_OFF) as proxy,
    ):
        yield proxy


async def test_a_policy_with_like_leaks_rows_with_a_newline_and_is_found(ground: Ground, tmp_path: Path) -> None:
    findings = await in_streams(ground, tmp_path, NOT_PRIVATE, also("\"body\" NOT LIKE '%private%'"))
    assert any("a foreign row" in finding and "x\\nprivate" in finding for finding in findings)


async def test_a_policy_over_numeric_leaks_neighbours_and_is_found(ground: Ground, tmp_path: Path) -> None:
    findings = await in_streams(ground, tmp_path, ONE_AMOUNT, also("\"amount\" = '9007199254740993'"))
    assert any("a foreign row" in finding and "9007199254740992" in finding for finding in findings)


async def in_streams(ground: Ground, folder: Path, rule: Rule, change: Callable[[str], str]) -> list[str]:
    """What the short run of live streams finds."""
    async with sabotaged(ground, folder, change) as proxy:
        return await followed(
            proxy, ground.dsn, ground.oracle, [rule], seed=1, each=2 * EACH, transactions=TRANSACTIONS
        )


async def test_a_filter_without_brackets_shows_everything_and_is_found(ground: Ground, tmp_path: Path) -> None:
    async with sabotaged(ground, tmp_path, without_brackets) as proxy:
        report: Report = await compared(proxy, ground.oracle, short(questions("valid", 60)))
    assert any(finding.startswith("foreign rows") for finding in report.findings)


def short(asked: object) -> list[Question]:
    """Those under the rule of the own session."""
    return [dataclasses.replace(one, rule=OWN) for one in asked]  # type: ignore[attr-defined]


async def test_without_sabotage_the_same_run_finds_nothing(ground: Ground, tmp_path: Path) -> None:
    async with sabotaged(ground, tmp_path, lambda where: where) as proxy:
        report = await compared(proxy, ground.oracle, short(questions("valid", 60)))
    assert report.findings == []
