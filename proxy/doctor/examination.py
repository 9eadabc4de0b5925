# SPDX-License-Identifier: Apache-2.0
"""All checks in one order. What they need of the settings is given to them here, and nowhere else."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from proxy.auth import tokens
from proxy.auth.issuers import Issuer
from proxy.auth.keys import KeysFault
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.trust import Trust
from proxy.core.identifiers import Table
from proxy.core.policy import Policy
from proxy.doctor import (
    clock_checks,
    database_checks,
    edge_checks,
    electric_checks,
    local_checks,
    policy_checks,
)
from proxy.doctor.asking import Asker
from proxy.doctor.edge_checks import Pages
from proxy.doctor.findings import Finding, Level, error, warning
from proxy.runtime import configuration
from proxy.runtime.descriptors import TooManyConnections, check_connections, most_connections, raise_limit
from proxy.settings import Address, Settings, SettingsFault

TOKEN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line gives beside the settings: the public address, a token to try it with, addresses whose
    clocks matter, and how long an answer and the first event may take."""

    url: str = ""
    token: str = ""
    clocks: tuple[str, ...] = ()
    seconds: float = 10
    event_seconds: float = 30


def examine(settings: Settings, asked: Asked) -> Iterator[Finding]:
    """Every finding, as it is made."""
    secret = settings.electric_secret.get_secret_value()
    with ExitStack() as open_until_the_end:
        electric = open_until_the_end.enter_context(Asker(settings.electric_http_url, asked.seconds))
        seen = list(electric_checks.electric_findings(electric, secret))
        yield from seen
        reachable = seen[0].level is Level.ok
        loaded, findings = policy_checks.load(settings.policies, settings.rule_limits)
        yield from findings
        if loaded is not None:
            yield from _policies(settings, loaded, electric if reachable else None, secret)
        yield from _local(settings)
        issuers, findings = _issuers(settings)
        yield from findings
        yield from _keys(issuers)
        yield from _clocks(settings, asked, electric if reachable else None, issuers)
        yield from _edge(settings, asked, loaded, issuers)


def _policies(settings: Settings, loaded: LoadedPolicies, electric: Asker | None, secret: str) -> Iterator[Finding]:
    policies = tuple(loaded.policies.by_name.values())
    if electric is not None:
        yield from policy_checks.electric_findings(policies, electric, secret)
    if settings.database_url is None:
        action = "set DATABASE_URL, of a role that may only read, and run the doctor again"
        yield warning("database", "DATABASE_URL is not set: nothing was held against the database", action)
        return
    dsn = settings.database_url.get_secret_value()
    yield from policy_checks.database_findings(loaded, settings.policies, dsn)
    yield from database_checks.database_findings(dsn, settings.replication_slot, _tested(policies))


def _tested(policies: Iterable[Policy]) -> list[tuple[Table, frozenset[str]]]:
    """The tables with the columns that any filter may test: those of the policy, and those that a client may name."""
    tested: dict[Table, frozenset[str]] = {}
    for policy in policies:
        own = {column for table, column in policy.guard.tested() if table is None}
        named = own.union(*(grant.testable.names for grant in policy.grants))
        tested[policy.table] = tested.get(policy.table, frozenset()) | named
    return sorted(tested.items(), key=lambda one: one[0].quoted)


def _local(settings: Settings) -> Iterator[Finding]:
    raise_limit()  # as `serve` does
    fault = ""
    try:
        check_connections(settings.max_connections)
    except TooManyConnections as found:
        fault = f"PROXY_MAX_CONNECTIONS {found}"
    yield local_checks.files_finding(most_connections(settings.max_connections), fault)
    fault = ""
    try:
        configuration.key_of_handles(settings)
    except SettingsFault as found:
        fault = str(found)
    guessable = configuration.handle_key_is_guessable(settings)
    yield local_checks.handle_key_finding(fault=fault, guessable=guessable)


def _issuers(settings: Settings) -> tuple[tuple[Issuer, ...], list[Finding]]:
    """Whose tokens are believed, or why that cannot be read."""
    try:
        return configuration.issuers(settings), []
    except (KeysFault, SettingsFault) as fault:
        action = "mend the issuers: the proxy does not start with them"
        return (), [error("issuers", line, action) for line in str(fault).splitlines()]


def _keys(issuers: Iterable[Issuer]) -> Iterator[Finding]:
    for issuer in issuers:
        if isinstance(issuer.keys, Path):
            yield from local_checks.key_findings(issuer.keys, issuer.algorithms)
        else:
            yield from local_checks.address_findings(issuer)


def _clocks(settings: Settings, asked: Asked, electric: Asker | None, issuers: Iterable[Issuer]) -> Iterator[Finding]:
    """The clocks of Electric, of the addresses that keys are fetched from, and of those of the command line."""
    leeway = settings.token_leeway_seconds
    if electric is not None:
        yield clock_checks.clock_finding(electric, "/v1/health", leeway)
    of_issuers = {issuer.keys: issuer.leeway_seconds for issuer in issuers if isinstance(issuer.keys, str)}
    for address, tolerated in {**dict.fromkeys(filter(None, [*asked.clocks, asked.url]), leeway), **of_issuers}.items():
        with Asker(address, asked.seconds) as asker:
            yield clock_checks.clock_finding(asker, "", tolerated)


def _edge(
    settings: Settings, asked: Asked, loaded: LoadedPolicies | None, issuers: Iterable[Issuer]
) -> Iterator[Finding]:
    pages = Pages(settings.allowed_origins, settings.allowed_headers)
    public = asked.url.rstrip("/") or (f"http://{settings.listen}" if _answers(settings.listen) else "")
    if not public:
        yield from edge_checks.cors_findings(pages, None)
        return
    with Asker(public, asked.event_seconds) as edge:
        yield from edge_checks.cors_findings(pages, edge)
        if asked.url and loaded is not None:
            yield _first_event(asked, loaded, edge, issuers)


def _first_event(asked: Asked, loaded: LoadedPolicies, edge: Asker, issuers: Iterable[Issuer]) -> Finding:
    policies = loaded.policies.by_name
    if asked.token:
        return edge_checks.first_event_finding(edge, asked.token, policies, asked.event_seconds)
    try:
        token, name = _minted(issuers, policies.values())
    except KeysFault:
        message = "no stream was tried: there is no private key to make a token with"
        return warning("first_event", message, "give a token by --token")
    return edge_checks.first_event_finding(edge, token, [name], asked.event_seconds)


def _minted(issuers: Iterable[Issuer], policies: Iterable[Policy]) -> tuple[str, str]:
    """A token with the claims of a case that allows (each policy has one), and its policy's name. Raises KeysFault."""
    name, claims = next(
        (policy.name, case.claims) for policy in policies for case in policy.cases if case.expect == "allow"
    )
    issuer, ring = Trust.read(issuers).signing()
    seconds = min(TOKEN_SECONDS, issuer.max_seconds)
    return tokens.mint(ring, issuer, "shape-proxy-doctor", claims, seconds), name


def _answers(address: Address) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False
