# SPDX-License-Identifier: Apache-2.0
"""The texts of the files that `init` writes: policies, the environment, and SQL for Electric."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote as percent

from proxy.core.identifiers import quote
from proxy.scaffold.guesses import Guess, spelled_table, tables_read

SAMPLES: Final[Mapping[str, tuple[str | int, str | int]]] = {
    "text": ("ada", "bob"),
    "uuid": ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"),
    "integer": (1, 2),
}
"""For each type of claim, the value of a case's own token and somebody else's."""

MAX_LIMIT: Final = 1000
WIDTH: Final = 110


def policy(guess: Guess) -> str:
    """A policy file."""
    lines = [
        f"# Guessed {guess.how}: check that this is whose rows they are.",
        f"table   = {_literal(spelled_table(guess.table))}",
        f"key     = {_list(guess.key)}",
        f"columns = {_list(guess.columns)}",
    ]
    if guess.never:
        listed = [f"    {_text(column)},  # {why}" for column, why in guess.never.items()]
        lines += ["never   = [", *listed, "]"]
    lines += [f"where   = {_literal(guess.where)}", "", "[types]"]
    lines += [f"{_key(column)} = {_text(type_)}" for column, type_ in guess.types.items()]
    lines += ["", "[claims]", f"{_key(guess.claim)} = {_text(guess.claim_type)}", "", "[client]"]
    lines += [*_client(guess), "", "[isolation]", f"by = {_text(guess.claim)}"]
    return "\n".join([*lines, *_cases(guess)]) + "\n"


def _client(guess: Guess) -> list[str]:
    if guess.bound is None:
        return [f"filter      = {_list(guess.filter)}", f"filter_safe = {_list(guess.filter)}", "subset      = false"]
    return [f"filter  = {_list(guess.filter)}", f"subset  = {{ max_limit = {MAX_LIMIT} }}"]


def _cases(guess: Guess) -> list[str]:
    own, other = SAMPLES[guess.claim_type]
    claims = f"{{ {_key(guess.claim)} = {json.dumps(own)} }}"
    cases = [("a token reads the rows of its own", claims, "offset=-1", "allow")]
    if guess.bound is not None:
        where = percent(f"{quote(guess.bound)} = $1", safe="")
        asking = f"offset=-1&where={where}&params[1]={percent(str(other), safe='')}"
        cases.append(("and cannot ask for those of another", claims, asking, "predicate_mismatch"))
    cases.append(("a token without the claim reads nothing", "{ }", "offset=-1", "claim_missing"))
    return [
        line
        for name, given, request, expect in cases
        for line in (
            "",
            "[[case]]",
            f"name    = {_text(name)}",
            f"claims  = {given}",
            f"request = {_text(request)}",
            f"expect  = {_text(expect)}",
        )
    ]


def environment(dsn: str, keys: str, handle_key: str) -> str:
    """The settings that serve needs."""
    return f"""# For a shell: set -a; . ./.env; set +a
PROXY_POLICIES=policies
# The public halves of keys.json, which alone can sign: keep that one where tokens are made.
PROXY_TOKEN_KEYS={shlex.quote(keys)}
# What your application writes as iss and aud into its tokens.
PROXY_TOKEN_ISSUER=https://app.example
PROXY_TOKEN_AUDIENCE=shape-proxy
# The same in every replica; it binds handles to shapes.
PROXY_HANDLE_KEY={handle_key}
ELECTRIC_HTTP_URL=http://127.0.0.1:3000
# What Electric itself runs with; empty only for an Electric with ELECTRIC_INSECURE.
ELECTRIC_SECRET=
# For check --database and the measured lag: the role shape_proxy of electric.sql is enough.
DATABASE_URL={shlex.quote(dsn)}
# Web pages that may read answers.
# PROXY_ALLOWED_ORIGINS=http://localhost:5173
"""


def sql(guesses: Iterable[Guess]) -> str:
    """Roles, rights and the publication for the tables of some policies."""
    found = tuple(guesses)
    read = dict(tables_read(found))
    schemas = ", ".join(dict.fromkeys(quote(table.schema) for table in read))
    tables = ",\n  ".join(table.quoted for table in read)
    partitions = [part for guess in found for part in guess.partitions]
    hidden = [line for guess in found if guess.never for line in _hidden(guess)]
    return "\n".join(
        [
            _ROLES,
            f"GRANT USAGE ON SCHEMA {schemas} TO electric, shape_proxy;",
            "",
            "-- Electric reads the columns that the policies name, and no others.",
            *(f"GRANT SELECT ({_names(columns)})\n  ON {table.quoted} TO electric;" for table, columns in read.items()),
            _PUBLICATION,
            f"ALTER PUBLICATION electric_publication_default SET TABLE\n  {tables};",
            "",
            "-- Electric wants whole old rows of every table that it serves.",
            *(f"ALTER TABLE {table.quoted} REPLICA IDENTITY FULL;" for table in (*read, *partitions)),
            *hidden,
            "",
        ]
    )


def _hidden(guess: Guess) -> list[str]:
    kept = ", ".join(quote(column) for column in guess.never)
    return [
        "",
        f"-- {guess.table.quoted} has columns that no policy sends: {kept}.",
        "-- To keep them out of the replication stream too, list the others in the publication:",
        f"--   {guess.table.quoted} ({_names(guess.columns)})",
        "-- PostgreSQL then refuses UPDATE and DELETE on the table, because its identity is FULL: this is for tables",
        "-- whose rows are only inserted. Elsewhere move the columns to a table of their own.",
    ]


_ROLES: Final = """\
-- What Electric and the proxy need, and no more. Run as a superuser; running it again changes nothing.
-- Passwords are not in files: set them with \\password in psql.
-- Run Electric with ELECTRIC_MANUAL_TABLE_PUBLISHING=true, so that it needs to own no table.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'electric') THEN
    CREATE ROLE electric LOGIN REPLICATION NOINHERIT;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shape_proxy') THEN
    CREATE ROLE shape_proxy LOGIN NOINHERIT CONNECTION LIMIT 64;
  END IF;
END
$$;
"""

_PUBLICATION: Final = """
-- The publication that Electric reads: these tables, and no others.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'electric_publication_default') THEN
    CREATE PUBLICATION electric_publication_default WITH (publish_via_partition_root = true);
  END IF;
END
$$;"""


def _names(columns: Iterable[str]) -> str:
    return ", ".join(map(quote, columns))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _literal(value: str) -> str:
    """A text with as few escapes as it needs."""
    return f"'{value}'" if '"' in value and "'" not in value else _text(value)


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _text(name)


def _list(values: Iterable[str]) -> str:
    """A list on one line if it fits there."""
    items = [_text(value) for value in values]
    line = f"[{', '.join(items)}]"
    return line if len(line) <= WIDTH else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
