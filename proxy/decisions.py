"""One event a decision: every refusal, and a sample of what is allowed. The log gets the masked form; the inputs, by
which it can be decided again, go to a file of the operator's, if there is one."""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proxy.core.errors import Code, Refusal
from proxy.core.outcome import AFTER_RULES, Outcome
from proxy.gate import Steps
from proxy.inbound import Inbound
from proxy.observe import DecisionMade, Observe
from proxy.policy_files import LoadedBook
from proxy.settings import Settings

MOST_FILE_BYTES = 256 * 1024 * 1024
"""No more is written to the file then, until the operator moves it away: an attacker's refusals must fill no disk."""

Hashed = Callable[[str], str]
ALLOWED, EVENT = "ok", "decision"
_SAMPLE_DIGITS = 8


class DecisionFile:
    """Appends whole lines to a file that nobody else may read. Raises OSError if it cannot be had."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._file = os.open(path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise OSError(f"{path}: is no regular file")
            os.fchmod(self._file, 0o600)  # also where it was there before, with more rights
        except BaseException:
            self.close()
            raise

    def write(self, record: dict[str, Any]) -> None:
        """One line, by one call, so that several processes may share the file."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"  # ASCII, also where the query is no UTF-8
        with contextlib.suppress(OSError):  # a disk that is full stops no request
            if os.fstat(self._file).st_size + len(line) <= MOST_FILE_BYTES:
                os.write(self._file, line)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


class Decisions:
    """Tells of decisions. `loaded` is the book in force."""

    def __init__(self, settings: Settings, loaded: LoadedBook, observe: Observe) -> None:
        self.loaded = loaded
        self._filter_limits = settings.filter_limits
        self._sampled_below = settings.decision_sample * 16**_SAMPLE_DIGITS
        self._observe = observe
        self._file = None if settings.decision_file is None else DecisionFile(settings.decision_file)

    def close(self) -> None:
        """Closes the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def allowed(self, request_id: str, inbound: Inbound, steps: Steps, hashed: Hashed) -> None:
        """A request was allowed; told if its id, which is random, falls into the sample."""
        if int(request_id[:_SAMPLE_DIGITS], 16) < self._sampled_below and steps.shape is not None:
            made = self._event(request_id, ALLOWED, "", Outcome.of_shape(steps.shape), _subject(steps, hashed))
            self._tell(made, inbound, steps)

    def refused(self, request_id: str, inbound: Inbound, steps: Steps, refusal: Refusal, hashed: Hashed) -> None:
        """A request was refused, by a rule or after them all."""
        outcome = self._refusal(steps, refusal)
        made = self._event(request_id, refusal.code.name, refusal.reason, outcome, _subject(steps, hashed))
        self._tell(made, inbound, steps)

    def _refusal(self, steps: Steps, refusal: Refusal) -> Outcome:
        if steps.shape is not None:
            return Outcome.of_shape(steps.shape, f"{AFTER_RULES}: {refusal.code.name}")
        if refusal.code is Code.internal_error:  # what failed would fail again
            return Outcome((f"{AFTER_RULES}: {refusal.code.name}",))
        return Outcome.of_refusal(refusal, steps.claims, steps.request, self.loaded.book, self._filter_limits)

    def _event(self, request_id: str, code: str, reason: str, outcome: Outcome, subject: str) -> DecisionMade:
        return DecisionMade(
            request_id=request_id,
            allowed=code == ALLOWED,
            code=code,
            policy=outcome.policy,
            book=self.loaded.digest,
            subject=subject,
            reason=reason,
            rules=outcome.rules,
            predicate=outcome.predicate,
        )

    def _tell(self, made: DecisionMade, inbound: Inbound, steps: Steps) -> None:
        self._observe(made)
        if self._file is not None:
            self._file.write({"event": EVENT} | asdict(made) | {"inputs": _inputs(inbound, steps)})


def _subject(steps: Steps, hashed: Hashed) -> str:
    return "" if steps.claims is None else hashed(steps.claims.subject)


def _inputs(inbound: Inbound, steps: Steps) -> dict[str, Any]:
    """What the rules were given; the token itself is never kept, only what it said."""
    return {
        "claims": None if steps.claims is None else dict(steps.claims.values),
        "shape": inbound.name,
        "query": _text(inbound.query),
        "body": None if steps.body is None else _text(steps.body),
    }


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
