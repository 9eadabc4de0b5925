"""A directory of TOML files becomes a policy book, all or nothing. The only module that reads policy files; it runs
every case by the same `decide` that serves."""

import hashlib
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.document import CaseDocument, PolicyDocument
from proxy.core.errors import Refusal
from proxy.core.policy import Policy, PolicyBook, PolicyFault
from proxy.core.request import parse


class BookFault(Exception):
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


@dataclass(frozen=True, slots=True)
class LoadedBook:
    """A book, the results of its cases, and the digest of its files (the first 12 hexadecimal digits of a SHA-256)."""

    book: PolicyBook
    results: tuple[CaseResult, ...]
    digest: str


def load(folder: Path) -> LoadedBook:
    """The book of a folder. Raises BookFault with every reason against it."""
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise BookFault([f"{folder}: there are no policies here"])
    policies: list[Policy] = []
    lines: list[str] = []
    digest = hashlib.sha256()
    for file in files:
        try:
            policies.append(_read(file, digest))
        except PolicyFault as fault:
            lines += [f"{file}: {sentence}" for sentence in fault.sentences]
    lines += _shadowed(policies, folder)
    book = PolicyBook.of(policies)
    results = tuple(_results(policies, book))
    lines += [
        f"{folder / result.policy}.toml: case {result.case!r}: {result.wrong}" for result in results if result.wrong
    ]
    if lines:
        raise BookFault(lines)
    return LoadedBook(book, results, digest.hexdigest()[:12])


def _read(file: Path, digest: "hashlib._Hash") -> Policy:
    try:
        text = file.read_bytes()
        digest.update(b"%b\0%d\0%b" % (file.name.encode(), len(text), text))
        document = PolicyDocument.model_validate(tomllib.loads(text.decode("utf-8")))
    except (OSError, ValueError, RecursionError) as fault:
        raise PolicyFault(_sentences(fault)) from None
    return Policy.of(file.stem, document)


def _sentences(fault: Exception) -> Iterator[str]:
    if not isinstance(fault, ValidationError):
        yield str(fault)
        return
    for error in fault.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in error["loc"])
        yield f"{place}: {'there is no such member' if error['type'] == 'extra_forbidden' else error['msg']}"


def _shadowed(policies: list[Policy], folder: Path) -> Iterator[str]:
    """Of several policies over one table one must have its name, or a request by table would be ambiguous."""
    tables = {policy.table for policy in policies}
    for table in sorted(tables, key=lambda table: table.quoted):
        names = [policy.name for policy in policies if policy.table == table]
        if len(names) > 1 and table.name not in names:
            yield f"{folder}: {', '.join(names)} are all over {table.quoted}; call one of them {table.name}"


def _results(policies: Iterable[Policy], book: PolicyBook) -> Iterator[CaseResult]:
    for policy in policies:
        for case in policy.cases:
            yield CaseResult(policy.name, case.name, case.expect, _wrong(policy, case, book))


def _wrong(policy: Policy, case: CaseDocument, book: PolicyBook) -> str | None:
    claims = Claims("case", float("inf"), case.claims)
    named = "table=" not in case.request
    try:
        request = parse(
            policy.name if named else None, case.request.encode(), None if case.body is None else case.body.encode()
        )
        shape = decide(request, claims, book)
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
