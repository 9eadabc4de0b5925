"""Tokens to values: columns, literals, parameters, casts of those, and four functions. Never a condition.

That operands are values is the rule that defeats the deparser in Electric, which loses the brackets round a
condition left of IS NULL, IN, BETWEEN and LIKE (electric-protocol.md 10, row 4).
"""

from collections.abc import Callable
from typing import Final

from proxy.core.filters.cursor import NOT_HERE, Cursor
from proxy.core.filters.faults import FilterLimits
from proxy.core.filters.lexer import Token
from proxy.core.filters.tree import Call, Cast, Claim, Column, Constant, Leaf, Number, Parameter, Text, Value
from proxy.core.filters.types import ANY, SPELLINGS, TEXT, UNTYPED, as_text, clash, family, settled
from proxy.core.suggestions import did_you_mean

_INT4: Final = range(-(2**31), 2**31)
_PARAMETER_DIGITS: Final = 5
_DIGITS: Final = 30
"""Electric reads a decimal as a float and fails on one that has no float; PostgreSQL keeps these exactly."""

NULL: Final = Constant("NULL")
_CONSTANTS: Final = {"true": Constant("TRUE"), "false": Constant("FALSE"), "null": NULL}
_AFTER_VALUE: Final = frozenset(
    ("=", "<>", "!=", "<", "<=", ">", ">=", "is", "in", "between", "like", "ilike", "not", "and", "or")
)
_FUNCTIONS: Final = frozenset(("lower", "upper", "coalesce", "concat"))


class Operands(Cursor):
    """A reader over tokens that knows values. `claims` is None for a client's text, the declared ones for a policy's.

    `columns` are the names that may be used, or None for any.
    """

    __slots__ = ("_claims", "_columns")

    def __init__(
        self,
        tokens: list[Token],
        limits: FilterLimits,
        columns: frozenset[str] | None,
        claims: frozenset[str] | None = None,
    ) -> None:
        super().__init__(tokens, limits)
        self._columns = columns
        self._claims = claims

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
        if self.kind == "(" and kind == "word":
            return self._call(name, start)
        if kind == "word" and name in NOT_HERE:
            raise self.fault(f"{name.upper()} is not part of the filter language here", start)
        if self._columns is None or name in self._columns:
            return Column(name, start)
        # One sentence for hidden and for unknown columns: which of them exist is not the client's to learn.
        raise self.fault("the filter uses a column that it may not use", start, "column")

    def _call(self, name: str, start: int) -> Value:
        if name not in _FUNCTIONS:
            raise self.fault("the functions are lower, upper, coalesce and concat", start)
        self.step()
        self.deeper()
        arguments = [self.value()]
        while self.kind == ",":
            self.step()
            arguments.append(self.value())
        self.expect(")", "a call ends with a bracket here")
        self.shallower()
        return self._checked(name, tuple(arguments), start)

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
        start, name = self.position, self.step()[1:-1]
        if self._claims is None or name not in self._claims:
            raise self.fault(f"the claim is not declared{did_you_mean(name, self._claims or ())}", start)
        return self._cast(Claim(name, start))

    def _cast(self, leaf: Leaf) -> Value:
        if self.kind != "::":
            return leaf
        self.step()
        start, said = self.position, self.expect("word", "a cast names a type")
        name = SPELLINGS.get(said)
        if said == "double" and self.take_word("precision"):
            name = "float8"
        elif name == "timestamp":
            name = self._zone()
        if name is None:
            raise self.fault("a filter does not cast to this type", start)
        return Cast(leaf, name)

    def _zone(self) -> str:
        zoned = self.take_word("with")
        if (zoned or self.take_word("without")) and not (self.take_word("time") and self.take_word("zone")):
            raise self.fault("the type is timestamp with time zone or timestamp without time zone")
        return "timestamptz" if zoned else "timestamp"

    def _number(self) -> Value:
        start, digits = self.position, self.step().lstrip("+")
        bare = digits.lstrip("-")
        if len(bare) > 1 and bare[0] == "0" and bare[1] != ".":
            raise self.fault("a number does not start with 0", start)
        if len(bare) > _DIGITS:
            raise self.fault(f"a number has at most {_DIGITS} digits", start)
        if "." in bare:
            return Number(digits)
        if int(digits) not in _INT4:
            # libpg_query calls it a float and Electric answers 500
            raise self.fault("an integer here is within four bytes; send larger ones as a parameter", start)
        return Number(str(int(digits)))

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
