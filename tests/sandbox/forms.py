"""A table on whose rows the evaluators differ wherever they are known to, and what a reader has of it."""

import asyncio
from dataclasses import dataclass
from typing import Any

import psycopg

from proxy.sandbox.names import literal
from tests.harness.raw import SECONDS
from tests.sandbox.reader import Reader, changes
from tests.sandbox.wire import ask

CREATE = """
CREATE TYPE mood AS ENUM ('open', 'closed', 'it''s "odd"');
CREATE TABLE forms (id int PRIMARY KEY, t text, v varchar(9), u uuid, i int4, b int8, f boolean, e mood,
  z timestamptz, ta text[], ua uuid[], ba int8[]);
"""
INNER = """
CREATE TABLE inner_plain (a text NOT NULL, b int8 NOT NULL, u uuid NOT NULL, PRIMARY KEY (a, b));
CREATE TABLE inner_null (id int PRIMARY KEY, a text, b int8);
INSERT INTO inner_plain VALUES ('a', 1, '00000000-0000-4000-8000-00000000000a'),
  ('b', 2, '00000000-0000-4000-8000-00000000000b');
INSERT INTO inner_null VALUES (1, 'a', 1), (2, NULL, NULL);
"""
ROWS = r"""
INSERT INTO forms VALUES
  (1, 'a', 'a', '00000000-0000-4000-8000-00000000000a', 1, 1, true, 'open', 'epoch',
   '{a}', '{00000000-0000-4000-8000-00000000000a}', '{1}'),
  (2, 'b', 'b', '00000000-0000-4000-8000-00000000000b', 2, 2, false, 'closed', 'epoch',
   '{b,a}', '{00000000-0000-4000-8000-00000000000b,00000000-0000-4000-8000-00000000000a}', '{2,1}'),
  (3, 'b,c', 'c', '00000000-0000-4000-8000-00000000000c', 10, 9007199254740993, NULL, 'it''s "odd"', NULL,
   '{"b,c"}', '{00000000-0000-4000-8000-00000000000c}', '{9007199254740993}'),
  (4, 'q"t', '', NULL, -2147483648, 9007199254740992, true, NULL, NULL, '{}', '{}', '{}'),
  (5, 'b\s', NULL, NULL, 2147483647, -9223372036854775808, false, 'open', NULL, '{NULL}', '{NULL}', '{NULL}'),
  (6, 'a ', 'a ', NULL, 9, 9223372036854775807, NULL, 'closed', NULL,
   '{b,NULL}', '{00000000-0000-4000-8000-00000000000b,NULL}', '{2,NULL}'),
  (7, '', NULL, '00000000-0000-4000-8000-00000000000a', 0, 0, true, NULL, NULL,
   '{a,NULL}', '{00000000-0000-4000-8000-00000000000a,NULL}', '{1,NULL}');
INSERT INTO forms (id) VALUES (8);
"""
MOVE = """
UPDATE forms AS f SET (t, v, u, i, b, f, e, z, ta, ua, ba) =
  (SELECT g.t, g.v, g.u, g.i, g.b, g.f, g.e, g.z, g.ta, g.ua, g.ba FROM forms g WHERE g.id = f.id % 8 + 1)
"""


@dataclass(frozen=True)
class Form:
    """A condition with its parameters."""

    where: str
    params: tuple[str, ...]

    def __init__(self, where: str, *params: str) -> None:
        object.__setattr__(self, "where", where)
        object.__setattr__(self, "params", params)

    def __str__(self) -> str:
        return " ".join((self.where, *self.params))

    @property
    def query(self) -> dict[str, str]:
        """The parameters of a request."""
        numbered = {f"params[{number}]": value for number, value in enumerate(self.params, 1)}
        return {"where": self.where, "columns": "id", **numbered}

    @property
    def sql(self) -> str:
        """The condition with its parameters put in."""
        text = self.where
        for number, value in enumerate(self.params, 1):
            text = text.replace(f"${number}", literal(value))
        return text


def found(dsn: str, form: Form) -> frozenset[str]:
    """The rows that PostgreSQL finds."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(f"SELECT id::text FROM forms WHERE {form.sql}".encode()).fetchall()
    return frozenset(row for (row,) in rows)


async def shown(reader: Reader, form: Form, want: frozenset[str]) -> frozenset[str]:
    """The rows that a reader has once they are those that it should have, or once nothing more comes."""
    kept: set[str] = reader.__dict__.setdefault("kept", set())
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await (reader.next() if reader.offset == "-1" else reader.live())
            assert answer.status == 200, f"{form}: {answer.body}"
            _apply(kept, changes(answer))
            if kept == want or not changes(answer):
                return frozenset(kept)


def _apply(kept: set[str], messages: list[dict[str, Any]]) -> None:
    for message in messages:
        change = kept.discard if message["headers"]["operation"] == "delete" else kept.add
        change(message["value"]["id"])


async def refused(url: str, form: Form) -> str:
    """What a refusal of the form says."""
    answer = await ask(url, {"table": "forms", "offset": "-1"} | form.query)
    assert answer.status == 400, answer.body
    return answer.body
