# SPDX-License-Identifier: Apache-2.0
"""Two decisions of one request by different policies: who would gain or lose what.

Predicates are compared by their text with the values in it, conjunct by conjunct: more conjuncts let fewer rows
through. Where neither has all conjuncts of the other, it is unclear, and whoever is careful takes it for wider.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from proxy.core.decision import AuthorizedShape
from proxy.core.filters import Predicate

Effect = Literal["wider", "narrower", "unclear"]
Outcome = Literal["same", "wider", "narrower", "unclear"]
"""What a comparison comes to. `unclear` is a different predicate whose effect is unknown."""

ALLOWED: Final = "ok"
_PARAMETER: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$([0-9]+)")
_PIECE: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]| AND |.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a decision lets through. `where` holds the values of its parameters; `page` is a subset's."""

    policy: str
    columns: tuple[str, ...]
    where: str
    page: str | None = None

    @classmethod
    def of(cls, shape: AuthorizedShape) -> "Sent":
        """What this shape lets through."""
        page = None if shape.subset is None else with_values(shape.subset.predicate)
        return cls(shape.policy.name, shape.columns, with_values(shape.predicate), page)

    @classmethod
    def parse(cls, members: Mapping[str, Any]) -> "Sent":
        """What `members` wrote. Raises KeyError, TypeError."""
        return cls(str(members["policy"]), tuple(members["columns"]), str(members["where"]), members.get("page"))

    def members(self) -> dict[str, Any]:
        """The same as JSON members."""
        return {"policy": self.policy, "columns": list(self.columns), "where": self.where, "page": self.page}


Decided = Sent | str
"""What was allowed, or the code of the refusal."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that would be otherwise. `detail` holds values, which no log may; `columns` are those it is about."""

    effect: Effect
    sentence: str
    detail: str = ""
    columns: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The sentence with its detail, for the operator's own terminal."""
        return f"{self.sentence}: {self.detail}" if self.detail else self.sentence


def compare(before: Decided, after: Decided) -> tuple[Change, ...]:
    """Everything that the second decision gives or takes."""
    if isinstance(before, str) or isinstance(after, str):
        return _refused(before, after)
    return (*_columns(before.columns, after.columns), *_rows(before, after))


def outcome(changes: Sequence[Change]) -> Outcome:
    """What the changes come to: the worst of them."""
    effects = {change.effect for change in changes}
    return next((effect for effect in _WORST if effect in effects), "same")


_WORST: Final[tuple[Effect, ...]] = ("wider", "unclear", "narrower")


def with_values(predicate: Predicate) -> str:
    """The text of a predicate with its values, as literals, in the place of their numbers."""
    values = ["'" + value.replace("'", "''") + "'" for value in predicate.params]
    return _PARAMETER.sub(lambda found: values[int(found[1]) - 1] if found[1] else found[0], predicate.text)


def _refused(before: Decided, after: Decided) -> tuple[Change, ...]:
    if isinstance(before, str) and isinstance(after, str):
        return ()
    if isinstance(after, str):
        return (Change("narrower", f"refused with {after}, was allowed"),)
    detail = f"{', '.join(after.columns)} where {after.where}"
    return (Change("wider", f"allowed, was refused with {before}", detail, after.columns),)


def _columns(before: Sequence[str], after: Sequence[str]) -> list[Change]:
    gained = tuple(column for column in after if column not in before)
    lost = tuple(column for column in before if column not in after)
    changes = []
    if gained:
        changes.append(Change("wider", f"gains the columns {', '.join(gained)}", columns=gained))
    if lost:
        changes.append(Change("narrower", f"loses the columns {', '.join(lost)}", columns=lost))
    return changes


def _rows(before: Sent, after: Sent) -> list[Change]:
    pairs = [(before.where, after.where)]
    if before.page != after.page:
        pairs.append((before.page or before.where, after.page or after.where))
    return [change for old, new in dict.fromkeys(pairs) if (change := _row_change(old, new)) is not None]


def _row_change(before: str, after: str) -> Change | None:
    if before == after:
        return None
    old, new = frozenset(conjuncts(before)), frozenset(conjuncts(after))
    shown = f"where {after}, was where {before}"
    if old == new:
        return None
    if new > old:
        return Change("narrower", "fewer rows", shown)
    if new < old:
        return Change("wider", "more rows", shown)
    return Change("unclear", "a different predicate", shown)


def conjuncts(text: str) -> tuple[str, ...]:
    """The parts of a predicate that all must hold, without brackets around them; TRUE is none."""
    inner = _without_brackets(text)
    parts = _split(inner)
    if len(parts) == 1:
        return () if inner == "TRUE" else (inner,)
    return tuple(found for part in parts for found in conjuncts(part))


def _split(text: str) -> list[str]:
    """The operands of the ANDs that stand in no bracket and no quotes. BETWEEN is never written by us."""
    parts, depth = [""], 0
    for found in _PIECE.finditer(text):
        piece = found[0]
        depth += (piece == "(") - (piece == ")")
        if piece == " AND " and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _without_brackets(text: str) -> str:
    """The text without the brackets that stand around all of it."""
    while text.startswith("(") and _closes_at_end(text):
        text = text[1:-1]
    return text


def _closes_at_end(text: str) -> bool:
    depth = 0
    for found in _PIECE.finditer(text):
        depth += (found[0] == "(") - (found[0] == ")")
        if depth == 0:
            return found.end() == len(text)
    return False
