# SPDX-License-Identifier: Apache-2.0
"""What a token may hold, and how one claim becomes the value of a parameter.

No trimming, folding or normalising: a claim fits its type and pattern as it stands, or it is refused.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from proxy.core.errors import Code, Refusal
from proxy.core.filters import ClaimValue

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


_MOST_ELEMENTS = 1000  # repeats included: what is read of a list is bounded before it is read
MAX_LIST = 100
"""The most different values of a claim that is a list."""


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    """A claim that a policy uses: its name, its type and what its text must match from end to end.

    `list` is whether the claim is a list of such values, `path` where it stands in the token, and `optional` that a
    token may lack it.
    """

    name: str
    type: ClaimType
    pattern: re.Pattern[str]
    list: bool = False
    path: tuple[str, ...] = ()
    optional: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        type_: ClaimType,
        pattern: str | None = None,
        *,
        list: bool = False,
        path: Iterable[str] = (),
        optional: bool = False,
    ) -> "ClaimSpec":
        """A spec with the type's own pattern, and a path of the name alone, unless others are given.

        Raises re.error for a bad pattern.
        """
        return cls(name, type_, re.compile(pattern or type_.value), list, tuple(path) or (name,), optional)

    @property
    def form(self) -> str:
        """What the claim must be, in words."""
        one = _FORMS[self.type]
        if self.pattern.pattern != self.type.value:
            one = f"{one}, of the pattern that the policy declares"
        return f"a list of 1 to {MAX_LIST} values, each {one}, without a backslash" if self.list else one

    def found_in(self, claims: "Claims") -> object:
        """What the token holds at the path, or None. Raises Refusal if a step of it is not an object."""
        return self._walked(claims, self.path)

    def is_in(self, claims: "Claims") -> bool:
        """Whether the token holds anything at the path, null included. Raises Refusal if a step is not an object."""
        *above, last = self.path
        holder = self._walked(claims, above)
        if holder is not None and not isinstance(holder, Mapping):
            raise _malformed(self)
        return holder is not None and last in holder

    def _walked(self, claims: "Claims", path: Iterable[str]) -> object:
        value: object = claims.values
        for step in path:
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise _malformed(self)
            value = value.get(step)
        return value

    def text_of(self, value: object) -> str | None:
        """The text of one value, or None if it does not fit. A bool is not an integer here, although it is one in
        Python."""
        if self.type is ClaimType.boolean:
            text = str(value).lower() if isinstance(value, bool) else None
        elif self.type is ClaimType.integer:
            fits = type(value) is int and -MAX_INTEGER - 1 <= value <= MAX_INTEGER
            text = str(value) if fits else None
        else:
            text = value if isinstance(value, str) and value.strip() and not _UNFIT.search(value) else None
        return text if text is not None and self.pattern.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class Claims:
    """A verified token: who it is for, until when (Unix seconds), and everything else that it holds.

    `key` is the digest of the token: what is decided for it may be remembered by it. `signer` is the thumbprint of the
    key that it was verified with, `typ` the type that its header names.
    """

    subject: str
    expires_at: float
    values: Mapping[str, object] = field(repr=False)
    key: bytes = field(default=b"", compare=False, repr=False)
    signer: bytes = field(default=b"", compare=False, repr=False)
    typ: str = field(default="", compare=False, repr=False)


def bind(specs: Iterable[ClaimSpec], claims: Claims) -> dict[str, ClaimValue]:
    """The value of each spec's claim; an optional one that is not there is left out.

    Raises Refusal if one is missing or malformed.
    """
    found = {spec.name: value_of(spec, claims) for spec in specs}
    return {name: value for name, value in found.items() if value is not None}


def value_of(spec: ClaimSpec, claims: Claims) -> ClaimValue | None:
    """The text of a claim, or the different texts of a list in their order, so that equal sets are equal.

    None is an optional claim that is not there: null, or a list of none. Raises Refusal.
    """
    value = spec.found_in(claims)
    if value is None or value == []:
        if spec.optional:
            return None
        raise missing(spec, "missing" if value is None else "empty")
    # Electric takes a parameter of blanks alone for one that is not there
    if isinstance(value, str) and not value.strip():
        raise missing(spec, "blank")
    fitting = _list(spec, value) if spec.list else spec.text_of(value)
    if fitting is None:
        raise _malformed(spec)
    return fitting


def missing(spec: ClaimSpec, how: str = "missing") -> Refusal:
    """The refusal of a token that lacks this claim."""
    return Refusal(Code.claim_missing, f"The token lacks the claim {spec.name}.", reason=f"claim {spec.name} is {how}")


def _malformed(spec: ClaimSpec) -> Refusal:
    return Refusal(
        Code.claim_malformed,
        f"The claim {spec.name} does not have the form that this shape needs.",
        reason=f"claim {spec.name} is not {spec.form}",
    )


def _list(spec: ClaimSpec, value: object) -> tuple[str, ...] | None:
    """The texts of a list. A backslash is refused: Electric reads one in an array as two."""
    if not isinstance(value, list) or len(value) > _MOST_ELEMENTS:
        return None
    texts = {spec.text_of(item) for item in value}
    if len(texts) > MAX_LIST or None in texts or any("\\" in text for text in texts if text is not None):
        return None
    return tuple(sorted(text for text in texts if text is not None))
