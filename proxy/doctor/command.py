# SPDX-License-Identifier: Apache-2.0
"""The command `shape-proxy doctor`."""

import json
import sys

import click

from proxy import settings
from proxy.doctor.examination import Asked, examine
from proxy.doctor.findings import Finding, Level, worst
from proxy.settings import SettingsFault


@click.command()
@click.option("--url", default="", help="The public address that clients use, such as https://sync.example.")
@click.option("--token", default="", help="A token to try a stream with; else one is made with the first private key.")
@click.option("--clock", "clocks", multiple=True, help="An issuer's address, such as its JWKS; may be repeated.")
@click.option("--seconds", default=10.0, show_default=True, help="How long an answer may take.")
@click.option("--event-seconds", default=30.0, show_default=True, help="How long the first event of a stream may take.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def doctor(url: str, token: str, clocks: tuple[str, ...], seconds: float, event_seconds: float, as_json: bool) -> None:
    """Look at Electric, the policies, the database, the keys, the clocks and the public address.

    A line each: ok, warning or error, and what to do. Exit 1 with an error, 2 if the settings cannot be read.
    """
    try:
        used = settings.load()
    except SettingsFault as fault:
        click.echo(str(fault), err=True)
        sys.exit(2)
    found: list[Finding] = []
    for finding in examine(used, Asked(url, token, clocks, seconds, event_seconds)):
        found.append(finding)
        if not as_json:
            click.echo(finding.line())
    if as_json:
        click.echo(json.dumps({"level": worst(found).value, "findings": [one.members() for one in found]}, indent=2))
    sys.exit(1 if worst(found) is Level.error else 0)
