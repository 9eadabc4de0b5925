# SPDX-License-Identifier: Apache-2.0
"""What may become of a request to the origin instead of a whole response."""


class Fault(Exception):
    """A request that got no whole response. The text says why in our own words, and never holds the target."""


class Unreachable(Fault):
    """No connection, or what was received is not a head."""


class TimedOut(Fault):
    """Connecting took too long, or nothing was received for too long before the head was whole."""


class Stale(Fault):
    """The connection closed with nothing received: the request may be sent again (RFC 9110 9.2.2, RFC 9112 9.3.1)."""


class Broken(Fault):
    """The body ended before it was whole (RFC 9112 8), broke its framing, or fell silent for too long."""
