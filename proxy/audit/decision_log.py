# SPDX-License-Identifier: Apache-2.0
"""One event a decision: every refusal, and a sample of what is allowed. The log gets the masked form; the inputs, by
which it can be decided again, go to a file of the operator's, if there is one."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxy.audit.decision_file import DecisionFile
from proxy.audit.rate import PerMinute
from proxy.audit.shadow import Shadow
from proxy.auth.policy_loader import LoadedPolicies
from proxy.core.comparison import Sent
from proxy.core.errors import Refusal
from proxy.core.inbound import Inbound
from proxy.core.outcome import Outcome
from proxy.core.trail import Trail
from proxy.telemetry.events import DecisionMade, DecisionsDropped, Observe

MOST_INPUT_BYTES = 65_536
"""So much of a body is recorded: the whole of a long one would push out what others' decisions were made by."""

Hashed = Callable[[str], str]
ALLOWED, EVENT = "ok", "decision"
_SAMPLE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class DecisionLogConfig:
    """The share of allowed requests that is logged, the most refusals of one code in a minute, and the decision file,
    if there is one, with its bounds."""

    sample: float = 0
    refusals: int = 600
    file: Path | None = None
    file_bytes: int = 67_108_864
    files: int = 4


class Decisions:
    """Observes decisions. Each is reported with the policies that it was made by; `shadow` judges by others as well."""

    def __init__(self, config: DecisionLogConfig, observe: Observe, shadow: Shadow | None = None) -> None:
        self._shadow = shadow
        self._sampled_below: float = config.sample * 16**_SAMPLE_DIGITS
        self._observe = observe
        self._refusals = PerMinute(config.refusals)
        self._file: DecisionFile | None = None
        if config.file is not None:
            self._file = DecisionFile(config.file, config.file_bytes, config.files)

    @property
    def samples(self) -> bool:
        """Whether anything is done with what is allowed."""
        return self._sampled_below > 0 or self._shadow is not None

    def close(self) -> None:
        """Closes the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def allowed(
        self,
        request_id: str,
        inbound: Callable[[], Inbound],
        trail: Trail,
        loaded: LoadedPolicies,
        hashed: Hashed,
    ) -> None:
        """A request was allowed; reported if its id, which is random, falls into the sample."""
        if self._shadow is not None:
            self._shadow.offer(request_id, trail)
        if not self._sampled_below or trail.decision is None:
            return
        if int(request_id[:_SAMPLE_DIGITS], 16) < self._sampled_below:
            outcome, subject = Outcome.of(trail), _subject(trail, hashed)
            made = _event(request_id, ALLOWED, "", outcome, subject, loaded.digest)
            self._tell(made, inbound, trail)

    def refused(
        self,
        request_id: str,
        inbound: Callable[[], Inbound],
        trail: Trail,
        refusal: Refusal,
        loaded: LoadedPolicies,
        hashed: Hashed,
    ) -> None:
        """A request was refused, by a rule or after them all; reported unless too many are of its code."""
        if self._shadow is not None:
            self._shadow.offer(request_id, trail, refusal)
        if not self._refusals.takes(refusal.code.name, time.monotonic()):
            self._observe(DecisionsDropped(refusal.code.name))
            return
        outcome, subject = Outcome.of(trail, refusal), _subject(trail, hashed)
        made = _event(request_id, refusal.code.name, refusal.reason, outcome, subject, loaded.digest)
        self._tell(made, inbound, trail)

    def _tell(self, made: DecisionMade, inbound: Callable[[], Inbound], trail: Trail) -> None:
        self._observe(made)
        if self._file is not None:
            private = {"inputs": _inputs(inbound(), trail), "sent": _sent(trail)}
            self._file.write({"event": EVENT} | asdict(made) | private)


def _event(request_id: str, code: str, reason: str, outcome: Outcome, subject: str, digest: str) -> DecisionMade:
    return DecisionMade(
        request_id=request_id,
        allowed=code == ALLOWED,
        code=code,
        policy=outcome.policy,
        grant=outcome.grant,
        policies=digest,
        subject=subject,
        reason=reason,
        rules=outcome.rules,
        predicate=outcome.predicate,
    )


def _subject(trail: Trail, hashed: Hashed) -> str:
    return "" if trail.claims is None else hashed(trail.claims.subject)


def _inputs(inbound: Inbound, trail: Trail) -> dict[str, Any]:
    """What the rules were given; the token itself is never stored, only its claims."""
    return {
        "claims": None if trail.claims is None else dict(trail.claims.values),
        "shape": inbound.name,
        "query": _text(inbound.query),
        "body": None if trail.body is None else _text(trail.body[:MOST_INPUT_BYTES]),
        "body_bytes": 0 if trail.body is None else len(trail.body),
    }


def _sent(trail: Trail) -> dict[str, Any] | None:
    """What was let through, so that it can be compared with what other policies would let through."""
    decision = trail.decision
    return None if decision is None or decision.shape is None else Sent.of(decision.shape).members()


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
