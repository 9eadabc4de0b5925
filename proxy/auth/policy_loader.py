# SPDX-License-Identifier: Apache-2.0
"""A directory of TOML files becomes a set of policies, all or nothing. The only module that reads policy files; it runs
every case by the same `decide` that serves."""

import contextlib
import hashlib
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from proxy.auth.catalog import ROLE, DatabaseFault
from proxy.auth.database_check import examine
from proxy.auth.policy_lines import line_of
from proxy.core import upstream
from proxy.core.checks import CHECKS
from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.document import CaseDocument, PolicyDocument, members_at
from proxy.core.draft import Check
from proxy.core.errors import Refusal
from proxy.core.handles import TrustedPosition
from proxy.core.policy import Policy, PolicyFault, PolicySet
from proxy.core.request import parse
from proxy.core.rule_limits import DEFAULT_RULE_LIMITS, RuleLimits
from proxy.core.sentences import Sentence
from proxy.core.suggestions import did_you_mean


class PoliciesFault(Exception):
    """The policies must not load; `lines` are one `file: sentence` each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case of one policy, and what is wrong with it, if anything."""

    policy: str
    case: str
    expect: str
    wrong: str | None
    number: int = 0
    """Its place among the cases of its policy."""


@dataclass(frozen=True, slots=True)
class LoadedPolicies:
    """Policies, the results of its cases, and the digest of its files (the first 12 hexadecimal digits of a SHA-256).

    `warnings` are one `file: sentence` each, for what does not keep a policy from being in force.
    """

    policies: PolicySet
    results: tuple[CaseResult, ...]
    digest: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Content:
    """What is in a file, or why it could not be read."""

    path: Path
    text: bytes
    fault: str | None = None


def load(folder: Path, limits: RuleLimits = DEFAULT_RULE_LIMITS, checks: Iterable[Check] = CHECKS) -> LoadedPolicies:
    """The policies of a folder, its cases judged by these limits. Raises PoliciesFault with every reason against it."""
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise PoliciesFault([f"{folder}: there are no policies here"])
    return _judged(folder, tuple(map(_content, files)), limits, tuple(checks))


@lru_cache(maxsize=2)  # the policies in force, and those of the shadow
def _judged(folder: Path, files: tuple[_Content, ...], limits: RuleLimits, checks: tuple[Check, ...]) -> LoadedPolicies:
    """The same of files that were read. Where they have not changed since, as in a reload of keys, nothing is judged
    again."""
    found: list[Policy] = []
    lines: list[str] = []
    for file in files:
        try:
            found.append(_read(file, checks))
        except PolicyFault as fault:
            lines += [_placed(file.path, sentence) for sentence in fault.sentences]
    lines += _shadowed(found, folder)
    policies = PolicySet.of(found)
    results = tuple(_results(found, policies, limits))
    for result in results:
        if result.wrong:
            place = ("case", result.number)
            sentence = Sentence(f"case {result.case!r}: {result.wrong}", *place)
            lines.append(_placed(folder / f"{result.policy}.toml", sentence))
    if lines:
        raise PoliciesFault(lines)
    warnings = tuple(_line(folder, policy.name, warning) for policy in found for warning in policy.warnings)
    return LoadedPolicies(policies, results, _digest(files), warnings)


def differences(
    loaded: LoadedPolicies, folder: Path, dsn: str, role: str = ROLE
) -> tuple[LoadedPolicies, tuple[str, ...]]:
    """The same policies with what the database knows of the types, and one `file: sentence` for each difference.

    What is only worth knowing is added to the warnings. Raises DatabaseFault.
    """
    found = examine(dsn, loaded.policies.by_name.values(), role)
    lines = tuple(_line(folder, name, sentence) for name, sentence in found.differences)
    notes = tuple(_line(folder, name, sentence) for name, sentence in found.notes)
    return replace(loaded, policies=PolicySet.of(found.policies), warnings=(*loaded.warnings, *notes)), lines


def load_against(dsn: str | None, folder: Path, limits: RuleLimits, *, strict: bool) -> LoadedPolicies:
    """The policies of a folder, held against a database if there is one.

    A difference, or a database that cannot be asked, is a warning, or with `strict` a PoliciesFault.
    """
    loaded = load(folder, limits)
    if dsn is None:
        return loaded
    try:
        loaded, lines = differences(loaded, folder, dsn)
    except DatabaseFault as fault:
        lines = (f"{folder}: not held against the database: {fault}",)
    if strict and lines:
        raise PoliciesFault(lines)
    return replace(loaded, warnings=(*loaded.warnings, *lines))


def _line(folder: Path, policy: str, sentence: str) -> str:
    return f"{folder / policy}.toml: {sentence}"


def _content(file: Path) -> _Content:
    try:
        return _Content(file, file.read_bytes())
    except (OSError, MemoryError) as fault:
        return _Content(file, b"", str(fault))


def _digest(files: Iterable[_Content]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(b"%b\0%d\0%b" % (file.path.name.encode(), len(file.text), file.text))
    return digest.hexdigest()[:12]


def _read(file: _Content, checks: Iterable[Check]) -> Policy:
    if file.fault is not None:
        raise PolicyFault([file.fault])
    try:
        document = PolicyDocument.model_validate(tomllib.loads(file.text.decode("utf-8")))
    except (ValueError, RecursionError, OverflowError, MemoryError) as fault:
        raise PolicyFault(_sentences(fault)) from None
    return Policy.of(file.path.stem, document, checks)


def _placed(file: Path, sentence: str) -> str:
    """`file:line: sentence`, without the line if the sentence is of no member."""
    line = None
    if isinstance(sentence, Sentence) and sentence.path:
        with contextlib.suppress(OSError, ValueError):  # it may have changed since
            line = line_of(file.read_text("utf-8"), sentence.path, sentence.offset)
    return f"{file}: {sentence}" if line is None else f"{file}:{line}: {sentence}"


def _sentences(fault: Exception) -> Iterator[str]:
    if not isinstance(fault, ValidationError):
        yield str(fault)
        return
    for error in fault.errors(include_url=False, include_context=False, include_input=False):
        *above, member = error["loc"]
        place = ".".join(map(str, error["loc"]))
        message = error["msg"]
        if error["type"] == "extra_forbidden":
            message = f"there is no such member{did_you_mean(str(member), members_at(above))}"
        yield Sentence(f"{place}: {message}", *error["loc"])


def _shadowed(policies: list[Policy], folder: Path) -> Iterator[str]:
    """Of several policies over one table one must have its name, or a request by table would be ambiguous."""
    tables = {policy.table for policy in policies}
    for table in sorted(tables, key=lambda table: table.quoted):
        names = [policy.name for policy in policies if policy.table == table]
        if len(names) > 1 and table.name not in names:
            yield f"{folder}: {', '.join(names)} are all over {table.quoted}; call one of them {table.name}"


def _results(judged: Iterable[Policy], policies: PolicySet, limits: RuleLimits) -> Iterator[CaseResult]:
    for policy in judged:
        for number, case in enumerate(policy.cases):
            yield CaseResult(policy.name, case.name, case.expect, _wrong(policy, case, policies, limits), number)


def _wrong(policy: Policy, case: CaseDocument, policies: PolicySet, limits: RuleLimits) -> str | None:
    claims = Claims("case", float("inf"), case.claims)
    named = "table=" not in case.request
    try:
        request = parse(
            policy.name if named else None,
            case.request.encode(),
            None if case.body is None else case.body.encode(),
            limits.request,
        )
        shape = decide(request, claims, policies, limits.filter).authorized()
        upstream.build(shape, request, TrustedPosition(request.position), limits.target_bytes)  # nothing is sent
    except Refusal as refusal:
        came = refusal.code.name
        return None if came == case.expect else f"expected {case.expect}, came {came} ({refusal.reason})"
    return _difference(case, shape)


def _difference(case: CaseDocument, shape: AuthorizedShape) -> str | None:
    if case.expect != "allow":
        return f"expected {case.expect}, came allow"
    predicate = shape.predicate
    for what, expected, came in (
        ("where", case.where, predicate.text),
        ("params", case.params, list(predicate.params)),
        ("columns", case.columns, list(shape.columns)),
    ):
        if expected is not None and expected != came:
            return f"expected {what} {expected!r}, came {came!r}"
    return None
