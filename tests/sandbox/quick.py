"""Settings with which no test waits long."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from proxy.sandbox import StandIn, StandInSettings

QUICK = StandInSettings(
    long_poll_seconds=0.6,
    sse_seconds=1.0,
    keep_alive_seconds=0.3,
    ready_wait_seconds=0.3,
    keep_alive_idle_seconds=5,
    poll_seconds=0.03,
)
"""Electric's behaviour with its times cut to what a test can wait for."""

Start = Callable[..., AbstractAsyncContextManager[StandIn]]
"""Makes a stand-in, settings changed by name."""
