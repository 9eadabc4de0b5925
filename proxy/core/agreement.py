# SPDX-License-Identifier: Apache-2.0
"""Which predicates PostgreSQL and Electric read alike: the only ones that a policy may consist of.

PostgreSQL evaluates a predicate for the rows of a snapshot, Electric's own evaluator for every later change. Where
the two differ, rows outside the policy are sent to clients that are connected. So a policy is made of operators and
column types on which they agree; a client's filter may use more, because it narrows only what the policy leaves.

What is not listed here does not agree.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.core.filters import Condition
from proxy.core.filters.ast import (
    AnyOf,
    Array,
    ArrayTest,
    Between,
    Call,
    Cast,
    Chain,
    Claim,
    Column,
    Comparison,
    Constant,
    Membership,
    Node,
    Not,
    NullTest,
    Number,
    Parameter,
    Subselect,
    Text,
    TruthTest,
    children,
    parts_of,
    walk,
)
from proxy.core.filters.types import ENUM
from proxy.core.identifiers import Table
from proxy.core.types import ColumnType

INTEGERS: Final = frozenset(("int2", "int4", "int8"))
EQUALITY: Final = INTEGERS | {"text", "varchar", "uuid", "bool"}
"""Types whose values are equal to both evaluators or to neither (text under a deterministic collation)."""
ONLY_EQUALS: Final = frozenset(("date", "timestamptz"))
"""Types for which that is true of `=`; Electric refuses `<>` and IS DISTINCT FROM on them."""
CASTS: Final = EQUALITY | ONLY_EQUALS

_ANY_OF_COLUMN: Final = "value = ANY(column)"
ARRAYS: Final[Mapping[str, frozenset[str]]] = {
    _ANY_OF_COLUMN: EQUALITY,
    "@>": EQUALITY,
    "&&": EQUALITY,
    "<@": frozenset(),
}
"""The operators over array columns, each with the element types on which the two agree."""
SELECTS: Final = frozenset(("IN (SELECT …)", "NOT IN (SELECT …)"))
"""The tests of an inner SELECT on which they agree."""

_POSITIVE: Final = SELECTS | ARRAYS.keys()
"""What agrees only where no NOT and no IS TRUE stands over it: NULL is false to Electric there, and not unknown."""
_CONDITION: Final = "a condition"
_TESTED_FOR_NULL: Final = ("IS NULL", "IS NOT NULL")
_EQUAL: Final = SELECTS | {"=", "<>", "IN", "NOT IN", "= ANY", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"}
_ORDER: Final = frozenset(("<", "<=", ">", ">=", "BETWEEN", "NOT BETWEEN"))
_DAY: Final = r"\d{4}-\d{2}-\d{2}"
_LITERALS: Final = {
    "date": re.compile(_DAY, re.ASCII),
    "timestamptz": re.compile(rf"{_DAY} \d{{2}}:\d{{2}}:\d{{2}}(?:\.\d{{0,5}}[1-9])?\+00", re.ASCII),
}
_FORMS: Final = {"date": "2026-01-31", "timestamptz": "2026-01-31 12:00:00+00"}

Types = Mapping[str, ColumnType]
Tested = tuple[Table | None, str]
"""A column that a predicate tests, with its table if it belongs to an inner SELECT."""


@dataclass(frozen=True, slots=True)
class KnownTypes:
    """The types that are known of a policy's own table, and of the tables of its inner SELECTs."""

    own: Types = field(default_factory=dict)
    inner: Mapping[Table, Types] = field(default_factory=dict)

    def of(self, table: Table | None) -> Types:
        """The types of one table's columns; None means the policy's own table."""
        return self.own if table is None else self.inner.get(table, {})


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One place in a predicate that the two evaluators may read differently, and what to write instead."""

    column: str
    operator: str
    sentence: str
    at: int = 0

    def __str__(self) -> str:
        return f"at {self.at}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operator with its operands, over the columns of `table`; `positive` if no NOT and no IS stands over it."""

    operator: str
    operands: tuple[Node, ...]
    table: Table | None
    positive: bool

    def columns(self) -> Iterator[Column]:
        """The columns among the operands, those inside of calls included."""
        for operand in self.operands:
            yield from (node for node in walk(operand) if isinstance(node, Column))


def disagreements(condition: Condition, known: KnownTypes = KnownTypes()) -> list[Disagreement]:
    """Every place that the evaluators may read differently, as far as the types are known."""
    judged = [found for operation in _operations(condition.root) for found in _judged(operation, known)]
    return [*judged, *_open_to_null(condition)]


def columns_tested(condition: Condition) -> frozenset[Tested]:
    """The columns whose types decide whether the evaluators agree: all that are not only tested for NULL."""
    return frozenset(
        (operation.table, column.name)
        for operation in _operations(condition.root)
        if operation.operator not in _TESTED_FOR_NULL
        for column in operation.columns()
    )


def has_subselect(condition: Condition) -> bool:
    """Whether the condition looks into another table."""
    return any(isinstance(node, Subselect) for node in walk(condition.root))


def subselects(condition: Condition) -> Iterator[tuple[Subselect, bool]]:
    """The inner SELECTs of a condition, nested ones included, and whether each stands below an OR."""
    yield from _subselects(condition.root, below_or=False)


def compared_by_select(condition: Condition) -> Iterator[tuple[Tested, Tested]]:
    """The columns that inner SELECTs compare: the one before IN, and the one that is selected."""
    pending: list[tuple[Node, Table | None]] = [(condition.root, None)]
    while pending:
        match pending.pop():
            case Chain(_, parts), table:
                pending.extend((part, table) for part in parts)
            case ((Not(inner) | TruthTest(_, inner)), table):
                pending.append((inner, table))
            case Subselect(_, columns, wanted, inner_table, where), table:
                yield from (
                    ((table, column.name), (inner_table, name)) for column, name in zip(columns, wanted, strict=True)
                )
                if where is not None:
                    pending.append((where, inner_table))


def _subselects(node: Node, *, below_or: bool) -> Iterator[tuple[Subselect, bool]]:
    match node:
        case Chain(operator, parts):
            for part in parts:
                yield from _subselects(part, below_or=below_or or operator == "OR")
        case Not(inner) | TruthTest(_, inner):
            yield from _subselects(inner, below_or=below_or)
        case Subselect():
            yield node, below_or
            if node.where is not None:
                yield from _subselects(node.where, below_or=below_or)


def _open_to_null(condition: Condition) -> Iterator[Disagreement]:
    """NOT IN of a set that may hold NULL: PostgreSQL lets nothing pass then, Electric everything."""
    for select, _ in subselects(condition):
        parts = () if select.where is None else parts_of(select.where)
        never_null = {part.value for part in parts if isinstance(part, NullTest) and part.operator == "IS NOT NULL"}
        for wanted in select.wanted:
            if select.operator == "NOT IN" and Column(wanted) not in never_null:
                sentence = (
                    f"NOT IN (SELECT {wanted} …) is not evaluated alike where {wanted} is NULL: "
                    f"write SELECT … WHERE {wanted} IS NOT NULL AND …"
                )
                yield Disagreement(wanted, "NOT IN (SELECT …)", sentence, select.columns[0].at)


def _operations(node: Node, table: Table | None = None, *, positive: bool = True) -> Iterator[_Operation]:
    match node:
        case Comparison(operator) | Between(operator) | Membership(operator) | NullTest(operator) | ArrayTest(operator):
            yield _Operation(operator, children(node), table, positive)
        case AnyOf(_, array):
            operator = _ANY_OF_COLUMN if isinstance(array, Column) else "= ANY"
            yield _Operation(operator, children(node), table, positive)
        case Column() | Constant():
            yield _Operation(_CONDITION, (node,), table, positive)
        case Chain(_, parts):
            for part in parts:
                yield from _operations(part, table, positive=positive)
        case Not(inner) | TruthTest(_, inner):
            yield from _operations(inner, table, positive=False)
        case Subselect():
            yield from _of_select(node, table, positive=positive)
        case _:
            yield _Operation(type(node).__name__, (), table, positive)


def _of_select(select: Subselect, table: Table | None, *, positive: bool) -> Iterator[_Operation]:
    name, at = f"{select.operator} (SELECT …)", select.columns[0].at
    yield _Operation(name, select.columns, table, positive)
    yield _Operation(name, tuple(Column(column, at) for column in select.wanted), select.table, positive)
    if select.where is not None:
        yield from _operations(select.where, select.table)


def _judged(operation: _Operation, known: KnownTypes) -> Iterator[Disagreement]:
    operator, types = operation.operator, known.of(operation.table)
    for operand in operation.operands:
        yield from _operand(operand, operator, types)
    if not operation.positive and operator in _POSITIVE:
        yield _negated(operation)
    if operator in _ORDER:
        yield from _ordered(operation, types)
    elif operator in _EQUAL:
        yield from _compared(operation, types)
    elif operator in ARRAYS:
        yield from _arrays(operation, types)
    elif operator == _CONDITION:
        yield from _boolean(operation, types)
    elif operator not in _TESTED_FOR_NULL:
        yield _unlike(operation)


def _negated(operation: _Operation) -> Disagreement:
    column = next(operation.columns())
    instead = "write NOT IN (SELECT …)" if operation.operator in SELECTS else "leave the NOT out"
    sentence = f"{operation.operator} stands below NOT or IS, where a NULL is not evaluated alike: {instead}"
    return Disagreement(column.name, operation.operator, sentence, column.at)


def _unlike(operation: _Operation) -> Disagreement:
    column = next(operation.columns(), Column("", 0))
    over = f" over the column {column.name}" if column.name else ""
    sentence = f"{operation.operator}{over} is not evaluated alike in snapshots and live: use =, <>, IN or IS NULL"
    return Disagreement(column.name, operation.operator, sentence, column.at)


def _operand(operand: Node, operator: str, types: Types) -> Iterator[Disagreement]:
    """What is wrong with an operand whatever it is compared with."""
    for node in walk(operand):
        match node:
            case Call(function) if function not in ("coalesce", "concat"):
                column = next((inner for inner in walk(node) if isinstance(inner, Column)), Column("", 0))
                over = f" over the column {column.name}" if column.name else ""
                sentence = (
                    f"{function}{over} folds letters differently in snapshots and live: "
                    "compare a column that holds the folded text with ="
                )
                yield Disagreement(column.name, function, sentence, column.at)
            case Call("concat"):
                yield from _joined(node, types)
            case Cast(leaf, type_) if type_ not in CASTS:
                sentence = f"a cast to {type_} is not evaluated alike in snapshots and live: cast to text or an integer"
                yield Disagreement("", operator, sentence, leaf.at)
            case Number(digits) if "." in digits:
                yield Disagreement("", operator, f"{digits} is not an integer: decimals are not compared alike")
            case Column() | Text() | Parameter() | Claim() | Number() | Constant() | Cast() | Call() | Array():
                pass
            case _:
                yield Disagreement("", operator, f"{type(node).__name__} is not known to be evaluated alike")


def _joined(call: Call, types: Types) -> Iterator[Disagreement]:
    for node in walk(call):
        if isinstance(node, Column) and node.name in types and str(types[node.name]) not in ("text", "varchar"):
            sentence = f"concat of the column {node.name}, a {types[node.name]}: it joins text and varchar alike only"
            yield Disagreement(node.name, "concat", sentence, node.at)


def _ordered(operation: _Operation, types: Types) -> Iterator[Disagreement]:
    for column in operation.columns():
        type_ = types.get(column.name)
        if type_ is None:
            sentence = (
                f"{operation.operator} orders the column {column.name} of unknown type: "
                f'declare {column.name} = "int8" (or int4, int2) in [types] if it is an integer, else use = or IN'
            )
        elif type_.array or type_.name not in INTEGERS:
            sentence = f"{operation.operator} orders the column {column.name}, a {type_}: order integers only, or use ="
        else:
            continue
        yield Disagreement(column.name, operation.operator, sentence, column.at)
    if not any(True for _ in operation.columns()):
        yield _unlike(operation)


def _arrays(operation: _Operation, types: Types) -> Iterator[Disagreement]:
    """An operator over arrays: every array column of a type that is known, and on which they agree."""
    operator = operation.operator
    for side in operation.operands[1:] if operator == _ANY_OF_COLUMN else operation.operands:
        if not isinstance(side, Column):
            continue
        type_ = types.get(side.name)
        if type_ is None:
            sentence = (
                f"{operator} reads the column {side.name} of unknown type: "
                f'declare {side.name} = "text[]" (or uuid[], int8[]) in [types]'
            )
        elif not type_.array or type_.name not in ARRAYS[operator]:
            sentence = (
                f"{operator} over the column {side.name}, a {type_}, is not evaluated alike in snapshots and live"
            )
        else:
            continue
        yield Disagreement(side.name, operator, sentence, side.at)
    if operator == _ANY_OF_COLUMN and isinstance(operation.operands[0], Column):
        yield _unlike(operation)  # a column in an array of the same row: nothing verified it


def _compared(operation: _Operation, types: Types) -> Iterator[Disagreement]:
    for column in operation.columns():
        type_ = types.get(column.name)
        # an enum is sent as a text where the policy declares it; what the database alone reports is too late for that
        as_text = type_ == ENUM and column.type == ENUM and operation.operator not in SELECTS
        sentence = None if type_ is None or as_text else _unequal(operation.operator, column.name, type_)
        if sentence is not None:
            yield Disagreement(column.name, operation.operator, sentence, column.at)
        elif type_ is not None:
            yield from _times(operation, column, type_)


def _unequal(operator: str, name: str, type_: ColumnType) -> str | None:
    """Why this operator does not agree on a column of this type, or None."""
    of_a = f"{operator} over the column {name}, a {type_}"
    if not type_.array and type_.name in EQUALITY:
        return None
    if not type_.array and type_.name in ONLY_EQUALS:
        if operator == "=":
            return None
        instead = f"NOT ({name} = …)" if operator in ("<>", "IS DISTINCT FROM") else f"{name} = … OR {name} = …"
        return f"{of_a}, is not evaluated alike in snapshots and live: write {instead}"
    return (
        f"{of_a}, is not evaluated alike in snapshots and live: "
        "use a column of type text, varchar, int2, int4, int8, uuid or bool"
    )


def _times(operation: _Operation, column: Column, type_: ColumnType) -> Iterator[Disagreement]:
    """Values beside a date or a time: of the same type, and in the one form that both read."""
    for operand in operation.operands:
        if isinstance(operand, Cast) and operand.type in ONLY_EQUALS and operand.type != type_.name:
            sentence = f"the column {column.name}, a {type_}, is compared with a {operand.type}: cast to {type_}"
            yield Disagreement(column.name, operation.operator, sentence, column.at)
        literal = operand.leaf if isinstance(operand, Cast) else operand
        form = _LITERALS.get(type_.name)
        if isinstance(literal, Text) and form is not None and not form.fullmatch(literal.value):
            sentence = f"a {type_} is written like '{_FORMS[type_.name]}' here: other forms are not read alike"
            yield Disagreement(column.name, operation.operator, sentence, literal.at)


def _boolean(operation: _Operation, types: Types) -> Iterator[Disagreement]:
    for column in operation.columns():
        type_ = types.get(column.name)
        if type_ is not None and str(type_) != "bool":
            sentence = f"the column {column.name}, a {type_}, is not a condition: compare it with ="
            yield Disagreement(column.name, _CONDITION, sentence, column.at)


def contradictions(declared: Types, reported: Types) -> list[str]:
    """One sentence for each column whose declared type is not the one that is reported for it."""
    return [
        f"{column} is declared as {declared[column]} and is a {reported[column]}"
        for column in sorted(declared.keys() & reported.keys())
        if not _same(declared[column], reported[column])
    ]


def _same(declared: ColumnType, reported: ColumnType) -> bool:
    # an enumerated type, a domain and a type of an extension are reported by names of their own
    named = reported.name == "other" and declared.name in ("enum", "other")
    return declared.array == reported.array and (declared.name == reported.name or named)


def reported_types(schema: str) -> Types | None:
    """The types that an `electric-schema` header reports, or None if it cannot be read."""
    try:
        members = json.loads(schema)
        return {
            column: ColumnType.reported(column_type["type"], array=bool(column_type.get("dims", 0)))
            for column, column_type in members.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
