"""Hidden commands that print files of this repository, which tests compare with them."""

import click

from proxy import settings


@click.command(hidden=True)
def env_example() -> None:
    """Print .env.example, which a test compares with the file."""
    click.echo(settings.example(), nl=False)
