# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind: JSON, the plots, and the tables of bench/README.md between their markers."""

import datetime
import json
import os
import platform
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import goals, peers, plots
from bench.ours import ASGI_NAME, NAME
from bench.runs import Bench, Figures, plain

FOLDER = Path(__file__).parent
RESULTS, PLOTS, WAY = FOLDER / "results", FOLDER / "plots", FOLDER / "results" / "way.json"
README = FOLDER / "README.md"
START, END = "<!-- results: written by `python -m bench report` -->", "<!-- end of results -->"
LIBRARIES = ("shape-proxy", "uvicorn", "uvloop", "httptools", "pyjwt", "orjson")
BEFORE = "before"
UNITS = {
    "kib": "KiB each",
    "kernel_kib": "kernel KiB a socket",
    "mib": "MiB each",
    "open_s": "s to open",
    "upstream": "upstream",
    "cpu_us": "CPU µs",
    "overflows": "overflows",
}


def result(bench: Bench, found: dict[str, dict[str, Figures]]) -> dict[str, Any]:
    """Everything a run found, and where."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": bench.quick,
        "rounds": bench.rounds,
        "subscribers": bench.subscribers,
        "machine": _machine(),
        "versions": {name: version(name) for name in LIBRARIES} | peers.versions(),
        "skipped": bench.skipped,
        "scenarios": found,
        "goals": goals.judged(found),
    }


def _machine() -> dict[str, Any]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    built = "with" if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") else "without"
    return {
        "processor": names[0].partition(": ")[2] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": f"{sys.version.split()[0]} (configured {built} --enable-optimizations)",
    }


def save(outcome: dict[str, Any], label: str = "") -> Path:
    """Writes bench/results/<date>.json; what an earlier run of the day had and this one has not, stays in it."""
    parts = [outcome["date"][:10], *([label] if label else []), *(["quick"] if outcome["quick"] else [])]
    path = RESULTS / f"{'-'.join(parts)}.json"
    if path.exists():
        earlier = json.loads(path.read_text())
        outcome["scenarios"] = earlier["scenarios"] | outcome["scenarios"]
        outcome["skipped"] = _still(earlier["skipped"], outcome) | outcome["skipped"]
        outcome["goals"] = goals.judged(outcome["scenarios"])
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(outcome, indent=1, ensure_ascii=False) + "\n")
    return path


def _still(earlier: dict[str, str], outcome: dict[str, Any]) -> dict[str, str]:
    """What was skipped before, except what has been measured since."""
    measured = {f"{scenario}: {name}" for scenario, names in outcome["scenarios"].items() for name in names}
    return {where: why for where, why in earlier.items() if where not in measured}


def latest(label: str = "") -> dict[str, Any] | None:
    """The newest result of this label; a full one if there is any; None if there is none."""
    ends = f"-{label}" if label else "[0-9]"
    full, quick = sorted(RESULTS.glob(f"*{ends}.json")), sorted(RESULTS.glob(f"*{ends}-quick.json"))
    found = [path for path in full or quick if path != WAY]
    if not found:
        return None
    outcome: dict[str, Any] = json.loads(found[-1].read_text())
    return outcome


def rewrite() -> None:
    """Puts the tables of the newest result into the README, and draws the plots. Raises FileNotFoundError."""
    outcome = latest()
    if outcome is None:
        raise FileNotFoundError("there is no result yet; run `python -m bench all`")
    before, _, rest = README.read_text().partition(START)
    _, _, after = rest.partition(END)
    text = "\n\n".join([tables(outcome, latest(BEFORE)), *([way(json.loads(WAY.read_text()))] if WAY.exists() else [])])
    README.write_text(f"{before}{START}\n{text}\n{END}{after}")
    PLOTS.mkdir(exist_ok=True)
    for name, picture in plots.drawn(outcome).items():
        (PLOTS / f"{name}.svg").write_text(picture)


def tables(outcome: dict[str, Any], before: dict[str, Any] | None) -> str:
    """The machine, the goals, the price of ASGI and all figures, as Markdown."""
    machine = outcome["machine"]
    versions = ", ".join(f"{name} {_short(text)}" for name, text in outcome["versions"].items())
    earlier = {row["what"]: row for row in goals.judged(_beside(before, outcome))} if before else {}
    title = f"before ({before['date'][:10]})" if before else "before"
    lines = [
        f"{outcome['date'][:10]}{', a quick run' if outcome['quick'] else ''}, medians of {outcome['rounds']} "
        f"interleaved rounds, {outcome['subscribers']:,} subscribers. {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, Python "
        f"{machine['python']}. {versions}.",
        "",
        f"| scenario | figure | goal | {title} | now | |",
        "|---|---|---|---|---|---|",
        *(_goal(row, earlier.get(row["what"])) for row in outcome["goals"]),
        *_asgi(outcome["scenarios"]),
        "",
        "| scenario | proxy | figures |",
        "|---|---|---|",
        *(
            f"| {scenario} | {name} | {_figures(figures)} |"
            for scenario, rows in outcome["scenarios"].items()
            for name, figures in rows.items()
        ),
    ]
    if outcome["skipped"]:
        lines += ["", "Not measured:", "", *(f"- {where}: {why}" for where, why in outcome["skipped"].items())]
    return "\n".join(lines)


def _beside(before: dict[str, Any], outcome: dict[str, Any]) -> dict[str, dict[str, Figures]]:
    """The figures of the tree before; the peers that were not measured with it are those of the result now."""
    found = dict(before["scenarios"])
    for scenario, parts in found.items():
        if any(part.startswith(NAME) for part in parts):
            now = outcome["scenarios"].get(scenario, {})
            found[scenario] = {part: rows for part, rows in now.items() if not part.startswith(NAME)} | parts
    return found


PRICES = (
    ("small", "cpu_us", "uncached small answer, CPU µs"),
    ("shared", "cpu_us", "shared small answer, CPU µs"),
    ("latency", "p50_ms", "time at one connection, p50 ms"),
    ("wake-1", "p99_ms", "subscribers of one shape woken, p99 ms"),
    ("sse", "p99_ms", "one event to all subscribers of one stream, p99 ms"),
    ("opening", "open_s", "opening the subscribers of one shape, s"),
    ("bodies", "MB/s", "10 MB snapshot, MB/s"),
)


def _asgi(found: dict[str, dict[str, Figures]]) -> list[str]:
    """What the same handler costs behind an ASGI server, if that was measured."""
    rows = []
    for scenario, figure, what in PRICES:
        parts = found.get(scenario, {})
        if NAME in parts and ASGI_NAME in parts:
            rows.append(f"| {what} | {_number(parts[NAME][figure])} | {_number(parts[ASGI_NAME][figure])} |")
    return ["", "| figure | `serve` | behind uvicorn |", "|---|---|---|", *rows] if rows else []


def way(found: dict[str, Any]) -> str:
    """How much code one request runs through, as Markdown."""
    cases = next(iter(found.values()))
    lines = ["| one GET's way | figure | " + " | ".join(found) + " |", "|---|---|" + "---|" * len(found)]
    for case, figures in cases.items():
        for figure in figures:
            values = " | ".join(_number(counted[case][figure]) for counted in found.values())
            lines.append(f"| {case} | {figure} | {values} |")
    return "\n".join(lines)


def _short(text: str) -> str:
    """The version number in what a program reports of itself."""
    words = [word.strip("()v,") for word in text.replace("/", " ").replace("-", " ").split()]
    return next((word for word in words if word[:1].isdigit()), text)


def _goal(row: dict[str, Any], before: dict[str, Any] | None) -> str:
    verdict = {None: "not measured", True: "met", False: "**not met**"}[row["met"]]
    verdict += ", disturbed" if row["disturbed"] else ""
    return (
        f"| {row['scenario']} | {row['what']} | {row['line'].strip()} | {_value(before)} | {_value(row)} | {verdict} |"
    )


def _value(row: dict[str, Any] | None) -> str:
    return "" if row is None or row["value"] is None else f"{_number(row['value'])} {row['unit']}".strip()


def _figures(figures: Figures) -> str:
    return " · ".join(f"{_unit(key)} {_number(value)}" for key, value in plain(figures).items())


def _unit(key: str) -> str:
    return UNITS.get(key, key.replace("_ms", " ms"))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
