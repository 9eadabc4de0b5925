# SPDX-License-Identifier: Apache-2.0
"""How often something may happen: a token bucket for each key. Pure: the time is an argument, in seconds of one clock.

A bucket is kept as the time at which it is full again, so a full one need not be kept at all: memory is bounded by the
keys that were used within `burst / per_second` seconds, and by `MOST_KEYS`.
"""

from collections import OrderedDict
from typing import Final

MOST_KEYS: Final = 100_000
"""Beyond it the bucket that was not used for the longest time is forgotten, as if it were full."""

ROUNDING: Final = 5e-7
"""The part of a token by which sums of times may be wrong: a clock that counts from long ago has few digits left."""


class Rate:
    """Token buckets that hold `burst` tokens and get `per_second` back. A rate of 0 bounds nothing."""

    __slots__ = ("_full_at", "_most_keys", "_seconds", "_span")

    def __init__(self, per_second: float, burst: float, most_keys: int = MOST_KEYS) -> None:
        self._seconds = 1 / per_second if per_second else 0.0
        self._span = burst * self._seconds
        self._most_keys = most_keys
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def has(self, key: str, now: float) -> bool:
        """Whether the bucket of this key has anything in it."""
        return not self._seconds or self._full_at.get(key, now) - now < self._span

    def take(self, key: str, now: float) -> bool:
        """Takes a token. False if there is none; then nothing has changed."""
        if not self._seconds:
            return True
        full_at = max(self._full_at.get(key, now), now) + self._seconds
        if full_at - now > self._span + ROUNDING * self._seconds:
            return False
        self._store(key, full_at, now)
        return True

    def spend(self, key: str, now: float, amount: float) -> None:
        """Takes so many tokens, even if there are fewer: what is missing must come back first."""
        if self._seconds:
            self._store(key, max(self._full_at.get(key, now), now) + amount * self._seconds, now)

    def give_back(self, key: str, now: float) -> None:
        """Returns a token that was taken in vain."""
        full_at = self._full_at.get(key)
        if full_at is not None:
            self._store(key, max(now, full_at - self._seconds), now)

    def _store(self, key: str, full_at: float, now: float) -> None:
        buckets = self._full_at
        buckets[key] = full_at
        buckets.move_to_end(key)
        for _ in range(2):  # a little with every use
            oldest = next(iter(buckets))
            if buckets[oldest] > now and len(buckets) <= self._most_keys:
                return
            del buckets[oldest]
