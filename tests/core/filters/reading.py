"""The second reader: PostgreSQL's own grammar, and what it must read in the text that we send.

`seen` reads SQL with postgast, and says of each parameter the value that goes with it. `meant` says what our tree
means in the same terms. Both are nested tuples; the two know nothing of each other.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import postgast

from proxy.core.filters import Condition, array_literal, times
from proxy.core.filters.arrays import reread
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
)

Tree = tuple[Any, ...]
SELECT = "SELECT 1 WHERE "


def seen(where: str, params: Sequence[str] | None = None) -> Tree:
    """What PostgreSQL reads, exactly one SELECT with nothing but this WHERE. Fails on anything else.

    With `params` every parameter is given as its value.
    """
    tree = _statement(postgast.parse(SELECT + where))
    return tree if params is None else _valued(tree, params)


def _valued(tree: Any, params: Sequence[str]) -> Any:
    if not isinstance(tree, tuple):
        return tree
    if tree[:1] == ("param",):
        return ("value", params[tree[1] - 1])
    return tuple(_valued(part, params) for part in tree)


def deparsed(where: str) -> str:
    """The text that Electric would run: read by PostgreSQL's grammar and written by libpg_query's deparser."""
    text = postgast.deparse(postgast.parse(SELECT + where))
    assert text.startswith(SELECT)
    return text.removeprefix(SELECT)


def _statement(result: Any) -> Tree:
    (statement,) = result.stmts
    select = statement.stmt.select_stmt
    filled = {field.name for field, _ in select.ListFields()}
    assert filled == {"target_list", "where_clause", "limit_option", "op"}, filled
    return _node(select.where_clause)


def _node(node: Any) -> Tree:
    kind = node.WhichOneof("node")
    return _SEEN[kind](getattr(node, kind))


def _nodes(nodes: Iterable[Any]) -> Tree:
    return tuple(_node(node) for node in nodes)


def _words(nodes: Iterable[Any]) -> Tree:
    return tuple(node.string.sval for node in nodes)


def _const(const: Any) -> Tree:
    if const.isnull:
        return ("constant", "NULL")
    kind = const.WhichOneof("val")
    if kind == "boolval":
        return ("constant", "TRUE" if const.boolval.boolval else "FALSE")
    if kind == "sval":
        return ("text", const.sval.sval)
    return ("number", str(const.ival.ival) if kind == "ival" else const.fval.fval)


def _expression(expression: Any) -> Tree:
    kind = postgast.pg_query_pb2.A_Expr_Kind.Name(expression.kind).removeprefix("AEXPR_")
    (name,) = _words(expression.name)
    right = expression.rexpr
    if kind in ("IN", "BETWEEN", "NOT_BETWEEN"):
        return (kind, name, _node(expression.lexpr), _nodes(right.list.items))
    return (kind, name, _node(expression.lexpr), _node(right))


def _sublink(link: Any) -> Tree:
    select = link.subselect.select_stmt
    filled = {field.name for field, _ in select.ListFields()}
    assert filled <= {"target_list", "from_clause", "where_clause", "limit_option", "op"}, filled
    (table,) = select.from_clause
    where = _node(select.where_clause) if "where_clause" in filled else None
    source = (table.range_var.schemaname, table.range_var.relname)
    wanted = tuple(_node(target.res_target.val) for target in select.target_list)
    return ("subselect", _node(link.testexpr), wanted, source, where)


_SEEN: dict[str, Any] = {
    "column_ref": lambda ref: ("column", *_words(ref.fields)),
    "param_ref": lambda ref: ("param", ref.number),
    "a_const": _const,
    "type_cast": lambda cast: ("cast", _node(cast.arg), _words(cast.type_name.names)[-1]),
    "func_call": lambda call: ("call", *_words(call.funcname), _nodes(call.args)),
    "coalesce_expr": lambda call: ("call", "coalesce", _nodes(call.args)),
    "a_expr": _expression,
    "null_test": lambda test: ("null", test.nulltesttype == postgast.pg_query_pb2.IS_NULL, _node(test.arg)),
    "boolean_test": lambda test: (
        postgast.pg_query_pb2.BoolTestType.Name(test.booltesttype).replace("_", " "),
        _node(test.arg),
    ),
    "bool_expr": lambda chain: (
        postgast.pg_query_pb2.BoolExprType.Name(chain.boolop).removesuffix("_EXPR"),
        *_nodes(chain.args),
    ),
    "sub_link": _sublink,
    "row_expr": lambda row: ("row", *_nodes(row.args)),
    "a_array_expr": lambda array: ("array", *_nodes(array.elements)),
}


class Meaning:
    """Says trees in the terms of the second reader."""

    def __init__(self, claims: Mapping[str, str | tuple[str, ...]], params: Mapping[int, str]) -> None:
        self._claims = claims
        self._params = params
        self._lists = {number: reread(value, 10_000) for number, value in params.items()}

    def half(self, conditions: Iterable[Condition]) -> Tree:
        """All of these conditions, as PostgreSQL reads `((a) AND (b))`: it flattens an AND that comes first."""
        first, *others = [self.of(condition.root) for condition in conditions]
        return _and(first, others) if others else first

    def of(self, node: Node) -> Tree:
        return getattr(self, type(node).__name__.lower())(node)  # type: ignore[no-any-return]

    def all(self, nodes: Iterable[Node]) -> Tree:
        return tuple(self.of(node) for node in nodes)

    def column(self, column: Column) -> Tree:
        is_enum = column.type is not None and column.type.name == "enum"
        return ("cast", ("column", column.name), "text") if is_enum else ("column", column.name)

    def constant(self, constant: Constant) -> Tree:
        return ("constant", constant.word)

    def number(self, number: Number) -> Tree:
        return ("number", number.digits)

    def text(self, text: Text) -> Tree:
        return ("value", text.value)

    def parameter(self, parameter: Parameter) -> Tree:
        return ("value", self._params[parameter.number])

    def claim(self, claim: Claim) -> Tree:
        value = self._claims[claim.name]
        return ("value", value if isinstance(value, str) else array_literal(list(value)))

    def array(self, array: Array) -> Tree:
        return ("value", array_literal([self._element(item) for item in array.items]))

    def _element(self, item: Node) -> str:
        kind, said = self.of(item)
        return said.lower() if kind == "constant" else said  # type: ignore[no-any-return]

    def list(self, array: Node) -> Tree:
        """An array: the value of a parameter is sent with our own quotes."""
        if type(array).__name__ != "Parameter":
            return self.of(array)
        return ("value", self._lists[array.number])  # type: ignore[union-attr]

    def cast(self, cast: Cast) -> Tree:
        leaf = self.of(cast.leaf)
        if leaf[0] == "value" and cast.type in times.TYPES:
            leaf = ("value", times.plain(leaf[1], cast.type))
        return ("cast", leaf, cast.type)

    def call(self, call: Call) -> Tree:
        return ("call", call.function, self.all(call.arguments))

    def comparison(self, test: Comparison) -> Tree:
        kind, name = {
            "IS DISTINCT FROM": ("DISTINCT", "="),
            "IS NOT DISTINCT FROM": ("NOT_DISTINCT", "="),
            "LIKE": ("LIKE", "~~"),
            "NOT LIKE": ("LIKE", "!~~"),
            "ILIKE": ("ILIKE", "~~*"),
            "NOT ILIKE": ("ILIKE", "!~~*"),
        }.get(test.operator, ("OP", test.operator))
        return (kind, name, self.of(test.left), self.of(test.right))

    def between(self, test: Between) -> Tree:
        return (test.operator.replace(" ", "_"), test.operator, self.of(test.value), self.all((test.low, test.high)))

    def membership(self, test: Membership) -> Tree:
        return ("IN", "=" if test.operator == "IN" else "<>", self.of(test.value), self.all(test.items))

    def anyof(self, test: AnyOf) -> Tree:
        value, array = self.of(test.value), self.list(test.array)
        if array == ("value", "{}"):
            return ("constant", "FALSE")
        if array[0] != "value" or not (nulls := re.findall(r"(?:(?<=\{)NULL,?|,NULL)(?=[,}\"])", array[1])):
            return ("OP_ANY", "=", value, array)
        unknown, rest = ("OP", "=", value, ("constant", "NULL")), array[1]
        for null in nulls:
            rest = rest.replace(null, "", 1)
        return unknown if rest == "{}" else ("OR", ("OP_ANY", "=", value, ("value", rest)), unknown)

    def arraytest(self, test: ArrayTest) -> Tree:
        return ("OP", test.operator, self.list(test.left), self.list(test.right))

    def nulltest(self, test: NullTest) -> Tree:
        return ("null", test.operator == "IS NULL", self.of(test.value))

    def truthtest(self, test: TruthTest) -> Tree:
        return (test.operator, self.of(test.condition))

    def not_(self, test: Not) -> Tree:
        return ("NOT", self.of(test.condition))

    def chain(self, chain: Chain) -> Tree:
        parts = self.all(chain.parts)
        # a list with NULL is an OR of two, and PostgreSQL's grammar flattens an OR in an OR
        return (chain.operator, *[p for part in parts for p in (part[1:] if part[0] == chain.operator else (part,))])

    def subselect(self, test: Subselect) -> Tree:
        where = self.of(test.where) if test.where else None
        table = (test.table.schema, test.table.name)
        columns = self.all(test.columns)
        wanted = tuple(("column", name) for name in test.wanted)
        found = ("subselect", columns[0] if len(columns) == 1 else ("row", *columns), wanted, table, where)
        return found if test.operator == "IN" else ("NOT", found)


setattr(Meaning, "not", Meaning.not_)


class AsWritten(Meaning):
    """The same with literals and the client's own numbers, to be compared with what PostgreSQL reads in its text."""

    def __init__(self) -> None:
        super().__init__({}, {})

    def array(self, array: Array) -> Tree:
        return ("array", *self.all(array.items))

    def list(self, array: Node) -> Tree:
        return self.of(array)

    def text(self, text: Text) -> Tree:
        return ("text", text.value)

    def parameter(self, parameter: Parameter) -> Tree:
        return ("param", parameter.number)


def untyped(tree: Any) -> Any:
    """The tree without casts to text, of which the client writes some and we put in others; numbers as such."""
    if not isinstance(tree, tuple):
        return tree
    if tree[:1] == ("number",):
        return ("number", Decimal(tree[1]))
    if tree[:1] == ("cast",) and tree[2] == "text":
        return untyped(tree[1])
    return tuple(untyped(part) for part in tree)


def _and(first: Tree, others: Iterable[Tree]) -> Tree:
    return ("AND", *(first[1:] if first[0] == "AND" else (first,)), *others)


def meant(
    policy: Iterable[Condition],
    client: Condition | None,
    claims: Mapping[str, str | tuple[str, ...]],
    params: Mapping[int, str] | None = None,
) -> Tree:
    """What the whole predicate must be read as: the policy first in the top AND."""
    enforced = Meaning(claims, {}).half(policy)
    return _and(enforced, [Meaning(claims, params or {}).half([client]) if client else ("constant", "TRUE")])


def flat(tree: Any) -> Any:
    """The tree with every AND in an AND, and every OR in an OR, opened: brackets there mean nothing."""
    if not isinstance(tree, tuple):
        return tree
    parts = [flat(part) for part in tree]
    if tree and tree[0] in ("AND", "OR"):
        opened: list[Any] = [tree[0]]
        for part in parts[1:]:
            opened.extend(part[1:] if isinstance(part, tuple) and part and part[0] == tree[0] else [part])
        parts = opened
    return tuple(parts)
