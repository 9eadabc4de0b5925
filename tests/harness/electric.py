"""The Electric that the suites run against: the stand-in over an embedded PostgreSQL, or with `--electric` a real one.

A real one is given by ELECTRIC_HTTP_URL, ELECTRIC_SECRET and DATABASE_URL. In front of it every database that a test
asks for is a schema of its own, which the test itself knows as `public`; it is dropped at the test's end, and with its
tables their shapes and their place in the publication go.
"""

import re
import secrets
import string
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import httpx
import psycopg

from proxy.sandbox import EmbeddedPostgres, StandIn, StandInSettings
from tests.harness.between import Between
from tests.harness.running import SECRET

VARIABLES = ("ELECTRIC_HTTP_URL", "ELECTRIC_SECRET", "DATABASE_URL")
SEARCH_PATH = "-c search_path="

_QUALIFIED = re.compile(rb'(?<![A-Za-z_])public(?=(?:%22|\\?")?(?:\.|%2[Ee]))')
_TABLE = re.compile(rb"((?:^|[?&])table=)(?=[a-z_]+(?:&|$))")
_MEMBER = re.compile(rb'("table":\s*")(?=[a-z_]+")')
_FROM = re.compile(rb"((?<![A-Za-z_])FROM(?:\+|%20|\s))(?=[a-z_]+\b)(?![a-z_]+(?:%22)?\.)")


@dataclass(frozen=True, slots=True)
class Real:
    """Where the real Electric is."""

    url: str
    secret: str
    dsn: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Real":
        """From the environment. Raises ValueError with the names of all variables that are missing."""
        missing = [name for name in VARIABLES if not environment.get(name)]
        if missing:
            raise ValueError(f"--electric needs a real Electric: set {', '.join(missing)}")
        return cls(*(environment[name] for name in VARIABLES))


STAND_IN = StandInSettings(secret=SECRET, poll_seconds=0.03)
"""The stand-in behind a proxy under test. A shorter time between its polls of PostgreSQL slows the whole suite down."""


class Chosen:
    """Which one the suites run against; `real` is None for the stand-in."""

    real: Real | None = None


def scale(quick: float) -> float:
    """How much faster than Electric's own times: a real one takes its time."""
    return 1 if Chosen.real else quick


class Schemas:
    """What tests use of EmbeddedPostgres, over one database of a server that is there: each database is a schema."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._made: dict[str, str] = {}

    def create_database(self, name: str = "", *, sql: str = "", template: str = "") -> str:
        """Create a schema, run `sql` in it or what made the template; the DSN looks there first."""
        schema = name or "".join(secrets.choice(string.ascii_lowercase) for _ in "public")
        dsn = self.dsn_of(schema)
        sql = sql or self._made.get(template, "")
        self._made[dsn.rpartition("/")[2]] = sql
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        if sql:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(sql.encode())
        return dsn

    def dsn_of(self, schema: str) -> str:
        """The DSN of a schema."""
        joint = "&" if "?" in self._dsn else "?"
        return f"{self._dsn}{joint}options={quote(SEARCH_PATH + schema)}"

    def drop_database(self, dsn: str) -> None:
        """Drop a schema with all that is in it."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema_of(dsn)} CASCADE".encode())

    def close(self) -> None:
        """Drop what is left. Fails if a publication still has a table of ours."""
        for dsn in self._made:
            self.drop_database(dsn)
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            ours = [schema_of(dsn) for dsn in self._made]
            left = "SELECT schemaname, tablename FROM pg_publication_tables WHERE schemaname = ANY(%s)"
            assert connection.execute(left.encode(), [ours]).fetchall() == []


def schema_of(dsn: str) -> str:
    """The schema of a DSN of `Schemas`."""
    return unquote(dsn).rpartition(SEARCH_PATH)[2]


@contextmanager
def databases() -> Iterator[Any]:
    """A server to make databases in, by `create_database`."""
    if Chosen.real is None:
        with EmbeddedPostgres() as server:
            yield server
        return
    schemas = Schemas(Chosen.real.dsn)
    try:
        yield schemas
    finally:
        schemas.close()


def electric(dsn: str, settings: StandInSettings | None = None, port: int = 0) -> AbstractAsyncContextManager[Any]:
    """An Electric over such a database: a stand-in, or what stands before the real one."""
    settings = settings or StandInSettings()
    return StandIn(dsn, settings, port) if Chosen.real is None else RealElectric(Chosen.real, dsn, settings, port)


class RealElectric(Between):
    """The real Electric, whose schema of ours is called `public`, and whose secret is what the test says it is.

    Of the stand-in's settings only the secret is heeded: a real Electric's times are its own.
    """

    def __init__(self, real: Real, dsn: str, settings: StandInSettings, port: int = 0) -> None:
        self._schema, self._real = schema_of(dsn).encode(), real
        self._secret = settings.secret
        self.settings = StandInSettings(secret=settings.secret)
        super().__init__(real.url, self._changed, theirs=self._schema, ours=b"public", port=port)

    async def __aexit__(self, *arguments: object) -> None:
        await super().__aexit__(*arguments)
        async with httpx.AsyncClient(base_url=self._real.url) as client:
            for handle in sorted(self.handles):
                # answered 405 where deletion is off: then the shape goes with its table
                await client.delete("/v1/shape", params={"handle": handle, "secret": self._real.secret})

    def _changed(self, target: bytes, body: bytes) -> tuple[bytes, bytes]:
        path, mark, query = target.partition(b"?")
        query = self._named(_TABLE.sub(rb"\g<1>" + self._schema + b".", query))
        body = self._named(_MEMBER.sub(rb"\g<1>" + self._schema + b".", body))
        if unquote_to_bytes(path).rstrip(b"/").endswith(b"shape"):
            mark, query = b"?", self._with_secret(query)
        return path + mark + query, body

    def _named(self, text: bytes) -> bytes:
        return _FROM.sub(rb"\g<1>" + self._schema + b".", _QUALIFIED.sub(self._schema, text))

    def _with_secret(self, query: bytes) -> bytes:
        secret = quote(self._real.secret, safe="").encode()
        if self._secret is None:
            return query + (b"&" if query else b"") + b"secret=" + secret
        return query.replace(b"secret=" + quote(self._secret, safe="").encode(), b"secret=" + secret)
