"""An accepted filter gives the rows of the policy that PostgreSQL gives for the client's own text, and no other.

Every question is made from a seed: a failure names it, and `questions(seed)` makes it again.
"""

import random
from collections.abc import Iterator

import pytest

from tests.differential.conftest import Ground
from tests.differential.grammar import Filter, Grammar
from tests.differential.ground import RULES
from tests.differential.pages import FORMS, Question, compared
from tests.harness.shared import ON_MODULE_LOOP

SHORT, LONG = 120, 5000
KINDS = ("valid", "mutant", "hostile")


def questions(kind: str, count: int) -> Iterator[Question]:
    """So many questions of a kind, the same ones every time."""
    for number in range(count):
        name = f"{kind} {number}"
        choice = random.Random(name)  # noqa: S311 - the point is that it repeats
        form = choice.choice(FORMS)
        page = (choice.randint(1, 9), choice.randint(0, 4)) if form != "shape" and choice.random() < 0.3 else None
        yield Question(name, choice.choice(RULES), form, filter_of(kind, name), page)


def filter_of(kind: str, seed: str) -> Filter:
    """A filter of a kind."""
    grammar = Grammar(seed)
    return {"valid": grammar.filter, "mutant": grammar.mutant, "hostile": grammar.hostile}[kind]()


@ON_MODULE_LOOP
@pytest.mark.parametrize("kind", KINDS)
async def test_rows_are_those_of_the_policy_and_the_filter(ground: Ground, kind: str) -> None:
    await hold(ground, kind, SHORT)


@pytest.mark.long
@ON_MODULE_LOOP
@pytest.mark.parametrize("kind", KINDS)
async def test_rows_are_those_of_the_policy_and_the_filter_many_times(ground: Ground, kind: str) -> None:
    await hold(ground, kind, LONG)


async def hold(ground: Ground, kind: str, count: int) -> None:
    """Asks so many questions and finds nothing."""
    report = await compared(ground.proxy, ground.oracle, questions(kind, count))
    assert report.findings == [], "\n".join(report.findings)
    accepted = report.ends["rows"]
    assert sum(report.ends.values()) == count
    if kind == "valid":
        assert accepted > 0.5 * count, report.ends
    else:
        assert accepted < count, report.ends
    assert accepted > 0, report.ends


def test_one_seed_always_makes_the_same_questions() -> None:
    assert list(questions("mutant", 50)) == list(questions("mutant", 50))
    assert len({question.filter.text for question in questions("valid", 50)}) > 45
