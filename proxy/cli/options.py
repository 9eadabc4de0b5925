"""What several commands take in the same form."""

import json
from pathlib import Path
from typing import Any

import click

folder = click.option(
    "--policies", type=click.Path(path_type=Path), help="The folder of policies; PROXY_POLICIES if left out."
)


def json_object(option: str, text: str) -> dict[str, Any]:
    """The members of an option that is a JSON object. Raises click.UsageError."""
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise click.UsageError(f"{option} must be a JSON object")
    return members


def raw(argument: str) -> bytes:
    """An argument as it was typed, also where it is no UTF-8."""
    return argument.encode("utf-8", "surrogateescape")
