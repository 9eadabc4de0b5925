# SPDX-License-Identifier: Apache-2.0
"""How many connections the limit of open files allows, decided once at the start.

    the limit ≥ KEPT_BACK + 2 × connections

Each client may need a connection to Electric besides its own. What is kept back serves the admin listener, the log, the
database and the loop, whatever clients do, and the few connections that one turn of the loop accepts and refuses.
"""

import resource
from typing import Final

KEPT_BACK: Final = 64
BACKLOG: Final = 4096
"""How many connections may wait in the kernel to be accepted, perhaps all those of a proxy that has just ended. They
take no descriptors yet. Where it is full, a client tries again after a second, then after two, then after four."""
MOST_FILES: Final = 1_048_576
"""What counts of a limit that is higher, or none."""


class TooManyConnections(Exception):
    """The limit of open files leaves no room for so many."""


def raise_limit() -> None:
    """Takes all open files that this process may have: the usual soft limit, 1,024, is there for select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:  # a sandbox may forbid the call
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(wanted: int) -> int:
    """How many clients may be connected at once: as many as wanted, or for 0, as fit."""
    return wanted or max(1, _room() // 2)


def check_connections(wanted: int) -> None:
    """Raises TooManyConnections if more are wanted than there can be descriptors for."""
    if wanted > max(0, _room()):
        files = KEPT_BACK + wanted
        raise TooManyConnections(f"needs {files} open files or more; the limit (ulimit -n) is {_limit()}")


def _room() -> int:
    return _limit() - KEPT_BACK


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)
