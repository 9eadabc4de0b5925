# SPDX-License-Identifier: Apache-2.0
"""Whether two tokens that differ in a policy's claims of isolation may share a row."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement

import z3

from proxy.core.filters.ast import Node, Subselect, walk
from proxy.proof.accesses import Access, Shape
from proxy.proof.kinds import Unmodelled
from proxy.proof.logic import Formula
from proxy.proof.rows import Row
from proxy.proof.schema import Schema
from proxy.proof.stage import Stage
from proxy.proof.tokens import Token, differ
from proxy.proof.witness import Witness, named

PROVED = "proved"
SHARED = "shared"
UNDECIDED = "undecided"
NOT_PROVED = "not proved"


@dataclass(frozen=True, slots=True)
class Sharing:
    """A row that two tokens share, and by which grants."""

    grants: tuple[str, str]
    witness: Witness


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of one policy: `verdict` is one of the words above, `why` a sentence to it.

    `left_out` is what the proof does not cover, `assumes` what it takes for true without a declaration.
    """

    policy: str
    verdict: str
    why: str
    shared: tuple[Sharing, ...] = ()
    left_out: tuple[str, ...] = ()
    assumes: tuple[str, ...] = ()


def prove(shapes: Sequence[Shape], beside: Sequence[Shape] = ()) -> list[Proof]:
    """One proof for each policy. Those `beside` them only add what they know about the tables."""
    schema = Schema([*shapes, *beside])
    return [_proved(shape, schema) for shape in shapes]


def _proved(shape: Shape, schema: Schema) -> Proof:
    pairs = list(combinations_with_replacement(shape.accesses, 2))
    compared = [(first, second) for first, second in pairs if first.by and first.by == second.by]
    if not compared:
        return Proof(shape.name, NOT_PROVED, "no isolation")
    left_out, assumes = tuple(_left_out(shape)), tuple(_assumptions(shape, schema))
    try:
        shared = tuple(found for pair in compared if (found := _sharing(shape, pair, schema)) is not None)
    except Unmodelled as fault:
        return Proof(shape.name, UNDECIDED, str(fault), left_out=left_out, assumes=assumes)
    return Proof(shape.name, SHARED if shared else PROVED, _sentence(shape, bool(shared)), shared, left_out, assumes)


def _sentence(shape: Shape, shared: bool) -> str:
    public = " but public ones" if any(access.also_public is not None for access in shape.accesses) else ""
    through = "".join(f", except through {named(table)}" for table in sorted(shape.through, key=named))
    share = "share a row" if shared else f"share no row{public}{through}"
    promises = list(dict.fromkeys(access.by for access in shape.accesses if access.by))
    if len(promises) > 1 and shared:
        return "two tokens that are isolated from each other share a row"
    if len(promises) == 1:
        return f"two tokens that {_differing(shape, promises[0])} {share}"
    return f"two tokens {share} if " + ", or ".join(
        f"both {_have(shape, by)} and {_differing(shape, by)}" for by in promises
    )


def _have(shape: Shape, by: tuple[str, ...]) -> str:
    return "have " + " or ".join(repr(access.name) for access in shape.accesses if access.by == by)


def _differing(shape: Shape, by: Sequence[str]) -> str:
    lists = {spec.name for spec in shape.claims if spec.list}
    return " or ".join(f"have no {claim} in common" if claim in lists else f"differ in {claim}" for claim in by)


def _left_out(shape: Shape) -> Iterator[str]:
    yield from (f"the grant {access.name!r} is not isolated" for access in shape.accesses if not access.by)
    for first, second in combinations(shape.accesses, 2):
        if first.by and second.by and first.by != second.by:
            yield f"{first.name!r} and {second.name!r} are isolated by different claims, and not compared"


def _assumptions(shape: Shape, schema: Schema) -> Iterator[str]:
    tables = {test.table for node in shape.conditions() for test in selects(node)}
    yield from schema.assumptions([shape.table, *sorted(tables, key=named)])
    for table in sorted(tables, key=named):
        if key := schema.of(table).key:
            yield f"{named(table)} has the key {', '.join(key)}"


def _sharing(shape: Shape, pair: tuple[Access, Access], schema: Schema) -> Sharing | None:
    conditions = [node for access in pair for node in access.conditions()]
    stage = Stage(schema, [shape], conditions, ("first", "second"))
    tokens = list(zip(pair, stage.tokens, strict=True))
    specs = {spec.name: spec for spec in shape.specs()}
    found = stage.search(
        *(stage.chosen(shape, access, token) for access, token in tokens),
        *(stage.visible(shape, access, token) for access, token in tokens),
        *(z3.Not(stage.public(access, token)) for access, token in tokens),
        z3.Or([differ(stage.tokens[0], stage.tokens[1], specs[claim]) for claim in pair[0].by]),
        *(_serves_both(stage, shape, row, tokens) for row in _members(stage, shape)),
    )
    return None if found is None else Sharing((pair[0].name, pair[1].name), found)


def _members(stage: Stage, shape: Shape) -> Iterator[Row]:
    for table, rows in stage.tables.all().items():
        if table in shape.through:
            yield from (row for row in rows if row is not stage.row)


def _serves_both(stage: Stage, shape: Shape, row: Row, tokens: Iterable[tuple[Access, Token]]) -> Formula:
    """A membership that serves one token alone makes no row shared: only those that serve both are kept."""
    served = [_serves(stage, shape, row, access, token) for access, token in tokens]
    return z3.Implies(row.there, z3.And(served))


def _serves(stage: Stage, shape: Shape, row: Row, access: Access, token: Token) -> Formula:
    reading = stage.reading(shape.claims, token).over(row)
    tests = [test for node in access.conditions() for test in selects(node) if test.table == row.table]
    return z3.Or([z3.BoolVal(True) if test.where is None else reading.truth(test.where).true for test in tests])


def selects(node: Node) -> Iterator[Subselect]:
    """The inner SELECTs of a condition, nested ones included."""
    for inner in walk(node):
        if isinstance(inner, Subselect):
            yield inner
            if inner.where is not None:
                yield from selects(inner.where)
