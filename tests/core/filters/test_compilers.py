"""Every form of SQL that the clients' own compilers write, as they write it: accepted and right, or refused and why.

TanStack's compiler (`@tanstack/electric-db-collection`, sql-compiler.ts) knows eq, gt, gte, lt, lte, and, or, not, in,
like, ilike, isNull, isUndefined, upper, lower, length, concat, coalesce and add; the TypeScript client's own
(`@electric-sql/client`, expression-compiler.ts) knows the same without add, with a bracket round every part.
"""

from dataclasses import dataclass, field

import pytest

from proxy.core.filters import FilterFault, conjoin, order_by, parse
from tests.core.filters.rows import COLUMNS, TYPED
from tests.core.filters.test_semantics import CLAIMS, OWN, Database, assert_narrowed


@dataclass(frozen=True)
class Compiled:
    """A text of a compiler, with the parameters that go with it."""

    name: str
    text: str
    params: dict[int, str] = field(default_factory=dict)


TIME = "2024-01-01T00:00:00.000Z"

ACCEPTED = (
    Compiled("no where", "true = true"),
    Compiled("eq of a text", '"role" = $1', {1: "user"}),
    Compiled("eq of an empty text", '"Weird Col" = $1', {1: ""}),
    Compiled("eq of a number", '"seq" = $1', {1: "2"}),
    Compiled("eq of a bigint", '"tokens" = $1', {1: "3000000001"}),
    Compiled("eq of a boolean", '"is_final" = $1', {1: "true"}),
    Compiled("eq of a date", '"created_at" = $1', {1: TIME}),
    Compiled("eq, value first", '$1 = "role"', {1: "user"}),
    Compiled("eq of columns", '"role" = "tenant"'),
    Compiled("gt", '"seq" > $1', {1: "1"}),
    Compiled("gte of a decimal", '"score" >= $1', {1: "0.5"}),
    Compiled("lt of a text", '"role" < $1', {1: "b"}),
    Compiled("lte of a date", '"created_at" <= $1', {1: TIME}),
    Compiled("lt of true", '"is_final" = $1', {1: "false"}),
    Compiled("lt of false", "false"),
    Compiled("lte of true", "true"),
    Compiled("lt of false among others", '"seq" = $1 AND false', {1: "1"}),
    Compiled("and of two", '"seq" > $1 AND "role" = $2', {1: "0", 2: "user"}),
    Compiled("and of three", '"seq" > $1 AND "role" = $2 AND "is_final" = $3', {1: "0", 2: "user", 3: "true"}),
    Compiled("and in the client", '("seq" > $1) AND ("role" IS NULL)', {1: "0"}),
    Compiled("or of two", '"seq" = $1 OR "role" = $2', {1: "1", 2: "assistant"}),
    Compiled("or of three in the client", '("seq" = $1) OR ("role" = $2) OR (NOT ("is_final"))', {1: "1", 2: "a"}),
    Compiled("or in and", '("seq" = $1 OR "seq" = $2) AND "role" = $3', {1: "1", 2: "2", 3: "user"}),
    Compiled("and in or", '("seq" = $1 AND "is_final" = $2) OR "role" = $3', {1: "1", 2: "true", 3: "x"}),
    Compiled("not of eq", 'NOT ("role" = $1)', {1: "user"}),
    Compiled("not of a column", 'NOT ("is_final")'),
    Compiled("not of and", 'NOT (("seq" = $1 AND "role" = $2))', {1: "1", 2: "user"}),
    Compiled("not of or in the client", 'NOT (("seq" = $1) OR ("role" = $2))', {1: "1", 2: "user"}),
    Compiled("not of not", 'NOT (NOT ("seq" = $1))', {1: "1"}),
    Compiled("not of in", 'NOT ("role" = ANY($1))', {1: '{"user","it\'s"}'}),
    Compiled("not of isNull", '"role" IS NOT NULL'),
    Compiled("not of isNull in the client", 'NOT ("role" IS NULL)'),
    Compiled("isNull", '"role" IS NULL'),
    Compiled("isUndefined of lower", 'LOWER("role") IS NULL'),
    Compiled("isNull of isNull's opposite", '"role" IS NOT NULL AND "tenant" IS NULL'),
    Compiled("eq of isNull and a boolean", '("role" IS NULL) = $1', {1: "true"}),
    Compiled("eq of isNull and false", '("role" IS NULL) = $1', {1: "false"}),
    Compiled("eq of a boolean and isNull", '$1 = ("role" IS NULL)', {1: "false"}),
    Compiled("eq of two isNull", '("role" IS NULL) = ("tenant" IS NULL)'),
    Compiled("eq of an eq and a boolean", '("seq" = $1) = $2', {1: "1", 2: "true"}),
    Compiled("eq of a not and a boolean", '(NOT ("seq" = $1)) = $2', {1: "1", 2: "true"}),
    Compiled("eq of an or and a boolean column", '("seq" = $1 OR "role" IS NULL) = "is_final"', {1: "1"}),
    Compiled("eq of an in and a boolean", '("role" = ANY($1)) = $2', {1: '{"user"}', 2: "false"}),
    Compiled("in of texts", '"role" = ANY($1)', {1: '{"user","a,b","c\\"d"}'}),
    Compiled("in of numbers", '"seq" = ANY($1)', {1: "{1,2,-5}"}),
    Compiled("in of booleans", '"is_final" = ANY($1)', {1: "{true,false}"}),
    Compiled("in of dates", '"created_at" = ANY($1)', {1: "{" + TIME + "}"}),
    Compiled("in of nothing", '"role" = ANY($1)', {1: "{}"}),
    Compiled("not in of nothing", 'NOT ("role" = ANY($1))', {1: "{}"}),
    Compiled("in with null", '"role" = ANY($1)', {1: '{NULL,"user"}'}),
    Compiled("not in with null", 'NOT ("role" = ANY($1))', {1: '{NULL,"user"}'}),
    Compiled("in of null", 'NOT ("seq" = ANY($1))', {1: "{NULL}"}),
    Compiled("in an array column", '$1 = ANY("tags")', {1: "user"}),
    Compiled("in a column of numbers", '$1 = ANY("numbers")', {1: "2"}),
    Compiled("like", '"content" LIKE $1', {1: "he%"}),
    Compiled("ilike", '"content" ILIKE $1', {1: "HE%"}),
    Compiled("not of like", 'NOT ("content" LIKE $1)', {1: "he%"}),
    Compiled("like of lower", 'LOWER("content") LIKE $1', {1: "hello%"}),
    Compiled("eq of upper", 'UPPER("role") = $1', {1: "USER"}),
    Compiled("eq of upper and upper", 'UPPER("role") = UPPER($1)', {1: "user"}),
    Compiled("eq of concat", 'CONCAT("role","tenant") = $1', {1: "usert1"}),
    Compiled("eq of concat in the client", 'CONCAT("role", $1, "tenant") = $2', {1: "-", 2: "user-t1"}),
    Compiled("eq of coalesce", 'COALESCE("role",$1) = $2', {1: "none", 2: "none"}),
    Compiled("gt of coalesce of a number", 'COALESCE("seq",$1) > $2', {1: "0", 2: "1"}),
    Compiled("an enum", '"status" = $1', {1: "open"}),
    Compiled("in of an enum", '"status" = ANY($1)', {1: '{"open","done"}'}),
    Compiled("a cursor", '"seq" > $1 OR ("seq" IS NULL)', {1: "1"}),
    Compiled("a cursor by time", '"created_at" > $1 OR ("created_at" IS NULL OR "created_at" IS NULL)', {1: TIME}),
    Compiled("a cursor by two", '("role" > $1 OR ("role" = $2 AND "seq" > $3)) AND "is_final" = $4',
             {1: "u", 2: "user", 3: "0", 4: "true"}),
    Compiled("a cursor with lines", '"content" > $1', {1: "a\n\tb"}),
)  # fmt: skip

REFUSED = {
    "a bare value": ("$1", "not a condition"),
    "length": ('LENGTH("role") > $1', "the functions are lower, upper, coalesce and concat"),
    "add": ('+("seq",$1) > $2', "arithmetic"),
    "isNull of isNull": ('("role" IS NULL) IS NULL', "left of IS NULL: operands are values"),
    "isNull of eq": ('("role" = $1) IS NULL', "left of IS NULL: operands are values"),
    "isNull of eq in the client": ('"role" = $1 IS NULL', "not chained"),
    "eq of isNull in the client": ('"role" IS NULL = $1', "not chained"),
    "eq of eq in the client": ('"seq" = $1 = $2', "not chained"),
    "gt of conditions": ('("role" IS NULL) > ("tenant" IS NULL)', "left of >: operands are values"),
    "in of a condition": ('("role" IS NULL) = ANY($1)', "left of =: operands are values"),
    "like of a column": ('"role" LIKE "tenant"', "a pattern is a text literal or a parameter"),
    "upper of lower": ('UPPER(LOWER("role")) = $1', "a call reads columns and values"),
    "lower of concat": ('LOWER(CONCAT("role","tenant")) = $1', "a call reads columns and values"),
    "lower of coalesce": ('LOWER(COALESCE("role",$1)) = $2', "a call reads columns and values"),
    "a nested property": ('"meta"."kind" = $1', "not qualified"),
    "a subselect": ('"role" IN (SELECT "role" FROM "members")', "SELECT is not part"),
    "a hidden column": ('"secret_note" = $1', "may not use"),
}

ORDERS = {
    '"seq"': '"seq"',
    '"seq" DESC': '"seq" DESC',
    '"seq" NULLS FIRST': '"seq" NULLS FIRST',
    '"created_at" DESC NULLS LAST,"id"': '"created_at" DESC NULLS LAST, "id"',
    '"created_at" DESC NULLS FIRST, "id" NULLS LAST': '"created_at" DESC NULLS FIRST, "id" NULLS LAST',
    '"status" DESC': '"status" DESC',
}
NO_ORDERS = {
    "a function": ('UPPER("role")', "not an expression"),
    "a value": ("$1 DESC", "a column is missing"),
    "a collation": ('"role" COLLATE "C"', "a sort key is"),
    "ASC that a compiler never writes, twice": ('"role" ASC ASC', "a sort key is"),
}


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_a_compiled_filter_gives_its_own_rows_of_the_session(database: Database, row: Compiled) -> None:
    has_no_type = row.name == "eq of concat in the client"  # PostgreSQL asks for one, and we give it
    assert assert_narrowed(database, row.text, row.params) or has_no_type


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_a_compiled_filter_that_is_not_of_the_language_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(FilterFault, match=says):
        parse(text, TYPED)


def test_a_value_that_a_compiler_left_out_because_it_is_null_is_missed() -> None:
    with pytest.raises(FilterFault, match=r"\$1 has no value"):
        conjoin([OWN], parse('COALESCE("role",$1) = $2', TYPED), CLAIMS, {2: "x"})


@pytest.mark.parametrize("text", ORDERS)
def test_a_compiled_order_is_written_from_the_policys_names(text: str) -> None:
    assert order_by(text, COLUMNS) == ORDERS[text]


@pytest.mark.parametrize(("text", "says"), NO_ORDERS.values(), ids=NO_ORDERS)
def test_a_compiled_order_of_anything_but_columns_is_refused(text: str, says: str) -> None:
    with pytest.raises(FilterFault, match=says):
        order_by(text, COLUMNS)
