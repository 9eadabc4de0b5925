# SPDX-License-Identifier: Apache-2.0
"""What each part gets of the settings: the few values that it needs, as a small frozen value of its own."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from proxy.audit.decision_log import DecisionLogConfig
from proxy.auth import issuers as issuers_files
from proxy.auth import policy_loader as policy_files
from proxy.auth.authority import AuthorityConfig
from proxy.auth.bearer import CookieConfig
from proxy.auth.handle_key import handle_key
from proxy.auth.issuers import TYP, TYPS, Issuer
from proxy.auth.tokens import TokenBounds
from proxy.auth.trust import Trust
from proxy.console.access import Access, is_loopback
from proxy.core.headers import Origins
from proxy.core.limits import Limit
from proxy.core.request import Kind
from proxy.electric.client import ElectricConfig
from proxy.electric.placed import Lane, PlacedCall
from proxy.electric.places import Places
from proxy.gateway.admission import AdmissionConfig
from proxy.health.probes import LagConfig
from proxy.http1.exchange import ServerConfig
from proxy.http1.request import Bounds
from proxy.runtime.descriptors import TooManyConnections, check_connections, most_connections
from proxy.runtime.watchers import Rules
from proxy.settings import KEY_CHARACTERS, Settings, SettingsFault, variable
from proxy.sharing import bounds


def read_rules(settings: Settings) -> Rules:
    """The policies and the issuers that the settings name; policies are held against the database if they name one.

    Raises PoliciesFault, KeysFault, SettingsFault.
    """
    dsn = None if settings.database_url is None else settings.database_url.get_secret_value()
    strict = settings.database_check == "strict"
    loaded = policy_files.load_against(dsn, settings.policies, settings.rule_limits, strict=strict)
    return loaded, Trust.read(issuers(settings))


def rule_files(settings: Settings) -> tuple[Path, ...]:
    """The files and folders that hold policies, issuers and keys; without those of the keys while the issuers, which
    name them, cannot be read. Raises SettingsFault."""
    shadow = () if settings.shadow_policies is None else (settings.shadow_policies,)
    try:
        own = issuer_files(settings)
    except issuers_files.IssuersFault:
        own = () if settings.issuers is None else (settings.issuers,)
    return (settings.policies, *shadow, *own)


def issuers(settings: Settings) -> tuple[Issuer, ...]:
    """Whose tokens are believed: the issuers of PROXY_ISSUERS, or the single one of the settings.

    Raises IssuersFault, SettingsFault.
    """
    return (own_issuer(settings),) if settings.issuers is None else issuers_files.read(settings.issuers)


def issuer_files(settings: Settings) -> tuple[Path, ...]:
    """The files that name the trusted issuers and their keys. Raises IssuersFault, SettingsFault."""
    own = () if settings.issuers is None else (settings.issuers,)
    return (*own, *(issuer.keys for issuer in issuers(settings) if isinstance(issuer.keys, Path)))


def own_issuer(settings: Settings) -> Issuer:
    """The single issuer of the settings. Raises SettingsFault."""
    try:
        keys = issuers_files.source_of_keys(str(settings.token_keys))
    except ValueError as fault:
        raise SettingsFault(f"{variable('token_keys')}: {fault}") from None
    return Issuer(
        name=settings.token_issuer,
        keys=keys,
        audience=frozenset((settings.token_audience,)),
        max_seconds=settings.token_max_seconds,
        leeway_seconds=settings.token_leeway_seconds,
        typs=frozenset((TYP,)) if settings.token_require_typ else TYPS,
    )


def token_bounds(settings: Settings) -> TokenBounds:
    """How large a token may be, and how many are cached."""
    return TokenBounds(settings.token_max_bytes, settings.token_cache)


def authority(settings: Settings) -> AuthorityConfig:
    """How tokens and decisions are judged and cached."""
    return AuthorityConfig(
        token_bounds(settings), settings.decision_cache_bytes, settings.cache_share, cookie(settings)
    )


def cookie(settings: Settings) -> CookieConfig | None:
    """The cookie that may hold a token, if there is one."""
    if settings.token_cookie is None:
        return None
    origins = frozenset(origin.encode() for origin in settings.allowed_origins)
    return CookieConfig(settings.token_cookie.encode(), origins)


def key_of_handles(settings: Settings) -> bytes:
    """The key that binds handles, of PROXY_HANDLE_KEY, or without it of ELECTRIC_SECRET.

    Raises SettingsFault if there is neither.
    """
    text = (settings.handle_key or settings.electric_secret).get_secret_value()
    if not text:
        raise SettingsFault(
            f"{variable('handle_key')}: is required where ELECTRIC_SECRET is empty; {KEY_CHARACTERS} characters or "
            "more, such as `openssl rand -hex 32` prints"
        )
    return handle_key(text)


def handle_key_is_guessable(settings: Settings) -> bool:
    """Whether the key comes from a short ELECTRIC_SECRET: clients see what is made with it, and can try secrets."""
    return settings.handle_key is None and len(settings.electric_secret) < KEY_CHARACTERS


def electric(settings: Settings) -> ElectricConfig:
    """How Electric is asked."""
    waits = {Kind.live: settings.live_head_seconds, Kind.sse: settings.sse_idle_seconds}
    return ElectricConfig(
        url=settings.electric_http_url,
        connect_seconds=settings.connect_seconds,
        silence={kind: waits.get(kind, settings.head_seconds) for kind in Kind},
        row_check=settings.row_check,
        echoes_request_id=settings.check_request_id,
    )


def admission(settings: Settings) -> AdmissionConfig:
    """How often what may be asked for."""
    return AdmissionConfig(
        definitions_per_minute=settings.max_definitions_per_minute,
        subject_definitions_per_minute=settings.max_definitions_per_minute_per_subject,
        subject_definitions_burst=settings.max_definitions_burst_per_subject,
        subject_subsets_per_second=settings.max_subsets_per_second_per_subject,
        subject_subsets_burst=settings.max_subsets_burst_per_subject,
        subject_cpu_ms_per_second=settings.max_cpu_ms_per_second_per_subject,
    )


def lanes(settings: Settings) -> Mapping[Kind, Lane]:
    """The places at Electric. Polls and streams never wait: their bound is that of open requests, which those that were
    dropped count towards."""
    initial = Places[PlacedCall](settings.max_initial_requests, settings.max_initial_requests_per_subject)
    subsets = Places[PlacedCall](settings.max_subsets, settings.max_subsets_per_subject)
    live = Places[PlacedCall](0, settings.max_open_requests_per_subject, settings.dropped_poll_seconds)
    waits = Lane(live, 0, Limit.open_requests, Limit.subject_live_requests)
    seconds = settings.queue_seconds
    return {
        Kind.initial: Lane(initial, seconds, Limit.initial_requests, Limit.subject_initial_requests),
        Kind.subset: Lane(subsets, seconds, Limit.subset_requests, Limit.subject_subset_requests),
        Kind.live: waits,
        Kind.sse: waits,
    }


def sharing(settings: Settings) -> bounds.Bounds:
    """How much sharing may hold."""
    return bounds.Bounds(**{member.name: getattr(settings, member.name) for member in fields(bounds.Bounds)})


def origins(settings: Settings) -> Origins:
    """The web origins that may read answers."""
    return Origins.of(settings.allowed_origins, settings.allowed_headers, credentials=settings.token_cookie is not None)


def server(settings: Settings) -> ServerConfig:
    """The bounds on client connections."""
    return ServerConfig(
        bounds=Bounds(settings.header_bytes, settings.header_count),
        head_seconds=settings.header_seconds,
        body_seconds=settings.header_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        write_seconds=settings.write_seconds,
        linger_seconds=settings.header_seconds,
        connections=most_connections(settings.max_connections),
    )


def check_descriptors(settings: Settings) -> None:
    """Raises SettingsFault if more connections are set than there can be descriptors for."""
    try:
        check_connections(settings.max_connections)
    except TooManyConnections as fault:
        raise SettingsFault(f"{variable('max_connections')}: {fault}") from None


def decision_log(settings: Settings) -> DecisionLogConfig:
    """Which decisions are logged, and where they are recorded."""
    return DecisionLogConfig(
        sample=settings.decision_sample,
        refusals=settings.decision_refusals,
        file=settings.decision_file,
        file_bytes=settings.decision_file_bytes,
        files=settings.decision_files,
    )


def lag(settings: Settings) -> LagConfig | None:
    """What is measured of the database; None without one."""
    if settings.database_url is None:
        return None
    return LagConfig(
        dsn=settings.database_url.get_secret_value(),
        slot=settings.replication_slot,
        slot_seconds=settings.replication_seconds,
        table=settings.heartbeat_table,
        table_seconds=settings.heartbeat_seconds,
    )


def salt(settings: Settings) -> bytes:
    """What subjects are hashed with for the log."""
    return hashlib.blake2b(settings.electric_secret.get_secret_value().encode(), digest_size=32).digest()


def access(settings: Settings, *, own_listener: bool = True) -> Access:
    """Who may see the console. Who reaches a listener that is not our own is not known, so it needs the token."""
    token = "" if settings.admin_token is None else settings.admin_token.get_secret_value()
    return Access(token, loopback=own_listener and is_loopback(settings.admin_listen.host))
