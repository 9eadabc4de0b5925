"""The requests of tests/data/attacks as the language sees them: a filter or an order, and its parameters."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "data" / "attacks"
POLICIES: dict[str, Any] = json.loads((FOLDER / "policies.json").read_text())


@dataclass(frozen=True)
class Attack:
    """One request with a filter or an order. `allowed` is what the whole gate must say."""

    id: str
    policy: str
    allowed: bool
    filter: str | None
    order: str | None
    params: dict[int, str] = field(default_factory=dict)


def _subset_params(text: str) -> dict[int, str]:
    try:
        values = json.loads(text)
        return {int(number): value for number, value in values.items() if isinstance(value, str)}
    except (ValueError, AttributeError, RecursionError):
        return {}


def _attack(row: dict[str, Any]) -> Attack | None:
    pairs: dict[str, str] = dict(row.get("params") or [])
    text = pairs.get("where", pairs.get("subset__where"))
    order = pairs.get("subset__order_by")
    if text is None and order is None:
        return None
    names = {str(number): f"params[{number}]" for number in range(1, 10)}
    params = {int(number): pairs[name] for number, name in names.items() if name in pairs}
    if "subset__where" in pairs:
        params = _subset_params(pairs.get("subset__params", "{}"))
    return Attack(row["id"], row["policy"], row["expect"] == "allow-conjoined", text, order, params)


def _load() -> tuple[Attack, ...]:
    lines = (FOLDER / "requests.jsonl").read_text().splitlines()
    return tuple(attack for attack in map(_attack, map(json.loads, lines)) if attack is not None)


ATTACKS = _load()
