# SPDX-License-Identifier: Apache-2.0
"""The composition root: every part of the proxy is made here, by hand, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from starlette.types import ASGIApp

from proxy.audit.decision_log import Decisions
from proxy.audit.shadow import Shadow
from proxy.auth.authority import Authority
from proxy.auth.authorizer import Authorizer
from proxy.auth.jwks import KeySources
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.trust import Trust
from proxy.console.access import CLOSED, Access
from proxy.console.app import Console
from proxy.console.recorder import Recorder
from proxy.core.handles import Handles
from proxy.electric.client import Electric
from proxy.electric.follower import Follower
from proxy.electric.placed import PlacedSource
from proxy.electric.source import Source
from proxy.gateway.admission import Admission
from proxy.gateway.handler import Handler
from proxy.gateway.open_requests import OpenRequests
from proxy.gateway.responses import Responses
from proxy.health.electric_probe import ElectricProbe
from proxy.health.probes import measuring
from proxy.health.readiness import Readiness
from proxy.http1.listener import Listener
from proxy.runtime import configuration
from proxy.runtime.admin import admin
from proxy.runtime.revocations import RevocationFeed, Revoking, followed
from proxy.runtime.shown import Shown
from proxy.runtime.watchers import Reload, observe_judged, observe_keys, observe_loaded
from proxy.settings import Settings
from proxy.sharing.source import Sharing
from proxy.telemetry.events import (
    ElectricSeen,
    KeysFetched,
    KeysNotFetched,
    Observation,
    Observe,
    Only,
    ReadinessChanged,
    ShapesChanged,
    UpstreamAnswered,
    UpstreamFailed,
    both,
)
from proxy.telemetry.metrics import Metrics


class Served(NamedTuple):
    """What is served, to whose tokens, how its handles are bound, who may see the console, and the fingerprint that the
    files of the rules had before they were read."""

    loaded: LoadedPolicies
    trust: Trust
    handles: Handles
    access: Access = CLOSED
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class Parts:
    """What one process is made of, where others need to reach it."""

    handler: Handler
    listener: Listener
    admin: ASGIApp
    open_requests: OpenRequests
    readiness: Readiness
    observe: Observe


class Judges(NamedTuple):
    """Who judges requests, what is open, and whom what happens is reported to."""

    authorizer: Authorizer
    open_requests: OpenRequests
    readiness: Readiness
    observe: Observe


@asynccontextmanager
async def create_app(
    settings: Settings, served: Served, observe: Observe, hangup: asyncio.Event
) -> AsyncIterator[Parts]:
    """Both applications, with the connections and the watchers behind them. `observe` gets every observation, besides
    the metrics, which always do; `hangup` makes policies and keys be read again."""
    open_requests = OpenRequests(settings.max_open_requests, settings.max_open_requests_per_subject)
    authorizer, readiness, recorder = _authorizer(settings, served), _readiness(settings), Recorder()
    metrics = Metrics(
        lambda: len(open_requests),
        authorizer.token_checks,
        settings.max_open_requests,
        lambda: sharing.figures(),
        lambda: listener.figures(),
        lambda: sources.age(),
    )
    tell = both(metrics, recorder, observe, _shapes(readiness, lambda seen: tell(seen)))
    judges, shadow = Judges(authorizer, open_requests, readiness, tell), await _shadow(settings, tell)
    decisions = Decisions(configuration.decision_log(settings), tell, shadow)
    async with (
        Electric(configuration.electric(settings), settings.electric_secret.get_secret_value(), tell) as electric,
        ElectricProbe(settings.electric_http_url, settings.connect_seconds) as probe,
        measuring(configuration.lag(settings), electric, tell) as lag,
    ):
        sharing = _sharing(settings, served, _placed(settings, electric, metrics, tell), tell)
        handler = _handler(settings, judges, sharing, decisions)
        listener = Listener(handler, configuration.server(settings), asyncio.get_running_loop())
        readiness.policies, readiness.lag = len(served.loaded.policies.by_name), lag
        observe_loaded(served.loaded, tell)
        sources = _sources(judges)
        shown = Shown(recorder, readiness, open_requests, sharing, authorizer)
        watchers = [_probe(probe, readiness, settings.probe_seconds, tell), recorder.run(open_requests.__len__)]
        watchers += [shown.proofs.run(), sources.run(), *_reloading(settings, judges, sources, shadow, served, hangup)]
        watchers += _revoking(settings, judges, electric)
        private = _admin(settings, served, metrics, shown)
        try:
            async with _running(watchers):
                yield Parts(handler, listener, private, open_requests, readiness, tell)
        finally:
            sharing.close()
            decisions.close()


async def _shadow(settings: Settings, observe: Observe) -> Shadow | None:
    """What judges by other policies as well, if the settings name any."""
    if settings.shadow_policies is None:
        return None
    shadow = Shadow(settings.shadow_policies, settings.rule_limits, observe)
    await shadow.reload()
    return shadow


def _readiness(settings: Settings) -> Readiness:
    return Readiness(
        settings.probe_failures,
        requires_electric=settings.ready_requires_electric,
        requires_revocations=settings.revocations_required,
    )


def _placed(settings: Settings, source: Source, metrics: Metrics, observe: Observe) -> PlacedSource:
    """Electric, within its places, which the metrics count."""
    placed = PlacedSource(source, configuration.lanes(settings), observe)
    metrics.ask("electric_places", placed.taken)
    metrics.ask("electric_places_limit", placed.most)
    return placed


def _sharing(settings: Settings, served: Served, source: Source, observe: Observe) -> Sharing:
    share, sign = settings.share == "on", served.handles.sign
    return Sharing(source, configuration.sharing(settings), observe, sign, shared=share)


def _handler(settings: Settings, judges: Judges, sharing: Sharing, decisions: Decisions) -> Handler:
    admission, responses = Admission(configuration.admission(settings)), Responses(configuration.origins(settings))
    salt = configuration.salt(settings)
    authorizer, open_requests, _, observe = judges
    return Handler(authorizer, sharing, open_requests, admission, responses, decisions, salt, observe)


def _reloading(
    settings: Settings,
    judges: Judges,
    sources: KeySources,
    shadow: Shadow | None,
    served: Served,
    hangup: asyncio.Event,
) -> list[Coroutine[None, None, None]]:
    """What reads policies and keys again, on a signal and when their files change."""
    read = partial(configuration.read_rules, settings)
    authorizer, open_requests, readiness, observe = judges
    reload = Reload(read, authorizer, sources, open_requests, readiness, observe, shadow)
    watchers = [reload.on(hangup)]
    if settings.reload_on_change:
        files = partial(configuration.rule_files, settings)
        watchers.append(reload.on_changes(files, served.fingerprint, hangup))
    return watchers


def _admin(settings: Settings, served: Served, metrics: Metrics, shown: Shown) -> ASGIApp:
    data = shown.data(settings.max_open_requests, settings.rule_limits)
    return admin(shown.readiness, metrics.text, Console(served.access, data))


def _authorizer(settings: Settings, served: Served) -> Authorizer:
    authority = Authority.of(configuration.authority(settings), served.loaded, served.trust)
    return Authorizer(authority, settings.rule_limits, served.handles)


def _sources(judges: Judges) -> KeySources:
    """What fetches the keys of issuers that have an address for them, and puts them in force. A key that is withdrawn
    ends what is open by it."""
    authorizer, open_requests, readiness, observe = judges

    def changed(issuer: str, ring: KeyRing | None) -> None:
        before = authorizer.authority.trust.by_name[issuer].ring
        authorizer.replace_keys(issuer, ring)
        observe_keys(authorizer.authority.trust, observe)
        if before is not None and (ring is None or not ring.keeps(before)):
            open_requests.judge_again(partial(observe_judged, observe))

    def ended(issuer: str, fault: str) -> None:
        observe(KeysNotFetched(issuer, fault) if fault else KeysFetched(issuer))

    sources = authorizer.sources = KeySources(changed, ended)
    sources.follow(authorizer.authority.trust.issuers)
    observe_keys(authorizer.authority.trust, observe)
    readiness.missing_keys, readiness.keys = sources.missing, sources.report
    return sources


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


def _revoking(settings: Settings, judges: Judges, source: Source) -> list[Coroutine[None, None, None]]:
    """What keeps the revocations, if there is a file or a table of them."""
    authorizer, open_requests, readiness, observe = judges
    revoking, watchers = Revoking(authorizer, open_requests, observe), []
    if settings.revocations_table is not None:
        table, leeway = settings.revocations_table, lambda: authorizer.authority.trust.longest_leeway
        feed = RevocationFeed(revoking, table, leeway, readiness)
        follower = Follower(source, followed(table), feed, observe)
        watchers += [follower.run(), feed.expire()]
    if settings.revocations is not None:
        watchers.append(revoking.watch(settings.revocations, lambda: authorizer.authority.trust.longest_seconds))
    return watchers


def _shapes(readiness: Readiness, observe: Observe) -> Observe:
    """What watches how Electric answers shape requests."""
    return Only((UpstreamAnswered, UpstreamFailed), lambda seen: _shapes_seen(seen, readiness, observe))


def _shapes_seen(seen: Observation, readiness: Readiness, observe: Observe) -> None:
    """Reports to the readiness how Electric answers shape requests. A status that is for no client is a failure of its
    own (UpstreamFailed), unless the client's filter is at fault."""
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
    """Probes Electric's health, forever."""
    ready = _observed(readiness, observe, before=False)
    while True:
        state = await probe.state()
        readiness.saw(state)
        observe(ElectricSeen(state))
        ready = _observed(readiness, observe, before=ready)
        await asyncio.sleep(seconds)


def _observed(readiness: Readiness, observe: Observe, *, before: bool) -> bool:
    """Observes a change of the readiness; returns its present value."""
    if readiness.ready != before:
        observe(ReadinessChanged(readiness.ready, readiness.missing))
    return readiness.ready
