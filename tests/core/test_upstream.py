"""The exact bytes that go to Electric, and what makes two requests the same."""

import gc
import json
import weakref
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decision import AuthorizedShape, decide
from proxy.core.errors import Code
from proxy.core.filters import array_literal
from proxy.core.handles import TrustedPosition
from proxy.core.request import Kind, ShapeRequest, parse
from proxy.core.upstream import UpstreamRequest, build, definition, moved
from tests.core.samples import DOCUMENT, asked, claims, policy, policy_set, query, refused

HANDLE = "38083685-1729874417404867"
CATCH_UP = {"offset": "0_0", "handle": HANDLE}
BASE = (
    "/v1/shape?table=%22public%22.%22notes%22&where=%28%22session_id%22%20%3D%20%241%29%20AND%20%28TRUE%29"
    "&params%5B1%5D=s-ada"
    "&columns=%22id%22%2C%22session_id%22%2C%22thread_id%22%2C%22mode%22%2C%22body%22%2C%22Gr%C3%B6%C3%9Fe%22"
    "&queryable_columns=%22id%22%2C%22session_id%22%2C%22thread_id%22%2C%22mode%22%2C%22body%22%2C%22Gr%C3%B6%C3%9Fe%22"
    "&replica=default&log=full"
)
QUERYABLE = "&queryable" + BASE.partition("&queryable")[2].partition("&")[0]
PAGE = {"subset__where": "mode = 'a'", "subset__order_by": "id DESC", "subset__limit": 5, "subset__offset": 0}
SENT_PAGE: dict[str, Any] = {
    "where": '("session_id" = $1) AND ("mode" = $2)',
    "params": {"1": "s-ada", "2": "a"},
    "order_by": '"id" DESC',
    "limit": 5,
    "offset": 0,
}


def built(most: int = 9000, body: bytes | None = None, **params: object) -> UpstreamRequest:
    request = asked(query(**params), body=body)
    return built_of(decide(request, claims(), policy_set()).authorized(), request, most)


def built_of(shape: AuthorizedShape, request: ShapeRequest, most: int = 9000) -> UpstreamRequest:
    """The upstream request at a position that the request has from Electric."""
    return build(shape, request, TrustedPosition(request.position), most)


def sent(request: UpstreamRequest) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(request.target).query, keep_blank_values=True, strict_parsing=True)


TARGETS: dict[str, tuple[dict[str, object], str, Kind]] = {
    "first": ({}, "&offset=-1", Kind.initial),
    "now": ({"offset": "now"}, "&offset=now", Kind.initial),
    "catch-up": (CATCH_UP, f"&offset=0_0&handle={HANDLE}", Kind.catch_up),
    "live": (
        CATCH_UP | {"live": "true", "cursor": "17"},
        f"&offset=0_0&handle={HANDLE}&live=true&cursor=17",
        Kind.live,
    ),
    "live without a cursor": (
        CATCH_UP | {"live": "true", "cursor": ""},
        f"&offset=0_0&handle={HANDLE}&live=true",
        Kind.live,
    ),
    "not live": (CATCH_UP | {"live": "false", "live_sse": "false"}, f"&offset=0_0&handle={HANDLE}", Kind.catch_up),
    "stream": (
        CATCH_UP | {"live": "true", "experimental_live_sse": "true"},
        f"&offset=0_0&handle={HANDLE}&live=true&live_sse=true",
        Kind.sse,
    ),
    "after a 409": (
        {"expired_handle": HANDLE, "cache-buster": "b-1"},
        f"&offset=-1&expired_handle={HANDLE}&cache-buster=b-1",
        Kind.initial,
    ),
}


@pytest.mark.parametrize(("params", "position", "kind"), TARGETS.values(), ids=TARGETS)
def test_a_request_is_these_bytes_and_no_others(params: dict[str, object], position: str, kind: Kind) -> None:
    request = built(**params)
    assert request.target == BASE + position
    assert (request.kind, request.method, request.body, request.policy) == (kind, "GET", None, "notes")
    assert request.columns == frozenset(DOCUMENT["columns"])


@pytest.mark.parametrize("params", [params for params, _, _ in TARGETS.values()], ids=TARGETS)
def test_a_request_that_is_moved_is_the_request_at_that_offset(params: dict[str, object]) -> None:
    there, further = (built(**params | {"offset": offset, "handle": HANDLE}) for offset in ("7_2", "8_4"))
    assert moved(there, "8_4")[:-1] == further[:-1]  # but for the guard, which each policy set has of its own
    assert moved(there, "7_2") == there


def test_the_order_of_the_clients_query_does_not_matter() -> None:
    one = parse(None, b"table=notes&offset=-1&log=full")
    other = parse(None, b'log=full&offset=-1&table="public"."notes"'.replace(b'"', b"%22"))
    shapes = [built_of(decide(request, claims(), policy_set()).authorized(), request) for request in (one, other)]
    assert shapes[0][:-1] == shapes[1][:-1]  # but for the guard, which each policy set has of its own


def test_a_filters_text_and_parameters_are_ours() -> None:
    request = built(where="MODE  =  $1  and body like 'x%'", p1="a&b=c#d", columns="id")
    assert sent(request)[1:6] == [
        ("where", '("session_id" = $1) AND (("mode" = $2) AND ("body" LIKE $3))'),
        ("params[1]", "s-ada"),
        ("params[2]", "a&b=c#d"),
        ("params[3]", "x%"),
        ("columns", '"id"'),
    ]


def test_every_sign_that_means_something_in_a_target_is_escaped() -> None:
    request = built(where="mode = $1", p1="a/b?c#d&e=f+g%h i;j~k")
    assert "&params%5B2%5D=a%2Fb%3Fc%23d%26e%3Df%2Bg%25h%20i%3Bj~k&" in request.target


def test_a_page_of_a_get_travels_in_the_query() -> None:
    request = built(**CATCH_UP, **PAGE)
    assert request.method == "GET"
    tail = {key.removeprefix("subset__"): value for key, value in sent(request) if key.startswith("subset__")}
    assert tail == SENT_PAGE | {
        "params": json.dumps(SENT_PAGE["params"], separators=(",", ":")),
        "limit": "5",
        "offset": "0",
    }
    assert request.kind is Kind.subset


def test_a_page_of_a_post_travels_in_the_body() -> None:
    members = {key.removeprefix("subset__"): value for key, value in PAGE.items()}
    request = built(body=json.dumps(members | {"where_expr": {"type": "ref"}}).encode(), **CATCH_UP)
    assert request.method == "POST"
    assert request.target == BASE + f"&offset=0_0&handle={HANDLE}"
    assert request.body is not None
    assert json.loads(request.body) == SENT_PAGE


def test_a_page_without_parameters_sends_none() -> None:
    public = policy(public=True, where="TRUE", claims={}, narrow=[])
    request = asked(subset__order_by="id")
    made = built_of(decide(request, claims(), policy_set(public)).authorized(), request)
    assert [key for key, _ in sent(made) if key.startswith(("params", "subset__params"))] == []


def test_a_page_whose_target_would_be_too_long_goes_by_post() -> None:
    whole = built(**PAGE)
    length = len(whole.target)
    assert built(length, **PAGE)[:-1] == whole[:-1]  # but for the guard, which is each policy set's own
    posted = built(length - 1, **PAGE)
    assert posted.method == "POST"
    assert posted.body is not None
    assert json.loads(posted.body) == SENT_PAGE
    assert posted.target == BASE + "&offset=-1"


def test_a_target_may_be_as_long_as_the_limit_and_no_longer() -> None:
    length = len(BASE) + len("&offset=-1")
    assert len(built(length).target) == length
    with refused(Code.target_too_long, "filter by fewer values, or ask for a subset"):
        built(length - 1)


def test_a_long_list_in_a_page_goes_by_post_and_in_a_shape_is_refused_with_what_to_do() -> None:
    keys = [f"key-{number:08}" for number in range(1000)]
    literal = "{" + ",".join(keys) + "}"
    page = built(subset__where="mode = ANY($1)", subset__params=json.dumps({"1": literal}))
    assert page.method == "POST"
    assert page.body is not None
    assert json.loads(page.body)["params"]["2"] == array_literal(keys)
    with refused(Code.target_too_long, "filter by fewer values, or ask for a subset"):
        built(where="mode = ANY($1)", p1=literal)


def test_what_is_written_for_a_shape_is_forgotten_with_it() -> None:
    request = asked(query(where="mode = 'a'"))
    shape = decide(request, claims(), policy_set()).authorized()
    assert built_of(shape, request).shape is built_of(shape, request).shape
    gone = weakref.ref(shape)
    del shape
    gc.collect()
    assert gone() is None


def test_a_cursor_counts_as_the_rest_does() -> None:
    live = CATCH_UP | {"live": "true", "cursor": "9" * 20}
    length = len(built(**live).target)
    assert built(length, **live)
    with refused(Code.target_too_long):
        built(length - 1, **live)


def test_a_post_whose_target_is_too_long_is_refused() -> None:
    with refused(Code.target_too_long):
        built(100, body=b'{"where":"true"}')


SAME: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "another cursor": (CATCH_UP | {"live": "true", "cursor": "1"}, CATCH_UP | {"live": "true", "cursor": "2"}),
    "no cursor": (CATCH_UP | {"live": "true", "cursor": "1"}, CATCH_UP | {"live": "true"}),
    "another spelling of the table": ({}, {"table": '"public"."notes"'}),
    "another spelling of a filter": ({"where": "mode = 'a'"}, {"where": "(MODE) = $1", "p1": "a"}),
    "a filter that repeats the policy": ({}, {"where": "session_id = 's-ada'"}),
    "defaults given": ({}, {"replica": "default", "log": "full", "live": "false"}),
    "all columns given": ({}, {"columns": ",".join(f'"{column}"' for column in DOCUMENT["columns"])}),
}
OTHER: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "offset": ({}, {"offset": "now"}),
    "handle": (CATCH_UP, CATCH_UP | {"handle": "1-2"}),
    "live": (CATCH_UP, CATCH_UP | {"live": "true"}),
    "stream": (CATCH_UP | {"live": "true"}, CATCH_UP | {"live": "true", "live_sse": "true"}),
    "expired_handle": ({}, {"expired_handle": "1-2"}),
    "cache-buster": ({}, {"cache-buster": "1"}),
    "columns": ({}, {"columns": "id"}),
    "replica": ({}, {"replica": "full"}),
    "log": ({}, {"log": "changes_only"}),
    "where": ({}, {"where": "mode = 'a'"}),
    "a value": ({"where": "mode = 'a'"}, {"where": "mode = 'b'"}),
    "subset": (CATCH_UP, CATCH_UP | PAGE),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_requests_that_see_the_same_bytes_have_one_key(one: dict[str, object], other: dict[str, object]) -> None:
    assert built(**one).key == built(**other).key


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_requests_that_differ_have_different_keys(one: dict[str, object], other: dict[str, object]) -> None:
    assert built(**one).key != built(**other).key


def test_two_tokens_with_different_claims_never_share_a_key() -> None:
    request = asked()
    keys = {
        built_of(decide(request, claims(session_id=who), policy_set()).authorized(), request).key
        for who in ("s-ada", "s-bob")
    }
    assert len(keys) == 2


def test_a_page_in_the_body_and_in_the_query_have_different_keys() -> None:
    assert built(subset__where="true").key != built(body=b'{"where":"true"}').key


@pytest.mark.parametrize(("one", "other"), [SAME[key] for key in SAME], ids=SAME)
def test_requests_of_one_key_are_of_one_shape(one: dict[str, object], other: dict[str, object]) -> None:
    assert built(**one).shape == built(**other).shape


@pytest.mark.parametrize("what", OTHER)
def test_a_shape_is_which_data_and_never_where_in_its_log(what: str) -> None:
    one, other = (built(**params) for params in OTHER[what])
    data = {"columns", "replica", "log", "where", "a value"}
    assert (one.shape != other.shape) is (what in data)
    assert one.target.startswith(f"{one.shape}&offset=")


@pytest.mark.parametrize("what", OTHER)
def test_a_definition_is_which_data_and_never_where_in_its_log(what: str) -> None:
    one, other = (built(**params) for params in OTHER[what])
    assert (one.definition != other.definition) is (one.shape != other.shape)


def test_what_a_page_may_test_is_no_part_of_the_definition() -> None:
    hidden = policy(columns=["id", "mode"], client=DOCUMENT["client"] | {"filter": ["mode"]})
    requests = [asked(**CATCH_UP), asked(**CATCH_UP, subset__where="mode = 'a'")]
    plain, paged = (built_of(decide(each, claims(), policy_set(hidden)).authorized(), each) for each in requests)
    assert plain.shape != paged.shape  # the page's predicate tests session_id, which does not leave
    assert plain.definition == paged.definition


def test_a_definition_is_known_before_the_request_is_built() -> None:
    request = asked(**CATCH_UP)
    shape = decide(request, claims(), policy_set()).authorized()
    assert definition(shape) == built_of(shape, request).definition
    assert definition(shape) in BASE.replace("shape?", "shape?&").replace(QUERYABLE, "")


def test_a_request_knows_its_position() -> None:
    assert built(**CATCH_UP).position == asked(**CATCH_UP).position


def test_an_upstream_request_does_not_change() -> None:
    with pytest.raises(AttributeError):
        built().target = "/"  # type: ignore[misc]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40))
def test_a_value_arrives_as_it_was_sent_and_adds_no_pair(value: str) -> None:
    request = built(where="mode = $1", p1=value)
    assert dict(sent(request))["params[2]"] == value
    assert len(sent(request)) == 9
    assert request.target.isascii()
    assert not set(request.target) & set(" #\"'<>\\\r\n")


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40))
def test_a_value_of_a_page_arrives_as_it_was_sent(value: str) -> None:
    request = built(body=json.dumps({"where": "mode = $1", "params": {"1": value}}).encode())
    assert request.body is not None
    assert request.body.isascii()
    assert json.loads(request.body)["params"] == {"1": "s-ada", "2": value}
