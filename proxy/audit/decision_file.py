# SPDX-License-Identifier: Apache-2.0
"""The file of decisions: whole lines, for its owner alone, in files of a bounded size of which the newest are kept.

Several processes may write to one file. Whoever finds it full takes a lock on it; if another process has moved it
away meanwhile, the new one is opened, and otherwise `file` becomes `file.1`, that `file.2`, and the last is gone.
"""

import contextlib
import fcntl
import json
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class DecisionFile:
    """Appends to a file that nobody else may read. Raises OSError if it cannot be opened.

    `most_bytes` is the size of one file, and `kept` how many older ones stay beside it.
    """

    def __init__(self, path: Path, most_bytes: int, kept: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._kept = kept
        self._file = _opened(path)

    def write(self, record: dict[str, Any]) -> None:
        """One line, by one call, so that several processes may share the file."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"  # ASCII, also where the query is no UTF-8
        with contextlib.suppress(OSError):  # a disk that is full stops no request
            if os.fstat(self._file).st_size + len(line) > self._most_bytes:
                self._rotate()
            if os.fstat(self._file).st_size + len(line) <= self._most_bytes:
                os.write(self._file, line)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _rotate(self) -> None:
        full = self._file
        fcntl.flock(full, fcntl.LOCK_EX)  # released when it is closed
        if self._is_in_place():
            self._move_away()
        self._file = _opened(self._path)
        os.close(full)

    def _is_in_place(self) -> bool:
        """Whether the path still is the file that is open here."""
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self._file))

    def _move_away(self) -> None:
        names = [
            self._path,
            *(self._path.with_name(f"{self._path.name}.{number}") for number in range(1, self._kept + 1)),
        ]
        for newer, older in reversed(list(pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        if not self._kept:
            self._path.unlink()


def _opened(path: Path) -> int:
    file = os.open(path, _FLAGS, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{path}: is not a regular file")
        os.fchmod(file, 0o600)  # also where it was there before, with more rights
    except BaseException:
        os.close(file)
        raise
    return file
