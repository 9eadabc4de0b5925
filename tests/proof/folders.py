"""The folders of policies that are shipped: those of the first application, and the examples."""

from functools import cache
from pathlib import Path

from proxy.auth import policy_loader
from proxy.core.policy import Policy, PolicySet
from tests.tree import ROOT

EXAMPLES = ROOT / "examples" / "policies"
NAMES = tuple(sorted(folder.parent.name for folder in EXAMPLES.glob("*/policies")))
FOLDERS = {"policies": ROOT / "policies"} | {name: EXAMPLES / name / "policies" for name in NAMES}


@cache
def loaded(folder: Path) -> PolicySet:
    """The policies of a folder."""
    return policy_loader.load(folder).policies


def shipped() -> dict[str, Policy]:
    """Every shipped policy, by the name of its folder and its own."""
    return {
        f"{name}/{policy.name}": policy
        for name, folder in FOLDERS.items()
        for policy in loaded(folder).by_name.values()
    }


def unlike() -> dict[str, Policy]:
    """One of each kind of shipped policy: many differ in their table and their columns, and in no predicate."""
    kinds: dict[object, str] = {}
    for name, policy in shipped().items():
        grants = tuple(
            (grant.when, grant.rows, grant.also_public, grant.narrow, grant.isolation) for grant in policy.grants
        )
        kinds.setdefault((policy.claims, grants, policy.through), name)
    return {name: shipped()[name] for name in kinds.values()}


def beside(name: str) -> list[Policy]:
    """The other policies of the folder of a shipped one: what they say of keys and types holds for it too."""
    folder, _, own = name.partition("/")
    return [policy for policy in loaded(FOLDERS[folder]).by_name.values() if policy.name != own]
