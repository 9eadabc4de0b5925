# SPDX-License-Identifier: Apache-2.0
"""What the console shows, in sections that are sent when they change; and several workers' sections as one.

A section is JSON: `status`, `series`, `streams`, `refusals` and `policies`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from proxy.auth.policy_loader import LoadedPolicies
from proxy.console.policy_list import Listing
from proxy.console.recorder import REFUSALS, SAMPLE_SECONDS, SAMPLES, Recorder

Sections = dict[str, Any]

STREAMS: Final = 100
"""The most rows of the table of streams."""

NEVER_CHANGES: Final = {"version": version("shape-proxy")}


@dataclass(frozen=True, slots=True)
class OpenStream:
    """One request to Electric that is open now: whose policy, which kind, for how long, and how many it answers."""

    policy: str
    kind: str
    seconds: float
    subscribers: int


@dataclass(frozen=True, slots=True)
class Process:
    """Where the sections of one process come from."""

    recorder: Recorder
    ready: Callable[[], dict[str, Any]]
    open_requests: Callable[[], int]
    max_open_requests: int
    streams: Callable[[], Iterable[OpenStream]]
    loaded: Callable[[], LoadedPolicies]
    listing: Listing

    def sections(self) -> Sections:
        """All sections, as they are now."""
        recorder = self.recorder
        return {
            "status": self._status(),
            "series": [list(point) for point in recorder.points],
            "streams": _streams(self.streams()),
            "refusals": list(reversed(recorder.refusals)),
            "policies": self.listing.of(self.loaded()),
        }

    def _status(self) -> dict[str, Any]:
        recorder = self.recorder
        return NEVER_CHANGES | {
            "started_at": recorder.started_at,
            "workers": [self.ready()],
            "open_requests": self.open_requests(),
            "max_open_requests": self.max_open_requests,
            "keys": recorder.keys,
            "revocations": recorder.revocations,
            "faults": {kind: list(lines) for kind, lines in recorder.faults.items()},
        }


def _streams(streams: Iterable[OpenStream]) -> list[dict[str, Any]]:
    return _added(
        {
            "policy": stream.policy,
            "kind": stream.kind,
            "requests": 1,
            "subscribers": stream.subscribers,
            "oldest_seconds": int(stream.seconds),
        }
        for stream in streams
    )


def _added(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each policy and kind, the most subscribers first."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["policy"], row["kind"]
        if key not in sums:
            sums[key] = dict(row)
            continue
        sums[key]["requests"] += row["requests"]
        sums[key]["subscribers"] += row["subscribers"]
        sums[key]["oldest_seconds"] = max(sums[key]["oldest_seconds"], row["oldest_seconds"])
    return sorted(sums.values(), key=lambda row: (-row["subscribers"], row["policy"], row["kind"]))[:STREAMS]


def merged(workers: list[Sections], silent: list[dict[str, Any]]) -> Sections:
    """The sections of several workers as one: amounts are added, the worst lag is shown, the newest refusals stay.

    Policies are those of the first worker: all read the same files. Workers in which others are in force, which lasts
    as long as a reload, are named among the faults. `silent` are the reports of workers that do not answer.
    """
    if not workers:
        return {"status": NEVER_CHANGES | {"workers": silent}}
    status = _merged_status([worker["status"] for worker in workers], _differing(workers))
    return {
        "status": status | {"workers": [*status["workers"], *silent]},
        "series": _merged_series([worker["series"] for worker in workers]),
        "streams": _added(row for worker in workers for row in worker["streams"]),
        "refusals": sorted(
            (refusal for worker in workers for refusal in worker["refusals"]), key=lambda one: -one["at"]
        )[:REFUSALS],
        "policies": workers[0]["policies"],
    }


def _differing(workers: list[Sections]) -> list[str]:
    digests = sorted({str(worker["policies"]["digest"]) for worker in workers})
    return [f"the workers serve by different policies: {', '.join(digests)}"] if len(digests) > 1 else []


def _merged_status(statuses: list[Mapping[str, Any]], differing: list[str]) -> dict[str, Any]:
    faults: dict[str, list[str]] = {"policies": differing} if differing else {}
    for status in statuses:
        for kind, lines in status["faults"].items():
            known = faults.setdefault(kind, [])
            known += [line for line in lines if line not in known]
    return dict(statuses[0]) | {
        "started_at": min(status["started_at"] for status in statuses),
        "workers": [worker for status in statuses for worker in status["workers"]],
        "open_requests": sum(status["open_requests"] for status in statuses),
        "max_open_requests": sum(status["max_open_requests"] for status in statuses),
        "faults": faults,
    }


def _merged_series(series: list[list[list[Any]]]) -> list[list[Any]]:
    """Points of the same sample interval become one."""
    slots: dict[int, list[Any]] = {}
    for points in series:
        for at, open_requests, lag, replication in points:
            slot = slots.setdefault(round(at / SAMPLE_SECONDS), [at, 0, None, None])
            slot[1] += open_requests
            slot[2], slot[3] = _greater(slot[2], lag), _greater(slot[3], replication)
    return [slots[number] for number in sorted(slots)][-SAMPLES:]


def _greater(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
