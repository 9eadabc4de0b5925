"""Tokens that are over before their time: a file with a line `sub <subject>` or `jti <id>` for each.

`sub` takes back every token of a subject, `jti` the one token with that claim. The file is read at start, and again
whenever it changes; a token lives for minutes, so its lines may go after `PROXY_TOKEN_MAX_SECONDS`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.core.claims import Claims

KINDS = ("sub", "jti")
LOOK_SECONDS = 1.0


class RevocationFault(Exception):
    """The file cannot be used; the text is one line."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What is revoked: the subjects, and the ids of single tokens."""

    subjects: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def __contains__(self, claims: Claims) -> bool:
        return claims.subject in self.subjects or ("jti" in claims.values and str(claims.values["jti"]) in self.ids)


def read(path: Path) -> Revoked:
    """What a file revokes; blank lines and those with # are nothing. Raises RevocationFault."""
    try:
        said = list(_lines(path.read_text("utf-8")))
    except OSError as fault:
        raise RevocationFault(f"{path}: cannot be read ({type(fault).__name__})") from None
    except ValueError as fault:
        raise RevocationFault(f"{path}: {fault}") from None
    return Revoked(
        frozenset(value for kind, value in said if kind == "sub"),
        frozenset(value for kind, value in said if kind == "jti"),
    )


async def watched(path: Path) -> AsyncIterator[Revoked | RevocationFault]:
    """What the file says now, and again whenever it has changed; a fault, where it cannot be used."""
    stamp: object = None
    while True:
        seen = _stamp(path)
        if seen != stamp:
            stamp = seen
            try:
                yield read(path)
            except RevocationFault as fault:
                yield fault
        await asyncio.sleep(LOOK_SECONDS)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, value = line.strip().partition(" ")
        if kind not in KINDS or not value.strip():
            raise ValueError(f"line {number} is neither `sub <subject>` nor `jti <id>`")
        yield kind, value.strip()
