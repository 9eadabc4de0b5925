# SPDX-License-Identifier: Apache-2.0
"""How much sharing may hold, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes and seconds; the settings describe each."""

    cache_bytes: int = 67_108_864
    cache_entry_bytes: int = 16_777_216
    cache_seconds: float = 60
    cache_live_seconds: float = 5
    fetch_bytes: int = 262_144
    broadcast_bytes: int = 262_144
    cache_share: int = 8

    @property
    def ages(self) -> tuple[float, float]:
        """The longest age of an answer, and of a live one."""
        return self.cache_seconds, self.cache_live_seconds
