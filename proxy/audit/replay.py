# SPDX-License-Identifier: Apache-2.0
"""Decides again what was decided once, by the policies of now: one decision for `explain --decision`, and all of a file
for `replay`, which compares what would be let through."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.audit import decision_log as decisions
from proxy.audit.explain import Explanation, explain
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.comparison import Change, Decided, Sent, compare
from proxy.core.decision import decide
from proxy.core.errors import Refusal
from proxy.core.handles import TrustedPosition
from proxy.core.outcome import AFTER_RULES
from proxy.core.policy import PolicySet
from proxy.core.request import parse
from proxy.core.rule_limits import DEFAULT_RULE_LIMITS, RuleLimits


class ReplayFault(Exception):
    """There is nothing to decide again; the text is one line."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the rules are given. A decision file has it; for a log the operator gives it."""

    claims: Claims
    shape: str | None
    query: bytes
    body: bytes | None

    def explained(self, policies: PolicySet, limits: RuleLimits = DEFAULT_RULE_LIMITS) -> Explanation:
        """What every rule of these policies decides about them."""
        return explain(self.claims, self.shape, self.query, self.body, policies, limits)

    def decided(self, policies: PolicySet, limits: RuleLimits = DEFAULT_RULE_LIMITS) -> Decided:
        """What these policies let through of them, or the code of the refusal."""
        try:
            request = parse(self.shape, self.query, self.body, limits.request)
            shape = decide(request, self.claims, policies, limits.filter).authorized()
            upstream.build(shape, request, TrustedPosition(request.position), limits.target_bytes)  # nothing is sent
        except Refusal as refusal:
            return refusal.code.name
        return Sent.of(shape)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was recorded. `inputs` is None if it comes from a log."""

    request_id: str
    code: str
    policies: str
    rules: tuple[str, ...]
    inputs: Inputs | None
    sent: Sent | None = None

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Recorded":
        """The decision of one line. Raises ReplayFault."""
        try:
            request_id, code, policies = members["request_id"], members["code"], members["policies"]
            given, sent = members.get("inputs"), members.get("sent")
            inputs = None if given is None else _inputs(given, request_id, code)
            let_through = None if sent is None else Sent.parse(sent)
        except (KeyError, TypeError, AttributeError):
            raise ReplayFault("the decision lacks a member; was it written by another version?") from None
        return cls(request_id, code, policies, tuple(members.get("rules", ())), inputs, let_through)

    @property
    def before(self) -> Decided:
        """What was let through, or the code of the refusal."""
        return self.code if self.sent is None else self.sent

    @property
    def codes(self) -> frozenset[str]:
        """The outcome if nothing changed: the code, or `ok` where the refusal came after all rules."""
        after = bool(self.rules) and self.rules[-1].startswith(f"{AFTER_RULES}:")
        return frozenset({self.code, decisions.ALLOWED} if after else {self.code})


@dataclass(frozen=True, slots=True)
class Differences:
    """What other policies would change of recorded decisions. `changes` are for whom, by which policy, what, and in how
    many decisions; `skipped` are those that cannot be decided again."""

    decisions: int
    skipped: int
    changes: Mapping[tuple[str, str, Change], int]

    @property
    def widens(self) -> bool:
        """Whether anything would be let through that was not, or may be."""
        return any(change.effect != "narrower" for _, _, change in self.changes)

    def lines(self) -> Iterator[str]:
        """The differences for a terminal, the worst first."""
        for (subject, policy, change), times in sorted(self.changes.items(), key=_rank):
            often = f" ({times} decisions)" if times > 1 else ""
            yield f"{change.effect:<8} {subject}: {policy}: {change.text}{often}"
        skipped = f", {self.skipped} cannot be decided again" if self.skipped else ""
        yield f"{self.decisions} decisions, {len(self.changes)} changes{skipped}"

    def members(self) -> dict[str, Any]:
        """The differences as JSON members."""
        return {
            "decisions": self.decisions,
            "skipped": self.skipped,
            "widens": self.widens,
            "changes": [
                {
                    "effect": change.effect,
                    "subject": subject,
                    "policy": policy,
                    "sentence": change.text,
                    "columns": list(change.columns),
                    "decisions": times,
                }
                for (subject, policy, change), times in sorted(self.changes.items(), key=_rank)
            ],
        }


def differences(file: Path, policies: PolicySet, limits: RuleLimits = DEFAULT_RULE_LIMITS) -> Differences:
    """What these policies would change of the decisions of a file. Raises ReplayFault if none can be decided again."""
    changes: Counter[tuple[str, str, Change]] = Counter()
    count = skipped = 0
    for members in decisions.lines(file):
        count += 1
        recorded = _repeatable(members)
        if recorded is None or recorded.inputs is None:
            skipped += 1
            continue
        after = recorded.inputs.decided(policies, limits)
        subject = str(recorded.inputs.claims.values.get("sub", ""))
        for change in compare(recorded.before, after):
            changes[subject, _policy(recorded, after), change] += 1
    if count == skipped:
        raise ReplayFault(
            f"{file}: there is no decision with what it was made by; a log has none, a decision file does"
        )
    return Differences(count, skipped, changes)


def _repeatable(members: Mapping[str, Any]) -> Recorded | None:
    """The decision of one line, or None if it cannot be compared: refused before the rules, cut short, or written by
    a version that did not record what it let through."""
    try:
        recorded = Recorded.of(members)
    except ReplayFault:
        return None
    return None if recorded.sent is None and decisions.ALLOWED in recorded.codes else recorded


def _policy(recorded: Recorded, after: Decided) -> str:
    sent = after if isinstance(after, Sent) else recorded.sent
    return "none" if sent is None else sent.policy


def _rank(item: tuple[tuple[str, str, Change], int]) -> tuple[int, str, str, str]:
    (subject, policy, change), _ = item
    return ("wider", "unclear", "narrower").index(change.effect), policy, subject, change.text


@dataclass(frozen=True, slots=True)
class Replay:
    """A decision and the same one now."""

    recorded: Recorded
    policies: str
    now: Explanation

    @property
    def same(self) -> bool:
        """Whether it comes out as it did."""
        return self.now.code in self.recorded.codes

    def line(self) -> str:
        """The comparison, for a terminal."""
        by = "the same policies" if self.policies == self.recorded.policies else f"policies {self.recorded.policies}"
        outcome = "as before" if self.same else "DIFFERENT"
        return f"decision {self.recorded.request_id}: {self.recorded.code} by {by}; now {self.now.code}: {outcome}"

    def members(self) -> dict[str, Any]:
        """The comparison as JSON members."""
        recorded = {
            "request_id": self.recorded.request_id,
            "code": self.recorded.code,
            "policies": self.recorded.policies,
        }
        return {"recorded": recorded, "policies": self.policies, "code": self.now.code, "same": self.same}


def read(file: Path, request_id: str | None) -> Recorded:
    """One decision of a decision file or a log: the one with this id, or the last. Raises ReplayFault, OSError."""
    found = [members for members in decisions.lines(file) if request_id in (None, members.get("request_id"))]
    if not found:
        raise ReplayFault(f"{file}: there is no {'decision' if request_id is None else f'decision {request_id}'}")
    return Recorded.of(found[-1])


def _inputs(given: Mapping[str, Any], request_id: str, code: str) -> Inputs:
    if given["claims"] is None:
        raise ReplayFault(f"decision {request_id}: refused before the rules, with {code}: there is nothing to repeat")
    body = given["body"]
    if body is not None and len(_bytes(body)) < given.get("body_bytes", 0):
        raise ReplayFault(f"decision {request_id}: its body was too long to be recorded whole: it cannot be repeated")
    return Inputs(
        Claims("explain", float("inf"), given["claims"]),
        given["shape"],
        _bytes(given["query"]),
        None if body is None else _bytes(body),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
