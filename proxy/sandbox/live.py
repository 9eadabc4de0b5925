# SPDX-License-Identifier: Apache-2.0
r"""Operators that Electric's evaluator of changes reads differently from PostgreSQL.

PostgreSQL judges snapshots and subsets; an evaluator of Electric's own judges changes. It compares `numeric` as
float64. It matches LIKE byte by byte with a regular expression whose `.` is not a newline, whose `$` also stands before
a final newline, and which knows no escapes. It changes the case of texts by Unicode's full mappings. Here the same
operators are defined in a schema that stands before `pg_catalog` while changes are judged.
"""

from .connect import Connection
from .names import quote

WORDS = frozenset({"like", "ilike", "lower", "upper"})
"""The words of filters that are read differently whatever their columns; `numeric` columns are the other reason."""

TEXTS = r"""
CREATE FUNCTION {schema}.bytes(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT convert_from(convert_to($1, 'UTF8'), 'LATIN1') $$;
CREATE FUNCTION {schema}.pattern(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT '(?p)^' || regexp_replace(regexp_replace(regexp_replace({schema}.bytes($1),
    '([^[:alnum:]_%])', '\\\1', 'g'), '(?<!\\)%', '.*', 'g'), '(?<!\\)_', '.', 'g') || '\n?$' $$;
CREATE FUNCTION {schema}.matches(text, text) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT {schema}.bytes($1) OPERATOR(pg_catalog.~) {schema}.pattern($2) $$;
CREATE FUNCTION {schema}.imatches(text, text) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT {schema}.bytes($1) COLLATE "C" OPERATOR(pg_catalog.~*) {schema}.pattern($2) $$;
CREATE FUNCTION {schema}.differs(text, text) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT NOT {schema}.matches($1, $2) $$;
CREATE FUNCTION {schema}.idiffers(text, text) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT NOT {schema}.imatches($1, $2) $$;
CREATE OPERATOR {schema}.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.matches);
CREATE OPERATOR {schema}.~~* (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.imatches);
CREATE OPERATOR {schema}.!~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.differs);
CREATE OPERATOR {schema}.!~~* (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.idiffers);
CREATE FUNCTION {schema}.upper(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT pg_catalog.upper(replace(replace(replace(replace($1, 'ß', 'SS'), 'ﬁ', 'FI'), 'ŉ', 'ʼN'), 'ǰ', 'J̌')) $$;
CREATE FUNCTION {schema}.lower(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT pg_catalog.lower(replace($1, 'İ', 'i̇')) $$;
"""

COMPARISON = """
CREATE FUNCTION {schema}.{name}(numeric, numeric) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT $1::float8 OPERATOR(pg_catalog.{operator}) $2::float8 $$;
CREATE OPERATOR {schema}.{operator} (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = {schema}.{name});
"""
COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


async def install(connection: Connection, schema: str) -> None:
    """Define the operators, unless they are. Two that come at the same time wait for each other."""
    async with connection.transaction():
        await connection.execute(b"SELECT pg_advisory_xact_lock(7301)")
        known = await connection.execute(b"SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
        if not await known.fetchone():
            name = quote(schema)
            await connection.execute(f"CREATE SCHEMA {name}".encode())
            await connection.execute(TEXTS.replace("{schema}", name).encode())
            for function, operator in COMPARISONS.items():
                sql = COMPARISON.format(schema=name, name=function, operator=operator)
                await connection.execute(sql.encode())


def search_path(schema: str) -> bytes:
    """The statement after which, until the transaction's end, filters are read as changes are."""
    return f'SET LOCAL search_path = {quote(schema)}, pg_catalog, "$user", public'.encode()
