# SPDX-License-Identifier: Apache-2.0
"""Where a stream of server-sent events may be cut: after a blank line (WHATWG HTML 9.2.6), and nowhere else.

Electric writes one event in several chunks, so the part behind the last boundary is held until it is whole.
"""

BOUNDARY = b"\n\n"
MAX_HELD_BYTES = 1_048_576
"""A longer event passes in pieces; a stream that ends inside one is then cut, not finished."""


class Frames:
    """Re-groups chunks into whole events; `at_boundary` is whether everything given out ended with one."""

    def __init__(self) -> None:
        self._held = bytearray()
        self.at_boundary = True

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that may go out now, in order, nothing lost or added; perhaps none."""
        self._held += chunk
        end = self._held.rfind(BOUNDARY) + len(BOUNDARY)
        if end >= len(BOUNDARY):
            self.at_boundary = True
        elif len(self._held) > MAX_HELD_BYTES:
            end, self.at_boundary = len(self._held), False
        else:
            return b""
        whole = bytes(self._held[:end])
        del self._held[:end]
        return whole

    def rest(self) -> bytes:
        """What is left when the stream has ended by itself."""
        return bytes(self._held)
