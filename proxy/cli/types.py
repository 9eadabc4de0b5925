# SPDX-License-Identifier: Apache-2.0
"""types: the types of rows, for programs that read shapes."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import httpx

from proxy import settings
from proxy.auth import policy_loader
from proxy.cli.exits import COULD_NOT_RUN, faults_are_lines
from proxy.cli.options import folder, text_of
from proxy.core import listing
from proxy.core.inbound import LISTING
from proxy.scaffold import typescript

SECONDS: Final = 10


@click.command()
@folder
@click.option("--typescript", "language", flag_value="typescript", help="Write TypeScript, for @electric-sql/client.")
@click.option("--url", help="Ask a running proxy here instead of reading policies, such as https://shapes.example.")
@click.option("--token", metavar="TOKEN|@FILE", help="The token to ask with, or its file; it decides which shapes.")
def types(policies: Path | None, language: str | None, url: str | None, token: str | None) -> None:
    """Print the types of the rows of shapes: of all policies, or of those that a token may use."""
    if language is None:
        raise click.UsageError("give --typescript, which is the only language so far")
    if (url is None) != (token is None):
        raise click.UsageError("--url and --token go together")
    with faults_are_lines():
        if url is None or token is None:
            loaded = policy_loader.load(policies or settings.policies_folder(), settings.rule_limits())
            shapes = json.loads(listing.complete(loaded.policies))["shapes"]
        else:
            shapes = _asked(url.rstrip("/") + LISTING.decode(), text_of(token).strip())
    click.echo(typescript.module(shapes), nl=False)


def _asked(url: str, token: str) -> Sequence[Mapping[str, Any]]:
    """What a proxy lists for this token."""
    try:
        answered = httpx.get(url, headers={"authorization": f"Bearer {token}"}, timeout=SECONDS)
        members = answered.json()
        if answered.status_code == httpx.codes.OK:
            return list(members["shapes"])
        why = f"{answered.status_code} {members['code']}: {members['detail']}"
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        why = f"cannot be asked ({type(fault).__name__})"
    except (ValueError, LookupError, TypeError):
        why = "this is no answer of shape-proxy"
    click.echo(f"{url}: {why}", err=True)
    sys.exit(COULD_NOT_RUN)
