# SPDX-License-Identifier: Apache-2.0
"""Keys by address: fetched before they are needed, refreshed ahead of their expiry, and fetched again, rarely, when a
token names a key that is not among them.

One source, for each issuer with an address:

  new ──fetched──▶ known ◀──fetched──── failing ──keep_seconds──▶ unknown
   │                 └──────failed────────▶ ▲                        │
   └──failed──▶ (still new; tried again)    └───────fetched──────────┘ (to known)

Requests never wait for a fetch, but for one kind: those whose token names a key that the last set does not have. Their
issuer may have begun to sign with a key that it published a moment ago, so they are held until the next fetch, which
comes at once, but `unknown_seconds` after the last one of this kind at the earliest.

Invariants: one fetch at a time; a fetch has a deadline; a key that the last such fetch did not bring is refused at once
until the next one may be made; no more than `most_waiting` requests are held, in all.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

import httpx

from proxy.auth.issuers import Issuer
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.trust import Trust
from proxy.core.errors import Code, Refusal
from proxy.http1.origin import authorities

FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 65_536
HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "shape-proxy"}
_RANDOM: Final = SystemRandom()

Resume = Callable[[bool], None]
"""Called when the next fetch is over, with whether it brought a set."""
Changed = Callable[[str, KeyRing | None], None]
"""Called with an issuer's name and its keys, when they are others."""
Ended = Callable[[str, str], None]
"""Called after each fetch with the issuer's name, and what failed, empty if nothing did."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When keys are fetched, in seconds. A refresh comes ahead of what `cache-control` permits, within bounds."""

    usual: float = 300
    least: float = 60
    most: float = 3600
    retry: float = 2
    retry_most: float = 60
    keep: float = 3600
    """How long the last set is used beyond its refresh while there is no other."""
    unknown: float = 10
    most_waiting: int = 1000


class FetchFault(Exception):
    """A set was not fetched; the text is the reason, in a few words."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A key set, and for how long its source lets it be used, if that is given."""

    ring: KeyRing
    max_age: float | None


async def fetch(issuer: Issuer) -> Fetched:
    """The keys at an issuer's address, in time. Raises FetchFault.

    No redirect is followed and no proxy of the environment is used: both could bring another's keys.
    """
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            raw, caching = await _download(str(issuer.keys))
            ring = await asyncio.to_thread(KeyRing.parse, raw, issuer.algorithms, published=True)
    except TimeoutError:
        raise FetchFault(f"no answer in {FETCH_SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
        raise FetchFault(type(fault).__name__) from None
    except KeysFault as fault:
        raise FetchFault(str(fault)) from None
    return Fetched(ring, max_age(caching))


async def fetched(trust: Trust) -> Trust:
    """The same with the keys of every issuer that has an address, fetched once. Raises KeysFault."""
    for issuer in trust.issuers:
        if isinstance(issuer.keys, str):
            try:
                trust = trust.with_ring(issuer.name, (await fetch(issuer)).ring)
            except FetchFault as fault:
                raise KeysFault(f"{issuer.keys}: {fault}") from None
    return trust


async def _download(url: str) -> tuple[bytes, str]:
    tls = await asyncio.to_thread(authorities, url)  # with TLS it reads the file of all authorities
    async with (
        httpx.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, headers=HEADERS) as client,
        client.stream("GET", url) as response,
    ):
        if response.status_code != 200:
            raise FetchFault(f"status {response.status_code}")
        raw = b""
        async for piece in response.aiter_raw():
            raw += piece
            if len(raw) > MOST_BYTES:
                raise FetchFault(f"more than {MOST_BYTES} bytes")
        return raw, str(response.headers.get("cache-control", ""))


def max_age(caching: str) -> float | None:
    """The seconds that a `cache-control` permits (RFC 9111 5.2.2), None where there is none that can be read."""
    found: float | None = None
    for directive in caching.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return 0.0
        if name == "max-age" and value.strip('"').isdecimal():
            found = float(value.strip('"')[:9])
    return found


def refresh_after(age: float | None, pace: Pace, chance: float) -> float:
    """Seconds until the next fetch: three quarters to nine tenths of what is permitted, by chance, so that replicas do
    not come together."""
    permitted = pace.usual if age is None else min(max(age, pace.least), pace.most)
    return permitted * (0.75 + 0.15 * chance)


class KeySource:
    """The keys of one issuer. `ring` is None while they are not known."""

    def __init__(self, issuer: Issuer, changed: Changed, ended: Ended, pace: Pace, *, needed: bool) -> None:
        """`needed` is whether the process is not ready before the first set: not for a source of a later reload."""
        self.issuer = issuer
        self.ring: KeyRing | None = None
        self.fetched_at: float | None = None
        self.fault = "not fetched yet"
        self.failures = 0
        self._changed = changed
        self._ended = ended
        self._pace = pace
        self._needed = needed
        self._keep_until = 0.0
        self._unknown_at = 0.0
        self._absent: frozenset[str | None] = frozenset()
        self._waiting: dict[Resume, str | None] = {}
        self._woken = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many requests are held."""
        return len(self._waiting)

    @property
    def missing(self) -> bool:
        """Whether its keys are needed, and not known."""
        return self.ring is None and self._needed

    def serves(self, issuer: Issuer) -> bool:
        """Whether the keys of this issuer are these, whatever else it demands of its tokens."""
        return (self.issuer.keys, self.issuer.algorithms) == (issuer.keys, issuer.algorithms)

    def wait(self, kid: str | None, resume: Resume) -> bool:
        """Whether the next fetch may bring a key of this kid; then `resume` is called when it is over."""
        if kid in self._absent and _now() < self._unknown_at:
            return False
        self._waiting[resume] = kid
        self._woken.set()
        return True

    def leave(self, resume: Resume) -> None:
        """Waits no longer."""
        self._waiting.pop(resume, None)

    async def run(self) -> None:
        """Fetches forever."""
        seconds = 0.0
        while True:
            await self._until_due(_now() + seconds)
            seconds = await self._once()

    async def _until_due(self, due: float) -> None:
        """Waits until a fetch is due, or until one may be made for those who wait."""
        while (left := (min(due, self._unknown_at) if self._waiting else due) - _now()) > 0:
            self._woken.clear()
            try:
                async with asyncio.timeout(left):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _once(self) -> float:
        """One fetch; gives the seconds until the next."""
        waiting = dict(self._waiting)
        if waiting:
            self._unknown_at = _now() + self._pace.unknown
        try:
            fetched = await fetch(self.issuer)
        except FetchFault as fault:
            seconds = self._failed(str(fault))
        else:
            seconds = self._succeeded(fetched)
            self._absent = frozenset(waiting.values())
        self._resume(waiting)
        return seconds

    def _succeeded(self, fetched: Fetched) -> float:
        before, self.ring, self.fault, self.failures = self.ring, fetched.ring, "", 0
        seconds = refresh_after(fetched.max_age, self._pace, _RANDOM.random())
        self.fetched_at, self._needed = _now(), True
        self._keep_until = self.fetched_at + seconds + self._pace.keep
        if before is None or before.content != fetched.ring.content:
            self._changed(self.issuer.name, self.ring)
        self._ended(self.issuer.name, "")
        return seconds

    def _failed(self, fault: str) -> float:
        self.fault = fault
        self.failures += 1
        if self.ring is not None and _now() >= self._keep_until:
            self.ring = None
            self._changed(self.issuer.name, None)
        self._ended(self.issuer.name, fault)
        seconds = min(self._pace.retry * 2.0 ** min(self.failures - 1, 10), self._pace.retry_most)
        return seconds * (0.75 + 0.5 * _RANDOM.random())

    def _resume(self, waiting: Mapping[Resume, str | None]) -> None:
        """Calls those who waited for this fetch, and those who joined it since."""
        served = [resume for resume, kid in self._waiting.items() if resume in waiting or self._has(kid)]
        for resume in served:
            if resume in self._waiting:  # one of them may have ended another
                del self._waiting[resume]
                resume(not self.fault)

    def _has(self, kid: str | None) -> bool:
        return self.ring is not None and (kid is None or self.ring.knows(kid))


class KeySources:
    """The sources of all issuers that have an address."""

    def __init__(self, changed: Changed, ended: Ended, pace: Pace = Pace()) -> None:
        self._changed = changed
        self._ended = ended
        self._pace = pace
        self._sources: dict[str, KeySource] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followed = asyncio.Event()
        self._started = False

    async def run(self) -> None:
        """Fetches forever, from each source that is followed."""
        async with asyncio.TaskGroup() as group:
            while True:
                for name in self._sources.keys() - self._tasks.keys():
                    self._tasks[name] = group.create_task(self._sources[name].run())
                await self._followed.wait()
                self._followed.clear()

    def follow(self, issuers: Iterable[Issuer]) -> None:
        """Takes these issuers in place of those before. The keys of one that has the same address stay known."""
        wanted = {issuer.name: issuer for issuer in issuers if isinstance(issuer.keys, str)}
        for name, source in list(self._sources.items()):
            if name not in wanted or not source.serves(wanted[name]):
                self._drop(name)
        for name, issuer in wanted.items():
            if name not in self._sources:
                needed = not self._started
                self._sources[name] = KeySource(issuer, self._changed, self._ended, self._pace, needed=needed)
        self._started = True
        self._followed.set()

    def completed(self, trust: Trust) -> Trust:
        """The same with the keys that were fetched."""
        for name, source in self._sources.items():
            if name in trust.by_name and source.ring is not None:
                trust = trust.with_ring(name, source.ring)
        return trust

    def wait(self, issuer: str, kid: str | None, resume: Resume) -> bool:
        """Whether the next fetch may bring a key of this kid; then `resume` is called when it is over. Raises Refusal
        if too many wait."""
        source = self._sources.get(issuer)
        if source is None:
            return False
        if sum(each.waiting for each in self._sources.values()) >= self._pace.most_waiting:
            raise Refusal(Code.keys_unavailable, reason="too many requests wait for keys")
        return source.wait(kid, resume)

    def leave(self, issuer: str, resume: Resume) -> None:
        """Waits no longer."""
        if issuer in self._sources:
            self._sources[issuer].leave(resume)

    def missing(self) -> tuple[str, ...]:
        """The issuers whose keys are not known, and should be."""
        return tuple(name for name, source in self._sources.items() if source.missing)

    def age(self) -> float:
        """Seconds since the oldest of the sets was fetched, NaN if there is none."""
        ages: list[float] = [
            _now() - source.fetched_at for source in self._sources.values() if source.fetched_at is not None
        ]
        return max(ages) if ages else math.nan

    def report(self) -> dict[str, Mapping[str, object]]:
        """What is known of each set, for /ready."""
        return {name: _state(source) for name, source in self._sources.items()}

    def _drop(self, name: str) -> None:
        del self._sources[name]
        if name in self._tasks:
            self._tasks.pop(name).cancel()


def _state(source: KeySource) -> Mapping[str, object]:
    ring = source.ring
    return {
        "age_seconds": None if source.fetched_at is None else round(_now() - source.fetched_at),
        "usable": 0 if ring is None else len(ring.verifying),
        "skipped": 0 if ring is None else len(ring.skipped),
        "fault": source.fault,
    }


def _now() -> float:
    return time.monotonic()
