"""The composition root: every part of the proxy is made here, by hand, and nowhere else."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from proxy.audit.decision_log import Decisions
from proxy.auth import revocation
from proxy.auth.authorizer import Authorizer
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.tokens import Verifier, rules
from proxy.console.access import Access, is_loopback
from proxy.console.app import Console, Data
from proxy.console.explanation import explained
from proxy.console.recorder import Recorder
from proxy.console.sections import OpenStream, Process, Sections
from proxy.core.handles import Handles
from proxy.core.headers import Origins
from proxy.core.request import Kind
from proxy.core.rule_limits import RuleLimits
from proxy.electric.client import Electric, ElectricConfig
from proxy.gateway.handler import Handler
from proxy.gateway.open_requests import OpenRequests
from proxy.gateway.responses import Responses
from proxy.health.electric_probe import ElectricProbe
from proxy.health.probes import measuring
from proxy.health.readiness import Readiness
from proxy.http1.exchange import ServerConfig
from proxy.http1.listener import Listener
from proxy.http1.request import Bounds
from proxy.runtime.admin import admin
from proxy.runtime.descriptors import most_connections
from proxy.runtime.watchers import Reload, observe_loaded
from proxy.settings import Settings
from proxy.sharing import bounds
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

    loaded: LoadedPolicies
    ring: KeyRing
    handles: Handles


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
    loaded, ring, handles = served
    open_requests = OpenRequests(settings.max_open_requests, settings.max_open_requests_per_subject)
    verifier = Verifier(ring, rules(settings))
    readiness = Readiness(settings.probe_failures, requires_electric=settings.ready_requires_electric)
    metrics = Metrics(
        lambda: len(open_requests),
        lambda: {"verified": verifier.verified, "cached": verifier.cache_hits},
        settings.max_open_requests,
        lambda: sharing.figures(),
        lambda: listener.figures(),
    )
    recorder = Recorder()
    tell = both(metrics, recorder, observe, lambda seen: _shapes_seen(seen, readiness, tell))
    decisions = Decisions(settings, loaded, tell)
    async with (
        Electric(_electric_config(settings), settings.electric_secret.get_secret_value(), tell) as electric,
        ElectricProbe(settings.electric_http_url, settings.connect_seconds) as probe,
        measuring(settings, electric, tell) as lag,
    ):
        sharing = Sharing(electric, _bounds(settings), tell, handles.sign, shared=settings.share == "on")
        authorizer = Authorizer(settings.rule_limits, settings.decision_cache_bytes, loaded.policies, verifier, handles)
        handler = Handler(authorizer, sharing, open_requests, _responses(settings), decisions, _salt(settings), tell)
        listener = Listener(handler, _server_config(settings), asyncio.get_running_loop())
        readiness.policies, readiness.lag = len(loaded.policies.by_name), lag
        observe_loaded(loaded, tell)
        tell(KeysLoaded(len(ring.verifying), ring.skipped))
        reload = Reload(settings, authorizer, decisions, readiness, tell)
        watchers = [
            reload.on(hangup),
            recorder.run(lambda: len(open_requests)),
            _probe(probe, readiness, settings.probe_seconds, tell),
        ]
        if settings.revocations is not None:
            watchers.append(_revocations(settings.revocations, _longest(settings), authorizer, open_requests, tell))
        process = Process(
            recorder,
            readiness.report,
            lambda: len(open_requests),
            settings.max_open_requests,
            lambda: _open_streams(sharing),
            lambda: decisions.loaded,
        )
        console = Console(access(settings), _console_data(process, settings.rule_limits))
        try:
            async with _running(watchers):
                private = admin(readiness, metrics.text, console)
                yield Parts(handler, listener, private, open_requests, readiness, tell)
        finally:
            sharing.close()
            decisions.close()


def access(settings: Settings) -> Access:
    """Who may see the console."""
    token = "" if settings.admin_token is None else settings.admin_token.get_secret_value()
    return Access(token, is_loopback(settings.admin_listen.host))


def _console_data(process: Process, limits: RuleLimits) -> Data:
    async def sections() -> Sections:
        return process.sections()

    async def explain(form: object) -> dict[str, Any]:
        return explained(form, process.loaded(), limits)

    return Data(sections, explain)


def _open_streams(sharing: Sharing) -> Iterator[OpenStream]:
    for request, seconds, subscribers in sharing.open():
        yield OpenStream(request.policy, request.kind.value, seconds, subscribers)


def _electric_config(settings: Settings) -> ElectricConfig:
    waits = {Kind.live: settings.live_head_seconds, Kind.sse: settings.sse_idle_seconds}
    return ElectricConfig(
        url=settings.electric_http_url,
        connect_seconds=settings.connect_seconds,
        silence={kind: waits.get(kind, settings.head_seconds) for kind in Kind},
        row_check=settings.row_check,
        echoes_request_id=settings.check_request_id,
    )


def _bounds(settings: Settings) -> bounds.Bounds:
    return bounds.Bounds(**{member.name: getattr(settings, member.name) for member in fields(bounds.Bounds)})


def _responses(settings: Settings) -> Responses:
    return Responses(Origins.of(settings.allowed_origins, settings.allowed_headers))


def _server_config(settings: Settings) -> ServerConfig:
    return ServerConfig(
        bounds=Bounds(settings.header_bytes, settings.header_count),
        head_seconds=settings.header_seconds,
        body_seconds=settings.header_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        write_seconds=settings.write_seconds,
        linger_seconds=settings.header_seconds,
        connections=most_connections(settings),
    )


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


async def _revocations(
    path: Path, longest_seconds: float, authorizer: Authorizer, open_requests: OpenRequests, observe: Observe
) -> None:
    """Keeps what is revoked as the file says; each fault in it is told once, and only so many of them."""
    told: frozenset[str] = frozenset()
    async for came in revocation.watched(path, longest_seconds):
        authorizer.revoked = came.revoked
        open_requests.revoke(came.revoked)
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
