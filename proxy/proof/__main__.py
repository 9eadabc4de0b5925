# SPDX-License-Identifier: Apache-2.0
"""Proves the policies that come on standard input, pickled by the process that started this one, and prints JSON.

It has a lower priority, and bounds on its time and its memory that hold even when the other process has gone.
"""

import contextlib
import json
import os
import pickle
import resource
import sys
from typing import Final

from proxy.core.policy import PolicySet

CPU_SECONDS: Final = 60
"""A limit on CPU time, which holds even if the waiting process has gone. That one has a limit on wall time."""

MEMORY_BYTES: Final = 512 * 1024 * 1024


def main() -> None:
    """Reads, proves and prints."""
    _bound_itself()
    from proxy.proof import report  # after the bounds, so that they hold for the solver too

    policies: PolicySet = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    print(json.dumps(report.prove(policies).members()))


def _bound_itself() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with contextlib.suppress(OSError, ValueError):  # not every system has it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(5)


if __name__ == "__main__":
    main()
