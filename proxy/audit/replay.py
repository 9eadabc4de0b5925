"""`shape-proxy explain --decision`: decides again what was decided once, by the policies of now."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.audit import decision_log as decisions
from proxy.audit.explain import Explanation, explain
from proxy.core.claims import Claims
from proxy.core.outcome import AFTER_RULES
from proxy.core.policy import PolicySet
from proxy.core.rule_limits import DEFAULT_RULE_LIMITS, RuleLimits


class ReplayFault(Exception):
    """There is nothing to decide again; the text is one line."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the rules are given. A decision file has it, a log has not: then the operator says it."""

    claims: Claims
    shape: str | None
    query: bytes
    body: bytes | None

    def explained(self, policies: PolicySet, limits: RuleLimits = DEFAULT_RULE_LIMITS) -> Explanation:
        """What every rule of these policies says of them."""
        return explain(self.claims, self.shape, self.query, self.body, policies, limits)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was told. `inputs` is None if it comes from a log."""

    request_id: str
    code: str
    policies: str
    rules: tuple[str, ...]
    inputs: Inputs | None

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Recorded":
        """The decision of one line. Raises ReplayFault."""
        try:
            request_id, code, policies = members["request_id"], members["code"], members["policies"]
            given = members.get("inputs")
            inputs = None if given is None else _inputs(given, request_id, code)
        except (KeyError, TypeError, AttributeError):
            raise ReplayFault("the decision lacks a member; was it written by another version?") from None
        return cls(request_id, code, policies, tuple(members.get("rules", ())), inputs)

    @property
    def codes(self) -> frozenset[str]:
        """What comes out again if nothing changed: the code, or `ok` where the refusal came after all rules."""
        after = bool(self.rules) and self.rules[-1].startswith(f"{AFTER_RULES}:")
        return frozenset({self.code, decisions.ALLOWED} if after else {self.code})


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
