"""The composition root: every part of the proxy is made here, by hand, and nowhere else."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from starlette.types import ASGIApp

from proxy.audit.decision_log import Decisions
from proxy.auth import revocation
from proxy.auth.authorizer import Gate
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedBook
from proxy.auth.tokens import Verifier, rules
from proxy.core.handles import Handles
from proxy.core.headers import Origins
from proxy.electric.client import Electric
from proxy.gateway.app import Public, admin
from proxy.gateway.open_requests import Streams
from proxy.gateway.service import Service
from proxy.health.probes import measuring
from proxy.health.readiness import Readiness
from proxy.runtime.watchers import Reload, observe_loaded
from proxy.settings import Settings
from proxy.sharing.source import Sharing
from proxy.telemetry.events import (
    ElectricSeen,
    KeysLoaded,
    Observation,
    Observe,
    ReadinessChanged,
    RevocationFaulty,
    RevocationsRead,
    ShapesChanged,
    UpstreamAnswered,
    UpstreamFailed,
    both,
)
from proxy.telemetry.metrics import Metrics

MOST_FAULTS_TOLD = 20


class Served(NamedTuple):
    """What is served, by which keys, and how its handles are bound."""

    loaded: LoadedBook
    ring: KeyRing
    handles: Handles


@dataclass(frozen=True, slots=True)
class Parts:
    """What one process is made of, where others need to reach it."""

    public: Public
    admin: ASGIApp
    streams: Streams
    readiness: Readiness
    observe: Observe


@asynccontextmanager
async def create_app(
    settings: Settings, served: Served, observe: Observe, hangup: asyncio.Event
) -> AsyncIterator[Parts]:
    """Both applications, with the connections and the watchers behind them. `observe` hears what happens, besides the
    metrics, which always do; `hangup` makes policies and keys be read again."""
    loaded, ring, handles = served
    streams = Streams(settings.max_streams, settings.max_streams_per_subject)
    verifier = Verifier(ring, rules(settings))
    readiness = Readiness(settings.probe_failures, requires_electric=settings.ready_requires_electric)
    metrics = Metrics(
        lambda: len(streams),
        lambda: {"verified": verifier.verified, "cached": verifier.cache_hits},
        settings.max_streams,
        lambda: sharing.figures(),
    )
    tell = both(metrics, observe, lambda seen: _shapes_seen(seen, readiness, tell))
    decisions = Decisions(settings, loaded, tell)
    async with (
        Electric(settings, tell) as electric,
        Sharing(electric, settings.sharing, tell) as sharing,
        measuring(settings, electric, tell) as lag,
    ):
        gate = Gate(settings, loaded.book, verifier, electric.secret_bytes, handles)
        source = sharing if settings.share == "on" else electric
        origins = Origins.of(settings.allowed_origins, settings.allowed_headers)
        patience = settings.write_seconds
        service = Service(gate, source, handles, streams, decisions, tell, origins, patience, _salt(settings))
        readiness.policies, readiness.lag = len(loaded.book.by_name), lag
        observe_loaded(loaded, tell)
        tell(KeysLoaded(len(ring.verifying), ring.skipped))
        reload = Reload(settings, gate, decisions, readiness, tell)
        watchers = [reload.on(hangup), _probe(electric, readiness, settings.probe_seconds, tell)]
        if settings.revocations is not None:
            watchers.append(_revocations(settings.revocations, _longest(settings), gate, streams, tell))
        try:
            async with _running(watchers):
                yield Parts(Public(service), admin(readiness, metrics.text), streams, readiness, tell)
        finally:
            decisions.close()


def _salt(settings: Settings) -> bytes:
    return hashlib.blake2b(settings.electric_secret.get_secret_value().encode(), digest_size=32).digest()


@asynccontextmanager
async def _running(watchers: Iterable[Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Runs what never ends by itself, until the block does. A watcher that fails is a bug, and ends the process."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watcher) for watcher in watchers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _revocations(path: Path, longest_seconds: float, gate: Gate, streams: Streams, observe: Observe) -> None:
    """Keeps what is revoked as the file says; each fault in it is told once, and only so many of them."""
    told: frozenset[str] = frozenset()
    async for came in revocation.watched(path, longest_seconds):
        gate.revoked = came.revoked
        streams.revoke(came.revoked)
        observe(RevocationsRead(len(came.revoked), len(came.faults)))
        for fault in came.faults[:MOST_FAULTS_TOLD]:
            if fault not in told:
                observe(RevocationFaulty(fault))
        told = frozenset(came.faults)


def _longest(settings: Settings) -> float:
    """How long a token can be valid that is issued by now, clocks that differ included."""
    return settings.token_max_seconds + 2 * settings.token_leeway_seconds


def _shapes_seen(seen: Observation, readiness: Readiness, observe: Observe) -> None:
    """Tells the readiness how Electric answers shape requests. A status that is for no client is a failure of its own
    (UpstreamFailed), unless the client's filter is at fault."""
    match seen:
        case UpstreamAnswered(status=200 | 304 | 400 | 409):
            well = True
        case UpstreamAnswered(status=503) | UpstreamFailed():
            well = False
        case _:
            return
    if readiness.answered(well=well):
        observe(ShapesChanged(readiness.shapes_available))


async def _probe(electric: Electric, readiness: Readiness, seconds: float, observe: Observe) -> None:
    """Asks Electric how it is, for ever."""
    told = _told(readiness, observe, before=False)
    while True:
        state = await electric.health()
        readiness.saw(state)
        observe(ElectricSeen(state))
        told = _told(readiness, observe, before=told)
        await asyncio.sleep(seconds)


def _told(readiness: Readiness, observe: Observe, *, before: bool) -> bool:
    """Says so if the readiness has changed; gives what it is."""
    if readiness.ready != before:
        observe(ReadinessChanged(readiness.ready, readiness.missing))
    return readiness.ready
