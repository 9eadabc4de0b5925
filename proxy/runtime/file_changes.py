# SPDX-License-Identifier: Apache-2.0
"""Notices that files have changed, however they are changed: written in place, replaced, or by a link that points
elsewhere, which is how Kubernetes brings a new ConfigMap or Secret.

The kernel reports a change; whether it matters is seen in the files themselves. So a change beside them does nothing,
and one that comes back to what was read before does nothing either.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from watchfiles import awatch

DEBOUNCE_MS: Final = 300
"""Changes that follow each other more closely are one."""


async def changes(paths: Iterable[Path]) -> AsyncIterator[None]:
    """Yields whenever what these files, and the files in these folders, hold is other than before."""
    watched = tuple(paths)
    before = await asyncio.to_thread(fingerprint, watched)
    async for _ in awatch(*_folders(watched), debounce=DEBOUNCE_MS, step=50, recursive=False):
        now = await asyncio.to_thread(fingerprint, watched)
        if now != before:
            before = now
            yield


def fingerprint(paths: Iterable[Path]) -> bytes:
    """A digest of the names and contents of files and of the files in folders; what cannot be read is empty."""
    digest = hashlib.blake2b()
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else (path,):
            content = _content(file)
            digest.update(f"{file}\n{len(content)}\n".encode("utf-8", "surrogateescape") + content)
    return digest.digest()


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
