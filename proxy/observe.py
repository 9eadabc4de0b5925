"""Everything worth logging or counting, as one closed union of small values. logs.py and metrics.py read it; tests
pass `seen.append`."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestEnded:
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


@dataclass(frozen=True, slots=True)
class RequestOpened:
    """A request was admitted; it counts as open until its RequestEnded."""

    kind: str


@dataclass(frozen=True, slots=True)
class ProtocolRefused:
    """Bytes that never became a request were refused on the connection itself."""

    code: str


@dataclass(frozen=True, slots=True)
class UpstreamRetried:
    """A pooled connection was stale, so the request was sent once more."""

    kind: str


@dataclass(frozen=True, slots=True)
class UpstreamFailed:
    """Electric did not give a usable answer: the refusal's code, and the exception's name or the status."""

    kind: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class OwnFilterRefused:
    """Electric answered 400 to text that the proxy wrote: a bug of the proxy, or a policy that does not fit."""

    policy: str


@dataclass(frozen=True, slots=True)
class SchemaLeak:
    """An answer named columns that the policy does not: the tripwire stopped it."""

    policy: str


@dataclass(frozen=True, slots=True)
class ElectricSeen:
    """A probe of Electric's health: `active`, `starting`, `waiting` or `unreachable`."""

    state: str


@dataclass(frozen=True, slots=True)
class ReadinessChanged:
    """The proxy became ready or ceased to be; `why` says what is missing."""

    ready: bool
    why: str


@dataclass(frozen=True, slots=True)
class BookLoaded:
    """The policies in force: how many, and the digest of their files."""

    policies: tuple[str, ...]
    digest: str


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
    | UpstreamFailed
    | OwnFilterRefused
    | SchemaLeak
    | ElectricSeen
    | ReadinessChanged
    | BookLoaded
    | Lifecycle
)

Observe = Callable[[Observation], None]


def both(*readers: Observe) -> Observe:
    """One reader that tells several."""

    def tell(observation: Observation) -> None:
        for reader in readers:
            reader(observation)

    return tell
