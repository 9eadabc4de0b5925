"""Shapes and subsets through the proxy against what PostgreSQL says of the same filter."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import httpx
import psycopg

from tests.differential.grammar import Filter
from tests.differential.ground import COLUMNS, HIDDEN, Database, Rule
from tests.harness.plain import plain
from tests.harness.running import Proxy

AT_ONCE = 6
FORMS = ("shape", "get", "post")
"""How a filter is asked for: as the filter of a shape, and as that of a subset by GET and by POST."""


@dataclass
class Report:
    """What a comparison found: how the requests ended, and each row that must not be there or is missing."""

    ends: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Takes over what another one found."""
        self.ends += other.ends
        self.findings += other.findings


@dataclass(frozen=True, slots=True)
class Question:
    """One filter under one rule in one form; `name` repeats it."""

    name: str
    rule: Rule
    form: str
    filter: Filter
    page: tuple[int, int] | None = None
    """LIMIT and OFFSET of a subset in the order of `id`."""


class Oracle:
    """PostgreSQL, asked as a reader who may only look."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def of(cls, dsn: str) -> "Oracle":
        """A connection that reads `$1` as PostgreSQL does, and changes nothing."""
        database = psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor)
        database.execute("SET default_transaction_read_only = on")
        database.execute("SET statement_timeout = '30s'")
        return cls(database)

    def close(self) -> None:
        """Hangs up."""
        self._database.close()

    def of_rule(self, rule: Rule) -> set[int]:
        """The rows of a policy, by its predicate written by hand."""
        numbers = iter(range(1, len(rule.values) + 1))
        return self._ids(re.sub("%s", lambda _: f"${next(numbers)}", rule.sql), rule.values)

    def of_filter(self, asked: Filter) -> set[int] | None:
        """The rows that the client's own text gives alone, or None where PostgreSQL refuses it."""
        used = {int(number) for number in re.findall(r"\$(\d+)", asked.text)}
        values = asked.params[: max(used, default=0)]
        # PostgreSQL wants a type for every number below the highest, used or not
        unused = [f" AND ${number}::text IS NOT NULL" for number in range(1, len(values) + 1) if number not in used]
        try:
            return self._ids(f"({asked.text}\n){''.join(unused)}", values)
        except (psycopg.Error, ValueError):
            return None

    def _ids(self, where: str, values: Iterable[Any]) -> set[int]:
        found = self._database.execute(f"SELECT id FROM notes WHERE {where}", list(values), prepare=True)
        return {row[0] for row in found}


async def compared(proxy: Proxy, oracle: Oracle, questions: Iterable[Question]) -> Report:
    """Asks all of them and says what is wrong."""
    report = Report()
    turn = asyncio.Semaphore(AT_ONCE)
    async with plain(timeout=60) as client:

        async def one(question: Question) -> None:
            async with turn:
                answer = await _answer(client, proxy, question)
                # in a thread: a stand-in on this loop may hold the lock that the oracle waits for
                report.add(await asyncio.to_thread(_judged, question, answer, oracle))

        await asyncio.gather(*(one(question) for question in questions))
    return report


async def _answer(client: httpx.AsyncClient, proxy: Proxy, asked: Question) -> httpx.Response:
    # many subjects, since each may ask for so many shapes only
    token = proxy.token(f"subject-{crc32(asked.name.encode()) % 97}", **asked.rule.claims)
    url, headers = f"{proxy.url}/v1/shapes/{asked.rule.name}", {"authorization": f"Bearer {token}"}
    text, params = asked.filter.text, asked.filter.params
    if asked.form == "shape":
        query = {"offset": "-1", "where": text} | {f"params[{n}]": value for n, value in enumerate(params, 1)}
        return await client.get(url, params=query, headers=headers)
    body: dict[str, Any] = {"where": text}
    if params:
        body["params"] = {str(number): value for number, value in enumerate(params, 1)}
    if asked.page:
        body |= {"order_by": "id", "limit": asked.page[0], "offset": asked.page[1]}
    if asked.form == "post":
        return await client.post(url, params={"offset": "-1"}, json=body, headers=headers)
    query = {f"subset__{name}": value for name, value in body.items() if name != "params"}
    if params:
        query["subset__params"] = json.dumps(body["params"])
    return await client.get(url, params={"offset": "-1"} | query, headers=headers)


def _judged(asked: Question, answer: httpx.Response, oracle: Oracle) -> Report:
    report = Report()
    if answer.status_code != 200:
        report.ends[f"{answer.status_code} {_code(answer)}"] += 1
        if answer.status_code >= 500:
            report.findings.append(f"{asked.name}: {answer.status_code} {answer.text[:300]}: {asked.filter}")
        return report
    report.ends["rows"] += 1
    rows = _rows(answer.json())
    found = [int(row["id"]) for row in rows]
    allowed, alone = oracle.of_rule(asked.rule), oracle.of_filter(asked.filter)
    wanted = sorted(allowed if alone is None else allowed & alone)
    if asked.page:
        wanted = wanted[asked.page[1] : asked.page[1] + asked.page[0]]
    about = f"{asked.name} ({asked.rule.name}, {asked.form}) {asked.filter}"
    if foreign := set(found) - allowed:
        report.findings.append(f"foreign rows {sorted(foreign)}: {about}")
    elif alone is not None and sorted(found) != wanted:
        report.findings.append(f"rows {sorted(set(found) ^ set(wanted))} differ: {about}")
    if any(row.keys() - set(COLUMNS) for row in rows) or HIDDEN in answer.text:
        report.findings.append(f"hidden column: {about}")
    return report


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("code", "electric"))
    except (ValueError, AttributeError):
        return "no JSON"


def _rows(body: Any) -> list[dict[str, Any]]:
    messages = body["data"] if isinstance(body, dict) else body
    return [message["value"] for message in messages if "key" in message]
