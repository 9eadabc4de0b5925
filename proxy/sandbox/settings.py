# SPDX-License-Identifier: Apache-2.0
"""What can be set on the stand-in: times above all, so that tests need not wait as long as Electric's clients do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandInSettings:
    """The stand-in's settings; the defaults are Electric's own values. Every time is in seconds."""

    long_poll_seconds: float = 20
    """How long a live request waits for a change; half of it is how long an offset beyond the log is held."""

    sse_seconds: float = 60
    """After this time a stream of server-sent events ends."""

    keep_alive_seconds: float = 21
    """After this much silence on such a stream a comment is sent."""

    ready_wait_seconds: float = 5
    """How long a request that needs PostgreSQL waits for it before 503."""

    max_requests_per_connection: int = 50
    """After this many answers the connection is closed, unannounced (Bandit before 1.12.2)."""

    keep_alive_idle_seconds: float = 60
    """After this much time without a request a connection is closed."""

    poll_seconds: float = 0.02
    """How often PostgreSQL is asked for changes."""

    replication_delay_seconds: float = 0
    """By how much changes are seen late. `StandIn.replication_delay_seconds` changes it while running."""

    chunk_bytes: int = 10 * 1024 * 1024
    """What one response that is not live covers at most, about: it ends with the first row that fills it."""

    secret: str | None = None
    """ELECTRIC_SECRET; None is ELECTRIC_INSECURE=true."""

    allow_delete: bool = False
    """Whether DELETE removes shapes (ELECTRIC_ENABLE_INTEGRATION_TESTING)."""

    hash_bits: int = 27
    """How much of a definition's hash is in its handle, and compared. Tests that search for two definitions with the
    same hash take fewer bits, so that the search is over in a second; nothing else depends on the width."""

    max_initial_requests: int = 300
    max_existing_requests: int = 10_000
    """How many requests without and with a handle are answered at once; more get a 503
    (ELECTRIC_MAX_CONCURRENT_REQUESTS)."""

    snapshot_seconds: float = 0
    """By how much making a shape takes longer: a large table's snapshot does."""

    slot_name: str = ""
    """The name of the replication slot and of the publication; empty for one that is not taken."""
