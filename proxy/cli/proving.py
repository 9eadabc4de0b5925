# SPDX-License-Identifier: Apache-2.0
"""prove: that policies keep tokens apart, for any content of the database."""

import json
import sys
from pathlib import Path

import click

from proxy import settings
from proxy.auth import policy_loader
from proxy.cli.exits import faults_are_lines
from proxy.cli.options import folder


@click.command()
@folder
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="A folder of earlier policies: print what a token may read now and could not read under them.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def prove(policies: Path | None, against: Path | None, as_json: bool) -> None:
    """Show that tokens which differ in a policy's [isolation] share no row, whatever the tables hold.

    Exit 1 if two of them share one, or with --against if a row or a column becomes visible; exit 2 if that cannot be
    decided.
    """
    try:
        from proxy.proof import report  # its solver is an extra
    except ModuleNotFoundError as missing:
        raise click.UsageError(f"{missing}: pip install 'shape-proxy[prove]'") from None
    with faults_are_lines():
        limits = settings.rule_limits()
        loaded = policy_loader.load(policies or settings.policies_folder(), limits).policies
        found = (
            report.prove(loaded)
            if against is None
            else report.compare(loaded, policy_loader.load(against, limits).policies)
        )
    click.echo(json.dumps(found.members(), indent=2) if as_json else "\n".join(found.lines()))
    sys.exit(found.exit_code)
