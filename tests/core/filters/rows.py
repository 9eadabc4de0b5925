"""The table that filters are tried on: rows of many sessions whose ids are easily taken for one another."""

from proxy.core.filters import Columns
from proxy.core.types import ColumnType

COLUMNS = frozenset(
    (
        "id",
        "session_id",
        "tenant",
        "seq",
        "role",
        "content",
        "is_final",
        "tokens",
        "score",
        "created_at",
        "msg_uuid",
        "Weird Col",
        "tags",
        "numbers",
        "status",
        "day",
        "started",
    )
)
TYPES = {"status": ColumnType("enum")}
TYPED = Columns.of(COLUMNS, TYPES)
"""Of most columns nothing is known, as of a policy without types: an enum is one that says so."""
HIDDEN = frozenset(("secret_note", "meta", "shared_with"))

SESSIONS = (
    "s1",
    "S1",
    "s1 ",
    " s1",
    "s%",
    "s_",
    "s2",
    "s3",
    "s11",
    "s1'",
    "ѕ1",  # Cyrillic
    "ｓ1",  # fullwidth
    "s1\u200b",
    "se\u0301ance",
    "s\u00e9ance",
    "",
    None,
)
"""The session of each group of rows; None is NULL."""

SCHEMA = """
CREATE TYPE mood AS ENUM ('open', 'done', 'Open');
CREATE TABLE chat_messages (
    id int PRIMARY KEY, session_id text, tenant text, seq int, role text, content text, is_final bool,
    tokens bigint, score float8, created_at timestamptz, msg_uuid uuid, "Weird Col" text,
    secret_note text, meta jsonb, shared_with text,
    tags text[], numbers int[], status mood, day date, started timestamp);
CREATE TABLE secrets (id int PRIMARY KEY, secret text);
CREATE TABLE members (thread_id int, sub text, kind text);
DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$; -- roles are of the whole server
GRANT SELECT ON chat_messages, secrets, members TO reader;
"""


def _literal(text: str | None) -> str:
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def _further(number: int) -> str:
    """Arrays, an enum, a date and a time without a zone: NULL, empty, with and without NULL."""
    tags = ("NULL", "'{}'", "'{user,a}'", "'{NULL,a}'", "'{it''s,\"b c\"}'")[number % 5]
    numbers = ("'{1,2}'", "NULL", "'{2,NULL}'", "'{}'", "'{-2147483648,3}'")[number % 5]
    status = ("'open'", "'done'", "NULL")[number % 3]
    day = ("NULL", "'2024-01-01'", "'2024-01-02'", "'2024-01-01'")[number % 4]
    started = ("'2024-01-01 00:00'", "NULL", "'2024-01-02 12:00'")[number % 3]
    return f"{tags}, {numbers}, {status}, {day}, {started}"


def _values() -> str:
    rows: list[str] = []
    kinds = (
        ("t1", 1, "user", "hello", "true", 10, 0.5, "w"),
        ("t2", 2, "assistant", "bye 50%", "false", 3_000_000_001, 1.5, "W x"),
        (None, None, None, None, "NULL", None, None, None),
        ("t1", -5, "it's", "HELLO_world", "true", 0, -0.25, ""),
    )
    for session in SESSIONS:
        for tenant, seq, role, content, final, tokens, score, weird in kinds:
            number = len(rows) + 1
            when = "NULL" if seq is None else f"timestamptz '2024-01-0{abs(seq)}T00:00:00Z'"
            uuid = f"uuid '00000000-0000-0000-0000-{number:012}'"
            numbers = ["NULL" if value is None else str(value) for value in (seq, tokens, score)]
            shared = "'s1'" if number % 5 == 0 else "NULL"
            rows.append(
                f"({number}, {_literal(session)}, {_literal(tenant)}, {numbers[0]}, {_literal(role)}, "
                f"{_literal(content)}, {final}, {numbers[1]}, {numbers[2]}, {when}, {uuid}, {_literal(weird)}, "
                f"'note {number}', '{{\"k\": \"v\"}}', {shared}, {_further(number)})"
            )
    return ", ".join(rows)


FILL = f"""
INSERT INTO chat_messages VALUES {_values()};
INSERT INTO secrets VALUES (1, 'the secret');
INSERT INTO members VALUES
    (1, 'u1', 'chat'), (5, 'u1', 'chat'), (7, 'u2', 'chat'), (9, 'u1', 'mail'), (NULL, 'u1', 'chat');
"""
