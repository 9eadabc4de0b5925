# SPDX-License-Identifier: Apache-2.0
"""What the solver found, with values to show and to try: a row, rows of other tables, and the claims of tokens."""

import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import TypeAlias

import z3

from proxy.core.claims import ClaimSpec, ClaimType
from proxy.core.identifiers import Table
from proxy.proof.kinds import BOOLEAN, INTEGER, TEXT, literal, reader
from proxy.proof.logic import Formula, Value, Values
from proxy.proof.rows import Row
from proxy.proof.tokens import Token, terms

Cell: TypeAlias = str | int | bool | list[str | int | bool | None] | None
Cells: TypeAlias = Mapping[str, Cell]
Raw: TypeAlias = str | int | bool


@dataclass(frozen=True, slots=True)
class Witness:
    """A row, the rows of other tables that it depends on, and the claims of each token."""

    table: Table
    row: Cells
    others: tuple[tuple[Table, Cells], ...]
    tokens: tuple[Mapping[str, object], ...]

    def lines(self) -> Iterator[str]:
        """The witness to be read."""
        yield f"row of {named(self.table)}: {_listed(self.row)}"
        for table, cells in self.others:
            yield f"while {named(table)} has: {_listed(cells)}"
        for number, claims in enumerate(self.tokens, 1):
            label = "token" if len(self.tokens) == 1 else f"token {number}"
            yield f"{label}: {_listed(claims)}"

    def members(self) -> dict[str, object]:
        """The witness as JSON."""
        others = [{"table": named(table), "row": dict(cells)} for table, cells in self.others]
        return {"table": named(self.table), "row": dict(self.row), "others": others, "tokens": list(self.tokens)}


def named(table: Table) -> str:
    """A table as it is written in a policy."""
    return f"{table.schema}.{table.name}"


def _listed(cells: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {_shown(value)}" for name, value in cells.items()) or "nothing"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + _listed(value) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    words = {True: "true", False: "false", None: "NULL"}
    if value is None or isinstance(value, bool):
        return words[value]
    return str(value) if isinstance(value, int) else f"'{value}'"


class Concrete:
    """Turns the solver's values into values that a table and a token can hold, different ones into different ones.

    The solver's strings are names without a meaning, except for the literals of the policy; with `verbatim` texts are
    shown as they are. `examples` are texts that a claim is known to accept.
    """

    def __init__(self, model: z3.ModelRef, texts: Iterable[str], examples: Sequence[str], *, verbatim: bool) -> None:
        self._model = model
        self._verbatim = verbatim
        self._texts = frozenset(texts)
        self._examples = examples
        self._names: dict[str, str] = {}
        self._spelled: dict[str, str] = {}
        self._fixed = {z3.StringVal(text).as_string(): text for text in self._texts}

    def witness(self, row: Row, others: Iterable[Row], tokens: Sequence[tuple[Token, Sequence[ClaimSpec]]]) -> Witness:
        """The values of this row, of those other rows that are there, and of the claims that the tokens have."""
        there = [other for other in others if self._holds(other.there)]
        claims = [(token, [spec for spec in specs if self._holds(token.has(spec))]) for token, specs in tokens]
        self._name_all([row, *there], claims)
        return Witness(
            row.table,
            self._cells(row),
            tuple((other.table, self._cells(other)) for other in there),
            tuple(self._claims(token, specs) for token, specs in claims),
        )

    def _name_all(self, rows: Sequence[Row], claims: Sequence[tuple[Token, Sequence[ClaimSpec]]]) -> None:
        """Gives a name to each text: first where the form matters most."""
        for token, specs in claims:
            for spec in specs:
                self._spell(token, spec)
        texts: list[tuple[str, Formula, ClaimSpec | None]] = [
            (token.claim(spec).kind, term, spec)
            for token, specs in claims
            for spec in specs
            for term in terms(token.claim(spec))
        ]
        texts += [(value.kind, value.term, None) for row in rows for value in _values(row)]
        for kind, term, named_by in sorted(texts, key=lambda found: found[0] == TEXT):
            raw = self._raw(kind, term)
            if isinstance(raw, str):
                self._name(kind, raw, named_by)

    def _spell(self, token: Token, spec: ClaimSpec) -> None:
        """A text that is read as a value of another kind is written as such a value, each text in another spelling."""
        for kind in token.reads.get(spec.path, ()):
            for term in terms(token.claim(spec)):
                raw, meant = self._raw(TEXT, term), self._raw(kind, reader(kind)(term))
                if isinstance(raw, str) and raw not in self._spelled:
                    value = self._name(kind, meant, None) if isinstance(meant, str) else meant
                    unused = (text for text in spellings(kind, value) if text not in self._spelled.values())
                    self._spelled[raw] = next(unused, str(value))

    def _name(self, kind: str, raw: str, spec: ClaimSpec | None) -> str:
        if self._verbatim and kind == TEXT:
            return self._joined(self._fixed.get(raw, raw))
        if kind == TEXT and raw in self._spelled:
            return self._spelled[raw]
        if raw not in self._names:
            pattern = None if spec is None or spec.pattern.pattern == ClaimType.text.value else spec.pattern
            self._names[raw] = self._fixed[raw] if self._is_fixed(kind, raw) else self._fresh(kind, pattern)
        return self._names[raw]

    def _joined(self, text: str) -> str:
        """A text that may be joined from others, with the names of the uuids that are in it."""
        for raw, name in self._names.items():
            text = text.replace(raw, name) if raw else text
        return text

    def _is_fixed(self, kind: str, raw: str) -> bool:
        return raw in self._fixed and (kind == TEXT or literal(self._fixed[raw], kind).as_string() == raw)

    def _fresh(self, kind: str, pattern: re.Pattern[str] | None) -> str:
        used = {*self._names.values(), *self._texts}
        letters = (found for found in _forms(kind) if found not in used)
        first = next(letters)
        if pattern is None or pattern.fullmatch(first):
            return first
        fitting = (text for text in (*self._examples, *_words(pattern)) if text not in used and pattern.fullmatch(text))
        return next(fitting, first)

    def _cells(self, row: Row) -> dict[str, Cell]:
        return {name: self._cell(column) for name, column in row.columns.items()}

    def _cell(self, column: Value | Values) -> Cell:
        if self._holds(column.null):
            return None
        if isinstance(column, Values):
            return [self._one(slot.value) for slot in column.slots if self._holds(slot.there)]
        return self._shown(column.kind, column.term)

    def _one(self, value: Value) -> Raw | None:
        return None if self._holds(value.null) else self._shown(value.kind, value.term)

    def _claims(self, token: Token, specs: Iterable[ClaimSpec]) -> dict[str, object]:
        found: dict[str, object] = {}
        for spec in specs:
            place = found
            for step in spec.path[:-1]:
                place = place.setdefault(step, {})  # type: ignore[assignment]  # a step is an object
            claim = token.claim(spec)
            values = list(dict.fromkeys(self._shown(claim.kind, term) for term in terms(claim)))
            place[spec.path[-1]] = values if spec.list else values[0]
        return found

    def _shown(self, kind: str, term: Formula) -> Raw:
        raw = self._raw(kind, term)
        return self._name(kind, raw, None) if isinstance(raw, str) else raw

    def _raw(self, kind: str, term: Formula) -> Raw:
        found = self._model.eval(term, model_completion=True)
        if kind == INTEGER:
            return int(found.as_long())
        return bool(z3.is_true(found)) if kind == BOOLEAN else str(found.as_string())

    def _holds(self, formula: Formula) -> bool:
        return bool(z3.is_true(self._model.eval(formula, model_completion=True)))


def _values(row: Row) -> Iterator[Value]:
    for column in row.columns.values():
        if isinstance(column, Values):
            yield from (slot.value for slot in column.slots)
        else:
            yield column


_FORMS: Mapping[str, str] = {
    "uuid": "{0:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
    "date": "20{0:02d}-01-31",
    "timestamp": "20{0:02d}-01-31 12:00:00",
    "timestamptz": "20{0:02d}-01-31 12:00:00+00",
    "time": "12:00:{0:02d}",
    "timetz": "12:00:{0:02d}+00",
    "interval": "{0} days",
    "numeric": "{0}.5",
    "float4": "{0}.5",
    "float8": "{0}.5",
    "json": "{0}",
    "jsonb": "{0}",
    "bytea": "\\x{0:04x}",
}


def _forms(kind: str) -> Iterator[str]:
    """Different texts of values of a kind."""
    if kind in _FORMS:
        return (_FORMS[kind].format(number) for number in count(1))
    return ("".join(letters) for size in count(1) for letters in product(string.ascii_lowercase, repeat=size))


def _words(pattern: re.Pattern[str]) -> Iterator[str]:
    """Texts that a pattern may accept: its own letters, followed by a few others."""
    start = re.match(r"\^?([\w-]*)", pattern.pattern)
    prefix = start[1] if start else ""
    yield from (f"{prefix}{text}" for text in (*string.digits, *string.ascii_lowercase))


def spellings(kind: str, value: Raw) -> Iterable[str]:
    """Texts that PostgreSQL reads as one value."""
    text = str(value)
    if kind == INTEGER:
        return (text, f"{'-' if text[0] == '-' else ''}0{text.lstrip('-')}", f" {text}")
    if kind == BOOLEAN:
        return ("true", "t", "yes") if value else ("false", "f", "no")
    if kind == "uuid":
        return (text, text.upper(), text.replace("-", ""))
    return (text, text.replace("-", "", 2) if kind == "date" else text.replace("+00", "Z"))
