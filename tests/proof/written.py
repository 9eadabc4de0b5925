"""Policies as the tests write them."""

import tomllib

from proxy.core.document import PolicyDocument
from proxy.core.policy import Policy
from proxy.proof import isolation, widening
from proxy.proof.accesses import Shape
from proxy.proof.isolation import Proof
from proxy.proof.widening import Change

HEAD = 'table = "public.things"\nkey = ["id"]\ncolumns = ["id", "a", "b"]\n'


def policy(text: str, name: str = "things", head: str = HEAD) -> Policy:
    """A policy of TOML, without the checks that do not matter here (cases, bounds)."""
    return Policy.of(name, PolicyDocument.model_validate(tomllib.loads(head + text)), ())


def proof(policy: Policy, *beside: Policy) -> Proof:
    """What is proved of a policy beside others."""
    (found,) = isolation.prove([Shape.of(policy)], list(map(Shape.of, beside)))
    return found


def change(new: Policy, old: Policy, *beside: Policy) -> Change:
    """What a policy widens."""
    (found,) = widening.compare([Shape.of(new)], [Shape.of(old)], list(map(Shape.of, beside)))
    return found
