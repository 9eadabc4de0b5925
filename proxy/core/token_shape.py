# SPDX-License-Identifier: Apache-2.0
"""What a token itself claims about shapes: a further bound, under the policy's, that the application signed.

    shapes = ["chat_messages", …]        only these policies
    shape  = { namespace, table, where, params, columns, replica }
                                         only this table, of it these rows and columns, in this mode

The second is the claim of Electric's gatekeeper tokens. Its `where` is a predicate as a policy's, whose values are
`$1`, … of its own `params`; it may test the columns that the policy names. Nothing in a token widens anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from proxy.core import filters
from proxy.core.agreement import KnownTypes, disagreements, has_subselect
from proxy.core.claims import MAX_LIST, Claims, ClaimSpec, ClaimType
from proxy.core.errors import Code, Refusal
from proxy.core.filters import ClaimValue, Condition, Declared, FilterFault, FilterLimits
from proxy.core.grants import Values
from proxy.core.identifiers import Table, split_list
from proxy.core.policy import Policy
from proxy.core.type_guard import TypeGuard

_SPECS: Final = {
    str: ClaimSpec.of("shape", ClaimType.text),
    int: ClaimSpec.of("shape", ClaimType.integer),
    bool: ClaimSpec.of("shape", ClaimType.boolean),
}
_MEMBERS: Final = frozenset(("namespace", "table", "where", "params", "columns", "replica"))
_MOST_COLUMNS: Final = 1600
"""As many columns as a table of PostgreSQL can have."""


@dataclass(frozen=True, slots=True)
class TokenShape:
    """The bounds of one token; None is no bound. `values` are those of the predicate's `$1`, …, by these names."""

    shapes: frozenset[str] | None = None
    table: Table | None = None
    where: str | None = None
    values: Values = field(default_factory=dict)
    columns: frozenset[str] | None = None
    replica: str | None = None

    @classmethod
    def of(cls, claims: Claims) -> "TokenShape":
        """The bounds of these claims. Raises Refusal if they are not of the form above."""
        shapes, shape = claims.values.get("shapes"), claims.values.get("shape")
        if shapes is None and shape is None:
            return UNBOUND
        listed = None if shapes is None else frozenset(_texts("shapes", shapes))
        return cls(listed) if shape is None else _of(shape, listed)

    def check(self, policy: Policy) -> None:
        """Raises Refusal if the policy is not among those that the token is for."""
        if self.shapes is not None and policy.name not in self.shapes:
            raise Refusal(Code.shape_forbidden, reason="the claim shapes does not name the policy")
        if self.table is not None and self.table != policy.table:
            raise Refusal(Code.shape_forbidden, reason="the claim shape is for another table")

    def is_repeated_by(self, where: str, params: Mapping[int, str]) -> bool:
        """Whether a client's filter is the predicate of the token as it stands, and so adds nothing to it."""
        return where == self.where and {f"${number}": value for number, value in params.items()} == self.values

    def condition(self, policy: Policy, limits: FilterLimits) -> Condition | None:
        """The predicate that every row must meet besides the policy's. Raises Refusal if it may not be evaluated."""
        if self.where is None:
            return None
        lists = frozenset(name for name, value in self.values.items() if not isinstance(value, str))
        try:
            condition = filters.parse_token(self.where, self.values.keys(), limits, Declared(lists, policy.types))
        except FilterFault as fault:
            raise _malformed(f"where, {fault}") from None
        if has_subselect(condition):
            raise _malformed("where holds an inner SELECT")
        if filters.columns_of(condition) - _testable(policy):
            raise _malformed("where tests a column that the policy does not name")
        known = KnownTypes({**policy.guard.known.own, **policy.types})
        if unlike := disagreements(condition, known):
            raise _malformed(f"where: {unlike[0]}")
        return condition


UNBOUND: Final = TokenShape()


@lru_cache(maxsize=1024)
def guarding(guard: TypeGuard, condition: Condition) -> TypeGuard:
    """A policy's guard over a token's predicate as well: one for all tokens whose predicates differ in params alone."""
    return TypeGuard(
        conditions=(*guard.conditions, condition),
        declared=guard.declared,
        table=guard.table,
        key=guard.key,
        known=guard.known,
        fault=guard.fault,
    )


def _testable(policy: Policy) -> frozenset[str]:
    return policy.predicate_columns.union(policy.columns, policy.never, policy.types)


def _malformed(why: str, claim: str = "shape") -> Refusal:
    detail = f"The claim {claim} does not have the form that this shape needs."
    return Refusal(Code.claim_malformed, detail, reason=f"claim {claim}: {why}")


def _of(shape: object, shapes: frozenset[str] | None) -> TokenShape:
    if not isinstance(shape, Mapping) or not shape.keys() <= _MEMBERS:
        raise _malformed(f"it is not an object with {', '.join(sorted(_MEMBERS))} alone")
    values = _values(shape.get("params"))
    where = _text(shape, "where")
    if values and where is None:
        raise _malformed("params need a where")
    columns = shape.get("columns")
    return TokenShape(
        shapes=shapes,
        table=_table(shape),
        where=where,
        values=values,
        columns=None if columns is None else frozenset(_columns(columns)),
        replica=_text(shape, "replica"),
    )


def _text(shape: Mapping[str, object], name: str) -> str | None:
    value = shape.get(name)
    if value is not None and not isinstance(value, str):
        raise _malformed(f"{name} is not text")
    return value


def _table(shape: Mapping[str, object]) -> Table:
    """A shape is one of a table: a claim without it would be for every table that has such columns."""
    schema, name = _text(shape, "namespace") or "public", _text(shape, "table")
    if name is None:
        raise _malformed("it has no table")
    return Table(schema, name)


def _texts(claim: str, value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > _MOST_COLUMNS:
        raise _malformed("it is not a list of texts", claim)
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) < len(value):
        raise _malformed("it is not a list of texts", claim)
    return texts


def _columns(value: object) -> list[str]:
    """A list of names, or as in a query, one text with commas between them."""
    names = split_list(value, _MOST_COLUMNS) if isinstance(value, str) else _texts("shape", value)
    if names is None:
        raise _malformed("columns is not a list of names")
    return names


def _values(params: object) -> Values:
    """The params by the names that stand for them in the predicate."""
    if params is None:
        return {}
    numbered = {str(number): value for number, value in enumerate(params, 1)} if isinstance(params, list) else params
    if not isinstance(numbered, Mapping) or set(numbered) != {str(number + 1) for number in range(len(numbered))}:
        raise _malformed("params are not numbered from 1 without gaps")
    return {f"${number}": _value(value) for number, value in numbered.items()}


def _value(value: object) -> ClaimValue:
    if not isinstance(value, list):
        return _one(value)
    texts = tuple(sorted({_one(item) for item in value}))
    if not 0 < len(texts) <= MAX_LIST or any("\\" in text for text in texts):
        raise _malformed(f"a list of params has 1 to {MAX_LIST} different values without a backslash")
    return texts


def _one(value: object) -> str:
    spec = _SPECS.get(type(value))
    text = None if spec is None else spec.text_of(value)
    if text is None:
        raise _malformed("a param is not a text of 1 to 256 characters, a whole number, true or false")
    return text
