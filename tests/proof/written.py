"""Policies as the tests write them."""

import tomllib
from collections.abc import Iterable

from proxy.core.document import PolicyDocument
from proxy.core.policy import Policy, PolicySet
from proxy.proof import report
from proxy.proof.isolation import Proof
from proxy.proof.widening import Change

HEAD = 'table = "public.things"\nkey = ["id"]\ncolumns = ["id", "a", "b"]\n'


def policy(text: str, name: str = "things", head: str = HEAD) -> Policy:
    """A policy of TOML, without the checks that do not matter here (cases, bounds)."""
    return Policy.of(name, PolicyDocument.model_validate(tomllib.loads(head + text)), ())


def proofs(*policies: Policy) -> list[Proof]:
    """What is proved of these."""
    return [proof for proof in report.prove(PolicySet.of(policies)).outcomes if isinstance(proof, Proof)]


def changes(new: Iterable[Policy], old: Iterable[Policy]) -> list[Change]:
    """What the new ones widen."""
    outcomes = report.compare(PolicySet.of(new), PolicySet.of(old)).outcomes
    return [change for change in outcomes if isinstance(change, Change)]
