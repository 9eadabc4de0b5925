"""mint: tokens for development and tests."""

from pathlib import Path

import click

from proxy import settings
from proxy.auth import tokens
from proxy.auth.keys import KeyRing
from proxy.cli.exits import faults_are_lines
from proxy.cli.options import json_object
from proxy.runtime import configuration


@click.command()
@click.option("--subject", "--sub", help="Who the token is for; sub of --claims if left out.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A text claim; may be repeated.")
@click.option("--claims", "members", default="{}", metavar="JSON|@FILE", help="Claims as a JSON object, or its file.")
@click.option("--seconds", type=int, help="How long it lives; the longest permitted if left out.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    help="The file with the private key; PROXY_TOKEN_KEYS if left out.",
)
def mint(subject: str | None, claims: tuple[str, ...], members: str, seconds: int | None, keys: Path | None) -> None:
    """Print a token signed with the first private key of a key file: for development and tests."""
    if not all("=" in claim for claim in claims):
        raise click.UsageError("--claim must be NAME=VALUE")
    with faults_are_lines():
        given = json_object("--claims", members) | dict(claim.partition("=")[::2] for claim in claims)
        subject = subject if subject is not None else given.get("sub")
        if not isinstance(subject, str) or not subject.strip():
            raise click.UsageError("give --subject, or a sub in --claims")
        used = settings.load()
        ring = KeyRing.read(keys or used.token_keys)
        wanted = used.token_max_seconds if seconds is None else seconds
        if wanted > used.token_max_seconds:
            most = f"{settings.variable('token_max_seconds')} permits {used.token_max_seconds}"
            raise click.UsageError(f"--seconds {wanted} would make a token that is refused: {most}")
        click.echo(tokens.mint(ring, configuration.token_rules(used), subject, given, wanted))
