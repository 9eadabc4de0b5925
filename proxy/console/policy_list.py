# SPDX-License-Identifier: Apache-2.0
"""The policies in force, as the console lists them: what each grants, its cases, what is known of its types, and
what is proved."""

from collections.abc import Mapping
from typing import Any

from proxy.auth.policy_loader import LoadedPolicies
from proxy.console.proofs import Proof, Proofs
from proxy.core.filters import Condition
from proxy.core.filters.ast import Array, Claim, Constant, Number, Text
from proxy.core.grants import Grant
from proxy.core.policy import ClientRights, Policy


class Listing:
    """The list of the policies in force, made once for as long as they are and as nothing more is proved of them."""

    def __init__(self, proofs: Proofs) -> None:
        self._proofs = proofs
        self._proved: Mapping[str, Proof] = {}
        self._loaded: LoadedPolicies | None = None
        self._listed: dict[str, Any] = {}

    def of(self, loaded: LoadedPolicies) -> dict[str, Any]:
        """The list of these policies; the same object while they are the same."""
        proved = self._proofs.of(loaded)
        if loaded is not self._loaded or proved is not self._proved:
            self._loaded, self._proved, self._listed = loaded, proved, listed(loaded, proved)
        return self._listed


def listed(loaded: LoadedPolicies, proved: Mapping[str, Proof]) -> dict[str, Any]:
    """All policies, with the digest of their files."""
    return {
        "digest": loaded.digest,
        "warnings": list(loaded.warnings),
        "policies": [_policy(policy, loaded, proved[name]) for name, policy in loaded.policies.by_name.items()],
    }


def _policy(policy: Policy, loaded: LoadedPolicies, proof: Proof) -> dict[str, Any]:
    return {
        "name": policy.name,
        "table": policy.table.quoted,
        "facts": _facts(policy),
        "grants": [_grant(grant) for grant in policy.grants],
        "cases": [
            {"name": result.case, "expect": result.expect, "passed": result.wrong is None}
            for result in loaded.results
            if result.policy == policy.name
        ],
        "types": _types(policy),
        "proof": proof,
    }


def _facts(policy: Policy) -> dict[str, str]:
    """What holds of all grants. Facts without content are left out."""
    facts = {
        "key": ", ".join(policy.key),
        "never leave": ", ".join(policy.never),
        "isolated by": ", ".join(policy.isolation),
        "shared through": ", ".join(table.quoted for table in policy.through),
        "clients may": ", ".join(_rights(policy.client)),
    }
    return {what: value for what, value in facts.items() if value}


def _grant(grant: Grant) -> dict[str, Any]:
    facts = {
        "when": "; ".join(f"{when.claim.name} is {' or '.join(sorted(when.values))}" for when in grant.when),
        "claims": ", ".join(claim.name for claim in grant.claims) or "none",
        "rows": written(grant.rows),
        "narrowed": "; ".join(f"with {part.claim.name}: {written(part.where)}" for part in grant.narrow),
        "columns": ", ".join(grant.columns),
        "clients filter by": ", ".join(sorted(grant.filter)),
        "isolated by": ", ".join(grant.isolation),
    }
    return {"name": grant.name, "facts": {what: value for what, value in facts.items() if value}}


def written(condition: Condition) -> str:
    """A predicate, each claim in braces at its place, as a policy file has it."""
    names = [_source(source) for source in condition.sources]
    return condition.template.replace("$%d", "%s") % tuple(names[index] for index in condition.order)


def _source(source: object) -> str:
    match source:
        case Claim(name):
            return f"{{{name}}}"
        case Text(value):
            return "'" + value.replace("'", "''") + "'"
        case Number(text) | Constant(text):
            return text
        case Array(items):
            return f"ARRAY[{', '.join(map(_source, items))}]"
        case _:
            return "?"


def _rights(client: ClientRights) -> list[str]:
    rights = ["choose columns"] if client.columns else []
    rights += [f"log {log}" for log in sorted(client.log)]
    rights += [f"replica {replica}" for replica in sorted(client.replica)]
    if client.subset_limit is not None:
        required = ", a limit is required" if client.require_limit else ""
        rights.append(f"ask for subsets of up to {client.subset_limit} rows{required}")
    return rights


def _types(policy: Policy) -> dict[str, Any]:
    """Whether the types that the predicates rely on are known, and what speaks against the policy."""
    unverified = sorted(column for _, column in policy.guard.unverified())
    return {
        "known": not unverified and not policy.guard.fault,
        "unverified": unverified,
        "fault": policy.guard.fault,
        "warnings": list(policy.warnings),
    }
