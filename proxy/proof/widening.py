# SPDX-License-Identifier: Apache-2.0
"""What policies let tokens read that earlier ones did not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import z3

from proxy.proof.accesses import Access, Shape
from proxy.proof.kinds import Unmodelled
from proxy.proof.logic import Formula
from proxy.proof.schema import Schema
from proxy.proof.stage import Stage
from proxy.proof.witness import Witness

NOTHING = "nothing new"
WIDER = "wider"
UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Gain:
    """A row, or a column of it, that a token reads by a grant and did not read before."""

    grant: str
    columns: tuple[str, ...]
    witness: Witness


@dataclass(frozen=True, slots=True)
class Change:
    """How one policy compares with the earlier ones over its table."""

    policy: str
    verdict: str
    why: str
    rights: tuple[str, ...] = ()
    gains: tuple[Gain, ...] = ()


def compare(new: Sequence[Shape], old: Sequence[Shape], beside: Sequence[Shape] = ()) -> list[Change]:
    """One change for each of the new policies: what they give that no earlier policy over the same table gave.

    Those `beside` them only add what they know about the tables.
    """
    schema = Schema([*old, *new, *beside])
    return [_changed(shape, [other for other in old if other.table == shape.table], schema) for shape in new]


def _changed(shape: Shape, before: Sequence[Shape], schema: Schema) -> Change:
    rights = tuple(_rights(shape, before))
    if any((other.claims, other.accesses) == (shape.claims, shape.accesses) for other in before):
        return Change(shape.name, NOTHING, "the same rows and columns", rights)
    try:
        gains = tuple(gain for access in shape.accesses for gain in _gains(shape, access, before, schema))
    except Unmodelled as fault:
        return Change(shape.name, UNDECIDED, str(fault), rights)
    if not gains:
        return Change(shape.name, NOTHING, "every row and column could be read before", rights)
    why = "a token reads what it did not read before" if before else "no policy was over this table"
    return Change(shape.name, WIDER, why, rights, gains)


def _gains(shape: Shape, access: Access, before: Sequence[Shape], schema: Schema) -> Iterator[Gain]:
    """A gain if there are new rows, and one for each group of columns that is new in rows that could be read before."""
    earlier = [(other, given) for other in before for given in other.accesses]
    found = _search(shape, access, earlier, [], schema)
    if found is not None:
        yield Gain(access.name, access.columns, found)
    groups: dict[frozenset[int], list[str]] = {}
    for column in access.columns:
        giving = frozenset(index for index, (_, given) in enumerate(earlier) if column in given.columns)
        groups.setdefault(giving, []).append(column)
    for giving, columns in groups.items():
        if len(giving) < len(earlier):
            with_them = [pair for index, pair in enumerate(earlier) if index in giving]
            found = _search(shape, access, with_them, earlier, schema)
            if found is not None:
                yield Gain(access.name, tuple(columns), found)


def _search(
    shape: Shape,
    access: Access,
    without: Sequence[tuple[Shape, Access]],
    within: Sequence[tuple[Shape, Access]],
    schema: Schema,
) -> Witness | None:
    """A row that a token reads by this access, by none of `without`, and by one of `within` if there are any."""
    given = [*without, *(pair for pair in within if pair not in without)]
    conditions = [node for _, other in [(shape, access), *given] for node in other.conditions()]
    stage = Stage(schema, [shape, *(other for other, _ in given)], conditions, ["token"])
    formulas = [_reads(stage, shape, access), *(z3.Not(_reads(stage, *pair)) for pair in without)]
    if within:
        formulas.append(z3.Or([_reads(stage, *pair) for pair in within]))
    return stage.search(*formulas)


def _reads(stage: Stage, shape: Shape, access: Access) -> Formula:
    (token,) = stage.tokens
    return z3.And(stage.chosen(shape, access, token), stage.visible(shape, access, token))


def _rights(shape: Shape, before: Sequence[Shape]) -> Iterator[str]:
    """What a client may choose and could not choose before; none of it shows a row or a column by itself."""
    for other in before:
        if other.name == shape.name:
            yield from sorted(shape.rights - other.rights)
            if shape.page > other.page:
                yield f"pages of up to {shape.page} rows"
