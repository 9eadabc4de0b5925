# SPDX-License-Identifier: Apache-2.0
"""Tokens that are over before their time: a file with a line for each.

    sub acc-ada                a subject: every token of it
    jti 4f1c                   the one token with this id
    sub "blanks around "       the value as a JSON string, where its blanks matter or it starts with a quote
    {"sub": "acc-ada"}         the same as a JSON object

The file is read at start, and again whenever it changes. A line that is none of these is a fault of its own: it is
reported, and the others hold. What was revoked stays so until every token that there was then is over, whatever the
file holds meanwhile: a file that is cut short gives no access back.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from proxy.auth.revoked import JTI, SUBJECT, Mark, Revoked

KINDS = {"sub": SUBJECT, "jti": JTI}
LOOK_SECONDS = 1.0
_NEITHER = "is neither `sub <subject>` nor `jti <id>`"


class RevocationFault(Exception):
    """The file cannot be read at all; the text is one line."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The content of a file: its entries, and one line for each fault in it. No fault quotes the file."""

    entries: frozenset[Mark]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InForce:
    """What is revoked now, and the faults of the file that it comes from."""

    revoked: Revoked
    faults: tuple[str, ...]


class Revocations:
    """What the file holds and what it held. Times are seconds of one clock, given by the caller.

    An entry that the file no longer has is kept for `longest_seconds()` after it was first read: the longest time that
    a token of then can be valid, by the issuers that are in force now.
    """

    def __init__(self, longest_seconds: Callable[[], float]) -> None:
        self._longest = longest_seconds
        self._said: frozenset[Mark] = frozenset()
        self._first_read: dict[Mark, float] = {}

    def read(self, entries: frozenset[Mark], now: float) -> Revoked:
        """Takes the present content of the file."""
        for entry in entries - self._said:  # also what it lists again: it was revoked once more
            self._first_read[entry] = now
        self._said = entries
        return self.in_force(now)

    def in_force(self, now: float) -> Revoked:
        """What is revoked at this time."""
        longest = self._longest()
        over = [
            entry for entry, since in self._first_read.items() if entry not in self._said and since + longest <= now
        ]
        for entry in over:
            del self._first_read[entry]
        return Revoked.of(self._first_read)


def read(path: Path) -> Reading:
    """What a file revokes; blank lines and those with # are nothing. Raises RevocationFault."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as fault:
        raise RevocationFault(f"{path}: cannot be read ({type(fault).__name__})") from None
    entries: set[Mark] = set()
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.update(_entry(line))
        except ValueError as fault:
            faults.append(f"{path}: line {number} {fault}")
    return Reading(frozenset(entries), tuple(faults))


async def watched(path: Path, longest_seconds: Callable[[], float]) -> AsyncIterator[InForce]:
    """What is revoked now, and again whenever the file has changed or something is over. While the file cannot be
    read, it is what it was, and that is the fault."""
    kept = Revocations(longest_seconds)
    stamp: object = None
    faults: tuple[str, ...] = ()
    told: InForce | None = None
    while True:
        seen, now = _stamp(path), time.monotonic()
        revoked = kept.in_force(now)
        if seen != stamp:
            stamp = seen
            try:
                reading = read(path)
                revoked, faults = kept.read(reading.entries, now), reading.faults
            except RevocationFault as fault:
                faults = (str(fault),)
            told = None
        if told is None or told.revoked != revoked:
            told = InForce(revoked, faults)
            yield told
        await asyncio.sleep(LOOK_SECONDS)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _entry(line: bytes) -> Iterable[Mark]:
    """The entry of a line, or none. Raises ValueError, which holds nothing of the line's text."""
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if not text or line.startswith(b"#"):
        return ()
    if text.startswith("{"):
        members = _json(text)
        if not isinstance(members, dict) or len(members) != 1:
            raise ValueError("is no JSON object with one member, sub or jti")
        [(kind, value)] = members.items()
    else:
        kind, _, value = text.partition(" ")
        value = value.strip()
        if value.startswith('"'):
            value = _json(value)
    if kind not in KINDS or not isinstance(value, str) or not value:
        raise ValueError(_NEITHER)
    return ((KINDS[kind], value),)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
