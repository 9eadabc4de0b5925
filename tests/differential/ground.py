"""The table that is compared, its policies with their predicates written by hand, and what runs over it."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from tests.harness.running import Proxy, running

Row = Mapping[str, Any]
Database = psycopg.Connection[tuple[Any, ...]]

COLUMNS = (
    "id",
    "session_id",
    "tenant",
    "shared_with",
    "account",
    "seq",
    "tokens",
    "amount",
    "role",
    "body",
    "label",
    "Weird Col",
    "done",
    "at",
    "version",
)
"""What leaves; `secret_note` does not."""
FILTERABLE = ("id", "seq", "tokens", "role", "body", "label", "Weird Col", "done", "at")
HIDDEN = "not for anybody"

SCHEMA = """
CREATE TABLE notes (
  id int PRIMARY KEY, session_id text, tenant text, shared_with text, account bigint, seq int, tokens bigint,
  amount numeric, role text, body text, label text, "Weird Col" text, done bool, at timestamptz, version int,
  secret_note text NOT NULL DEFAULT 'not for anybody');
"""

SESSIONS = ("s1", "S1", "s1 ", " s1", "s%", "s_", "s2", "s11", "s1'", "ѕ1", "s1\u200b", "sé", "se\u0301", "", None)
"""The sessions of the rows, easily taken for one another; None is NULL."""

KINDS: tuple[tuple[Any, ...], ...] = (
    ("t1", 1, 10, "9007199254740993", "user", "hello", "a_b", "w", True),
    ("t2", 2, 9007199254740993, "9007199254740992", "assistant", "x\nprivate", "50%", "Straße", False),
    (None, None, None, None, None, None, None, None, None),
    ("t1", -5, 0, "0.5", "it's", "x\ny", "", "", True),
)
TIMES = ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", None, "1999-12-31T23:59:59Z")
INSERT = (
    "INSERT INTO notes (id, session_id, tenant, shared_with, account, seq, tokens, amount, role, body, label,"
    ' "Weird Col", done, at, version) VALUES (' + ", ".join(["%s"] * 15) + ")"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy: as a policy file says it, as SQL written by hand, and as Python written by hand."""

    name: str
    where: str
    claims: Mapping[str, Any]
    sql: str
    values: tuple[Any, ...]
    holds: Callable[[Row], bool]


RULES = (
    Rule(
        "notes",
        "session_id = {session_id}",
        {"session_id": "s1"},
        "session_id = %s",
        ("s1",),
        lambda row: row["session_id"] == "s1",
    ),
    Rule(
        "both",
        "session_id = {session_id} AND tenant = {tenant}",
        {"session_id": "s1", "tenant": "t1"},
        "session_id = %s AND tenant = %s",
        ("s1", "t1"),
        lambda row: row["session_id"] == "s1" and row["tenant"] == "t1",
    ),
    Rule(
        "shared",
        "session_id = {session_id} OR shared_with = {session_id}",
        {"session_id": "s1"},
        "session_id = %s OR shared_with = %s",
        ("s1", "s1"),
        lambda row: row["session_id"] == "s1" or row["shared_with"] == "s1",
    ),
    Rule(
        "account",
        "account = {account}",
        {"account": 9007199254740993},
        "account = %s",
        (9007199254740993,),
        lambda row: row["account"] == 9007199254740993,
    ),
)
"""The policies that everything is compared under."""


def policy_file(rule: Rule) -> str:
    """The policy file of a rule."""
    kinds = {name: "integer" if isinstance(value, int) else "text" for name, value in rule.claims.items()}
    claims = ", ".join(f"{name} = {json.dumps(value)}" for name, value in rule.claims.items())
    return f"""
table = "public.notes"
key = ["id"]
columns = {json.dumps(COLUMNS)}
never = ["secret_note"]
where = {json.dumps(rule.where)}

[claims]
{"".join(f'{name} = "{kind}"' + chr(10) for name, kind in kinds.items())}
[client]
filter = {json.dumps(FILTERABLE)}
replica = ["default", "full"]
subset = {{ max_limit = 1000 }}

[[case]]
name = "its own rows"
claims = {{ {claims} }}
request = "offset=-1"
expect = "allow"

[[case]]
name = "nobody's rows"
request = "offset=-1"
expect = "claim_missing"
"""


def seed_rows() -> list[tuple[Any, ...]]:
    """The rows that are there first."""
    rows: list[tuple[Any, ...]] = []
    for session in SESSIONS:
        for (tenant, seq, tokens, amount, role, body, label, weird, done), at in zip(KINDS, TIMES, strict=True):
            number = len(rows) + 1
            account = 9007199254740992 + number % 3
            shared = "s1" if number % 7 == 0 else None
            rows.append(
                (number, session, tenant, shared, account, seq, tokens, amount, role, body, label, weird, done, at, 0)
            )
    return rows


def fill(dsn: str) -> None:
    """Writes them."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
        connection.cursor().executemany(INSERT.encode(), seed_rows())


@asynccontextmanager
async def proxy_over(electric_url: str, folder: Path, **variables: str) -> AsyncIterator[Proxy]:
    """The proxy with a policy for each rule."""
    policies = folder / "policies"
    policies.mkdir()
    for rule in RULES:
        (policies / f"{rule.name}.toml").write_text(policy_file(rule))
    async with running(electric_url, folder, PROXY_POLICIES=str(policies), **variables) as proxy:
        yield proxy


def decimal(text: str | None) -> Decimal | None:
    """A `numeric` as it is, which no float is."""
    return None if text is None else Decimal(text)
