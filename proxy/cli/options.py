# SPDX-License-Identifier: Apache-2.0
"""What several commands take in the same form."""

import json
from pathlib import Path
from typing import Any

import click

folder = click.option(
    "--policies", type=click.Path(path_type=Path), help="The folder of policies; PROXY_POLICIES if left out."
)


def json_object(option: str, given: str) -> dict[str, Any]:
    """The members of an option that is a JSON object, or with @ the name of its file. Raises UsageError, OSError."""
    try:
        members = json.loads(text_of(given))
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise click.UsageError(f"{option} must be a JSON object")
    return members


def text_of(given: str) -> str:
    """An option's text, or with @ that of the file it names. Raises OSError."""
    return Path(given[1:]).read_text("utf-8") if given.startswith("@") else given


def raw(argument: str) -> bytes:
    """An argument as it was typed, also where it is not UTF-8."""
    return argument.encode("utf-8", "surrogateescape")
