"""Policies held against a real database: what it has not, what it has otherwise, and what the evaluators differ on."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from proxy.auth import database_check
from proxy.auth import policy_loader as policy_files
from proxy.auth.database_check import DatabaseFault
from proxy.auth.policy_loader import PoliciesFault
from proxy.core.agreement import KnownTypes
from proxy.core.document import PolicyDocument
from proxy.core.drift import ColumnFacts, TableFacts, examined, findings
from proxy.core.identifiers import Table
from proxy.core.policy import Policy
from proxy.core.rule_limits import RuleLimits
from proxy.core.types import ColumnType
from proxy.sandbox import EmbeddedPostgres, app_schema
from tests.core.samples import DOCUMENT, policy
from tests.test_policy_files import CASES, GOOD, changed, folder
from tests.tree import ROOT

SCHEMA = """
CREATE TYPE mood AS ENUM ('good');
CREATE DOMAIN label AS text;
CREATE TABLE notes (id int PRIMARY KEY, session_id text NOT NULL, mode text, amount numeric(10, 2), feeling mood,
                    tags text[], title label, code char(4));
CREATE TABLE members (account_id text, note_id int, amount numeric, PRIMARY KEY (account_id, note_id));
"""


@pytest.fixture(scope="module")
def dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    made = postgres.create_database(sql=SCHEMA)
    yield made
    postgres.drop_database(made)


def made(where: str = "session_id = {session_id}", **changes: object) -> Policy:
    members = {"columns": ["id", "session_id", "mode"], "never": [], "narrow": [], "client": {}, "where": where}
    return Policy.of("notes", PolicyDocument.model_validate({**DOCUMENT, **members, **changes}))


def differences(dsn: str, *policies: Policy) -> list[str]:
    return [sentence for _, sentence in database_check.examine(dsn, policies).differences]


def test_a_policy_that_fits_has_no_difference(dsn: str) -> None:
    types = {
        "id": "integer",
        "mode": "text",
        "feeling": "enum",
        "tags": "text[]",
        "amount": "numeric",
        "title": "other",
    }
    assert differences(dsn, made(types=types)) == []


BESIDE = "session_id = {session_id} AND "
FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "no table": ({"table": "public.nodes"}, 'the database has no table "public"."nodes"'),
    "another schema": ({"table": "app.notes"}, 'the database has no table "app"."notes"'),
    "no column": (
        {"columns": ["id", "session_id", "moode"]},
        "the table has no column moode; did you mean mode?",
    ),
    "another key": (
        {"key": ["session_id"]},
        "key is session_id, and the primary key of the table is id",
    ),
    "another type": ({"types": {"mode": "uuid"}}, "types: mode is declared as uuid and is a text"),
    "a numeric": ({"where": BESIDE + "amount = {session_id}"}, "= over the column amount, a numeric, is not"),
    "a char": ({"where": BESIDE + "code = 'x'"}, "= over the column code, a bpchar, is not evaluated alike"),
    "a domain": ({"where": BESIDE + "title = 'x'"}, "= over the column title, a other, is not evaluated alike"),
    "an array": ({"where": BESIDE + "tags = '{}'"}, "= over the column tags, a text[], is not evaluated alike"),
    "two types on both sides of a SELECT": (
        {"where": "session_id IN (SELECT note_id FROM public.members WHERE account_id = {session_id})"},
        "IN (SELECT …): the column session_id, a text, is compared with note_id, a int4: Electric refuses",
    ),
    "two types in a SELECT within a SELECT": (
        {
            "where": "id IN (SELECT note_id FROM public.members WHERE NOT note_id = 2 AND account_id IN "
            "(SELECT note_id FROM public.members WHERE account_id = {session_id}))"
        },
        "IN (SELECT …): the column account_id, a text, is compared with note_id, a int4",
    ),
    "a type of an inner SELECT": (
        {"where": "id IN (SELECT note_id FROM public.members WHERE account_id = {session_id} AND amount = 1)"},
        "= over the column amount, a numeric, is not evaluated alike",
    ),
    "an inner table that is not there": (
        {"where": "id IN (SELECT a FROM public.nobody WHERE b = {session_id})"},
        'the type of the column a of "public"."nobody" is not known',
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_difference_is_a_sentence(dsn: str, changes: dict[str, object], sentence: str) -> None:
    told = differences(dsn, made(**changes))  # type: ignore[arg-type]
    assert any(one.startswith(sentence) for one in told), told


def test_what_the_database_knows_need_not_be_asked_of_electric(dsn: str) -> None:
    where = "session_id = {session_id} OR id IN (SELECT note_id FROM public.members WHERE account_id = {session_id})"
    (known,) = database_check.examine(dsn, [made(where)]).policies
    assert made(where).guard.unverified()
    assert known.guard.unverified() == frozenset()
    assert known.guard.fault == ""


def test_an_unsafe_type_makes_the_shape_refuse(dsn: str) -> None:
    (known,) = database_check.examine(dsn, [made(BESIDE + "amount = 1")]).policies
    assert known.guard.fault.startswith("= over the column amount, a numeric")


@pytest.mark.parametrize("tested", [True, False])
def test_texts_under_a_collation_that_is_not_deterministic_are_not_compared(tested: bool) -> None:
    text = ColumnType("text")
    columns = {name: ColumnFacts(text) for name in ("id", "session_id", "mode")}
    columns["session_id" if tested else "mode"] = ColumnFacts(text, deterministic=False)
    facts = {Table("public", "notes"): TableFacts(columns, ("id",))}
    unsafe = [found.sentence for found in findings(made(), facts) if found.unsafe]
    assert len(unsafe) == tested
    assert all(one.startswith("the column session_id has a collation that is not deterministic") for one in unsafe)
    assert bool(examined(made(), facts).guard.fault) is tested


def test_the_catalog_tells_a_collation_that_is_not_deterministic(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.create_database(sql=SCHEMA)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'C'")
        connection.execute('ALTER TABLE notes ALTER COLUMN session_id TYPE text COLLATE "C"')
    assert [one[:47] for one in differences(dsn, made())] == ["the column session_id has a collation that is n"]
    postgres.drop_database(dsn)


def test_a_database_that_cannot_be_asked_is_one_line_without_its_address() -> None:
    with pytest.raises(DatabaseFault, match=r"^the database cannot be asked \(OperationalError\)$"):
        database_check.examine("postgresql://ada:s3cr3t@127.0.0.1:1/x", [policy()])


def test_a_guard_without_a_database_knows_nothing() -> None:
    assert policy().guard.known == KnownTypes()


# --- what serve makes of it


def test_without_a_database_nothing_is_compared(tmp_path: Path) -> None:
    loaded = policy_files.load_against(None, folder(tmp_path, {"notes.toml": GOOD + CASES}), RuleLimits(), strict=True)
    assert loaded.warnings == ()


def test_a_difference_is_a_warning_or_refused(tmp_path: Path, dsn: str) -> None:
    path = folder(tmp_path, {"notes.toml": changed('key = ["id", "mode"]')})
    line = f"{path}/notes.toml: key is id, mode, and the primary key of the table is id"
    assert policy_files.load_against(dsn, path, RuleLimits(), strict=False).warnings == (line,)
    with pytest.raises(PoliciesFault) as caught:
        policy_files.load_against(dsn, path, RuleLimits(), strict=True)
    assert caught.value.lines == (line,)


def test_a_database_that_is_away_is_a_warning_or_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, {"notes.toml": GOOD + CASES})
    away = "postgresql://127.0.0.1:1/x"
    loaded = policy_files.load_against(away, path, RuleLimits(), strict=False)
    assert loaded.warnings == (
        f"{path}: not held against the database: the database cannot be asked (OperationalError)",
    )
    assert loaded.policies.by_name["notes"].guard.unverified()
    with pytest.raises(PoliciesFault, match="not held against the database"):
        policy_files.load_against(away, path, RuleLimits(), strict=True)


def test_the_shipped_policies_fit_the_applications_schema(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.create_database(sql=app_schema())
    assert policy_files.load_against(dsn, ROOT / "policies", RuleLimits(), strict=True).warnings == ()
    postgres.drop_database(dsn)
