"""One event a decision: every refusal, and a sample of what is allowed. The log gets the masked form; the inputs, by
which it can be decided again, go to a file of the operator's, if there is one."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proxy.audit.decision_file import DecisionFile
from proxy.audit.rate import PerMinute
from proxy.audit.shadow import Shadow
from proxy.auth.policy_loader import LoadedPolicies
from proxy.core.comparison import Sent
from proxy.core.errors import Code, Refusal
from proxy.core.inbound import Inbound
from proxy.core.outcome import AFTER_RULES, Outcome
from proxy.core.trail import Trail
from proxy.settings import Settings
from proxy.telemetry.events import DecisionMade, DecisionsDropped, Observe

MOST_INPUT_BYTES = 65_536
"""So much of a body is recorded: the whole of a long one would push out what others' decisions were made by."""

Hashed = Callable[[str], str]
ALLOWED, EVENT = "ok", "decision"
_SAMPLE_DIGITS = 8


class Decisions:
    """Tells of decisions. `loaded` are the policies in force, `shadow` judges by others, if there are any."""

    def __init__(
        self, settings: Settings, loaded: LoadedPolicies, observe: Observe, shadow: Shadow | None = None
    ) -> None:
        self.loaded = loaded
        self.shadow = shadow
        self._filter_limits = settings.filter_limits
        self._sampled_below = settings.decision_sample * 16**_SAMPLE_DIGITS
        self._observe = observe
        self._refusals = PerMinute(settings.decision_refusals)
        self._file: DecisionFile | None = None
        if settings.decision_file is not None:
            self._file = DecisionFile(settings.decision_file, settings.decision_file_bytes, settings.decision_files)

    def close(self) -> None:
        """Closes the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def allowed(self, request_id: str, inbound: Inbound, trail: Trail, hashed: Hashed) -> None:
        """A request was allowed; told if its id, which is random, falls into the sample."""
        if self.shadow is not None:
            self.shadow.offer(request_id, trail)
        if int(request_id[:_SAMPLE_DIGITS], 16) < self._sampled_below and trail.shape is not None:
            made = self._event(request_id, ALLOWED, "", Outcome.of_shape(trail.shape), _subject(trail, hashed))
            self._tell(made, inbound, trail)

    def refused(self, request_id: str, inbound: Inbound, trail: Trail, refusal: Refusal, hashed: Hashed) -> None:
        """A request was refused, by a rule or after them all; told unless too many are of its code."""
        if self.shadow is not None:
            self.shadow.offer(request_id, trail, refusal)
        if not self._refusals.takes(refusal.code.name, time.monotonic()):
            self._observe(DecisionsDropped(refusal.code.name))
            return
        outcome = self._refusal(trail, refusal)
        made = self._event(request_id, refusal.code.name, refusal.reason, outcome, _subject(trail, hashed))
        self._tell(made, inbound, trail)

    def _refusal(self, trail: Trail, refusal: Refusal) -> Outcome:
        if trail.shape is not None:
            return Outcome.of_shape(trail.shape, f"{AFTER_RULES}: {refusal.code.name}")
        if refusal.code is Code.internal_error:  # what failed would fail again
            return Outcome((f"{AFTER_RULES}: {refusal.code.name}",))
        return Outcome.of_refusal(refusal, trail.claims, trail.request, self.loaded.policies, self._filter_limits)

    def _event(self, request_id: str, code: str, reason: str, outcome: Outcome, subject: str) -> DecisionMade:
        return DecisionMade(
            request_id=request_id,
            allowed=code == ALLOWED,
            code=code,
            policy=outcome.policy,
            policies=self.loaded.digest,
            subject=subject,
            reason=reason,
            rules=outcome.rules,
            predicate=outcome.predicate,
        )

    def _tell(self, made: DecisionMade, inbound: Inbound, trail: Trail) -> None:
        self._observe(made)
        if self._file is not None:
            self._file.write(
                {"event": EVENT} | asdict(made) | {"inputs": _inputs(inbound, trail), "sent": _sent(trail)}
            )


def _subject(trail: Trail, hashed: Hashed) -> str:
    return "" if trail.claims is None else hashed(trail.claims.subject)


def _inputs(inbound: Inbound, trail: Trail) -> dict[str, Any]:
    """What the rules were given; the token itself is never kept, only what it said."""
    return {
        "claims": None if trail.claims is None else dict(trail.claims.values),
        "shape": inbound.name,
        "query": _text(inbound.query),
        "body": None if trail.body is None else _text(trail.body[:MOST_INPUT_BYTES]),
        "body_bytes": 0 if trail.body is None else len(trail.body),
    }


def _sent(trail: Trail) -> dict[str, Any] | None:
    """What was let through, for who wants to know what other policies would."""
    return None if trail.shape is None else Sent.of(trail.shape).members()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def lines(file: Path) -> Iterable[dict[str, Any]]:
    """The decisions among the JSON lines of a file: a decision file or a log. Raises OSError."""
    for line in file.read_text("utf-8", "surrogateescape").splitlines():
        try:
            members = json.loads(line)
        except ValueError:
            continue
        if isinstance(members, dict) and members.get("event") == EVENT:
            yield members
