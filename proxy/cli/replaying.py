# SPDX-License-Identifier: Apache-2.0
"""replay: what other policies would change of the decisions that were recorded."""

import json
import sys
from pathlib import Path

import click

from proxy import settings
from proxy.audit import replay as replaying
from proxy.auth import policy_loader
from proxy.cli.exits import FINE, FOUND, faults_are_lines
from proxy.cli.options import folder


@click.command()
@folder
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.argument("log", type=click.Path(path_type=Path, dir_okay=False))
def replay(policies: Path | None, as_json: bool, log: Path) -> None:
    """Decide the decisions of LOG again, and show who would gain or lose what. Exit 1 if anything widens.

    LOG is a file that PROXY_DECISION_FILE wrote. A predicate for which it is unknown whether it lets more rows through
    is called different, and counts as wider.
    """
    with faults_are_lines():
        limits = settings.rule_limits()
        loaded = policy_loader.load(policies or settings.policies_folder(), limits)
        found = replaying.differences(log, loaded.policies, limits)
    click.echo(json.dumps(found.members(), indent=2) if as_json else "\n".join(found.lines()))
    sys.exit(FOUND if found.widens else FINE)
