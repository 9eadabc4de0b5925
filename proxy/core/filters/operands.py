# SPDX-License-Identifier: Apache-2.0
"""Tokens to values: columns, literals, parameters, casts of those, and four functions. A condition is none.

That operands are values is the rule that defeats the deparser in Electric, which loses the brackets round a
condition left of IS NULL, IN, BETWEEN and LIKE.
"""

from collections.abc import Callable
from typing import Final

from proxy.core.filters import decimals
from proxy.core.filters.ast import Call, Cast, Claim, Column, Constant, Leaf, Number, Parameter, Text, Value
from proxy.core.filters.columns import NOTHING_DECLARED, Columns, Declared
from proxy.core.filters.cursor import NOT_HERE, Cursor
from proxy.core.filters.errors import FilterLimits
from proxy.core.filters.lexer import Token
from proxy.core.filters.ranges import is_float
from proxy.core.filters.types import ANY, SPELLINGS, TEXT, UNTYPED, as_text, clash, family, is_enum, settled
from proxy.core.suggestions import did_you_mean

LOWEST: Final = "-2147483648"
_INT4: Final = range(-(2**31), 2**31)
_INT4_DIGITS: Final = 10
_PARAMETER_DIGITS: Final = 5
_MOST_ARGUMENTS: Final = 20
_MOST_FOLDS: Final = 4
"""`lower` and `upper` in one filter: Electric's evaluator copies and folds the whole text of every changed row."""

NULL: Final = Constant("NULL")
_CONSTANTS: Final = {"true": Constant("TRUE"), "false": Constant("FALSE"), "null": NULL}
_AFTER_VALUE: Final = frozenset(
    ("=", "<>", "!=", "<", "<=", ">", ">=", "is", "in", "between", "like", "ilike", "not", "and", "or")
)
_FUNCTIONS: Final = frozenset(("lower", "upper", "coalesce", "concat"))
_PREFIX_TYPES: Final = ("date", "timestamp", "timestamptz")
"""Types that may stand before their literal: `date '2024-01-01'`."""
_AFTER_PREFIX: Final = frozenset(("(", "string", "word"))


class Operands(Cursor):
    """A reader over tokens that knows values. `claims` is None for a client's text, the declared ones for a policy's.

    `columns` are those that may be used, or None for any, with the types that are `declared`.
    """

    __slots__ = ("_claims", "_columns", "_folds", "_lists", "_types", "rewrites")

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
        self._folds = 0
        self.rewrites = False
        """Whether something was read that is sent in another form."""

    def value(self) -> Value:
        """One operand, in brackets or not. Raises FilterFault for a condition."""
        if self.kind != "(":
            return self.atom()
        self.step()
        self.deeper()
        value = self.value()
        if self.kind in _AFTER_VALUE:
            raise self.fault("a condition cannot be an operand: operands are values")
        self.expect(")", "a bracket is not closed here")
        self.shallower()
        return value

    def atom(self) -> Value:
        """One value without brackets."""
        read = _ATOMS.get(self.kind)
        if read is None:
            raise self.unexpected()
        self.count()
        return read(self)

    def listed(self) -> Value:
        """One element of a list of constants, which has been counted with its list."""
        return _ATOMS[self.kind](self)

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
        if name == "timestamp" and self.kind == "word" and self.said in ("with", "without"):
            name = self._zone()
        if self.kind == "string" and name in _PREFIX_TYPES:
            return Cast(Text(self.step(), start), name)
        return None

    def _cast_of_enum(self, column: Column) -> Column:
        """An enum is sent as a text, so that a cast to text says nothing new."""
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
        if name not in _FUNCTIONS:
            raise self.fault("the functions are lower, upper, coalesce and concat", start)
        self.step()
        self.deeper()
        arguments = [self._argument(name)]
        while self.kind == ",":
            self.step()
            arguments.append(self._argument(name))
        self.expect(")", "a call ends with a bracket here")
        self.shallower()
        if len(arguments) > _MOST_ARGUMENTS:
            raise self.fault(f"{name} has at most {_MOST_ARGUMENTS} arguments", start)
        return self._checked(name, tuple(arguments), start)

    def _argument(self, function: str) -> Value:
        """One argument of a call. The only call in a call is coalesce, once: each of the others copies its texts."""
        start, value = self.position, self.value()
        if not isinstance(value, Call):
            return value
        plain = not any(isinstance(inner, Call) for inner in value.arguments)
        if plain and value.function == "coalesce" and function in ("coalesce", "concat"):
            return value
        raise self.fault("a call reads columns and values; only coalesce and concat may read a coalesce", start)

    def _fold(self, function: str, value: Value, start: int) -> None:
        """Count one `lower` or `upper`."""
        self._folds += 1
        if self._folds > _MOST_FOLDS:
            raise self.fault(f"a filter has at most {_MOST_FOLDS} calls of lower and upper", start)
        if self._columns is not None and isinstance(value, Column) and value.name in self._columns.large:
            raise self.fault(f"{function} does not read this column: its values are large", start)

    def _checked(self, name: str, arguments: tuple[Value, ...], start: int) -> Call:
        if name == "coalesce":
            if clash(arguments):
                raise self.fault("the arguments of coalesce are of one type", start)
            return Call(name, settled(arguments))
        if name != "concat":
            if len(arguments) != 1:
                raise self.fault(f"{name} has one argument", start)
            if family(arguments[0]) not in (TEXT, ANY, UNTYPED):
                raise self.fault(f"{name} reads a text", start)
            self._fold(name, arguments[0], start)
        elif self._claims is None and any(isinstance(argument, Number | Constant) for argument in arguments):
            self.rewrites = True
        return Call(name, tuple(as_text(argument) for argument in arguments))

    def _text(self) -> Value:
        start = self.position
        return self._cast(Text(self.step(), start))

    def _parameter(self) -> Value:
        start, number = self.position, self.step()[1:]
        if self._claims is not None:
            raise self.fault("a policy names claims, not parameters", start)
        if number[0] == "0" or len(number) > _PARAMETER_DIGITS:
            raise self.fault("parameters are $1, $2 and so on", start)
        return self._cast(Parameter(int(number), start))

    def _claim(self) -> Value:
        start, name = self.position, self._claim_name()
        if name in self._lists:
            raise self.fault(f"the claim {name} is a list: write = ANY({{{name}}})", start)
        return self._cast(Claim(name, start))

    def list_claim(self) -> Claim:
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
        start, said = self.position, self.expect("word", "a cast names a type")
        name = SPELLINGS.get(said)
        if said == "double" and self.take_word("precision"):
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
        start, digits = self.position, self.step().lstrip("+")
        bare = digits.lstrip("-")
        if len(bare) > 1 and bare[0] == "0" and bare[1].isdigit():
            raise self.fault("a number does not start with 0", start)
        if not bare.isdigit():
            return self._decimal(digits, start)
        if len(bare) > _INT4_DIGITS or int(digits) not in _INT4:
            # libpg_query calls it a float and Electric answers 500
            raise self.fault("an integer here is within four bytes; send larger ones as a parameter", start)
        if int(digits) == _INT4[0]:
            return self._lowest(start)
        return Number(str(int(digits)))

    def _decimal(self, digits: str, start: int) -> Value:
        number = decimals.plain(digits)
        if number is None:
            raise self.fault("a number has at most 30 digits", start)
        self.rewrites = self._claims is None
        return Number(number)

    def _lowest(self, start: int) -> Value:
        """The least integer of four bytes: for PostgreSQL's grammar a minus before a number that is none of those."""
        if self._claims is not None:
            raise self.fault("write this number as a text with a cast", start)
        self.rewrites = True
        return Number(LOWEST)

    def _constant(self) -> Value:
        kind = self.kind
        self.step()
        return _CONSTANTS[kind]


_ATOMS: Final[dict[str, Callable[[Operands], Value]]] = {
    "word": Operands._name,
    "quoted": Operands._name,
    "string": Operands._text,
    "param": Operands._parameter,
    "claim": Operands._claim,
    "number": Operands._number,
    "true": Operands._constant,
    "false": Operands._constant,
    "null": Operands._constant,
}
