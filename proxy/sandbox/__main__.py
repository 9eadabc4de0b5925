# SPDX-License-Identifier: Apache-2.0
"""`python -m proxy.sandbox`: the stand-in alone, until Ctrl-C or SIGTERM. The first line printed is its URL."""

import asyncio
import contextlib
import signal
from pathlib import Path

import click

from .app_schema import app_schema
from .postgres import EmbeddedPostgres
from .settings import StandInSettings
from .stand_in import StandIn

ELECTRICS_SLOT = "electric_slot_default"
"""The name that a real Electric gives its replication slot, where the proxy looks for it."""


@click.command()
@click.option("--port", default=0, help="Port on 127.0.0.1; 0 for any free one.")
@click.option("--dsn", default="", help="Database to serve; without it an embedded one with the app's tables.")
@click.option(
    "--sql", type=click.Path(path_type=Path), help="What makes the tables of the embedded one, if not the app's."
)
@click.option("--secret", default=None, help="What requests must have as `secret`.")
@click.option("--long-poll", default=20.0, help="Seconds that a live request waits.")
def main(port: int, dsn: str, sql: Path | None, secret: str | None, long_poll: float) -> None:
    """Serve a database as Electric does. The second line printed is the DSN of the database."""
    slot = "" if dsn else ELECTRICS_SLOT
    settings = StandInSettings(secret=secret, long_poll_seconds=long_poll, slot_name=slot)
    with contextlib.ExitStack() as stack:
        if not dsn:
            tables = sql.read_text("utf-8") if sql else app_schema()
            dsn = stack.enter_context(EmbeddedPostgres()).create_database("app", sql=tables)
        asyncio.run(_serve(dsn, settings, port))


async def _serve(dsn: str, settings: StandInSettings, port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with StandIn(dsn, settings, port) as stand_in:
        click.echo(stand_in.url)
        click.echo(dsn)
        await ended.wait()


if __name__ == "__main__":
    main()
