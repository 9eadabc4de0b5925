"""The composition root: every part of the proxy is made here, by hand, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from starlette.types import ASGIApp

from proxy.audit.decision_log import Decisions
from proxy.auth import revocation
from proxy.auth.authority import Authority
from proxy.auth.authorizer import Authorizer
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.console.access import CLOSED, Access
from proxy.console.app import Console
from proxy.console.recorder import Recorder
from proxy.core.handles import Handles
from proxy.electric.client import Electric
from proxy.gateway.handler import Handler
from proxy.gateway.open_requests import OpenRequests
from proxy.gateway.responses import Responses
from proxy.health.electric_probe import ElectricProbe
from proxy.health.probes import measuring
from proxy.health.readiness import Readiness
from proxy.http1.listener import Listener
from proxy.runtime import configuration
from proxy.runtime.admin import admin
from proxy.runtime.shown import Shown
from proxy.runtime.watchers import Reload, observe_loaded
from proxy.settings import Settings
from proxy.sharing.source import Sharing
from proxy.telemetry.events import (
    ElectricSeen,
    KeysLoaded,
    Observation,
    Observe,
    Only,
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
    """What is served, by which keys, how its handles are bound, and who may see the console."""

    loaded: LoadedPolicies
    ring: KeyRing
    handles: Handles
    access: Access = CLOSED


@dataclass(frozen=True, slots=True)
class Parts:
    """What one process is made of, where others need to reach it."""

    handler: Handler
    listener: Listener
    admin: ASGIApp
    open_requests: OpenRequests
    readiness: Readiness
    observe: Observe


@asynccontextmanager
async def create_app(
    settings: Settings, served: Served, observe: Observe, hangup: asyncio.Event
) -> AsyncIterator[Parts]:
    """Both applications, with the connections and the watchers behind them. `observe` hears what happens, besides the
    metrics, which always do; `hangup` makes policies and keys be read again."""
    open_requests = OpenRequests(settings.max_open_requests, settings.max_open_requests_per_subject)
    authorizer = _authorizer(settings, served)
    readiness = Readiness(settings.probe_failures, requires_electric=settings.ready_requires_electric)
    metrics = Metrics(
        lambda: len(open_requests),
        authorizer.token_checks,
        settings.max_open_requests,
        lambda: sharing.figures(),
        lambda: listener.figures(),
    )
    recorder = Recorder()
    tell = both(metrics, recorder, observe, _shapes(readiness, lambda seen: tell(seen)))
    decisions = Decisions(configuration.decision_log(settings), tell)
    async with (
        Electric(configuration.electric(settings), settings.electric_secret.get_secret_value(), tell) as electric,
        ElectricProbe(settings.electric_http_url, settings.connect_seconds) as probe,
        measuring(configuration.lag(settings), electric, tell) as lag,
    ):
        share, sign = settings.share == "on", served.handles.sign
        sharing = Sharing(electric, configuration.sharing(settings), tell, sign, shared=share)
        responses = Responses(configuration.origins(settings))
        handler = Handler(authorizer, sharing, open_requests, responses, decisions, configuration.salt(settings), tell)
        listener = Listener(handler, configuration.server(settings), asyncio.get_running_loop())
        readiness.policies, readiness.lag = len(served.loaded.policies.by_name), lag
        _observe_served(served, tell)
        reload = Reload(partial(configuration.read_rules, settings), authorizer, readiness, tell)
        watchers = [reload.on(hangup), _probe(probe, readiness, settings.probe_seconds, tell)]
        watchers += [recorder.run(open_requests.__len__), *_revoking(settings, authorizer, open_requests, tell)]
        private = _admin(settings, served, metrics, Shown(recorder, readiness, open_requests, sharing, authorizer))
        try:
            async with _running(watchers):
                yield Parts(handler, listener, private, open_requests, readiness, tell)
        finally:
            sharing.close()
            decisions.close()


def _observe_served(served: Served, observe: Observe) -> None:
    observe_loaded(served.loaded, observe)
    observe(KeysLoaded(len(served.ring.verifying), served.ring.skipped))


def _admin(settings: Settings, served: Served, metrics: Metrics, shown: Shown) -> ASGIApp:
    data = shown.data(settings.max_open_requests, settings.rule_limits)
    return admin(shown.readiness, metrics.text, Console(served.access, data))


def _authorizer(settings: Settings, served: Served) -> Authorizer:
    authority = Authority.of(configuration.authority(settings), served.loaded, served.ring)
    return Authorizer(authority, settings.rule_limits, served.handles)


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


def _revoking(
    settings: Settings, authorizer: Authorizer, open_requests: OpenRequests, observe: Observe
) -> list[Coroutine[None, None, None]]:
    """What keeps the revocations, if there is a file of them."""
    if settings.revocations is None:
        return []
    longest = configuration.longest_token_seconds(settings)
    return [_revocations(settings.revocations, longest, authorizer, open_requests, observe)]


async def _revocations(
    path: Path, longest_seconds: float, authorizer: Authorizer, open_requests: OpenRequests, observe: Observe
) -> None:
    """Keeps what is revoked as the file says; each fault in it is told once, and only so many of them."""
    told: frozenset[str] = frozenset()
    async for came in revocation.watched(path, longest_seconds):
        authorizer.revoke(came.revoked)
        open_requests.revoke(came.revoked)
        observe(RevocationsRead(len(came.revoked), len(came.faults)))
        for fault in came.faults[:MOST_FAULTS_TOLD]:
            if fault not in told:
                observe(RevocationFaulty(fault))
        told = frozenset(came.faults)


def _shapes(readiness: Readiness, observe: Observe) -> Observe:
    """What watches how Electric answers shape requests."""
    return Only((UpstreamAnswered, UpstreamFailed), lambda seen: _shapes_seen(seen, readiness, observe))


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


async def _probe(probe: ElectricProbe, readiness: Readiness, seconds: float, observe: Observe) -> None:
    """Asks Electric how it is, for ever."""
    told = _told(readiness, observe, before=False)
    while True:
        state = await probe.state()
        readiness.saw(state)
        observe(ElectricSeen(state))
        told = _told(readiness, observe, before=told)
        await asyncio.sleep(seconds)


def _told(readiness: Readiness, observe: Observe, *, before: bool) -> bool:
    """Says so if the readiness has changed; gives what it is."""
    if readiness.ready != before:
        observe(ReadinessChanged(readiness.ready, readiness.missing))
    return readiness.ready
