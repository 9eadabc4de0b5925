# SPDX-License-Identifier: Apache-2.0
"""Which tokens are over before their time. A mark names tokens by one claim: `("subject", "acc-ada")`,
`("jti", "4f1c")`, `("claim:org_id", "o-1")`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal

SUBJECT: Final = "subject"
JTI: Final = "jti"
CLAIM: Final = "claim:"
"""The kinds of marks; a claim's name follows the last."""

Mark = tuple[str, str]
"""A kind and the value that the claim has."""


def is_kind(kind: str) -> bool:
    """Whether there are marks of this kind."""
    return kind in (SUBJECT, JTI) or (kind.startswith(CLAIM) and len(kind) > len(CLAIM))


def values_of(claims: Claims, kind: str) -> Sequence[str]:
    """The values by which a mark of this kind names a token: none, one, or each of a list."""
    if kind == SUBJECT:
        return (claims.subject,)
    value = claims.values.get(kind.removeprefix(CLAIM))
    if isinstance(value, str):
        return (value,)
    values = value if isinstance(value, list) and kind != JTI else (value,)
    return [
        str(each).lower() if isinstance(each, bool) else str(each)
        for each in values
        if isinstance(each, str | int | float)
    ]


def issued_at(claims: Claims) -> float:
    """When a token was issued, in Unix seconds. One without a time was issued before everything."""
    issued = claims.values.get("iat")
    return float(issued) if isinstance(issued, int | float) and not isinstance(issued, bool) else -math.inf


@dataclass(frozen=True, slots=True)
class Revoked:
    """What is revoked: for each mark the time, in Unix seconds, before which its tokens were issued; infinity revokes
    later ones as well. `known` is false while it is unknown what is revoked."""

    before: Mapping[Mark, float] = field(default_factory=dict)
    known: bool = True
    kinds: tuple[str, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple({kind: None for kind, _ in self.before}))

    @classmethod
    def of(cls, marks: Iterable[Mark]) -> "Revoked":
        """Every token that these marks name."""
        return cls(dict.fromkeys(marks, math.inf))

    def __contains__(self, claims: Claims) -> bool:
        issued, before = issued_at(claims), self.before
        for kind in self.kinds:
            for value in values_of(claims, kind):
                if issued < before.get((kind, value), -math.inf):
                    return True
        return False

    def __len__(self) -> int:
        return len(self.before)

    def check(self, claims: Claims) -> None:
        """Raises Refusal for a token that is revoked, or while that is not known."""
        if not self.known:
            raise Refusal(Code.revocations_unknown)
        if self.before and claims in self:
            raise Refusal(Code.token_revoked)
