"""The policies in force, as the console lists them: what each grants, its cases, and what is known of its types."""

from typing import Any

from proxy.auth.policy_loader import LoadedPolicies
from proxy.core.policy import ClientRights, Policy


def listed(loaded: LoadedPolicies) -> dict[str, Any]:
    """All of them, with the digest of their files. The same object always gives the same list."""
    return {
        "digest": loaded.digest,
        "warnings": list(loaded.warnings),
        "policies": [_policy(policy, loaded) for policy in loaded.policies.by_name.values()],
    }


def _policy(policy: Policy, loaded: LoadedPolicies) -> dict[str, Any]:
    return {
        "name": policy.name,
        "table": policy.table.quoted,
        "grants": list(_grants(policy)),
        "cases": [
            {"name": result.case, "expect": result.expect, "passed": result.wrong is None}
            for result in loaded.results
            if result.policy == policy.name
        ],
        "proof": _proof(policy),
    }


def _grants(policy: Policy) -> list[dict[str, str]]:
    claims = {spec.name: spec.type.name for spec in policy.claims}
    rows = ", ".join(f"{name} ({type_})" for name, type_ in claims.items()) or "none: everybody reads all rows"
    narrowed = ", ".join(part.claim.name for part in policy.narrow)
    named = {
        "claims": rows,
        "narrowed by": narrowed,
        "rows tested on": ", ".join(sorted(policy.predicate_columns)),
        "columns": ", ".join(policy.columns),
        "never": ", ".join(policy.never),
        "client filter": ", ".join(sorted(policy.client.filter)),
        "client may": ", ".join(_rights(policy.client)),
    }
    return [{"what": what, "value": value} for what, value in named.items() if value]


def _rights(client: ClientRights) -> list[str]:
    rights = ["choose columns"] if client.columns else []
    rights += [f"log {log}" for log in sorted(client.log)]
    rights += [f"replica {replica}" for replica in sorted(client.replica)]
    if client.subset_limit is not None:
        required = ", a limit is required" if client.require_limit else ""
        rights.append(f"ask for subsets of up to {client.subset_limit} rows{required}")
    return rights


def _proof(policy: Policy) -> dict[str, Any]:
    """Whether the types that the predicates rely on are known, and what speaks against the policy."""
    unverified = sorted(column for _, column in policy.guard.unverified())
    return {
        "proven": not unverified and not policy.guard.fault,
        "unverified": unverified,
        "fault": policy.guard.fault,
        "warnings": list(policy.warnings),
    }
