"""Writes docs/how-to/policy-patterns.md: `python -m tests.core.patterns_page`."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.core.patterns import PATTERNS, Pattern
from tests.tree import ROOT

PAGE = ROOT / "docs" / "how-to" / "policy-patterns.md"
HEAD = """# Policies by pattern

Each pattern is a policy of its own. All of them begin with the same `table`, `key`, `columns` and `[types]`:

```toml
table   = "public.docs"
key     = ["id"]
columns = ["id", "owner", "org", "team", "title", "status", "visibility", "archived", "priority"]

[types]
id = "int8"
org = "uuid"
status = "enum"
shared_with = "text[]"
```

What the members mean is in the [reference of policies](../reference/policies.md). Every policy here is loaded by the
tests, and returns the described rows on a PostgreSQL.
"""


def page() -> str:
    """The whole page."""
    return "\n".join((HEAD, *(_section(pattern) for pattern in PATTERNS)))


def _section(pattern: Pattern) -> str:
    lines = [f"## {pattern.name}", "", f"Known from: {pattern.known_from}.", ""]
    if pattern.instead:
        return "\n".join([*lines, f"Cannot be written. {pattern.instead}", ""])
    lines += ["```toml", *_toml(pattern.policy), "```", ""]
    return "\n".join([*lines, *([pattern.why, ""] if pattern.why else [])])


def _toml(policy: Mapping[str, Any]) -> Iterator[str]:
    """Plain members first, then the tables."""
    for name in ("public", "where", "also_public"):
        if name in policy:
            yield f"{name} = {_value(policy[name])}"
    if "claims" in policy:
        yield from ("", "[claims]", *(f"{claim} = {_value(given)}" for claim, given in policy["claims"].items()))
    for name in ("narrow", "grant"):
        for given in policy.get(name, ()):
            yield from ("", f"[[{name}]]", *(f"{member} = {_value(value)}" for member, value in given.items()))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(given)}" for name, given in value.items()) + " }"
    return f'"{value}"'


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
