# SPDX-License-Identifier: Apache-2.0
"""What is proved of a folder of policies, as lines to read, as JSON, and as an exit code."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxy.core.policy import PolicySet
from proxy.proof import isolation, widening
from proxy.proof.accesses import Shape
from proxy.proof.isolation import Proof
from proxy.proof.widening import Change

HOLDS, BROKEN, OPEN = 0, 1, 2
"""Exit codes: nothing was found; something was; something could not be decided."""


@dataclass(frozen=True, slots=True)
class Report:
    """One outcome for each policy."""

    outcomes: tuple[Proof, ...] | tuple[Change, ...]

    @property
    def exit_code(self) -> int:
        """BROKEN if a row is shared or newly visible, else OPEN if a policy is undecided, else HOLDS."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        if verdicts & {isolation.SHARED, widening.WIDER}:
            return BROKEN
        return OPEN if isolation.UNDECIDED in verdicts else HOLDS

    def lines(self) -> Iterator[str]:
        """The report to be read; the last line counts."""
        for outcome in self.outcomes:
            yield f"{outcome.policy}: {outcome.verdict}: {outcome.why}"
            yield from (f"  {line}" for line in _details(outcome))
        counts = Counter(outcome.verdict for outcome in self.outcomes)
        yield f"{len(self.outcomes)} policies: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}"

    def members(self) -> dict[str, object]:
        """The report as JSON."""
        return {"exit": self.exit_code, "policies": [_members(outcome) for outcome in self.outcomes]}


def prove(policies: PolicySet) -> Report:
    """Whether tokens that differ in a policy's claims of isolation share a row, for each policy."""
    return Report(tuple(isolation.prove(_shapes(policies))))


def compare(policies: PolicySet, earlier: PolicySet) -> Report:
    """What the policies let a token read that the earlier ones did not, for each policy."""
    return Report(tuple(widening.compare(_shapes(policies), _shapes(earlier))))


def _shapes(policies: PolicySet) -> Sequence[Shape]:
    return [Shape.of(policies.by_name[name]) for name in sorted(policies.by_name)]


def _details(outcome: Proof | Change) -> Iterator[str]:
    if isinstance(outcome, Proof):
        yield from (f"left out: {sentence}" for sentence in outcome.left_out)
        yield from (f"assumes: {sentence}" for sentence in outcome.assumes)
        for found in outcome.shared:
            yield f"shared{_by(found.grants)}:"
            yield from (f"  {line}" for line in found.witness.lines())
        return
    yield from (f"a client may now choose: {right}" for right in outcome.rights)
    for gain in outcome.gains:
        yield f"new{_by((gain.grant,))}: {', '.join(gain.columns)}"
        yield from (f"  {line}" for line in gain.witness.lines())


def _by(grants: tuple[str, ...]) -> str:
    names = " and ".join(repr(name) for name in dict.fromkeys(grants) if name)
    return f" by {names}" if names else ""


def _members(outcome: Proof | Change) -> dict[str, object]:
    members: dict[str, object] = {"policy": outcome.policy, "verdict": outcome.verdict, "why": outcome.why}
    if isinstance(outcome, Proof):
        shared = [{"grants": list(found.grants), **found.witness.members()} for found in outcome.shared]
        return members | {"left_out": list(outcome.left_out), "assumes": list(outcome.assumes), "shared": shared}
    gains = [{"grant": gain.grant, "columns": list(gain.columns), **gain.witness.members()} for gain in outcome.gains]
    return members | {"rights": list(outcome.rights), "gains": gains}
