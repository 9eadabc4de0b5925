# SPDX-License-Identifier: Apache-2.0
"""keys: the files of keys that tokens are signed and verified with."""

import time
from pathlib import Path

import click

from proxy import settings
from proxy.auth.key_files import ALGORITHMS, KeyFile
from proxy.auth.keys import KeysFault
from proxy.cli.exits import faults_are_lines

KEEP_SECONDS = 1800
"""Twice the longest life of a token by default: a retired key verifies at least as long as what it signed."""

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=Path("keys.json"))


@click.group()
def keys() -> None:
    """Make, rotate and publish the keys that tokens are signed with.

    FILE is keys.json if left out. Where the keys are not HS256, the public halves are kept beside it, in
    keys.public.json, which is all that the proxy needs.
    """


@keys.command()
@_file
@click.option("--algorithm", type=click.Choice(ALGORITHMS), default=ALGORITHMS[0], help="What the key is for.")
def new(file: Path, algorithm: str) -> None:
    """Make a file with one new key, mode 0600. A file that exists is never overwritten."""
    with faults_are_lines():
        made = KeyFile.new(algorithm)
        made.write(file, new=True)
        click.echo(f"{file}: one {algorithm} key, for whoever signs tokens")
        _publish(made, file)


@keys.command()
@_file
@click.option("--algorithm", type=click.Choice(ALGORITHMS), help="What the new key is for; as the old one if left out.")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=KEEP_SECONDS,
    show_default=True,
    help="For how many seconds the old key still verifies before keys prune removes it.",
)
def rotate(file: Path, algorithm: str | None, keep: int) -> None:
    """Put a new key first in FILE. The old one can sign no more, and verifies until it is pruned.

    Reload the proxy before what signs tokens reads the file: a token by an unknown key is refused.
    """
    with faults_are_lines():
        now = int(time.time())
        old = KeyFile.read(file)
        turned = old.pruned(now).rotated(algorithm or old.algorithm, now + keep)
        turned.write(file)
        click.echo(f"{file}: a new {turned.algorithm} key signs, {len(turned.members) - 1} verify as well")
        _publish(turned, file)


@keys.command()
@_file
@click.option("--all", "everything", is_flag=True, help="Also those that would still verify.")
def prune(file: Path, everything: bool) -> None:
    """Remove the retired keys of FILE whose time is over."""
    with faults_are_lines():
        old = KeyFile.read(file)
        pruned = old.pruned(None if everything else time.time())
        pruned.write(file)
        click.echo(f"{file}: {len(old.members) - len(pruned.members)} removed, {len(pruned.members)} kept")
        _publish(pruned, file)


@keys.command()
@_file
def public(file: Path) -> None:
    """Print the public halves of the keys of FILE, as JWKS."""
    with faults_are_lines():
        try:
            click.echo(KeyFile.read(file).public.text(), nl=False)
        except KeysFault as fault:
            raise KeysFault(str(fault) if str(fault).startswith(str(file)) else f"{file}: {fault}") from None


def public_path(file: Path) -> Path:
    """Where the public halves of a key file are kept."""
    return file.with_name(f"{file.stem}.public{file.suffix}")


def _publish(keys: KeyFile, file: Path) -> None:
    """Writes the public halves beside the file, if they can be."""
    reload = f"then reload the proxy (SIGHUP), which reads {settings.variable('token_keys')}"
    try:
        public = keys.public
    except KeysFault:
        click.echo(f"{file}: HS256 keys have no public half: the proxy reads this file; {reload}")
        return
    public.write(public_path(file), private=False)
    click.echo(f"{public_path(file)}: the public halves, for the proxy; {reload}")
