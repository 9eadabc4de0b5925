# SPDX-License-Identifier: Apache-2.0
"""Hidden commands that print files of this repository, which tests compare with them."""

import click

from proxy import settings
from proxy.cli.reference import reference


@click.command(hidden=True)
def env_example() -> None:
    """Print .env.example, which a test compares with the file."""
    click.echo(settings.example(), nl=False)


@click.command(hidden=True)
@click.pass_context
def reference_cli(context: click.Context) -> None:
    """Print docs/reference/cli.md, which a test compares with the file."""
    main = context.find_root().command
    assert isinstance(main, click.Group)  # noqa: S101 - this command is in it
    click.echo(reference(main), nl=False)
