# SPDX-License-Identifier: Apache-2.0
"""A row, the tables around it and some tokens, before anybody has chosen their values; and the search for values."""

from collections.abc import Iterable, Sequence
from itertools import chain

import z3

from proxy.core.claims import ClaimSpec
from proxy.core.filters.ast import Node
from proxy.proof import kinds
from proxy.proof.accesses import Access, Shape, Wanted
from proxy.proof.kinds import Unmodelled
from proxy.proof.logic import Formula
from proxy.proof.reading import Reading, joins, literals
from proxy.proof.rows import Extent, Row, Tables
from proxy.proof.schema import Schema
from proxy.proof.tokens import Token, terms
from proxy.proof.witness import Concrete, Witness

TIMEOUT_MS = 30_000
"""How long the solver may search for one row and its tokens."""
_WISH_MS = 200
"""And for a row and tokens that are easier to read."""


class Stage:
    """Formulas over one row of a table, and over tokens of these names.

    `conditions` are all predicates that will be read, each as often as it will be, and `shapes` the policies that they
    are of: they decide how much is needed.
    """

    def __init__(
        self, schema: Schema, shapes: Sequence[Shape], conditions: Sequence[Node], tokens: Sequence[str]
    ) -> None:
        self._specs = tuple(dict.fromkeys(spec for shape in shapes for spec in shape.specs()))
        self._examples = tuple(text for shape in shapes for text in shape.examples)
        asked = [wanted.claim for shape in shapes for access in shape.accesses for wanted in access.when]
        extent = Extent(conditions, len(tokens) * sum(spec.list for spec in (*self._specs, *asked)))
        self._texts = sorted(set().union(*map(literals, conditions), *map(_values, shapes)))
        self._spelled = any(map(joins, conditions))
        self.row = Row("row", shapes[0].table, schema.of(shapes[0].table), extent.slots, z3.BoolVal(True))
        for name in self.row.known.key:
            self.row.column(name)
        self.tables = Tables(schema, extent, self.row)
        self.tokens = [Token(name, extent.slots, self._texts, spelled=self._spelled) for name in tokens]
        for token in self.tokens:
            for spec in self._specs:
                token.has(spec)  # the forms that a claim may have exclude one another only if they are known

    def reading(self, specs: Iterable[ClaimSpec], token: Token) -> Reading:
        """How conditions with these claims are read over the row, for one token."""
        return Reading(self.row, token, {spec.name: spec for spec in specs}, self.tables)

    def visible(self, shape: Shape, access: Access, token: Token) -> Formula:
        """Whether a token that has this access reads the row."""
        reading = self.reading(shape.claims, token)
        parts = [z3.Or(reading.truth(access.where).true, self.public(access, token))]
        for narrowing in access.narrow:
            narrowed = self.reading([narrowing.claim], token).truth(narrowing.where).true
            parts.append(z3.Or(token.lacks(narrowing.claim), z3.And(token.has(narrowing.claim), narrowed)))
        return z3.And(parts)

    def public(self, access: Access, token: Token) -> Formula:
        """Whether the row is one that every token with this access reads."""
        if access.also_public is None:
            return z3.BoolVal(False)
        return self.reading((), token).truth(access.also_public).true

    def chosen(self, shape: Shape, access: Access, token: Token) -> Formula:
        """Whether a token has this access: it has the claims of the policy, and meets this access as the first."""
        earlier = shape.accesses[: shape.accesses.index(access)]
        fits = [
            z3.Or(token.has(spec), token.lacks(spec)) if spec.optional else token.has(spec) for spec in shape.claims
        ]
        return z3.And(*fits, _meets(access, token), *(z3.Not(_meets(other, token)) for other in earlier))

    def search(self, *formulas: Formula) -> Witness | None:
        """Values for which all of these hold, or None if there are none. Raises Unmodelled if that stays open."""
        solver = z3.Solver()
        solver.set("timeout", TIMEOUT_MS)
        rows = [*chain.from_iterable(self.tables.all().values())]
        solver.add(*formulas, *self.tables.facts())
        solver.add(*(fact for row in rows for fact in row.facts(self._texts, spelled=self._spelled)))
        solver.add(*(fact for token in self.tokens for fact in token.facts))
        outcome = solver.check()
        if outcome == z3.unknown:
            raise Unmodelled(f"the solver found no answer within {TIMEOUT_MS // 1000} s")
        if outcome == z3.unsat:
            return None
        concrete = Concrete(self._plainest(solver, rows), self._texts, self._examples, verbatim=self._spelled)
        return concrete.witness(self.row, rows[1:], [(token, self._specs) for token in self.tokens])

    def _plainest(self, solver: z3.Solver, rows: Iterable[Row]) -> z3.ModelRef:
        """Values that are easy to read: few claims, short lists, no NULL, as far as that is possible together."""
        wishes = [wish for token in self.tokens for spec in self._specs for wish in token.wishes(spec)]
        wishes += [wish for row in rows for wish in row.wishes()]
        granted: list[Formula] = []
        model = solver.model()
        solver.set("timeout", _WISH_MS)
        for wish in wishes:
            if solver.check(*granted, wish) == z3.sat:
                granted.append(wish)
                model = solver.model()
        return model


def _meets(access: Access, token: Token) -> Formula:
    has = [token.has(spec) for spec in access.needs]
    when = [z3.And(token.has(wanted.claim), _one_of(wanted, token)) for wanted in access.when]
    return z3.And(*has, *when)


def _one_of(wanted: Wanted, token: Token) -> Formula:
    claim = token.claim(wanted.claim)
    values = [kinds.literal(text, claim.kind) for text in wanted.values]
    return z3.Or([term == value for term in terms(claim) for value in values])


def _values(shape: Shape) -> set[str]:
    """The texts that claims are compared with in `when`."""
    return {text for access in shape.accesses for wanted in access.when for text in wanted.values}
