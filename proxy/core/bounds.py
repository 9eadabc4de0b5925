"""Whether a policy's predicate holds every row to a claim: what keeps one tenant's rows from another."""

from proxy.core.filters import Condition
from proxy.core.filters.tree import Cast, Chain, Claim, Column, Comparison, Node, Subselect


def is_bounded(condition: Condition) -> bool:
    """True if no row passes but by an equality with a claim: in one part of an AND, in every part of an OR.

    `column IN (SELECT …)` counts if its own where is bounded.
    """
    return _bounded(condition.root)


def _bounded(node: Node | None) -> bool:
    match node:
        case Comparison("=", Column(), Claim() | Cast(Claim())) | Comparison("=", Claim() | Cast(Claim()), Column()):
            return True
        case Subselect(where=where):
            return _bounded(where)
        case Chain("AND", parts):
            return any(map(_bounded, parts))
        case Chain("OR", parts):
            return all(map(_bounded, parts))
        case _:
            return False
