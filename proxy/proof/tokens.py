# SPDX-License-Identifier: Apache-2.0
"""A token whose claims are left open: for each claim whether it is there, and its value or values."""

import re
from collections.abc import Iterable, Sequence

import z3

from proxy.core.claims import MAX_INTEGER, ClaimSpec, ClaimType
from proxy.proof.kinds import impossible, kind_of_claim, literal, reader, sort
from proxy.proof.logic import Formula, Slot, Value, Values, known

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
UUID_LENGTH = 36
_ALWAYS, _NEVER = z3.BoolVal(True), z3.BoolVal(False)


class Token:
    """One token. `slots` is how many values a list may have, `texts` are the literals that a claim may equal.

    With `spelled`, every text consists of letters, digits and the characters of those literals: enough to find any
    collision of joined texts, and fit to be shown. `reads` are the kinds as which a text claim is read, by its path.
    """

    def __init__(self, name: str, slots: int, texts: Sequence[str], *, spelled: bool) -> None:
        self.name = name
        self._slots = slots
        self._texts = texts
        self._spelled = spelled
        self._fits: dict[ClaimSpec, Formula] = {}
        self.facts: list[Formula] = []
        self.reads: dict[tuple[str, ...], set[str]] = {}

    def has(self, spec: ClaimSpec) -> Formula:
        """Whether the claim is there in the form that this spec wants."""
        form = _form_of(spec)
        if form not in self._fits:
            fits = z3.Bool(f"{self.name} has {form}")
            self._relate(form, fits)
            self._fits[form] = fits
            self.facts += [z3.Implies(fits, fact) for fact in self._facts(spec)]
        return self._fits[form]

    def lacks(self, spec: ClaimSpec) -> Formula:
        """Whether the claim is not there in any form."""
        self.has(spec)
        return z3.Not(z3.Or([fits for form, fits in self._fits.items() if form.path == spec.path]))

    def claim(self, spec: ClaimSpec) -> Value | Values:
        """The claim's value, or the values of a list; of no meaning where the token does not have it."""
        kind = kind_of_claim(spec.type)
        name = f"{self.name}.{'.'.join(spec.path)}:{sort(kind)}"
        if not spec.list:
            return known(kind, z3.Const(name, sort(kind)))
        values = [known(kind, z3.Const(f"{name}[{index}]", sort(kind))) for index in range(self._slots)]
        return Values(kind, tuple(Slot(_ALWAYS, value) for value in values), _NEVER)

    def read(self, spec: ClaimSpec, value: Value, kind: str) -> Value:
        """A text of a claim as a value of another kind: what a literal means is known, and some mean nothing."""
        self.reads.setdefault(spec.path, set()).add(kind)
        wrong = [value.term == z3.StringVal(text) for text in self._texts if impossible(text, kind)]
        for text in self._texts:
            if not impossible(text, kind):
                self.facts.append(reader(kind)(z3.StringVal(text)) == literal(text, kind))
        return Value(kind, reader(kind)(value.term), z3.Or(value.null, *wrong))

    def wishes(self, spec: ClaimSpec) -> Iterable[Formula]:
        """What makes the token easy to read."""
        yield z3.Not(self.has(spec))
        if spec.list:
            first, *others = terms(self.claim(spec))
            yield z3.And([other == first for other in others])

    def _relate(self, spec: ClaimSpec, fits: Formula) -> None:
        """What this form of a claim implies about the other forms of it that are requested."""
        for form, other in self._fits.items():
            if form.path != spec.path:
                if _within(form.path, spec.path) or _within(spec.path, form.path):
                    self.facts.append(z3.Not(z3.And(fits, other)))
            elif form.list != spec.list or sort(kind_of_claim(form.type)) != sort(kind_of_claim(spec.type)):
                self.facts.append(z3.Not(z3.And(fits, other)))
            elif _includes(form, spec):
                self.facts.append(z3.Implies(fits, other))
            elif _includes(spec, form):
                self.facts.append(z3.Implies(other, fits))

    def _facts(self, spec: ClaimSpec) -> Iterable[Formula]:
        for term in terms(self.claim(spec)):
            if spec.type is ClaimType.integer:
                yield z3.And(term >= -MAX_INTEGER - 1, term <= MAX_INTEGER)
            if spec.type in (ClaimType.text, ClaimType.uuid):
                yield from (term != z3.StringVal(text) for text in ("", *self._texts) if spec.text_of(text) is None)
            if spec.type is ClaimType.text and self._spelled:
                yield z3.InRe(term, z3.Plus(alphabet(self._texts)))
            if spec.type is ClaimType.uuid and self._spelled:
                yield z3.Length(term) == UUID_LENGTH


def terms(claim: Value | Values) -> list[Formula]:
    """The formulas of a claim's value or values."""
    return [claim.term] if isinstance(claim, Value) else [slot.value.term for slot in claim.slots]


def differ(first: Token, second: Token, spec: ClaimSpec) -> Formula:
    """Whether the two differ in a claim: one has it and the other not, or other values; two lists share no value."""
    unlike = [left != right for left in terms(first.claim(spec)) for right in terms(second.claim(spec))]
    both = z3.And(first.has(spec), second.has(spec))
    return z3.Or(first.has(spec) != second.has(spec), z3.And(both, *unlike))


def alphabet(texts: Iterable[str]) -> Formula:
    """One character that a text consists of."""
    used = {character for text in texts for character in text if character not in _LETTERS and not character.isspace()}
    return z3.Union(z3.Range("a", "z"), z3.Range("0", "9"), *(z3.Re(z3.StringVal(found)) for found in sorted(used)))


def _form_of(spec: ClaimSpec) -> ClaimSpec:
    """The spec without what does not decide whether a claim fits it."""
    return ClaimSpec(".".join(spec.path), spec.type, spec.pattern, spec.list, spec.path)


def _within(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one path ends inside of another: then one of the two claims is an object, and the other is not."""
    return path == other[: len(path)]


def _includes(wide: ClaimSpec, narrow: ClaimSpec) -> bool:
    """Whether every claim that fits the narrow spec fits the wide one, as far as that is easily known."""
    plain = wide.type is ClaimType.text and wide.pattern == re.compile(ClaimType.text.value)
    usual = narrow.pattern == re.compile(narrow.type.value)
    return plain and usual and narrow.type is ClaimType.uuid
