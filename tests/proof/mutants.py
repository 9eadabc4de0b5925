"""Policies with one mistake in them: a condition left out, an operator or a claim that is another, a grant for more."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from proxy.core import filters
from proxy.core.claims import ClaimSpec, ClaimType
from proxy.core.filters import Condition
from proxy.core.filters.ast import (
    AnyOf,
    Array,
    ArrayTest,
    Cast,
    Chain,
    Claim,
    Column,
    Comparison,
    Constant,
    Membership,
    Node,
    Not,
    NullTest,
    Subselect,
    joined,
)
from proxy.core.grants import Grant
from proxy.core.policy import Policy

OTHER = ClaimSpec.of("other", ClaimType.text)
"""A claim that no policy has: what somebody wrote instead of the right one."""
TRUE = Constant("TRUE")


@dataclass(frozen=True)
class Mutant:
    """A policy with a mistake, and what it is."""

    what: str
    policy: Policy


def mutants(policy: Policy) -> Iterator[Mutant]:
    """Every policy with one mistake of the kinds below."""
    known = replace(policy, claims=(*policy.claims, replace(OTHER, optional=True)))
    for index, grant in enumerate(policy.grants):
        for what, mutated in _grants(grant, {spec.name: spec for spec in known.claims}):
            grants = (*policy.grants[:index], mutated, *policy.grants[index + 1 :])
            yield Mutant(f"{grant.name or 'where'}: {what}", replace(known, grants=grants))


def _grants(grant: Grant, claims: dict[str, ClaimSpec]) -> Iterator[tuple[str, Grant]]:
    for what, root in _nodes(grant.where.root, claims):
        yield what, _with(grant, claims, where=Condition.of(root))
    yield "no condition", _with(grant, claims, where=Condition.of(TRUE))
    if grant.when:
        yield "no when", replace(grant, when=())
    for when in grant.when:
        yield (
            f"when {when.claim.name} is other",
            replace(
                grant, when=(replace(when, values=when.values | {"other"}), *(w for w in grant.when if w is not when))
            ),
        )
    if grant.also_public is not None:
        yield "all rows public", _with(grant, claims, also_public=Condition.of(TRUE))
        yield "other rows public", _with(grant, claims, also_public=Condition.of(Not(grant.also_public.root)))
        yield "public rows for all, bound or not", _with(grant, claims, where=Condition.of(grant.also_public.root))
    for part in grant.narrow:
        yield f"no narrow by {part.claim.name}", replace(grant, narrow=tuple(p for p in grant.narrow if p is not part))


def _with(
    grant: Grant, claims: dict[str, ClaimSpec], where: Condition | None = None, also_public: Condition | None = None
) -> Grant:
    where, public = where or grant.where, also_public or grant.also_public
    rows = where if public is None else filters.either(where, public)
    needed = tuple(spec for name, spec in claims.items() if name in filters.claims_of(where))
    return replace(grant, where=where, also_public=public, rows=rows, claims=needed)


def _nodes(node: Node, claims: dict[str, ClaimSpec]) -> Iterator[tuple[str, Node]]:
    """The condition with one mistake in it."""
    yield from _operators(node)
    match node:
        case Chain(operator, parts):
            for index, part in enumerate(parts):
                rest = (*parts[:index], *parts[index + 1 :])
                yield f"without part {index} of {operator}", joined(operator, rest)
                for what, mutated in _nodes(part, claims):
                    yield what, joined(operator, (*parts[:index], mutated, *parts[index + 1 :]))
        case Not(inner):
            yield "without NOT", inner
            yield from ((what, Not(mutated)) for what, mutated in _nodes(inner, claims))
        case Subselect():
            yield from _selects(node, claims)
        case Comparison(_, left, right):
            yield from ((what, replace(node, left=other)) for what, other in _claims(left, claims))
            yield from ((what, replace(node, right=other)) for what, other in _claims(right, claims))
        case AnyOf(_, array):
            yield from ((what, replace(node, array=other)) for what, other in _claims(array, claims))


def _operators(node: Node) -> Iterator[tuple[str, Node]]:
    match node:
        case Chain(operator, parts):
            other = "OR" if operator == "AND" else "AND"
            yield f"{other} for {operator}", joined(other, parts)
        case Comparison("=", left, right):
            yield "<> for =", Comparison("<>", left, right)
            yield "IS DISTINCT FROM for =", Comparison("IS DISTINCT FROM", left, right)
            yield "IS NOT DISTINCT FROM for =", Comparison("IS NOT DISTINCT FROM", left, right)
        case Comparison("<>", left, right):
            yield "= for <>", Comparison("=", left, right)
        case Membership(operator):
            yield "IN and NOT IN", replace(node, operator="NOT IN" if operator == "IN" else "IN")
        case AnyOf() | ArrayTest():
            yield "NOT for a test of arrays", Not(node)
        case NullTest(operator):
            yield "IS NULL and IS NOT NULL", replace(node, operator="IS NULL" if "NOT" in operator else "IS NOT NULL")
        case Column():
            yield "NOT before a boolean", Not(node)


def _selects(node: Subselect, claims: dict[str, ClaimSpec]) -> Iterator[tuple[str, Node]]:
    yield "NOT IN (SELECT …)", replace(node, operator="NOT IN" if node.operator == "IN" else "IN")
    if node.where is not None:
        yield "SELECT without WHERE", replace(node, where=None)
        yield from ((f"SELECT {what}", replace(node, where=other)) for what, other in _nodes(node.where, claims))


def _claims(node: Node, claims: dict[str, ClaimSpec]) -> Iterator[tuple[str, Node]]:
    """Another claim in place of this one: one that is a list if this is, and as fit for the column."""
    leaf = node.leaf if isinstance(node, Cast) else node
    if isinstance(leaf, Array) or not isinstance(leaf, Claim):
        return
    here = claims[leaf.name]
    for name, spec in claims.items():
        if name != leaf.name and spec.list == here.list and spec.type in (here.type, ClaimType.text):
            other = Claim(name)
            yield f"{name} for {leaf.name}", replace(node, leaf=other) if isinstance(node, Cast) else other
