"""A page of a shape, by query or by body: five members, their types and bounds, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Code, Refusal
from proxy.core.filters import conjoin, parse
from proxy.core.limits import Limits
from proxy.core.subset import QUERY_KEYS, Subset, array_literal, check_params, from_body, from_query
from tests.core.samples import outcome, refused

LIMITS = Limits()


def posted(members: Any, given: dict[str, str] | None = None) -> Subset:
    raw = members if isinstance(members, bytes) else json.dumps(members).encode()
    return from_body(given or {}, raw, LIMITS)


def got(**members: str) -> Subset | None:
    return from_query({f"subset__{key}": value for key, value in members.items()}, LIMITS)


BODIES: dict[str, tuple[Any, Subset]] = {
    "where": ({"where": "true"}, Subset(where="true")),
    "where with parameters": ({"where": "mode = $1", "params": {"1": "a"}}, Subset(where="mode = $1", params={1: "a"})),
    "a whole number": ({"where": "n = $1", "params": {"1": 7}}, Subset(where="n = $1", params={1: "7"})),
    "a truth value": (
        {"where": "a = $1 AND b = $2", "params": {"1": True, "2": False}},
        Subset(where="a = $1 AND b = $2", params={1: "true", 2: "false"}),
    ),
    "a list": (
        {"where": "a = ANY($1)", "params": {"1": ["a", 'b"\\', 3, True]}},
        Subset(where="a = ANY($1)", params={1: '{"a","b\\"\\\\","3","true"}'}, arrays=frozenset({1})),
    ),
    "no elements": (
        {"where": "a = ANY($1)", "params": {"1": []}},
        Subset(where="a = ANY($1)", params={1: "{}"}, arrays=frozenset({1})),
    ),
    "no parameters": ({"where": "true", "params": {}}, Subset(where="true")),
    "an order": ({"order_by": "id"}, Subset(order_by="id")),
    "a page": ({"order_by": "id", "limit": 10, "offset": 0}, Subset(order_by="id", limit=10, offset=0)),
    "the hints of the client library": (
        {"where": "true", "where_expr": {"type": "val", "args": [[1]]}, "order_by_expr": [{}]},
        Subset(where="true"),
    ),
    "JSON with blanks": (b' {\n"where" :\t"true" } ', Subset(where="true")),
    "a filter on two lines": (
        b'{"where": "a = $1\\n\\tOR b", "params": {"1": "x\\ny\\t"}}',
        Subset(where="a = $1\n\tOR b", params={1: "x\ny\t"}),
    ),
    "brackets in text": ({"where": "[{" * 100}, Subset(where="[{" * 100)),
    "quotes and brackets in text": ({"where": '"]\\"' * 99}, Subset(where='"]\\"' * 99)),
}
REFUSED: dict[str, tuple[Any, Code]] = {
    "nothing": (b"", Code.subset_malformed),
    "an empty object": ({}, Code.subset_malformed),
    "null": (None, Code.subset_malformed),
    "a list": ([{"where": "true"}], Code.subset_malformed),
    "text": ("true", Code.subset_malformed),
    "no JSON": (b"where=true", Code.subset_malformed),
    "no UTF-8": (b'{"where":"\xff"}', Code.subset_malformed),
    "UTF-16": ('{"where":"true"}'.encode("utf-16"), Code.subset_malformed),
    "a byte order mark": (b'\xef\xbb\xbf{"where":"true"}', Code.subset_malformed),
    "two values": (b'{"where":"true"}{"where":"true"}', Code.subset_malformed),
    "a comma at the end": (b'{"where":"true",}', Code.subset_malformed),
    "a comment": (b'{"where":"true"}//', Code.subset_malformed),
    "hints alone": ({"where_expr": {}}, Code.subset_malformed),
    "no parameters alone": ({"params": {}}, Code.subset_malformed),
    "a member twice": (b'{"where":"true","where":"false"}', Code.subset_malformed),
    "a member twice, once escaped": (b'{"where":"true","wh\\u0065re":"false"}', Code.subset_malformed),
    "a parameter twice": (b'{"where":"a = $1","params":{"1":"a","1":"b"}}', Code.subset_malformed),
    "a hint's member twice": (b'{"where":"true","where_expr":{"a":1,"a":2}}', Code.subset_malformed),
    "a table": ({"where": "true", "table": "secrets"}, Code.subset_malformed),
    "columns": ({"where": "true", "columns": ["content"]}, Code.subset_malformed),
    "queryable columns": ({"where": "true", "queryable_columns": "content"}, Code.subset_malformed),
    "a handle": ({"where": "true", "handle": "1-2"}, Code.subset_malformed),
    "live": ({"where": "true", "live": False}, Code.subset_malformed),
    "replica": ({"where": "true", "replica": "full"}, Code.subset_malformed),
    "a secret": ({"where": "true", "secret": "x"}, Code.subset_malformed),
    "a member of the query's spelling": ({"subset__where": "true"}, Code.subset_malformed),
    "a member in capitals": ({"WHERE": "true"}, Code.subset_malformed),
    "a member with a blank": ({"where ": "true"}, Code.subset_malformed),
    "a subset object": ({"subset": {"where": "true"}}, Code.subset_malformed),
    "a subset object beside": ({"where": "true", "subset": {}}, Code.subset_malformed),
    "where: null": ({"where": None}, Code.subset_malformed),
    "where: a number": ({"where": 1}, Code.subset_malformed),
    "where: a list": ({"where": ["true"]}, Code.subset_malformed),
    "where: NUL": ({"where": "true\x00"}, Code.malformed_request),
    "where: a surrogate": ({"where": "true\ud800"}, Code.malformed_request),
    "order_by: a line break": ({"where": "true", "order_by": "id\n"}, Code.malformed_request),
    "where: a lone surrogate": (b'{"where":"\\ud800"}', Code.malformed_request),
    "order_by: a list": ({"order_by": ["id"]}, Code.subset_malformed),
    "order_by: NUL": ({"order_by": "id\x00"}, Code.malformed_request),
    "limit: no order": ({"where": "true", "limit": 1}, Code.subset_malformed),
    "offset: no order": ({"where": "true", "offset": 1}, Code.subset_malformed),
    "limit: 0": ({"order_by": "id", "limit": 0}, Code.subset_malformed),
    "limit: below 0": ({"order_by": "id", "limit": -1}, Code.subset_malformed),
    "limit: too many": ({"order_by": "id", "limit": 1_000_001}, Code.subset_malformed),
    "limit: text": ({"order_by": "id", "limit": "1"}, Code.subset_malformed),
    "limit: a fraction": ({"order_by": "id", "limit": 1.0}, Code.subset_malformed),
    "limit: true": ({"order_by": "id", "limit": True}, Code.subset_malformed),
    "limit: null": ({"order_by": "id", "limit": None}, Code.subset_malformed),
    "limit: infinite": (b'{"order_by":"id","limit":Infinity}', Code.subset_malformed),
    "limit: thousands of digits": (b'{"order_by":"id","limit":' + b"9" * 5000 + b"}", Code.subset_malformed),
    "offset: below 0": ({"order_by": "id", "offset": -1}, Code.subset_malformed),
    "offset: too far": ({"order_by": "id", "offset": 1_000_001}, Code.subset_malformed),
    "offset: false": ({"order_by": "id", "offset": False}, Code.subset_malformed),
    "params: a list": ({"where": "true", "params": ["a"]}, Code.subset_malformed),
    "params: null": ({"where": "true", "params": None}, Code.subset_malformed),
    "params: text": ({"where": "true", "params": '{"1":"a"}'}, Code.subset_malformed),
    "params: no where": ({"order_by": "id", "params": {"1": "a"}}, Code.subset_malformed),
    "params: a gap": ({"where": "true", "params": {"2": "a"}}, Code.filter_malformed),
    "params: a leading 0": ({"where": "true", "params": {"01": "a"}}, Code.subset_malformed),
    "params: 0": ({"where": "true", "params": {"0": "a"}}, Code.subset_malformed),
    "params: a name": ({"where": "true", "params": {"a": "a"}}, Code.subset_malformed),
    "params: full width": ({"where": "true", "params": {"１": "a"}}, Code.subset_malformed),
    "params: a line break": ({"where": "true", "params": {"1\n": "a"}}, Code.subset_malformed),
    "params: too long": ({"where": "true", "params": {"1": "x" * 1025}}, Code.filter_malformed),
    "a parameter: null": ({"where": "true", "params": {"1": None}}, Code.subset_malformed),
    "a parameter: a fraction": ({"where": "true", "params": {"1": 1.5}}, Code.subset_malformed),
    "a parameter: not a number": (b'{"where":"true","params":{"1":NaN}}', Code.subset_malformed),
    "a parameter: too large": ({"where": "true", "params": {"1": 2**63}}, Code.subset_malformed),
    "a parameter: an object": ({"where": "true", "params": {"1": {}}}, Code.subset_malformed),
    "a parameter: a list in a list": ({"where": "true", "params": {"1": [["a"]]}}, Code.subset_malformed),
    "a parameter: null in a list": ({"where": "true", "params": {"1": [None]}}, Code.subset_malformed),
    "a parameter: NUL": ({"where": "true", "params": {"1": "s-ada\x00"}}, Code.malformed_request),
    "a parameter: NUL in a list": ({"where": "true", "params": {"1": ["\x00"]}}, Code.malformed_request),
    "a parameter: a lone surrogate": (b'{"where":"true","params":{"1":"\\udfff"}}', Code.malformed_request),
}


@pytest.mark.parametrize(("members", "subset"), BODIES.values(), ids=BODIES)
def test_a_body_asks_for_this_page(members: Any, subset: Subset) -> None:
    assert posted(members) == subset


@pytest.mark.parametrize(("members", "code"), REFUSED.values(), ids=REFUSED)
def test_any_other_body_is_refused(members: Any, code: Code) -> None:
    with refused(code):
        posted(members)


@pytest.mark.parametrize("junk", [b"x", b",", b"]", b"}", b"\x00", b"\xff", b'"', b"{}", b"//"])
def test_a_body_with_junk_before_or_behind_is_refused(junk: bytes) -> None:
    for raw in (junk + b'{"where":"true"}', b'{"where":"true"}' + junk):
        with refused(Code.subset_malformed):
            posted(raw)


def test_a_body_in_capitals_or_doubled_is_refused() -> None:
    raw = b'{"where":"true"}'
    for text in (raw.upper(), raw + raw, b"[" + raw + b"," + raw + b"]"):
        with refused(Code.subset_malformed):
            posted(text)


def test_a_member_that_no_subset_has_is_not_repeated_to_the_client() -> None:
    with refused(Code.subset_malformed, "The body has 2 member(s) that no subset has."):
        posted({"s3cr3t": 1, "where": "true", "other": 2})


def test_a_subset_object_is_told_how_to_be_flat() -> None:
    with refused(Code.subset_malformed, "Send the members of the subset flat"):
        posted({"subset": {"where": "true"}})


@pytest.mark.parametrize("key", sorted(QUERY_KEYS))
def test_a_subset_in_the_body_and_in_the_query_is_refused(key: str) -> None:
    with refused(Code.subset_malformed, "not in both"):
        posted({"where": "true"}, {key: "x"})


def test_a_body_may_be_as_long_as_the_limit_and_no_longer() -> None:
    raw = b'{"where":"true"}'
    assert from_body({}, raw.ljust(40), Limits(body_bytes=40)) == Subset(where="true")
    with refused(Code.body_too_large, "longer than 40 bytes"):
        from_body({}, raw.ljust(41), Limits(body_bytes=40))


DEEP = {
    "lists": b"[" * 65,
    "lists that are closed": b'{"where_expr":' + b"[" * 64 + b"]" * 64 + b"}",
    "objects": b'{"a":' * 65,
    "behind closing brackets in a text": b'{"where":"'
    + b"]" * 999
    + b'","where_expr":'
    + b"[" * 999
    + b"]" * 999
    + b"}",
    "between closing brackets in texts": b'["]]",' * 999 + b"]" * 999,
    "behind an escaped quote": b'{"where":"\\"]]]]","where_expr":' + b"[" * 999,
    "in what is no JSON": b"x" + b"[" * 999,
}


@pytest.mark.parametrize("raw", DEEP.values(), ids=DEEP)
def test_json_that_is_nested_too_deep_is_refused_unread(raw: bytes) -> None:
    with refused(Code.subset_malformed, "nested deeper than 64"):
        posted(raw)


def test_json_may_be_nested_as_deep_as_the_limit() -> None:
    assert posted(b'{"where":"true","where_expr":' + b"[" * 63 + b"]" * 63 + b"}") == Subset(where="true")


def test_a_text_that_does_not_end_hides_no_brackets() -> None:
    with refused(Code.subset_malformed, "That is not JSON"):
        posted(b'{"where":"' + b"[" * 99)
    with refused(Code.subset_malformed, "nested deeper than 64"):
        posted(b'{"where":"x","where_expr":' + b"[" * 99 + b'"')


def depth(value: Any) -> int:
    """How many lists and objects stand in one another."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0)


awkward = st.text('\\"[]{},:a', max_size=6)
nested = st.recursive(
    awkward | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward, inner, max_size=3),
    max_leaves=30,
)


@given(nested, st.booleans())
def test_json_is_as_deep_as_its_lists_and_objects_whatever_its_texts_hold(value: Any, spaced: bool) -> None:
    raw = json.dumps({"where": "true", "where_expr": value}, indent=1 if spaced else None).encode()
    deepest = 1 + depth(value)
    assert from_body({}, raw, Limits(json_depth=deepest)) == Subset(where="true")
    with refused(Code.subset_malformed, f"nested deeper than {deepest - 1}"):
        from_body({}, raw, Limits(json_depth=deepest - 1))


def test_json_of_more_values_than_there_may_be_is_refused_unread() -> None:
    for filler in (b"[1,2,3,4]", b'{"a":{"b":{}}}', b"[[],[]]", b"[1,2,3,4,"):
        with refused(Code.subset_malformed, "more than 6 values"):
            from_body({}, b'{"where":"true","where_expr":' + filler, Limits(json_values=6))
    for text in (b'"[,{,[,{,[,{"', b"[1,2]", b"{}"):
        assert from_body({}, b'{"where":"true","where_expr":' + text + b"}", Limits(json_values=6))


def test_a_list_of_ten_thousand_keys_is_read_by_post_in_each_of_its_forms() -> None:
    keys = [f"00000000-0000-4000-8000-{number:012}" for number in range(10_000)]
    listed = posted({"where": "id = ANY($1)", "params": {"1": keys}})
    assert (listed.params, listed.arrays) == ({1: array_literal(keys)}, {1})
    assert posted({"where": "id = ANY($1)", "params": {"1": array_literal(keys)}}).params == listed.params
    mixed = posted({"where": "id = ANY($1)", "params": {"1": [*keys[:2], 3, True]}})
    assert mixed.params == {1: array_literal([*keys[:2], "3", "true"])}
    single = posted({"where": "x", "params": {str(number): key for number, key in enumerate(keys, 1)}})
    assert single.params == dict(enumerate(keys, 1))
    with refused(Code.filter_malformed, "at most 10000"):
        posted({"where": "x", "params": {str(number): "" for number in range(1, 10_002)}})


QUERIES = {
    "where": ({"where": "true"}, Subset(where="true")),
    "parameters": (
        {"where": "a = $1", "params": '{"1":"x"}'},
        Subset(where="a = $1", params={1: "x"}),
    ),
    "a page": ({"order_by": "id", "limit": "10", "offset": "0"}, Subset(order_by="id", limit=10, offset=0)),
    "hints": ({"where": "true", "where_expr": "{", "order_by_expr": "x"}, Subset(where="true")),
}
REFUSED_QUERIES = {
    "blank where is text and fails as a filter does": ({"where_expr": "x"}, Code.subset_malformed),
    "limit: blank": ({"order_by": "id", "limit": ""}, Code.subset_malformed),
    "limit: a sign": ({"order_by": "id", "limit": "+1"}, Code.subset_malformed),
    "limit: below 0": ({"order_by": "id", "limit": "-1"}, Code.subset_malformed),
    "limit: a leading 0": ({"order_by": "id", "limit": "01"}, Code.subset_malformed),
    "limit: a fraction": ({"order_by": "id", "limit": "1.0"}, Code.subset_malformed),
    "limit: an exponent": ({"order_by": "id", "limit": "1e3"}, Code.subset_malformed),
    "limit: an underscore": ({"order_by": "id", "limit": "1_0"}, Code.subset_malformed),
    "limit: full width": ({"order_by": "id", "limit": "１"}, Code.subset_malformed),
    "limit: a blank behind": ({"order_by": "id", "limit": "1 "}, Code.subset_malformed),
    "limit: text": ({"order_by": "id", "limit": "ALL"}, Code.subset_malformed),
    "limit: 0": ({"order_by": "id", "limit": "0"}, Code.subset_malformed),
    "limit: eleven digits": ({"order_by": "id", "limit": "1" * 11}, Code.subset_malformed),
    "offset: too far": ({"order_by": "id", "offset": "1000001"}, Code.subset_malformed),
    "limit without order": ({"where": "true", "limit": "1"}, Code.subset_malformed),
    "params: no JSON": ({"where": "a = $1", "params": "x"}, Code.subset_malformed),
    "params: a list": ({"where": "a = $1", "params": '["x"]'}, Code.subset_malformed),
    "params: a member twice": ({"where": "a = $1", "params": '{"1":"x","1":"y"}'}, Code.subset_malformed),
    "params without where": ({"params": '{"1":"x"}'}, Code.subset_malformed),
}


def test_without_members_in_the_query_there_is_no_subset() -> None:
    assert got() is None


@pytest.mark.parametrize(("members", "subset"), QUERIES.values(), ids=QUERIES)
def test_a_query_asks_for_this_page(members: dict[str, str], subset: Subset) -> None:
    assert got(**members) == subset


@pytest.mark.parametrize(("members", "code"), REFUSED_QUERIES.values(), ids=REFUSED_QUERIES)
def test_any_other_query_is_refused(members: dict[str, str], code: Code) -> None:
    with refused(code):
        got(**members)


def test_parameters_are_counted_and_measured_in_bytes() -> None:
    limits = Limits(params=2, param_bytes=4, params_bytes=6)
    check_params({}, limits)
    check_params({1: "ää", 2: "xx"}, limits)
    check_params({1: "{xxxx}"}, limits)  # a list is held to the bound of all
    for params in ({1: "ääx"}, {1: "{xxxxx}"}, {1: "xxxx", 2: "xxx"}, {1: "", 2: "", 3: ""}, {2: ""}, {0: ""}):
        with refused(Code.filter_malformed):
            check_params(params, limits)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9), min_size=1, max_size=5
    )
)
def test_a_list_is_read_by_the_filter_language_as_it_was_written(elements: list[str]) -> None:
    condition = parse("mode @> $1", frozenset({"mode"}))
    literal = array_literal(elements)
    assert conjoin((), condition, {}, {1: literal}).params == (literal,)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
members = st.sampled_from(
    ["where", "params", "limit", "offset", "order_by", "where_expr", "order_by_expr", "subset", "1"]
)


@given(st.dictionaries(members, json_values | st.dictionaries(st.sampled_from("123"), json_values)))
def test_any_json_object_is_a_subset_or_a_refusal(body: dict[str, Any]) -> None:
    came = outcome(lambda: posted(body))
    assert isinstance(came, Subset | Refusal)
    if isinstance(came, Subset):
        assert came != Subset()
        assert all(isinstance(value, str) for value in came.params.values())


@given(st.binary(max_size=60) | st.text('[]{}",:\\u0ee', max_size=200).map(str.encode))
def test_any_bytes_are_a_subset_or_a_refusal(raw: bytes) -> None:
    assert isinstance(outcome(lambda: posted(raw)), Subset | Refusal)
