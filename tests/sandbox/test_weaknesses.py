"""Electric's weaknesses are there: a proxy that fell for one of them would show other people's rows here too."""

import asyncio
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from proxy.sandbox import StandIn
from proxy.sandbox.definition import number
from tests.sandbox.forms import CREATE, INNER, ROWS, Form, found, shown
from tests.sandbox.quick import Start
from tests.sandbox.reader import ADA, Reader, changes, values
from tests.sandbox.wire import Wire, ask

Sql = Callable[[str], None]
ADA_RAW = "table=chat_messages&where=session_id%20%3D%20%241&params[1]=s-ada&offset=-1"
EVERYTHING = 4
"""Messages in the table; s-ada has one less."""


def sessions(answer: object) -> set[str | None]:
    return set(values(answer, "session_id"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        "where=session_id%3D%27s-bob%27",
        "%77here=session_id%3D%27s-bob%27",
        "w%68ere=session_id%3D%27s-bob%27",
        "params[1]=s-bob",
        "params%5B1%5D=s-bob",
        "p%61rams[1]=s-bob",
    ],
)
async def test_the_last_of_two_equal_keys_wins_however_it_is_spelled(stand_in: StandIn, more: str) -> None:
    assert sessions(await ask(stand_in.url, f"{ADA_RAW}&{more}")) == {"s-bob"}


async def test_the_last_table_wins(stand_in: StandIn) -> None:
    answer = await ask(stand_in.url, "table=todos&table=accounts&offset=-1")
    assert values(answer, "id") == ["acc-ada", "acc-bob"]


@pytest.mark.parametrize("blank", ["", "%20%20", "+"])
async def test_a_blank_where_is_no_filter(stand_in: StandIn, blank: str) -> None:
    answer = await ask(stand_in.url, f"table=chat_messages&where={blank}&offset=-1")
    assert len(changes(answer)) == EVERYTHING


async def test_blank_columns_are_all_columns(stand_in: StandIn) -> None:
    answer = await ask(stand_in.url, "table=session_uploads&columns=&offset=-1")
    assert values(answer, "content") == ["RAW CONTENT", "BOB SECRET"]


async def test_unknown_parameters_are_ignored(stand_in: StandIn) -> None:
    answer = await ask(stand_in.url, f"{ADA_RAW}&Where=true&nonsense=1&source_id=x&where%00=true")
    assert sessions(answer) == {"s-ada"}


@pytest.mark.parametrize(
    "body",
    [
        {"table": "session_uploads", "where": None},
        {"table": "session_uploads", "limit": None},
    ],
    ids=["flat with a subset name", "flat with another"],
)
async def test_a_body_overrides_the_table(stand_in: StandIn, body: dict[str, object]) -> None:
    query = "table=chat_messages&columns=id&offset=-1"
    answer = await ask(stand_in.url, query, method="POST", body=body)
    assert '\\"session_uploads\\"' in answer.body


async def test_a_flat_body_without_subset_names_overrides_the_url(stand_in: StandIn) -> None:
    body = {"table": "session_uploads", "columns": "id,content"}
    answer = await ask(stand_in.url, "table=todos&offset=-1", method="POST", body=body)
    assert values(answer, "content") == ["RAW CONTENT", "BOB SECRET"]


async def test_a_flat_body_with_a_subset_name_makes_a_subset_and_overrides_the_rest(stand_in: StandIn) -> None:
    body = {"where": "content LIKE $1", "params": {"1": "BOB%"}, "table": "session_uploads"}
    answer = await ask(stand_in.url, "table=todos&offset=-1&subset__where=false", method="POST", body=body)
    assert [row["value"]["content"] for row in answer.json["data"]] == ["BOB SECRET"]


async def test_a_body_with_a_subset_object_overrides_the_filter(stand_in: StandIn) -> None:
    body = {"subset": {"where": "true"}, "where": "session_id = $1", "params": {"1": "s-bob"}}
    answer = await ask(stand_in.url, ADA_RAW, method="POST", body=body)
    assert [row["value"]["body"] for row in answer.json["data"]] == ["BOB PRIVATE"]


async def test_a_subset_object_merges_over_the_subset_of_the_url(stand_in: StandIn) -> None:
    body = {"subset": {"limit": 1}}
    url = f"{ADA_RAW}&subset__order_by=created_at%20DESC&subset__limit=3"
    answer = await ask(stand_in.url, url, method="POST", body=body)
    assert [row["value"]["mode"] for row in answer.json["data"]] == ["review"]


async def test_false_in_a_body_is_true(stand_in: StandIn) -> None:
    answer = await ask(stand_in.url, ADA_RAW, method="POST", body={"live": False})
    assert answer.json["errors"] == {"live": ["can't be true when offset == -1"]}


async def test_the_content_type_of_a_body_does_not_matter(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        body = json.dumps({"table": "accounts"}).encode()
        answer = await wire.ask("POST", "/v1/shape?table=todos&offset=-1", [("content-type", "text/plain")], body)
    assert values(answer, "id") == ["acc-ada", "acc-bob"]


async def test_an_empty_body_changes_nothing(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("POST", f"/v1/shape?{ADA_RAW}", body=b"")
    assert sessions(answer) == {"s-ada"}
    assert answer["cache-control"] == "no-cache"


async def test_deep_brackets_override_flat_subset_names(stand_in: StandIn) -> None:
    query = f"{ADA_RAW}&subset__where=false&subset[where]=role%3D'assistant'"
    answer = await ask(stand_in.url, query)
    assert [row["value"]["role"] for row in answer.json["data"]] == ["assistant"]


async def test_columns_do_not_bound_what_a_subset_tests(stand_in: StandIn) -> None:
    query = ADA | {"columns": "id", "offset": "-1", "subset__where": "body = 'hello'"}
    answer = await ask(stand_in.url, query)
    assert [row["value"] for row in answer.json["data"]] == [{"id": "00000000-0000-4000-8000-000000000001"}]


async def test_queryable_columns_bound_a_subset_but_not_the_main_filter(stand_in: StandIn) -> None:
    bounded = {"table": "chat_messages", "columns": "id", "queryable_columns": "id", "offset": "-1"}
    main = await ask(stand_in.url, bounded | {"where": "body = 'BOB PRIVATE'"})
    assert len(changes(main)) == 1
    subset = await ask(stand_in.url, bounded | {"subset__where": "body = 'BOB PRIVATE'"})
    assert subset.json["errors"] == {"subset": {"where": ["At location 0: unknown reference body"]}}
    order = await ask(stand_in.url, bounded | {"subset__order_by": "body"})
    assert order.status == 400


@pytest.mark.parametrize("found", [0, 1, 2])
async def test_what_follows_the_sort_keys_is_executed(stand_in: StandIn, found: int) -> None:
    tail = f"id LIMIT (SELECT {found} FROM secrets WHERE secret LIKE 'the secret%')"
    answer = await ask(stand_in.url, ADA | {"offset": "-1", "subset__order_by": tail})
    assert len(answer.json["data"]) == found


async def test_a_subset_stands_beside_an_unbracketed_base(stand_in: StandIn) -> None:
    query = {"table": "chat_messages", "offset": "-1", "where": "session_id = 's-bob' OR session_id = 's-ada'"}
    answer = await ask(stand_in.url, query | {"subset__where": "false"})
    assert [row["value"]["session_id"] for row in answer.json["data"]] == ["s-bob"]


async def test_a_nul_cuts_a_parameter(stand_in: StandIn) -> None:
    plain, cut = Reader(stand_in.url), Reader(stand_in.url, **{"params[1]": "s-ada\0 and nobody sees this"})
    await plain.next()
    await cut.next()
    assert plain.handle == cut.handle


async def test_a_nul_cuts_a_filter(stand_in: StandIn) -> None:
    query = {"table": "chat_messages", "where": "session_id = 's-bob'\0 AND false", "offset": "-1"}
    assert values(await ask(stand_in.url, query), "body") == ["BOB PRIVATE"]


@pytest.mark.parametrize("path", ["/v1/shape/", "/v1//shape", "//v1/shape", "/v1/%73hape", "/%76%31/shape"])
async def test_paths_match_decoded_and_collapsed(stand_in: StandIn, path: str) -> None:
    async with await Wire.open(stand_in.url) as wire:
        assert sessions(await wire.ask("GET", f"{path}?{ADA_RAW}")) == {"s-ada"}


@pytest.mark.parametrize("path", ["/v1/shape/x", "/v1%2fshape", "/v1/Shape", "/v1/shape;x", "/v2/shape", "/metrics"])
async def test_other_paths_are_not_found(stand_in: StandIn, path: str) -> None:
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("GET", f"{path}?{ADA_RAW}")
    assert (answer.status, answer.body) == (404, "Not found")


@pytest.mark.stand_in
async def test_anybody_deletes_a_shape_by_its_handle_where_deletion_is_on(start: Start) -> None:
    async with start(allow_delete=True) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        assert (await ask(stand_in.url, {"handle": reader.handle}, method="DELETE")).status == 202
        assert (await reader.next()).status == 409
        assert (await ask(stand_in.url, {"handle": "1-2"}, method="DELETE")).status == 404


@pytest.mark.stand_in
async def test_deletion_is_off_by_default(stand_in: StandIn) -> None:
    answer = await ask(stand_in.url, {"handle": "1-2"}, method="DELETE")
    assert (answer.status, answer.json) == (405, {"message": "DELETE not allowed"})


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 401),
        ("secret=wrong", 401),
        ("secret=wrong&api_secret=right", 401),
        ("secret=right&secret=wrong", 401),
        ("secret=wrong&secret=right", 200),
        ("api_secret=right", 200),
        ("secret=right", 200),
    ],
)
async def test_the_secret_is_read_from_the_query_and_the_last_one_counts(start: Start, query: str, status: int) -> None:
    async with start(secret="right") as stand_in:
        assert (await ask(stand_in.url, f"table=accounts&offset=-1&{query}")).status == status


async def test_neither_a_header_nor_a_body_carries_the_secret(start: Start) -> None:
    async with start(secret="right") as stand_in, await Wire.open(stand_in.url) as wire:
        body = json.dumps({"secret": "right"}).encode()
        headers = [("secret", "right"), ("authorization", "Bearer right")]
        answer = await wire.ask("POST", "/v1/shape?table=accounts&offset=-1", headers, body)
        assert answer.status == 401
        assert "content-type" not in answer
        assert not any(name.startswith("access-control") for name, _ in answer.headers)
        assert (await wire.ask("OPTIONS", "/v1/shape")).status == 204
        assert (await wire.ask("GET", "/v1/health")).status == 200


async def test_a_filter_that_closes_its_bracket_is_a_syntax_error_and_not_more(stand_in: StandIn) -> None:
    answer = await ask(stand_in.url, {"table": "chat_messages", "where": "true) OR (true", "offset": "-1"})
    assert answer.json["errors"]["where"][0].startswith("At location 19: syntax error")


@pytest.mark.parametrize("text", ["true UNION SELECT 1", "true; DROP TABLE secrets", "%zz"])
async def test_set_operations_and_bad_escapes_are_crashes(stand_in: StandIn, text: str) -> None:
    where = text if text.startswith("%") else quote(text)
    answer = await ask(stand_in.url, f"table=chat_messages&where={where}&offset=-1")
    assert answer.status in (400, 500)
    assert answer.status == 400 or answer.json == {"error": "Internal server error"}


async def test_two_spellings_of_a_filter_are_one_shape(stand_in: StandIn) -> None:
    plain = Reader(stand_in.url)
    spelled = {"where": "SESSION_ID=$1 -- the same\n", "params[1]": "s-ada"}
    other = Reader(stand_in.url, table="public.chat_messages", **spelled)
    await plain.next()
    await other.next()
    assert plain.handle == other.handle


async def test_requests_seen_shows_what_came_untouched(stand_in: StandIn) -> None:
    await ask(stand_in.url, "table=accounts&%6fffset=-1", method="POST", body={"a": 1})
    seen = stand_in.requests_seen[-1]
    assert (seen.method, seen.target) == ("POST", b"/v1/shape?table=accounts&%6fffset=-1")
    assert seen.body == b'{"a": 1}'
    assert ("host", "x") in seen.headers


ESCAPE = "(session_id = $1) AND (((role = 'x') OR true) IS NOT NULL)"


async def test_the_snapshot_loses_brackets_left_of_some_predicates_and_shows_everything(stand_in: StandIn) -> None:
    reader = Reader(stand_in.url, where=ESCAPE)
    assert sessions(await reader.next()) == {"s-ada", "s-bob"}
    subset = await ask(stand_in.url, ADA | {"where": ESCAPE, "offset": "-1", "subset__where": "true"})
    assert {row["value"]["session_id"] for row in subset.json["data"]} == {"s-ada", "s-bob"}
    lost_at_the_left = "((role = 'x') OR true) IS NOT NULL AND (session_id = $1)"
    assert sessions(await ask(stand_in.url, ADA | {"where": lost_at_the_left, "offset": "-1"})) == {"s-ada"}


# --- conditions that live changes are judged otherwise by than PostgreSQL does

A = "00000000-0000-4000-8000-00000000000a"
WITH_NULL_MEMBERS = [
    (Form("t IN (SELECT a FROM inner_null)"), {"8"}),
    (Form("t NOT IN (SELECT a FROM inner_plain)"), {"8"}),
    (Form("t NOT IN (SELECT a FROM inner_null)"), {"2", "3", "4", "5", "6", "7"}),
]
WITH_NULL_ELEMENTS = [
    (Form("NOT ($1 = ANY(ta))", "a"), {"5", "6"}),
    (Form("$1 <> ALL(ta)", "a"), {"5", "6"}),
    (Form("NOT ($1::uuid = ANY(ua))", A), {"5", "6"}),
    (Form("($1 = ANY(ba)) = false", "1"), {"5", "6"}),
    (Form("NOT (t = ANY($1))", "{a,NULL}"), {"2", "3", "4", "5", "6", "7"}),
]


async def surplus(stand_in: StandIn, sql: Sql, database: str, form: Form, more: set[str]) -> frozenset[str]:
    """The rows that a client has beyond those that PostgreSQL finds."""
    await asyncio.to_thread(sql, CREATE + INNER)
    reader = Reader(stand_in.url, table="forms", **form.query)
    await reader.first()
    await asyncio.to_thread(sql, ROWS)
    want = await asyncio.to_thread(found, database, form)
    return await shown(reader, form, want | more) - want


@pytest.mark.parametrize(("form", "more"), WITH_NULL_MEMBERS, ids=[str(form) for form, _ in WITH_NULL_MEMBERS])
async def test_null_is_a_member_like_others_live(
    stand_in: StandIn, sql: Sql, database: str, form: Form, more: set[str]
) -> None:
    assert await surplus(stand_in, sql, database, form, more) == more


@pytest.mark.real
@pytest.mark.parametrize(("form", "more"), WITH_NULL_ELEMENTS, ids=[str(form) for form, _ in WITH_NULL_ELEMENTS])
async def test_a_null_element_is_unequal_to_everything_live(
    stand_in: StandIn, sql: Sql, database: str, form: Form, more: set[str]
) -> None:
    assert await surplus(stand_in, sql, database, form, more) == more


@pytest.mark.real
@pytest.mark.parametrize(
    ("form", "lost"),
    [
        (Form("e IS NOT NULL"), {"1", "2", "3", "5", "6"}),
        (Form("t = ANY($1)", '{"b\\\\s",a}'), {"5"}),
        (Form("f::text = 'true'"), {"1", "4", "7"}),
    ],
    ids=["an enumerated column", "a backslash in a list", "a boolean as text"],
)
async def test_rows_are_lost_live(stand_in: StandIn, sql: Sql, database: str, form: Form, lost: set[str]) -> None:
    await asyncio.to_thread(sql, CREATE + INNER)
    reader = Reader(stand_in.url, table="forms", **form.query)
    await reader.first()
    await asyncio.to_thread(sql, ROWS)
    want = await asyncio.to_thread(found, database, form)
    assert want - await shown(reader, form, want - lost) == lost


# --- handles: a short hash of the definition, and then whatever log the handle names


@pytest.mark.stand_in  # its hash is chosen so that it collides at once
@pytest.mark.parametrize(("bits", "status"), [(0, 200), (27, 409)], ids=["equal hashes", "different ones"])
async def test_a_handle_is_compared_by_a_short_hash_and_then_read(start: Start, bits: int, status: int) -> None:
    async with start(hash_bits=bits) as stand_in:
        bob = Reader(stand_in.url, table="chat_messages", where="session_id = 's-bob'")
        await bob.first()
        ada = ADA | {"handle": bob.handle}
        answer = await ask(stand_in.url, ada | {"offset": "0_0"})
        assert answer.status == status
        if status == 200:
            assert answer["electric-handle"] == bob.handle
        else:
            assert answer["electric-handle"] not in ("", bob.handle)
        first = await ask(stand_in.url, ada | {"offset": "-1"})
        assert sessions(first) == {"s-ada"}  # at the start the handle means nothing


@pytest.mark.parametrize("bits", [1, 16, 27])
def test_the_hash_has_so_many_bits(bits: int) -> None:
    found = {number(("public", "todos", f"id = {n}"), bits) for n in range(1000)}
    assert max(found) < 2**bits
    assert len(found) > min(2**bits - 1, 900)
