# SPDX-License-Identifier: Apache-2.0
"""serve and demo: the commands that run until they are ended."""

import sys

import click

from proxy import settings
from proxy.cli.exits import COULD_NOT_RUN, faults_are_lines


@click.command()
def serve() -> None:
    """Serve clients on PROXY_LISTEN, and /live, /ready, /metrics on PROXY_ADMIN_LISTEN."""
    from proxy.runtime import server  # the event loop is not needed to check or mint

    with faults_are_lines():
        sys.exit(server.run(settings.load()))


@click.command()
@click.option("--clients", type=click.IntRange(0, 10_000), default=0, help="Live clients that share, to watch.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, help="The port of the page; 0 for any.")
@click.option("--lines", is_flag=True, help="Print lines to paste into another terminal as well, and the log.")
def demo(clients: int, port: int, lines: bool) -> None:
    """Start PostgreSQL, a stand-in for Electric, the proxy and a page to watch them on. Ctrl-C ends everything."""
    click.echo("shape-proxy demo: starting …")
    try:
        from proxy.demo.demo import DemoFault, run
        from proxy.demo.environment import Options
    except ModuleNotFoundError as missing:
        click.echo(f"Error: {missing}: pip install 'shape-proxy[sandbox]'", err=True)
        sys.exit(COULD_NOT_RUN)
    try:
        run(Options(clients, port, lines))
    except DemoFault as fault:
        click.echo(str(fault), err=True)
        sys.exit(COULD_NOT_RUN)
