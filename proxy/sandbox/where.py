# SPDX-License-Identifier: Apache-2.0
"""Filters: parameters put in as literals, the text checked by PostgreSQL, its errors in Electric's words.

PostgreSQL is the judge of what a filter means. Electric has a parser of its own, for `SELECT 1 WHERE ` + filter: its
locations of syntax errors count that prefix, its other locations do not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, errors, generators, pq
from psycopg.abc import PQGen

from .names import literal

TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<param>\$\d+)
    |(?P<word>[A-Za-z_][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<operator>::|[<>=!~|&@]+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
"""A piece of SQL, roughly: enough to find parameters, words and brackets outside literals and comments."""

SYNTAX_PREFIX = len("SELECT 1 WHERE ")

_BAD_VALUE = re.compile(r'invalid input syntax for (type .+?): "(.*)"')


class BadFilter(ValueError):
    """Electric would answer 400; the message is its text."""


class TrailingClause(Exception):
    """Something follows the filter (UNION and the like): Electric crashes on it, which is a 500."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter ready to be run, and its tokens joined by one blank: two filters with the same tokens are one shape."""

    sql: str
    normal: str
    places: tuple[tuple[int, int, int, int], ...]
    """For each literal that was put in: its start and end in `sql`, and its parameter's in the client's text."""

    def place(self, position: int) -> int:
        """The place in the client's text of a place in `sql`."""
        shift = 0
        for start, end, original, original_end in self.places:
            if position < start:
                break
            if position < end:
                return original
            shift = original_end - end
        return position + shift


def tokens(text: str) -> Iterator[re.Match[str]]:
    """The tokens of a text, blanks and comments among them."""
    return TOKEN.finditer(text)


def prepare(text: str, params: tuple[tuple[int, str], ...]) -> Filter:
    """Put the parameters into the text. BadFilter names the first that is missing."""
    values = dict(params)
    sql, normal, places = "", [], []
    for token in tokens(text):
        piece = token[0]
        if token["param"]:
            number = int(piece[1:])
            if number not in values:
                raise BadFilter(f"At location {token.start()}: parameter {piece} was not provided")
            piece = literal(values[number])
            places.append((len(sql), len(sql) + len(piece), token.start(), token.end()))
        sql += piece
        if not token["space"]:
            normal.append(piece.lower() if token["word"] else piece)
    return Filter(sql, " ".join(normal), tuple(places))


async def check(connection: AsyncConnection[Any], source: str, found: Filter) -> None:
    """Let PostgreSQL parse the filter over `source` (what stands behind FROM), without running it.

    First as it stands, so that `true) OR (true` is the syntax error that it is, then in brackets, so that nothing
    follows it.
    """
    head = f"SELECT 1 FROM {source} WHERE "
    try:
        await describe(connection, head + found.sql)
    except psycopg.Error as error:
        raise BadFilter(_message(error, found, len(head))) from error
    try:
        await describe(connection, f"{head}({found.sql}\n)")
    except psycopg.Error as error:
        raise TrailingClause from error


async def describe(connection: AsyncConnection[Any], sql: str) -> None:
    """Parse and analyse one statement. Raises psycopg's error for what PostgreSQL finds wrong."""

    def exchange() -> PQGen[pq.abc.PGresult]:
        connection.pgconn.send_prepare(b"", sql.encode())
        results: list[pq.abc.PGresult] = yield from generators.execute(connection.pgconn)
        return results[0]

    result = await connection.wait(exchange())
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise errors.error_from_result(result)


def _message(error: psycopg.Error, found: Filter, head: int) -> str:
    """PostgreSQL's error in Electric's words (recorded), or in PostgreSQL's own where none is recorded."""
    position = int(error.diag.statement_position or head + 1) - 1 - head
    message = error.diag.message_primary or "invalid"
    place = found.place(position)
    match error:
        case errors.SyntaxError():
            return f"At location {place + SYNTAX_PREFIX}: {message}"
        case errors.UndefinedColumn() | errors.UndefinedTable():
            return f"At location {place}: unknown reference {_reference(found.sql[position:])}"
        case errors.DatatypeMismatch() if "must be type boolean" in message:
            return "WHERE clause must return a boolean"
        case errors.InvalidTextRepresentation() if bad := _BAD_VALUE.fullmatch(message):
            return f"At location {place}: invalid syntax for {bad[1]}: {bad[2]}"
        case _:
            return f"At location {place}: {message}"


def _reference(text: str) -> str:
    found = re.match(r'[\w$.]+|"(?:[^"]|"")*"', text)
    return found[0].strip('"') if found else text


def sort_keys(text: str) -> str:
    """The sort keys at the start of an ORDER BY. What follows them (LIMIT …) is not looked at, by Electric either.

    BadFilter for expressions and parameters among the keys.
    """
    kept = ""
    for token in tokens(text):
        if token["word"] and token[0].lower() in ("limit", "offset", "fetch", "for"):
            break
        if token["param"]:
            raise BadFilter(f"At location {token.start()}: parameter {token[0]} is not supported in ORDER BY clauses")
        if token["other"] and token[0] in "():+-*/":
            raise BadFilter(f"At location {token.start()}: expressions are not allowed in ORDER BY clauses")
        kept += token[0]
    return kept


def has_subquery(text: str) -> bool:
    """Whether the text holds the word SELECT outside literals and comments."""
    return any(token["word"] and token[0].lower() == "select" for token in tokens(text))
