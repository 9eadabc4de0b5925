"""What a run leaves behind: JSON, a plot, and the tables of bench/README.md between their markers."""

import datetime
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import goals, peers, plot
from bench.runs import Bench, Figures

FOLDER = Path(__file__).parent
README, PLOT = FOLDER / "README.md", FOLDER / "plot.svg"
START, END = "<!-- results: written by `python -m bench report` -->", "<!-- end of results -->"
LIBRARIES = ("shape-proxy", "uvicorn", "uvloop", "httptools", "aiohttp", "pyjwt", "orjson")
UNITS = {"kib": "KiB each", "mib": "MiB each", "open_s": "s to open", "upstream": "upstream", "cpu_us": "CPU µs"}


def result(bench: Bench, found: dict[str, dict[str, Figures]]) -> dict[str, Any]:
    """Everything a run found, and where."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": bench.quick,
        "rounds": bench.rounds,
        "riders": bench.riders,
        "machine": _machine(),
        "versions": {name: version(name) for name in LIBRARIES} | peers.versions(),
        "skipped": bench.skipped,
        "scenarios": found,
        "goals": goals.judged(found),
    }


def _machine() -> dict[str, Any]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].partition(": ")[2] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
    }


def save(said: dict[str, Any]) -> Path:
    """Writes bench/results/<date>.json; what an earlier run of the day had and this one has not, stays in it."""
    path = FOLDER / "results" / f"{said['date'][:10]}{'-quick' if said['quick'] else ''}.json"
    if path.exists():
        earlier = json.loads(path.read_text())
        said["scenarios"] = earlier["scenarios"] | said["scenarios"]
        said["skipped"] = _still(earlier["skipped"], said) | said["skipped"]
        said["goals"] = goals.judged(said["scenarios"])
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    return path


def _still(earlier: dict[str, str], said: dict[str, Any]) -> dict[str, str]:
    """What was skipped before, but for what has been measured since."""
    measured = {f"{scenario}: {name}" for scenario, names in said["scenarios"].items() for name in names}
    return {where: why for where, why in earlier.items() if where not in measured}


def latest() -> dict[str, Any]:
    """The newest result; a full one if there is any. Raises FileNotFoundError."""
    paths = sorted((FOLDER / "results").glob("*.json"))
    full = [path for path in paths if not path.stem.endswith("-quick")]
    if not paths:
        raise FileNotFoundError("there is no result yet; run `python -m bench all`")
    said: dict[str, Any] = json.loads((full or paths)[-1].read_text())
    return said


def rewrite(said: dict[str, Any]) -> None:
    """Puts the tables of a result into the README, and draws the plot."""
    before, _, rest = README.read_text().partition(START)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{START}\n{tables(said)}\n{END}{after}")
    PLOT.write_text(plot.svg(said["goals"]))


def tables(said: dict[str, Any]) -> str:
    """The machine, the goals and the figures, as Markdown."""
    machine = said["machine"]
    versions = ", ".join(f"{name} {_short(text)}" for name, text in said["versions"].items())
    lines = [
        f"{said['date'][:10]}{', a quick run' if said['quick'] else ''}, medians of {said['rounds']} interleaved "
        f"rounds, {said['riders']:,} riders. {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gib']} GiB, Linux {machine['kernel']}, Python {machine['python']}. {versions}.",
        "",
        "| scenario | figure | goal | measured | |",
        "|---|---|---|---|---|",
        *(_goal(row) for row in said["goals"]),
        "",
        "| scenario | proxy | figures |",
        "|---|---|---|",
        *(
            f"| {scenario} | {name} | {_figures(figures)} |"
            for scenario, rows in said["scenarios"].items()
            for name, figures in rows.items()
        ),
    ]
    if said["skipped"]:
        lines += ["", "Not measured:", "", *(f"- {where}: {why}" for where, why in said["skipped"].items())]
    return "\n".join(lines)


def _short(text: str) -> str:
    """The version number out of what a program says of itself."""
    words = [word.strip("()v,") for word in text.replace("/", " ").replace("-", " ").split()]
    return next((word for word in words if word[:1].isdigit()), text)


def _goal(row: dict[str, Any]) -> str:
    verdict = {None: "not measured", True: "met", False: "**not met**"}[row["met"]]
    verdict += ", disturbed" if row["disturbed"] else ""
    value = "" if row["value"] is None else f"{_number(row['value'])} {row['unit']}".strip()
    return f"| {row['scenario']} | {row['what']} | {row['line'].strip()} | {value} | {verdict} |"


def _figures(figures: Figures) -> str:
    plain = {key: value for key, value in figures.items() if not key.endswith((" least", " most"))}
    return " · ".join(f"{_unit(key)} {_number(value)}" for key, value in plain.items())


def _unit(key: str) -> str:
    return UNITS.get(key, key.replace("_ms", " ms"))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
