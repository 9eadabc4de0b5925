# SPDX-License-Identifier: Apache-2.0
"""How large a request may be, and what the limits on what clients cost are called. Electric bounds little of this."""

from dataclasses import dataclass
from enum import Enum


class Limit(Enum):
    """A limit on what clients cost, as metrics and logs name it; those of one subject begin with `subject`."""

    open_requests = "open_requests"
    subject_open_requests = "subject_open_requests"
    subject_bodies = "subject_bodies"
    subject_live_requests = "subject_live_requests"
    definitions = "definitions"
    subject_definitions = "subject_definitions"
    initial_requests = "initial_requests"
    subject_initial_requests = "subject_initial_requests"
    subset_requests = "subset_requests"
    subject_subset_requests = "subject_subset_requests"
    subject_subset_rate = "subject_subset_rate"
    subject_cpu = "subject_cpu"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request, each in the unit of its name; the filter's own are `filters.FilterLimits`."""

    query_bytes: int = 24_576
    """As far as a URL carries it: with the longest token beside it, the head keeps within the server's bound."""
    query_pairs: int = 512
    body_bytes: int = 1_048_576
    """A list of 10,000 keys of 100 bytes."""
    json_depth: int = 64
    """Only the hints of the client library are deep (two levels a node of a filter, which has 24 at most):
    everything else in a body is held to three levels by its form."""
    json_values: int = 32_768
    """Members, elements, objects and arrays of a body: two lists of the longest, and more."""
    params: int = 10_000
    param_bytes: int = 1024
    """Of one value; a list has many, and is held to the bound of all."""
    params_bytes: int = 1_048_576
    subset_offset: int = 1_000_000
    target_bytes: int = 9000
    """The rebuilt upstream target, secret included: Electric ends at 10,000 for the whole request line."""
