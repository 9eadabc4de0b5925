# SPDX-License-Identifier: Apache-2.0
"""Every scenario, by the name that the command line takes."""

from collections.abc import Callable, Mapping
from functools import partial

from bench.runs import Bench, Figures
from bench.scenarios import bodies, isolation, revocation, rows, small, waits

SCENARIOS: Mapping[str, Callable[[Bench], dict[str, Figures]]] = {
    "small": small.small,
    "shared": small.shared,
    "latency": small.latency,
    "wake-1": partial(waits.wake_of, 1),
    "wake-10": partial(waits.wake_of, 10),
    "wake-100": partial(waits.wake_of, 100),
    "sse": waits.sse,
    "polls": waits.polls,
    "memory": waits.memory,
    "opening": waits.opening,
    "bodies": bodies.bodies,
    "slow": bodies.slow,
    "start": waits.start,
    "gone": waits.gone,
    "revocation": revocation.revocation,
    "isolation": isolation.isolation,
    "rows-changes": rows.changes,
    "rows-log": rows.log,
    "rows-snapshot": rows.snapshot,
    "growth-subscribers": waits.growth_subscribers,
    "growth-tables": small.growth_tables,
    "growth-policies": small.growth_policies,
    "growth-tokens": small.growth_tokens,
}
