# SPDX-License-Identifier: Apache-2.0
"""Tokens to values and arrays: the level of the grammar in parser.py at which there are no conditions."""

from collections.abc import Callable
from typing import Final

from proxy.core.filters import operands
from proxy.core.filters.ast import (
    FALSE,
    NULL,
    TRUE,
    Array,
    Cast,
    Claim,
    Column,
    Constant,
    Item,
    Leaf,
    Number,
    Parameter,
    Text,
    Value,
)
from proxy.core.filters.columns import NOTHING_DECLARED, Columns, Declared
from proxy.core.filters.cursor import NOT_HERE, Cursor
from proxy.core.filters.errors import FilterLimits
from proxy.core.filters.lexer import Token
from proxy.core.filters.numbers import LOWEST, number
from proxy.core.filters.ranges import is_float
from proxy.core.filters.types import SPELLINGS, is_enum
from proxy.core.suggestions import did_you_mean

_PARAMETER_DIGITS: Final = 5
FOLDS: Final = frozenset(("lower", "upper"))
MOST_FOLDS: Final = 4
"""`lower` and `upper` in one filter: Electric's evaluator copies and folds the whole text of every changed row."""

_AFTER_VALUE: Final = frozenset(
    ("=", "<>", "!=", "<", "<=", ">", ">=", "is", "in", "between", "like", "ilike", "not", "and", "or")
)
_CONSTANTS: Final = {"true": TRUE, "false": FALSE, "null": NULL}
_PREFIX_TYPES: Final = ("date", "timestamp", "timestamptz")
"""Types that may stand before their literal: `date '2024-01-01'`."""
_AFTER_PREFIX: Final = frozenset(("(", "string", "word"))


class Values(Cursor):
    """The values in the tokens of one text. `claims` is None for a client's text, the declared ones for a policy's.

    `columns` are those that may be used, or None for any, with the types that are `declared`.
    """

    __slots__ = ("_claims", "_columns", "_lists", "_types", "folds", "rewrites")

    def __init__(
        self,
        tokens: list[Token],
        limits: FilterLimits,
        columns: Columns | None,
        claims: frozenset[str] | None = None,
        declared: Declared = NOTHING_DECLARED,
    ) -> None:
        super().__init__(tokens, limits)
        self._columns = columns
        self._claims = claims
        self._lists = declared.lists
        self._types = declared.types
        self.folds = 0
        """How many calls of `lower` and `upper` were read."""
        self.rewrites = False
        """Whether a client's text holds what is sent in another form."""

    def value(self) -> Value:
        """One operand, in brackets or not. Raises FilterFault for a condition."""
        return self.bracketed(self._enclosed_value) if self.kind == "(" else self.atom()

    def _enclosed_value(self) -> Value:
        value = self.value()
        if self.kind in _AFTER_VALUE:
            raise self.fault("a condition cannot be an operand: operands are values")
        return value

    def listed(self) -> Value:
        """One element of a list of constants, which has been counted with its list."""
        return _ATOMS[self.kind](self)

    def atom(self) -> Value:
        """One value without brackets."""
        read = _ATOMS.get(self.kind)
        if read is None:
            raise self.unexpected()
        self.count()
        return read(self)

    def _name(self) -> Value:
        kind, start, name = self.kind, self.position, self.step()
        if kind == "word" and self.kind in _AFTER_PREFIX and (value := self._prefixed(name, start)) is not None:
            return value
        if kind == "word" and name in NOT_HERE:
            raise self.fault(f"{name.upper()} is not part of the filter language here", start)
        if self._columns is None:
            return self._cast_of_enum(Column(name, start, self._types.get(name)))
        if name in self._columns.names:
            column = Column(name, start, self._columns.types.get(name))
            self.rewrites = self.rewrites or is_float(column)
            return self._cast_of_enum(column)
        # One sentence for hidden and for unknown columns: which of them exist is not the client's to learn.
        raise self.fault("the filter uses a column that it may not use", start, "column")

    def _prefixed(self, name: str, start: int) -> Value | None:
        """What a word starts: a call, or a literal with its type in front."""
        if self.kind == "(":
            return self._written_cast() if name == "cast" else self._call(name, start)
        if name == "timestamp" and self.kind == "word" and self.text in ("with", "without"):
            name = self._zone()
        if self.kind == "string" and name in _PREFIX_TYPES:
            return Cast(Text(self.step(), start), name)
        return None

    def _cast_of_enum(self, column: Column) -> Column:
        """An enum is sent as a text, so that a cast to text changes nothing."""
        if self.kind == "::" and is_enum(column):
            self.step()
            self._expect_text()
        return column

    def _expect_text(self) -> None:
        if not self.take_word("text"):
            raise self.fault("an enum is cast to text only")

    def _written_cast(self) -> Value:
        """`CAST(value AS type)`."""
        self.step()
        start, value = self.position, self.atom()
        if not self.take_word("as"):
            raise self.fault("CAST reads a literal or a parameter, then AS and a type")
        if is_enum(value):
            self._expect_text()
        elif isinstance(value, Text | Parameter | Claim):
            value = Cast(value, self._type())
        else:
            raise self.fault("only a text literal or a parameter can be cast, and only once", start)
        self.expect(")", "a cast ends with a bracket here")
        return value

    def _call(self, name: str, start: int) -> Value:
        operands.require_function(name, start)
        arguments = self.bracketed(
            lambda: self.separated(lambda: self._argument(name)), "a call ends with a bracket here"
        )
        call = operands.call(name, tuple(arguments), start)
        if name in FOLDS:
            self._fold(name, arguments[0], start)
        elif name == "concat" and any(isinstance(argument, Number | Constant) for argument in arguments):
            self.rewrites = True
        return call

    def _argument(self, function: str) -> Value:
        start, value = self.position, self.value()
        operands.require_argument(function, value, start)
        return value

    def _fold(self, function: str, value: Value, start: int) -> None:
        """Count one `lower` or `upper`."""
        self.folds += 1
        if self.folds > MOST_FOLDS:
            raise self.fault(f"a filter has at most {MOST_FOLDS} calls of lower and upper", start)
        if self._columns is not None and isinstance(value, Column) and value.name in self._columns.large:
            raise self.fault(f"{function} does not read this column: its values are large", start)

    def _text(self) -> Value:
        start = self.position
        return self._cast(Text(self.step(), start))

    def _parameter(self) -> Value:
        start, digits = self.position, self.step()[1:]
        if self._claims is not None:
            raise self.fault("a policy names claims, not parameters", start)
        if digits[0] == "0" or len(digits) > _PARAMETER_DIGITS:
            raise self.fault("parameters are $1, $2 and so on", start)
        return self._cast(Parameter(int(digits), start))

    def _claim(self) -> Value:
        start, name = self.position, self._claim_name()
        if name in self._lists:
            raise self.fault(f"the claim {name} is a list: write = ANY({{{name}}})", start)
        return self._cast(Claim(name, start))

    def _list_claim(self) -> Claim:
        """`{name}` where an array stands. Raises FilterFault if it is no list."""
        start, name = self.position, self._claim_name()
        self.count()
        if name not in self._lists:
            raise self.fault(f"the claim {name} is not a list: compare it by =, or write ARRAY[{{{name}}}]", start)
        return Claim(name, start)

    def _claim_name(self) -> str:
        start, name = self.position, self.step()[1:-1]
        if self._claims is None or name not in self._claims:
            raise self.fault(f"the claim is not declared{did_you_mean(name, self._claims or ())}", start)
        return name

    def _cast(self, leaf: Leaf) -> Value:
        if self.kind != "::":
            return leaf
        self.step()
        return Cast(leaf, self._type())

    def _type(self) -> str:
        start, spelling = self.position, self.expect("word", "a cast names a type")
        name = SPELLINGS.get(spelling)
        if spelling == "double" and self.take_word("precision"):
            name = "float8"
        elif name == "timestamp":
            name = self._zone()
        if name is None:
            raise self.fault("a filter does not cast to this type", start)
        return name

    def _zone(self) -> str:
        zoned = self.take_word("with")
        if (zoned or self.take_word("without")) and not (self.take_word("time") and self.take_word("zone")):
            raise self.fault("the type is timestamp with time zone or timestamp without time zone")
        return "timestamptz" if zoned else "timestamp"

    def _number(self) -> Value:
        start, digits = self.position, self.step()
        value = number(digits, start)
        if value.digits == LOWEST and self._claims is not None:
            raise self.fault("write this number as a text with a cast", start)
        self.rewrites = self.rewrites or value.digits == LOWEST or "." in value.digits
        return value

    def _constant(self) -> Value:
        kind = self.kind
        self.step()
        return _CONSTANTS[kind]

    def array_operand(self) -> Column | Parameter | Claim | Text | Array:
        """The right side of a test of arrays, in brackets or not."""
        if self.kind == "(":
            return self.bracketed(self.array_operand)
        return self.constructed() if self.kind == "array" else self.array()

    def array(self) -> Column | Parameter | Claim | Text | Array:
        """One array: a column, a client's parameter or literal like '{a,b}', a policy's claim that is a list."""
        if self.kind == "claim":
            return self._list_claim()
        start, value = self.position, self.atom()
        if self._claims is None or not isinstance(value, Text):
            array = operands.array(value, self._limits)
            if array is not None:
                return array
        others = "or a parameter or a literal without a cast" if self._claims is None else "or a claim that is a list"
        raise self.fault(f"an array is a column of arrays, ARRAY[…], {others}", start)

    def constructed(self) -> Array:
        """`ARRAY[value, …]` of constants, and of a policy's claims."""
        self.step()
        self.expect("[", "ARRAY is followed by values in square brackets")
        if self.kind == "]":
            raise self.fault("ARRAY has a value at least; an array of none is '{}'")
        items = self.separated(self._item)
        self.expect("]", "an array ends with a square bracket here")
        operands.require_same_type(items, self.position)
        return Array(tuple(items))

    def _item(self) -> Item:
        start, item = self.position, self.atom()
        if isinstance(item, Text | Parameter | Claim | Number | Constant):
            return item
        raise self.fault("an array is made of literals, numbers and parameters without casts", start)


_ATOMS: Final[dict[str, Callable[[Values], Value]]] = {
    "word": Values._name,
    "quoted": Values._name,
    "string": Values._text,
    "param": Values._parameter,
    "claim": Values._claim,
    "number": Values._number,
    **dict.fromkeys(_CONSTANTS, Values._constant),
}
