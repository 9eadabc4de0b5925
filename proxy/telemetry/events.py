# SPDX-License-Identifier: Apache-2.0
"""Everything worth logging or counting, as one closed union of small values. logs.py and metrics.py read it; tests
pass `seen.append`.

Those that every request makes are tuples, which cost a third of a frozen dataclass to make.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable


class RequestEnded(NamedTuple):
    """One request is over, however it went. Times are seconds; `code` is `ok`, a refusal's code or an end's reason.

    `reason` is private: it is logged, never sent. `subject` is hashed.
    """

    request_id: str
    policy: str
    kind: str
    code: str
    status: int
    head_seconds: float
    total_seconds: float
    sent_bytes: int
    subject: str = ""
    reason: str = ""
    opened: bool = False
    up_to_date: bool = False


class RequestOpened(NamedTuple):
    """A request was admitted; it counts as open until its RequestEnded."""

    kind: str
    policy: str


@dataclass(frozen=True, slots=True)
class ProtocolRefused:
    """Bytes that never became a request were refused on the connection itself."""

    code: str


@dataclass(frozen=True, slots=True)
class UpstreamRetried:
    """A pooled connection was stale, so the request was sent once more."""

    kind: str


class UpstreamAnswered(NamedTuple):
    """The head of an answer of Electric has come, so many seconds after it was asked for."""

    kind: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class UpstreamFailed:
    """Electric did not give a usable answer: the refusal's code, and the exception's name or the status."""

    kind: str
    code: str
    reason: str


class Subscribed(NamedTuple):
    """A request was answered by sharing: `how` is `started` (it made the upstream request), `joined` or
    `cached`."""

    kind: str
    how: str


@dataclass(frozen=True, slots=True)
class SubscriberDropped:
    """A subscriber was too slow for what is held: its stream ended, or it went on with a request of its own."""

    kind: str


@dataclass(frozen=True, slots=True)
class OwnFilterRefused:
    """Electric answered 400 to text that the proxy wrote: a bug of the proxy, or a policy that does not fit."""

    policy: str


@dataclass(frozen=True, slots=True)
class ClientFilterRefused:
    """Electric answered 400 or 500 to a request with a client's filter, which is likely the reason."""

    policy: str
    status: int


@dataclass(frozen=True, slots=True)
class SchemaLeak:
    """An answer named columns that the policy does not: the tripwire stopped it."""

    policy: str


@dataclass(frozen=True, slots=True)
class RowLeak:
    """An answer held a row without the value that the policy binds: the row check stopped it."""

    policy: str
    kind: str


@dataclass(frozen=True, slots=True)
class PolicyTypeUnsafe:
    """A shape was refused because a type in its predicate is unsafe or unknown; `reason` names the column."""

    policy: str
    reason: str


@dataclass(frozen=True, slots=True)
class PolicyWarned:
    """Something that the author of a policy should know although it is in force: one `file: sentence`."""

    warning: str


@dataclass(frozen=True, slots=True)
class ElectricSeen:
    """A probe of Electric's health: `active`, `starting`, `waiting` or `unreachable`."""

    state: str


@dataclass(frozen=True, slots=True)
class ReadinessChanged:
    """The proxy became ready or ceased to be; `why` is what is missing."""

    ready: bool
    why: str


@dataclass(frozen=True, slots=True)
class ShapesChanged:
    """Electric answers shape requests again, or has ceased to; /ready shows it too."""

    available: bool


@dataclass(frozen=True, slots=True)
class PoliciesLoaded:
    """The policies in force: how many, and the digest of their files."""

    policies: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class KeysLoaded:
    """The keys in force: how many verify tokens, and why others of the file are not used, a line each."""

    usable: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeysFetched:
    """An issuer's keys were fetched from their address."""

    issuer: str


@dataclass(frozen=True, slots=True)
class KeysNotFetched:
    """An issuer's keys could not be fetched; those of the last time stay, for a while."""

    issuer: str
    reason: str


@dataclass(frozen=True, slots=True)
class PoliciesRejected:
    """New policies were not put in force, for so many faults; the old ones stay."""

    faults: int


@dataclass(frozen=True, slots=True)
class ReloadRefused:
    """One reason why new policies or keys were not put in force."""

    reason: str


@dataclass(frozen=True, slots=True)
class RevocationsRead:
    """How many subjects and tokens are revoked now, and how many faults the file has."""

    entries: int
    faults: int


@dataclass(frozen=True, slots=True)
class RevocationsFollowed:
    """How well the table of revocations is known: `unknown`, `current` or `stale`."""

    state: str


@dataclass(frozen=True, slots=True)
class RequestsRevoked:
    """So many open requests ended because their tokens were revoked; the last so many seconds after the news."""

    ended: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AdmissionRefused:
    """A request was refused by one of the limits on what clients may cost."""

    limit: str


@dataclass(frozen=True, slots=True)
class RequestsJudged:
    """New policies or keys were applied to the open requests: how many went on, asked again, and were refused."""

    kept: int
    changed: int
    refused: int


@dataclass(frozen=True, slots=True)
class RevocationFaulty:
    """A line of the file of revocations, the whole file, or a row of the table cannot be used; what it revokes is not
    revoked."""

    detail: str


class DecisionsDropped(NamedTuple):
    """A decision of this code was neither logged nor recorded: there were too many at a time."""

    code: str


@dataclass(frozen=True, slots=True)
class DecisionMade:
    """Why a request was refused or allowed. No token, claim value, parameter or query text is in it.

    `rules` are those that ran, each with its result; `predicate` is in force, its values masked. The request id is
    the one in the refusal's body.
    """

    request_id: str
    allowed: bool
    code: str
    policy: str
    grant: str
    policies: str
    subject: str
    reason: str
    rules: tuple[str, ...]
    predicate: str


@dataclass(frozen=True, slots=True)
class ShadowCompared:
    """A decision was judged by the shadow policies: `same`, `wider`, `narrower`, `unclear`, `failed` or `skipped`."""

    policy: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ShadowDiffered:
    """The shadow policies would decide otherwise; `changes` say how, without a value."""

    request_id: str
    policy: str
    outcome: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShadowLoaded:
    """The shadow policies that decisions are judged by as well, and the digest of their files."""

    policies: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class ShadowRejected:
    """One reason why shadow policies were not loaded; earlier ones stay."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryMeasured:
    """A beat was started, given up or seen: the lags in seconds of those seen, the newest last, and since when (by
    the monotonic clock) the oldest one waits that has not come back."""

    lags: tuple[float, ...]
    waiting_since: float | None


@dataclass(frozen=True, slots=True)
class ReplicationMeasured:
    """What the replication slot reported: bytes that Electric has not confirmed, bytes of log kept for it, and whether
    it reads now."""

    lag_bytes: int
    retained_bytes: int
    active: bool


@dataclass(frozen=True, slots=True)
class LagKnown:
    """A measure (`delivery` or `replication`) is known again, or cannot be taken; `why` says why not."""

    measure: str
    known: bool
    why: str


@dataclass(frozen=True, slots=True)
class FollowerFailed:
    """A shape that the proxy itself follows could not be read; it is tried again."""

    follower: str
    reason: str


@dataclass(frozen=True, slots=True)
class FollowerRestarted:
    """Electric made such a shape again, so it is read from its beginning."""

    follower: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The process starts, drains or stops; `detail` says where it listens or what it waits for."""

    event: str
    detail: str = ""


Observation = (
    RequestEnded
    | RequestOpened
    | ProtocolRefused
    | UpstreamRetried
    | UpstreamAnswered
    | UpstreamFailed
    | Subscribed
    | SubscriberDropped
    | OwnFilterRefused
    | ClientFilterRefused
    | SchemaLeak
    | RowLeak
    | PolicyTypeUnsafe
    | PolicyWarned
    | ElectricSeen
    | ReadinessChanged
    | ShapesChanged
    | PoliciesLoaded
    | KeysLoaded
    | KeysFetched
    | KeysNotFetched
    | PoliciesRejected
    | ReloadRefused
    | RevocationsRead
    | RevocationFaulty
    | RevocationsFollowed
    | RequestsRevoked
    | RequestsJudged
    | AdmissionRefused
    | DecisionsDropped
    | DecisionMade
    | ShadowCompared
    | ShadowDiffered
    | ShadowLoaded
    | ShadowRejected
    | DeliveryMeasured
    | ReplicationMeasured
    | LagKnown
    | FollowerFailed
    | FollowerRestarted
    | Lifecycle
)

Observe = Callable[[Observation], None]


@runtime_checkable
class Choosy(Protocol):
    """A reader that names its function for each type of observation, or that none reads it."""

    def reader_of(self, kind: type) -> Callable[[Any], None] | None:
        """What reads observations of this type."""
        ...


class Only:
    """A reader of some types alone."""

    def __init__(self, kinds: tuple[type, ...], read: Observe) -> None:
        self._kinds = kinds
        self._read = read

    def __call__(self, observation: Observation) -> None:
        """Reads an observation, if it is of one of the types."""
        if isinstance(observation, self._kinds):
            self._read(observation)

    def reader_of(self, kind: type) -> Observe | None:
        """What reads observations of this type."""
        return self._read if kind in self._kinds else None


def both(*readers: Observe) -> Observe:
    """One reader that passes each observation to several, in their order. The readers of a type are looked up once."""
    by_kind: dict[type, tuple[Observe, ...]] = {}

    def tell(observation: Observation) -> None:
        kind = observation.__class__
        found = by_kind.get(kind)
        if found is None:
            found = by_kind[kind] = tuple(_readers_of(kind, readers))
        for read in found:
            read(observation)

    return tell


def _readers_of(kind: type, readers: tuple[Observe, ...]) -> Iterator[Observe]:
    for reader in readers:
        read = reader.reader_of(kind) if isinstance(reader, Choosy) else reader
        if read is not None:
            yield read
