# SPDX-License-Identifier: Apache-2.0
"""Places in the log of a shape: `-1`, `0_0`, `0_inf`, `<lsn>_<operation>`."""

import re
from typing import NamedTuple

INFINITE = 2**63 - 1
"""The operation number that is written `inf`."""

_GRAMMAR = re.compile(r"(\d{1,20})_(\d{1,20}|inf)")


class Offset(NamedTuple):
    """A place in the log: the LSN of a transaction's commit and the number of the operation in it."""

    lsn: int
    operation: int

    def __str__(self) -> str:
        if self.lsn < 0:
            return "-1"
        return f"{self.lsn}_{'inf' if self.operation == INFINITE else self.operation}"


BEFORE_ALL = Offset(-1, 0)
"""`-1`: nothing has been read yet."""

FIRST_CHUNK = Offset(0, 0)
"""`0_0`: the first chunk of the snapshot has been read; `0_1` is the next, and so on."""

SNAPSHOT_END = Offset(0, INFINITE)
"""`0_inf`: the snapshot has been read to its end, and no change after it."""


def parse(text: str) -> Offset | None:
    """The offset that a client names, or None if it is none. `now` is not an offset but the wish for one."""
    if text == "-1":
        return BEFORE_ALL
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        return None
    return Offset(int(found[1]), INFINITE if found[2] == "inf" else int(found[2]))
