# SPDX-License-Identifier: Apache-2.0
"""The lines of a TOML file: where the members of its document stand. (The standard library's parser does not report
them.)"""

import re
from collections.abc import Iterator

from proxy.core.sentences import Path

_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*(\"[^\"]+\"|'[^']+'|[A-Za-z0-9_-]+)\s*=\s*(.*)")
_NAME = re.compile(r"\"[^\"]+\"|'[^']+'|[A-Za-z0-9_-]+")
_MULTILINE = ('"""', "'''")


def line_of(text: str, path: Path, offset: int = 0) -> int | None:
    """The line, from 1, of the member at this path, or of the nearest one above it; None if there is none of them.

    `offset` is how many characters into the member's text: it selects the line of a text of several lines.
    """
    found = [(len(member), line, value) for member, line, value in _members(text) if path[: len(member)] == member]
    if not found:
        return None
    depth, line, value = max(found, key=lambda one: (one[0], -one[1]))
    return line + _lines_into(text, line, value, offset) if depth == len(path) else line


def _lines_into(text: str, line: int, value: str, offset: int) -> int:
    """How many lines further down a place in a text of several lines stands."""
    if not value.startswith(_MULTILINE):
        return 0
    rest = "\n".join([value[3:], *text.splitlines()[line:]])
    first = rest.startswith("\n")  # which TOML leaves out
    return rest[first:].count("\n", 0, offset) + first


def _members(text: str) -> Iterator[tuple[Path, int, str]]:
    """Every table and every key with its path, its line and what stands behind the key."""
    table: Path = ()
    counts: dict[Path, int] = {}
    closing = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if closing:
            closing = "" if closing in line else closing
        elif header := _HEADER.fullmatch(line):
            table = _table(header[2], counts, array=header[1] == "[[")
            yield table, number, ""
        elif key := _KEY.match(line):
            value = key[2]
            closing = next((mark for mark in _MULTILINE if value.startswith(mark) and value.count(mark) == 1), "")
            yield (*table, _plain(key[1])), number, value


def _table(header: str, counts: dict[Path, int], *, array: bool) -> Path:
    path: Path = ()
    *parents, last = map(_plain, _NAME.findall(header))
    for parent in parents:
        path = (*path, parent)
        path = (*path, counts[path] - 1) if path in counts else path
    path = (*path, last)
    if not array:
        return path
    counts[path] = counts.get(path, 0) + 1
    return (*path, counts[path] - 1)


def _plain(name: str) -> str:
    return name[1:-1] if name[0] in "\"'" else name
