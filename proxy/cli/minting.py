"""mint: tokens for development and tests."""

import click

from proxy import settings
from proxy.auth import tokens
from proxy.auth.keys import KeyRing
from proxy.cli.exits import faults_are_lines
from proxy.cli.options import json_object


@click.command()
@click.option("--subject", "--sub", required=True, help="Who the token is for.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A text claim; may be repeated.")
@click.option("--json-claims", default="{}", help="More claims, as a JSON object.")
@click.option("--seconds", type=int, help="How long it lives; the longest permitted if left out.")
def mint(subject: str, claims: tuple[str, ...], json_claims: str, seconds: int | None) -> None:
    """Print a token signed with the first private key of PROXY_TOKEN_KEYS: for development and tests."""
    if not all("=" in claim for claim in claims):
        raise click.UsageError("--claim must be NAME=VALUE")
    said = dict(claim.partition("=")[::2] for claim in claims) | json_object("--json-claims", json_claims)
    with faults_are_lines():
        used = settings.load()
        ring = KeyRing.read(used.token_keys)
        wanted = used.token_max_seconds if seconds is None else seconds
        if wanted > used.token_max_seconds:
            most = f"{settings.variable('token_max_seconds')} permits {used.token_max_seconds}"
            raise click.UsageError(f"--seconds {wanted} would make a token that is refused: {most}")
        click.echo(tokens.mint(ring, tokens.rules(used), subject, said, wanted))
