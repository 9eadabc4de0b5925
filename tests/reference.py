"""The tables of docs/reference that the code knows: `python -m tests.reference` writes them, test_docs.py compares."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client import Metric

from proxy.core.errors import Code
from proxy.settings import Settings, shown, variable
from proxy.telemetry.metrics import Metrics

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def families() -> list[Metric]:
    """Every metric that the proxy has."""
    return list(Metrics(lambda: 0, lambda: {"verified": 0, "cached": 0}).registry.collect())


def exposed(family: Metric) -> str:
    """The name under which Prometheus knows it."""
    return family.name + ("_total" if family.type == "counter" else "")


def settings() -> Iterator[str]:
    """A row for every setting."""
    yield "| setting | default | what it is |"
    yield "|---|---|---|"
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{value}`" if (value := shown(field.default)) else ""
        yield f"| `{variable(name)}` | {default} | {field.description} |"


def codes() -> Iterator[str]:
    """A row for every refusal."""
    yield "| status | code | what happened | what to do |"
    yield "|---|---|---|---|"
    for code in Code:
        fault = code.value
        wait = "" if fault.retry_after is None else f" `retry-after: {fault.retry_after}`."
        yield f"| {fault.status} | `{code.name}` | {fault.title} | {fault.action}{wait} |"


def metrics() -> Iterator[str]:
    """A row for every metric."""
    yield "| metric | type | what it is |"
    yield "|---|---|---|"
    for family in sorted(families(), key=exposed):
        yield f"| `{exposed(family)}` | {family.type} | {family.documentation} |"


TABLES: Mapping[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings.md": ("settings", settings),
    "refusals.md": ("codes", codes),
    "metrics.md": ("metrics", metrics),
}
"""The file of each table, its marker, and its rows."""


def written(file: str) -> str:
    """A page with its table in its place."""
    name, rows = TABLES[file]
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = (REFERENCE / file).read_text("utf-8").partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n" + "\n".join(rows()) + f"\n{end}{after}"


if __name__ == "__main__":
    for file in TABLES:
        (REFERENCE / file).write_text(written(file), "utf-8")
