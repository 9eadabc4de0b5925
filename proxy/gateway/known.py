# SPDX-License-Identifier: Apache-2.0
"""The definitions that were requested; the least recently used are forgotten."""

from collections import OrderedDict


class Known:
    """A bounded set of texts, of which only hashes are kept.

    Python's hash of a text has 64 bits and a key that changes with each process, so nobody can search for two texts
    with the same one. If it happens, a definition is taken for one that is known.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._hashes: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, text: str) -> bool:
        found = hash(text)
        if found not in self._hashes:
            return False
        self._hashes.move_to_end(found)
        return True

    def add(self, text: str) -> None:
        """Remembers a text."""
        self._hashes[hash(text)] = None
        if len(self._hashes) > self._most:
            self._hashes.popitem(last=False)
