# SPDX-License-Identifier: Apache-2.0
"""mint: tokens for development and tests."""

from pathlib import Path

import click

from proxy import settings
from proxy.auth import tokens
from proxy.auth.issuers import Issuer
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.trust import Trust
from proxy.cli.exits import faults_are_lines
from proxy.cli.options import json_object
from proxy.runtime import configuration


@click.command()
@click.option("--subject", "--sub", help="Who the token is for; sub of --claims if left out.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A text claim; may be repeated.")
@click.option("--claims", "members", default="{}", metavar="JSON|@FILE", help="Claims as a JSON object, or its file.")
@click.option("--issuer", help="Of PROXY_ISSUERS, the one to mint for; the first with a private key if left out.")
@click.option("--seconds", type=int, help="How long it lives; the longest permitted if left out.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    help="The file with the private key; the issuer's own if left out.",
)
def mint(
    subject: str | None,
    claims: tuple[str, ...],
    members: str,
    issuer: str | None,
    seconds: int | None,
    keys: Path | None,
) -> None:
    """Print a token signed with the first private key of an issuer's key file: for development and tests."""
    if not all("=" in claim for claim in claims):
        raise click.UsageError("--claim must be NAME=VALUE")
    with faults_are_lines():
        given = json_object("--claims", members) | dict(claim.partition("=")[::2] for claim in claims)
        subject = subject if subject is not None else given.get("sub")
        if not isinstance(subject, str) or not subject.strip():
            raise click.UsageError("give --subject, or a sub in --claims")
        used, ring = _signing(Trust.read(configuration.issuers(settings.load())), issuer, keys)
        most = used.max_seconds
        wanted = most if seconds is None else seconds
        if wanted > most:
            raise click.UsageError(f"--seconds {wanted} would make a token that is refused: {most} are permitted")
        click.echo(tokens.mint(ring, used, subject, given, wanted))


def _signing(trust: Trust, name: str | None, keys: Path | None) -> tuple[Issuer, KeyRing]:
    """Who signs, and with which keys: those of the issuer, or of a file. Raises KeysFault."""
    if keys is None:
        return trust.signing(name)
    for trusted in trust.by_name.values():
        if name in (None, trusted.issuer.name):
            return trusted.issuer, KeyRing.read(keys)
    raise KeysFault(f"there is no issuer {name}")
