# SPDX-License-Identifier: Apache-2.0
"""init: a first set of policies, keys and settings for a database."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from proxy import settings
from proxy.auth.catalog import facts_of_schema
from proxy.cli.exits import COULD_NOT_RUN, FOUND, faults_are_lines
from proxy.scaffold.guesses import GuessFault
from proxy.scaffold.project import Project, ProjectFault


@click.command()
@click.option("--database", metavar="URL", help="The database to read; DATABASE_URL if left out.")
@click.option("--schema", default="public", show_default=True, help="The schema whose tables are read.")
@click.option(
    "--isolate",
    metavar="COLUMN",
    help="The column that names the owner of a row, such as session_id; the likeliest if left out.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder to write to; the current one if left out.",
)
def init(database: str | None, schema: str, isolate: str | None, into: Path) -> None:
    """Write a policy for each table of a database, keys, settings, and SQL for Electric.

    Nothing is overwritten: if a file is there, nothing is written, and the exit code is 1. Every policy that is written
    loads; read which rows each policy gives to whom.
    """
    dsn = database or settings.database_dsn()
    if not dsn:
        raise click.UsageError("--database needs a URL, here or in DATABASE_URL")
    with faults_are_lines():
        facts = facts_of_schema(dsn, schema)
        try:
            project = Project.of(facts, isolate, dsn)
            project.write(into)
        except GuessFault as fault:
            click.echo(f"schema {schema}: {fault}", err=True)
            sys.exit(COULD_NOT_RUN)
        except ProjectFault as fault:
            click.echo(str(fault), err=True)
            sys.exit(FOUND)
    click.echo("\n".join(_report(project, into, chosen=isolate is None)))


def _report(project: Project, into: Path, *, chosen: bool) -> Iterator[str]:
    if chosen:
        yield f"rows are separated by {project.isolate}, which most tables have; --isolate COLUMN takes another"
    for guess in project.guesses:
        hidden = f"; never {', '.join(guess.never)}" if guess.never else ""
        yield f"{into / 'policies' / guess.name}.toml: {guess.how}{hidden}"
    for skipped in project.skipped:
        yield f"{'TODO' if skipped.todo else 'skipped'} {skipped.table.schema}.{skipped.table.name}: {skipped.why}"
    for name in project.files:
        if not name.startswith("policies/"):
            yield f"{into / name}: {_MEANINGS[name]}"
    yield ""
    yield "Next:" if into == Path() else f"Next, in {into}:"
    yield '  psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f electric.sql   # as a superuser'
    yield "  set -a; . ./.env; set +a; shape-proxy check --database"
    yield "  shape-proxy serve"


_MEANINGS = {
    "keys.json": "the key that signs tokens, for your application",
    "keys.public.json": "its public half, for the proxy",
    ".env": "the settings",
    "electric.sql": "roles, rights and the publication for Electric",
}
