"""How a policy's predicate and a client's filter become one text with one row of parameters."""

import pytest

from proxy.core.filters import (
    Condition,
    FilterFault,
    Predicate,
    Unverified,
    array_literal,
    conjoin,
    order_by,
    parse,
    parse_policy,
)
from proxy.core.filters.arrays import reread
from proxy.core.filters.ast import Array, ArrayTest, Claim, Column
from tests.core.filters.rows import COLUMNS, TYPED

SESSION = parse_policy("session_id = {session_id}", frozenset({"session_id"}))
THREAD = parse_policy("thread_id = {thread_id}", frozenset({"thread_id"}))
EITHER = parse_policy("session_id = {session_id} OR shared = 'x'", frozenset({"session_id"}))
CLAIMS = {"session_id": "s-ada", "thread_id": "t9", "unused": "u"}


def both(policy: list[Condition], text: str, params: dict[int, str]) -> Predicate:
    return conjoin(policy, parse(text, TYPED), CLAIMS, params)


def test_the_policy_alone() -> None:
    assert conjoin([SESSION], None, CLAIMS, {}) == Predicate('("session_id" = $1) AND (TRUE)', ("s-ada",))


def test_the_policy_and_a_filter() -> None:
    assert both([SESSION], "role = 'user'", {}) == Predicate('("session_id" = $1) AND ("role" = $2)', ("s-ada", "user"))


def test_a_policy_that_is_narrowed() -> None:
    predicate = conjoin([SESSION, THREAD], None, CLAIMS, {})
    assert predicate.text == '(("session_id" = $1) AND ("thread_id" = $2)) AND (TRUE)'
    assert predicate.params == ("s-ada", "t9")


def test_parts_of_a_policy_share_the_number_of_a_claim_and_never_one_of_a_text() -> None:
    predicate = conjoin([EITHER, SESSION, EITHER], None, CLAIMS, {})
    assert predicate.text == (
        '((("session_id" = $1) OR ("shared" = $2)) AND ("session_id" = $1) AND '
        '(("session_id" = $1) OR ("shared" = $3))) AND (TRUE)'
    )
    assert predicate.params == ("s-ada", "x", "x")


def test_a_public_policy_leaves_the_filter_in_its_brackets() -> None:
    assert conjoin([], parse("seq = 1 OR is_final", TYPED), {}, {}).text == '(TRUE) AND (("seq" = 1) OR "is_final")'
    assert conjoin([], None, {}, {}).text == "(TRUE) AND (TRUE)"


def test_a_top_level_or_of_the_policy_stays_in_brackets() -> None:
    assert conjoin([EITHER], None, CLAIMS, {}).text == '(("session_id" = $1) OR ("shared" = $2)) AND (TRUE)'


def test_the_clients_numbers_follow_the_policys_by_first_use() -> None:
    predicate = both([SESSION, THREAD], "role = $3 OR tenant = $1 OR role = $3", {1: "a", 2: "b", 3: "c"})
    assert predicate.text.endswith('AND (("role" = $3) OR ("tenant" = $4) OR ("role" = $3))')
    assert predicate.params == ("s-ada", "t9", "c", "a")


def test_equal_values_in_both_halves_never_share_a_number() -> None:
    predicate = both([SESSION], "session_id = $1 AND role = 's-ada'", {1: "s-ada"})
    assert predicate.text == '("session_id" = $1) AND (("session_id" = $2) AND ("role" = $3))'
    assert predicate.params == ("s-ada", "s-ada", "s-ada")


def test_a_missing_parameter_is_refused_where_it_stands() -> None:
    with pytest.raises(FilterFault, match="at 20: \\$2 has no value"):
        both([SESSION], "role = $1 OR role = $2", {1: "a", 3: "b"})


@pytest.mark.parametrize("value", ["s1\x00", "\ud800"])
def test_a_value_that_postgresql_cannot_store_is_refused(value: str) -> None:
    with pytest.raises(FilterFault, match="the value of \\$1 holds NUL or a lone surrogate"):
        both([SESSION], "role = $1", {1: value})
    with pytest.raises(FilterFault, match="the value of \\$1 holds NUL or a lone surrogate"):
        both([SESSION], "tags @> ARRAY[$1]", {1: value})


@pytest.mark.parametrize("value", ["a\nb", "\t", "\r\n", "\x7f", "\x85", "\u2028"])
def test_any_other_value_is_sent_as_it_is(value: str) -> None:
    assert both([SESSION], f"role = $1 OR role = '{value}'", {1: value}).params == ("s-ada", value, value)


@pytest.mark.parametrize("value", ["s1\x00", "a\nb", "\x7f", "\x85", "\ud800"])
def test_a_claim_with_a_control_character_is_refused(value: str) -> None:
    with pytest.raises(Unverified, match="a claim's value holds a control character"):
        conjoin([SESSION], None, {"session_id": value}, {})


def test_an_empty_value_is_a_value() -> None:
    assert both([SESSION], "role = $1", {1: ""}).params == ("s-ada", "")


def test_a_claim_that_is_not_there_is_the_callers_fault() -> None:
    with pytest.raises(KeyError):
        conjoin([SESSION], None, {}, {})


def test_halves_cannot_be_exchanged() -> None:
    with pytest.raises(Unverified, match="a policy reads a client's parameter"):
        conjoin([parse("role = $1", TYPED)], None, CLAIMS, {1: "x"})
    array = Condition.of(ArrayTest("&&", Column("tags"), Array((Claim("session_id"),))))
    with pytest.raises(Unverified, match="the parameter or the claim of the other half"):
        conjoin([SESSION], array, {"session_id": "s"}, {})
    with pytest.raises(Unverified, match="a client's filter reads a claim"):
        conjoin([SESSION], SESSION, CLAIMS, {})


def test_a_name_with_a_per_cent_sign_and_a_quote_is_written_whole() -> None:
    predicate = conjoin([SESSION], parse('"100%d""x" = 1', frozenset({'100%d"x'})), CLAIMS, {})
    assert predicate.text == '("session_id" = $1) AND ("100%d""x" = 1)'


ARRAYS = {
    "{}": "{}",
    "{ } ": "{}",
    "{\n\t}": "{}",
    " { } ": None,
    "{\ta,\n b c\r\n}": '{"a","b c"}',
    '{"a\nb"}': '{"a\nb"}',
    "{a\nb}": '{"a\nb"}',
    "{   ": None,
    "{s2,s3}": '{"s2","s3"}',
    "{ s2 , s 3 }": '{"s2","s 3"}',
    '{"a,b","c}"}': '{"a,b","c}"}',
    '{"a\\"b","c\\\\d"}': '{"a\\"b","c\\\\d"}',
    '{"\\a"}': '{"a"}',
    '{""}': '{""}',
    '{NULL,null,"NULL"}': '{NULL,NULL,"NULL"}',
    "{a,null}": '{"a",NULL}',
    "{é漢}": '{"é漢"}',
    "{a'b}": '{"a\'b"}',
    "": None,
    "a": None,
    "{": None,
    "{a": None,
    "{a}b": None,
    "{a,}": None,
    "{,a}": None,
    "{a,,b}": None,
    "{{a}}": None,
    "{a{b}": None,
    '{"a}': None,
    '{"a"b}': None,
    '{a"b"}': None,
    "{a\\b}": None,
    "[1:1]={a}": None,
    "{a} {b}": None,
    " {a}": None,
}


@pytest.mark.parametrize("literal", ARRAYS)
def test_an_array_is_read_and_written_with_our_quotes(literal: str) -> None:
    written = reread(literal, 100)
    assert written == ARRAYS[literal]
    if written is not None:
        assert reread(written, 100) == written


def test_a_list_of_texts_becomes_an_array_literal() -> None:
    values = ["a", 'b"c', "d\\e", "", "NULL", "{x},y", " z "]
    literal = array_literal(values)
    assert literal == '{"a","b\\"c","d\\\\e","","NULL","{x},y"," z "}'
    assert reread(literal, 100) == literal


ORDERS = {
    "id": '"id"',
    '"created_at" DESC NULLS LAST,id': '"created_at" DESC NULLS LAST, "id"',
    " ID asc nulls first , seq ": '"id" ASC NULLS FIRST, "seq"',
    "seq NULLS FIRST": '"seq" NULLS FIRST',
    '"Weird Col" desc': '"Weird Col" DESC',
    "id,id,id,id,id,id,id,id": ", ".join(['"id"'] * 8),
}


@pytest.mark.parametrize("text", ORDERS)
def test_an_order_is_written_from_the_policys_names(text: str) -> None:
    assert order_by(text, COLUMNS) == ORDERS[text]
    assert order_by(ORDERS[text], COLUMNS) == ORDERS[text]


NO_ORDERS = {
    "": (0, "a column is missing", "malformed"),
    "1": (0, "a column is missing", "malformed"),
    "id,": (3, "a column is missing", "malformed"),
    "id,id,id,id,id,id,id,id,id": (24, "at most 8", "malformed"),
    "id LIMIT (SELECT 1)": (3, "a sort key is", "malformed"),
    "id ASC ASC": (7, "a sort key is", "malformed"),
    "id NULLS": (8, "FIRST or LAST", "malformed"),
    "id NULLS FIRST DESC": (15, "a sort key is", "malformed"),
    "lower(role)": (0, "not an expression", "malformed"),
    "secret_note": (0, "may not use", "column"),
    "no_such": (0, "may not use", "column"),
    '"ID"': (0, "may not use", "column"),
    "id\nLIMIT 1": (2, "control", "malformed"),
    "id\tDESC": (2, "control", "malformed"),
    "id\u00a0": (2, "ASCII", "malformed"),
    "id;": (2, "semicolon", "malformed"),
    "id -- x": (3, "comments", "malformed"),
    "id::text": (2, "a sort key is", "malformed"),
    "(id)": (0, "a column is missing", "malformed"),
    "x" * 4097: (4096, "bytes", "malformed"),
}


@pytest.mark.parametrize("text", NO_ORDERS, ids=lambda text: text[:30])
def test_anything_else_is_no_order(text: str) -> None:
    with pytest.raises(FilterFault) as caught:
        order_by(text, COLUMNS)
    at, says, kind = NO_ORDERS[text]
    assert (caught.value.position, caught.value.kind) == (at, kind), str(caught.value)
    assert says in caught.value.sentence
