# SPDX-License-Identifier: Apache-2.0
"""Lines to try in another terminal: each can be pasted as it stands."""

from importlib import resources

TOKEN_SECONDS = 900


def instructions(**values: str) -> str:
    """The text of demo.txt with its {names} filled in; other braces are the shell's."""
    text = resources.files(__package__).joinpath("demo.txt").read_text()
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
