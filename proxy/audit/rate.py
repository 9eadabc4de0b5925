# SPDX-License-Identifier: Apache-2.0
"""How often something of a kind may be logged: so many at once, and then so many a minute."""


class PerMinute:
    """Counts by a key of a closed set. Times are an argument."""

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute
        self._left: dict[str, tuple[float, float]] = {}

    def takes(self, key: str, now: float) -> bool:
        """Whether one more of this key is within the rate, at a time in seconds."""
        left, since = self._left.get(key, (float(self._a_minute), now))
        left = min(float(self._a_minute), left + (now - since) * self._a_minute / 60)
        taken = left >= 1
        self._left[key] = (left - taken, now)
        return taken
