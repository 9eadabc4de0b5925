# SPDX-License-Identifier: Apache-2.0
"""Notices that files have changed, however they are changed: written in place, replaced, or by a link that points
elsewhere, which is how Kubernetes brings a new ConfigMap or Secret.

The kernel reports a change; whether it matters is seen in the files themselves. So a change beside them does nothing,
and one that comes back to what was read before does nothing either. The files are also looked at without a report, for
there is none of what changed before the kernel watched, of a file that was named only lately, or of a file system of
another machine.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

from watchfiles import awatch

DEBOUNCE_MS: Final = 300
"""Changes that follow each other more closely are one."""


LOOK_MS: Final = 2_000
"""How long a change that nobody reports can stay unnoticed."""

Files = Callable[[], Iterable[Path]]
"""Which files, and folders of files, there are to watch: they may name each other."""


async def changes(files: Files, before: bytes) -> AsyncIterator[None]:
    """Yields whenever what these files, and the files in these folders, hold is other than before: at first, than what
    had this fingerprint."""
    async for _ in _looks(files):
        now = await asyncio.to_thread(_fingerprint_now, files)
        if now != before:
            before = now
            yield


async def _looks(files: Files) -> AsyncIterator[None]:
    """Yields whenever the files may have changed."""
    yield
    folders = await asyncio.to_thread(lambda: _folders(files()))
    async for _ in awatch(
        *folders, debounce=DEBOUNCE_MS, step=50, recursive=False, rust_timeout=LOOK_MS, yield_on_timeout=True
    ):
        yield


def _fingerprint_now(files: Files) -> bytes:
    return fingerprint(files())


def fingerprint(paths: Iterable[Path]) -> bytes:
    """A digest of the names and contents of files and of the files in folders; what cannot be read is empty."""
    digest = hashlib.blake2b()
    for path in paths:
        for file in _files(path):
            content = _content(file)
            digest.update(f"{file}\n{len(content)}\n".encode("utf-8", "surrogateescape") + content)
    return digest.digest()


def _files(path: Path) -> Iterable[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:  # a file, or a folder that has just gone
        return (path,)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _folders(paths: Iterable[Path]) -> set[Path]:
    """Where to watch: the folder that a file, a folder or a link is in, what each link on the way points to, and
    folders themselves."""
    found: set[Path] = set()
    for path in paths:
        for each in (path.absolute(), path.resolve()):
            found.add(each.parent)
            if each.is_dir():
                found.add(each)
    return {folder for folder in found if folder.is_dir()}
