"""How large a request may be. Electric bounds little of this itself (protocol reference 10, rows 8 and 14)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request, each in the unit that its name says; the filter's own are `filters.FilterLimits`."""

    query_bytes: int = 12_288
    """A filter of the longest text, in the percent-encoding of a client that knows GET alone."""
    body_bytes: int = 65_536
    json_depth: int = 64
    """Only the hints of the client library are deep (two levels a node of a filter, which has 24 at most):
    everything else in a body is held to three levels by its form."""
    params: int = 100
    param_bytes: int = 1024
    """Of one value; a list has many, and is held to the bound of all."""
    params_bytes: int = 4096
    subset_offset: int = 1_000_000
    target_bytes: int = 9000
    """The rebuilt upstream target, secret included: Electric ends at 10,000 for the whole request line."""
