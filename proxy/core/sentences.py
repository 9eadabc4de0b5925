# SPDX-License-Identifier: Apache-2.0
"""Reasons against a policy, each with its place in the file."""

Path = tuple[str | int, ...]
"""The names and numbers that lead to a member of a document: `("grant", 0, "where")`."""


class Sentence(str):
    """One reason, as text. `path` is where it stands in the document, `offset` how far into the text there."""

    __slots__ = ("offset", "path")

    path: Path
    offset: int

    def __new__(cls, text: str, *path: str | int, offset: int = 0) -> "Sentence":
        """The text at this path."""
        made = super().__new__(cls, text)
        made.path, made.offset = path, offset
        return made
