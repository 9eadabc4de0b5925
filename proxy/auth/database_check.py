# SPDX-License-Identifier: Apache-2.0
"""The policies compared with the database that DATABASE_URL names, by one reading of its catalog."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.auth.catalog import ROLE, facts_of_tables
from proxy.auth.catalog import DatabaseFault as DatabaseFault
from proxy.core.drift import examined, findings, tables_of
from proxy.core.policy import Policy

Line = tuple[str, str]
"""A policy's name and a sentence."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The policies with what the database knows of their types, each difference, and what is only worth knowing."""

    policies: tuple[Policy, ...]
    differences: tuple[Line, ...]
    notes: tuple[Line, ...] = ()


def examine(dsn: str, policies: Iterable[Policy], role: str = ROLE) -> Examination:
    """Compares policies with a database, which Electric reads as `role`. Blocks for some seconds at most.

    Raises DatabaseFault.
    """
    given = tuple(policies)
    facts = facts_of_tables(dsn, frozenset().union(*map(tables_of, given)), role)
    found = [(policy.name, finding) for policy in given for finding in findings(policy, facts, role)]
    return Examination(
        tuple(examined(policy, facts) for policy in given),
        tuple((name, finding.sentence) for name, finding in found if not finding.note),
        tuple((name, finding.sentence) for name, finding in found if finding.note),
    )
