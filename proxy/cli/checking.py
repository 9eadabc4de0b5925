"""check: the policies loaded as serve loads them, and compared with a database."""

import sys
from pathlib import Path

import click

from proxy import settings
from proxy.auth import policy_loader as policy_files
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.cli.exits import faults_are_lines
from proxy.cli.options import folder


@click.command()
@folder
@click.option(
    "--database",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Hold them against this database, DATABASE_URL without a value: columns, keys, types, collations.",
)
def check(policies: Path | None, database: str | None) -> None:
    """Load the policies exactly as serve does, and print each of their cases."""
    folder = policies or settings.policies_folder()
    with faults_are_lines(PoliciesFault):
        loaded = policy_files.load(folder, settings.rule_limits())
        lines = _differences(loaded, folder, database)
    for result in loaded.results:
        click.echo(f"{result.policy}: {result.expect}: {result.case}")
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in lines:
        click.echo(line, err=True)
    click.echo(f"{len(loaded.policies.by_name)} policies, {len(loaded.results)} cases, digest {loaded.digest}")
    sys.exit(1 if lines else 0)


def _differences(loaded: LoadedPolicies, folder: Path, database: str | None) -> tuple[str, ...]:
    if database is None:
        return ()
    dsn = database or settings.database_dsn()
    if not dsn:
        raise click.UsageError("--database needs a URL, here or in DATABASE_URL")
    return policy_files.differences(loaded, folder, dsn)[1]
