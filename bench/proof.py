# SPDX-License-Identifier: Apache-2.0
"""How long `shape-proxy prove` takes, in ms: `python -m bench.proof [--json]`.

Wall time: the least of several rounds. "start" is the whole command in a new process, Python's and the solver's start
included; the others are the proofs alone, of policies that are loaded. "against" compares the policies with those in
which every column but the key and one is left out, so that each of them widens something.
"""

import argparse
import json
import subprocess
import sys
import timeit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from proxy.auth import policy_loader
from proxy.core.policy import Policy, PolicySet
from proxy.proof import report

ROUNDS = 5
ROOT = Path(__file__).parents[1]
FOLDERS = {"policies": ROOT / "policies"} | {
    folder.parent.name: folder for folder in sorted((ROOT / "examples" / "policies").glob("*/policies"))
}


def cases(folder: Path) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    policies = policy_loader.load(folder).policies
    earlier = PolicySet.of(map(narrower, policies.by_name.values()))
    command = [sys.executable, "-m", "proxy", "prove", "--policies", str(folder)]
    return {
        "prove": lambda: report.prove(policies),
        "against": lambda: report.compare(policies, earlier),
        "start": lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT),
    }


def narrower(policy: Policy) -> Policy:
    """The policy with one column besides its key in each grant."""
    grants = tuple(replace(grant, columns=(*policy.key, grant.columns[-1])) for grant in policy.grants)
    return replace(policy, grants=grants)


def measured() -> dict[str, dict[str, float]]:
    """ms by folder and case."""
    return {
        name: {case: min(timeit.repeat(call, number=1, repeat=ROUNDS)) * 1e3 for case, call in cases(folder).items()}
        for name, folder in FOLDERS.items()
    }


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.proof", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    found = measured()
    if parser.parse_args().json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(f"{name}: {len(policy_loader.load(FOLDERS[name]).policies.by_name)} policies")
        for case, milliseconds in figures.items():
            print(f"  {case:10} {milliseconds:8.1f} ms")


if __name__ == "__main__":
    main()
