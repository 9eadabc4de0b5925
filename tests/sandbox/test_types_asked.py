"""The proxy in front of the stand-in: types are learned from its answers, or asked for, and rows leave after that."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.plain import plain
from tests.harness.running import SECRET, running
from tests.sandbox.quick import Start

Sql = Callable[[str], None]
TABLES = """
CREATE TABLE notes (id int PRIMARY KEY, room text, account numeric);
CREATE TABLE rooms (room text, account text, cents numeric, PRIMARY KEY (room, account));
INSERT INTO notes VALUES (1, 's-ada', 9007199254740992);
INSERT INTO rooms VALUES ('s-ada', 's-ada', 9007199254740992)
"""
POLICY = """
table = "public.notes"
key = ["id"]
columns = ["id", "room"]
where = "{where}"
claims = {{ session_id = "text" }}
[[case]]
name = "one's own"
claims = {{ session_id = "s-ada" }}
request = "table=notes&offset=-1"
expect = "allow"
[[case]]
name = "nobody's"
request = "table=notes&offset=-1"
expect = "claim_missing"
"""
CASES = {
    "in the answer": ("room = {session_id}", "id,room", 200),
    "not in the answer": ("room = {session_id}", "id", 200),
    "of a membership": ("room IN (SELECT room FROM public.rooms WHERE account = {session_id})", "id", 200),
    "a numeric bound": ("room = {session_id} AND account = '9007199254740993'", "id,room", 502),
    "a numeric bound of a membership": (
        "room IN (SELECT room FROM public.rooms WHERE account = {session_id} AND cents = '1')",
        "id,room",
        502,
    ),
}


@pytest.mark.parametrize(("where", "columns", "status"), CASES.values(), ids=CASES)
async def test_rows_leave_only_by_types_that_are_safe(
    start: Start, sql: Sql, tmp_path: Path, where: str, columns: str, status: int
) -> None:
    await asyncio.to_thread(sql, TABLES)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "notes.toml").write_text(POLICY.format(where=where))
    async with (
        start(secret=SECRET) as stand_in,
        running(stand_in.url, tmp_path, PROXY_POLICIES=str(tmp_path / "policies")) as proxy,
        plain() as client,
    ):
        answered = await client.get(proxy.shape("notes", columns=columns), headers=proxy.bearer())
    assert answered.status_code == status, answered.text
    if status == 200:
        assert [message["value"]["id"] for message in answered.json() if "value" in message] == ["1"]
    else:
        assert answered.json()["code"] == "policy_type_unsafe"
