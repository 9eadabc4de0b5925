"""What a token may say, and how one claim becomes the value of a parameter.

No trimming, folding or normalising: a claim fits its type and pattern as it stands, or it is refused.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from proxy.core.errors import Code, Refusal

MAX_INTEGER = 2**63 - 1
"""The largest int8: a larger value would be another one, or an error, in PostgreSQL."""


_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
"""Control characters, line separators, and halves of surrogate pairs, which have no UTF-8."""
_UNFIT = re.compile(f"[{_CONTROL}]")
"""What no claim may hold, whatever its pattern is."""


class ClaimType(Enum):
    """The JSON type that a claim must have, with the default pattern of its text form."""

    text = rf"[^\s{_CONTROL}](?:[^{_CONTROL}]{{0,254}}[^\s{_CONTROL}])?"
    integer = r"-?[0-9]{1,19}"
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    boolean = r"true|false"


_FORMS: Mapping[ClaimType, str] = {
    ClaimType.text: "a text of 1 to 256 characters, none a control character, neither end a blank",
    ClaimType.integer: "a whole number of eight bytes",
    ClaimType.uuid: "a uuid in lower case",
    ClaimType.boolean: "true or false",
}


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    """A claim that a policy uses: its name, its type and what its text must match from end to end."""

    name: str
    type: ClaimType
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, name: str, type_: ClaimType, pattern: str | None = None) -> "ClaimSpec":
        """A spec with the type's own pattern unless another is given. Raises re.error for a bad pattern."""
        return cls(name, type_, re.compile(pattern or type_.value))

    @property
    def form(self) -> str:
        """What the claim must be, in words."""
        if self.pattern.pattern == self.type.value:
            return _FORMS[self.type]
        return f"{_FORMS[self.type]}, of the pattern that the policy declares"


@dataclass(frozen=True, slots=True)
class Claims:
    """A verified token: who it is for, until when (Unix seconds), and everything else that it says.

    `key` is the digest of the token: what is decided for it may be remembered by it. `signer` is the thumbprint of the
    key that it was verified with.
    """

    subject: str
    expires_at: float
    values: Mapping[str, object] = field(repr=False)
    key: bytes = field(default=b"", compare=False, repr=False)
    signer: bytes = field(default=b"", compare=False, repr=False)


def bind(specs: Iterable[ClaimSpec], claims: Claims) -> dict[str, str]:
    """The parameter value of each spec's claim. Raises Refusal if one is missing or malformed."""
    return {spec.name: _text(spec, claims.values.get(spec.name)) for spec in specs}


def _text(spec: ClaimSpec, value: object) -> str:
    # Electric takes a parameter of blanks alone for one that is not there
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Refusal(
            Code.claim_missing,
            f"The token lacks the claim {spec.name}.",
            reason=f"claim {spec.name} is {'missing' if value is None else 'blank'}",
        )
    text = _as_text(spec.type, value)
    if text is None or not spec.pattern.fullmatch(text):
        raise Refusal(
            Code.claim_malformed,
            f"The claim {spec.name} does not have the form that this shape needs.",
            reason=f"claim {spec.name} is not {spec.form}",
        )
    return text


def _as_text(type_: ClaimType, value: object) -> str | None:
    """The text of a value of exactly this type. A bool is no integer here, although Python says so."""
    if type_ is ClaimType.boolean:
        return str(value).lower() if isinstance(value, bool) else None
    if type_ is ClaimType.integer:
        fits = type(value) is int and -MAX_INTEGER - 1 <= value <= MAX_INTEGER
        return str(value) if fits else None
    return value if isinstance(value, str) and not _UNFIT.search(value) else None
