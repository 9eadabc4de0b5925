# SPDX-License-Identifier: Apache-2.0
"""check: the policies loaded as serve loads them, and compared with a database."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from proxy import settings
from proxy.auth import policy_loader as policy_files
from proxy.auth.catalog import ROLE
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.cli.exits import FINE, FOUND, faults_are_lines
from proxy.cli.options import folder


@click.command()
@folder
@click.option(
    "--database",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Compare them with this database, DATABASE_URL without a value: columns, keys, types, collations, "
    "publication and rights.",
)
@click.option("--role", default=ROLE, show_default=True, help="The role that Electric reads the database as.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def check(policies: Path | None, database: str | None, role: str, as_json: bool) -> None:
    """Load the policies exactly as serve does, and print each of their cases.

    Exit 1 if they do not load, or differ from the database; 2 if the database cannot be asked.
    """
    given = policies or settings.policies_folder()
    dsn = None if database is None else _dsn(database)
    lines: tuple[str, ...] = ()
    with faults_are_lines():
        try:
            loaded = policy_files.load(given, settings.rule_limits())
        except PoliciesFault as fault:
            _say_faults(fault, as_json=as_json)
            sys.exit(FOUND)
        if dsn is not None:
            loaded, lines = policy_files.differences(loaded, given, dsn, role)
    if as_json:
        click.echo(json.dumps(_members(loaded, lines), indent=2))
    else:
        _say(loaded, lines)
    sys.exit(FOUND if lines else FINE)


def _dsn(given: str) -> str:
    dsn = given or settings.database_dsn()
    if not dsn:
        raise click.UsageError("--database needs a URL, here or in DATABASE_URL")
    return dsn


def _say(loaded: LoadedPolicies, differences: tuple[str, ...]) -> None:
    for result in loaded.results:
        click.echo(f"{result.policy}: {result.expect}: {result.case}")
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in differences:
        click.echo(line, err=True)
    click.echo(f"{len(loaded.policies.by_name)} policies, {len(loaded.results)} cases, digest {loaded.digest}")


def _say_faults(fault: PoliciesFault, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"loaded": False, "faults": [_split(line) for line in fault.lines]}, indent=2))
    else:
        click.echo(str(fault), err=True)


def _members(loaded: LoadedPolicies, differences: tuple[str, ...]) -> dict[str, Any]:
    return {
        "loaded": True,
        "policies": sorted(loaded.policies.by_name),
        "digest": loaded.digest,
        "cases": [{"policy": each.policy, "case": each.case, "expect": each.expect} for each in loaded.results],
        "warnings": [_split(line) for line in loaded.warnings],
        "differences": [_split(line) for line in differences],
    }


def _split(line: str) -> dict[str, str | int | None]:
    """The parts of `file:line: sentence`; not every sentence is of one line."""
    place, _, sentence = line.partition(": ")
    file, _, number = place.rpartition(":")
    if not number.isdecimal():
        return {"file": place, "line": None, "sentence": sentence}
    return {"file": file, "line": int(number), "sentence": sentence}
