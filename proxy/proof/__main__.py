"""Proves the policies that come on standard input, pickled by the process that started this one, and prints JSON."""

import json
import pickle
import sys

from proxy.core.policy import PolicySet
from proxy.proof import report


def main() -> None:
    """Reads, proves and prints."""
    policies: PolicySet = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    print(json.dumps(report.prove(policies).members()))


if __name__ == "__main__":
    main()
