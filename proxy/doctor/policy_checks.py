# SPDX-License-Identifier: Apache-2.0
"""The policies: whether they load, and whether Electric and the database know what they name."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from proxy.auth import policy_loader
from proxy.auth.database_check import DatabaseFault
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.core.agreement import KnownTypes, reported_types
from proxy.core.policy import Policy
from proxy.core.rule_limits import RuleLimits
from proxy.core.upstream import schema_request
from proxy.doctor.asking import Asker, NoAnswerError
from proxy.doctor.findings import Finding, error, ok, warning

_MEND = "correct the file, and try it with shape-proxy check"


def load(folder: Path, limits: RuleLimits) -> tuple[LoadedPolicies | None, list[Finding]]:
    """The policies as `serve` loads them, and the findings of that."""
    try:
        loaded = policy_loader.load(folder, limits)
    except PoliciesFault as fault:
        return None, [error("policies", line, _MEND) for line in fault.lines]
    count, cases = len(loaded.policies.by_name), len(loaded.results)
    warnings = [warning("policies", line, _MEND) for line in loaded.warnings]
    return loaded, [ok("policies", f"{count} policies load, {cases} cases pass"), *warnings]


def electric_findings(policies: tuple[Policy, ...], electric: Asker, secret: str) -> Iterator[Finding]:
    """Whether Electric has each policy's table and columns, by a shape without rows, and of which types."""
    for policy in policies:
        try:
            yield _asked(policy, electric, secret)
        except NoAnswerError as fault:
            yield error("policy_electric", f"{policy.name}: Electric did not answer ({fault})", "look at its log")


def _asked(policy: Policy, electric: Asker, secret: str) -> Finding:
    check = "policy_electric"
    columns = (*policy.key, *(column for column in policy.columns if column not in policy.key))
    request = schema_request(policy.name, policy.table, columns)
    reply = electric.ask(request.target + secret_parameter(secret))
    if reply.status != 200:
        detail = _message(reply.body)
        return error(check, f"{policy.name}: Electric answers {reply.status}{detail}", _MEND)
    types = reported_types(reply.headers.get("electric-schema", ""))
    if types is None:
        return error(check, f"{policy.name}: Electric does not report the types of its columns", "look at its log")
    objection = policy.guard.objection_to(KnownTypes(types))
    if objection:
        return error(check, f"{policy.name}: {objection}", _MEND)
    return ok(check, f"{policy.name}: Electric serves {policy.table.quoted} with these columns")


def secret_parameter(secret: str) -> str:
    """What an upstream target ends with."""
    return f"&secret={quote(secret, safe='')}" if secret else ""


def _message(body: bytes) -> str:
    """Electric's own sentences about a request that it refuses."""
    try:
        errors = json.loads(body)["errors"]
        sentences = [sentence for listed in errors.values() for sentence in listed]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return ": " + "; ".join(map(str, sentences))


def database_findings(loaded: LoadedPolicies, folder: Path, dsn: str) -> Iterator[Finding]:
    """Where the policies differ from the database: columns, keys, types, collations."""
    check = "policy_database"
    try:
        lines = policy_loader.differences(loaded, folder, dsn)[1]
    except DatabaseFault as fault:
        yield error(check, str(fault), "correct DATABASE_URL, or start PostgreSQL")
        return
    yield from (error(check, line, _MEND) for line in lines)
    if not lines:
        yield ok(check, "the database has every table, column and type of the policies")
