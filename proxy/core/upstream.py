"""The bytes that go to Electric. Two rules: everything is built from an AuthorizedShape and a Position, in one fixed
order; and two requests with the same key may see the same bytes."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote
from weakref import WeakKeyDictionary

from proxy.core.decision import AuthorizedShape, AuthorizedSubset
from proxy.core.errors import Code, Refusal
from proxy.core.filters import ClaimValue
from proxy.core.handles import TrustedPosition
from proxy.core.identifiers import Table
from proxy.core.identifiers import quote as quote_name
from proxy.core.request import Kind, Position, ShapeRequest
from proxy.core.type_guard import TypeGuard

PATH = "/v1/shape"
NO_GUARD = TypeGuard()
_UNRESERVED = re.compile(r"[A-Za-z0-9_-]*")  # of RFC 3986 2.3; most values are, and need no work


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request to Electric, complete but for the secret, which only the door to Electric knows.

    `key` is what makes two requests the same: the target without the cursor (which only spreads caches) and the
    body. `columns` are those that the answer may hold. `shape` is the part of the target that says which data, and
    `position` the part that says where in its log: equal shapes may see the same bytes of one stream. `bound` are the
    columns that every row of the answer must hold at one value, or at one of several; `filtered` says whether a
    client's filter is in it; `guard` is what the types of the answer are held against. `definition` is the part
    of `shape` that Electric knows a shape by; the handles that clients get are bound to it.
    """

    kind: Kind
    policy: str
    target: str
    body: bytes | None
    key: tuple[str, bytes | None]
    columns: frozenset[str]
    shape: str
    definition: str
    position: TrustedPosition
    bound: tuple[tuple[str, ClaimValue], ...] = ()
    filtered: bool = False
    guard: TypeGuard = field(default=NO_GUARD, compare=False, repr=False)

    @property
    def method(self) -> str:
        """GET, or POST for a subset that travels in the body."""
        return "GET" if self.body is None else "POST"


def build(shape: AuthorizedShape, request: ShapeRequest, position: TrustedPosition, most: int) -> UpstreamRequest:
    """The upstream request for this shape at this position. Raises Refusal if its target passes `most` bytes.

    A subset goes by POST if the client posted it, or if its target would be too long for a GET.
    """
    written, defined = _written(shape)
    cursor = _target(_cursor(position))
    base, body = written + _target(_position(position)), None
    if shape.subset is not None:
        members = _members(shape.subset)
        long = None if request.post else _short(base, members, most - len(cursor))
        if long is None:
            body = json.dumps(members, separators=(",", ":")).encode()
        else:
            base = long
    if len(base + cursor) > most:
        raise Refusal(
            Code.target_too_long,
            "The where of a shape is too long for Electric: filter by fewer values, or ask for a subset, whose filter "
            "may be as long as a body.",
        )
    return UpstreamRequest(
        kind=request.kind,
        policy=shape.policy.name,
        target=base + cursor,
        body=body,
        key=(base, body),
        columns=frozenset(shape.columns),
        shape=written,
        definition=defined,
        position=position,
        bound=tuple(shape.bound.items()),
        filtered=shape.filtered,
        guard=shape.policy.guard,
    )


def schema_request(policy: str, table: Table, columns: tuple[str, ...] | None) -> UpstreamRequest:
    """A request for the types of a table's columns, all of them without `columns`. No row is in its answer."""
    pairs = [("table", table.quoted), ("where", "(FALSE)")]
    if columns is not None:
        pairs.append(("columns", ",".join(map(quote_name, columns))))
    defined = _target(pairs)
    written = f"{PATH}?" + defined.removeprefix("&")
    target, start = f"{written}&offset=-1", TrustedPosition(Position("-1"))
    named = frozenset() if columns is None else frozenset(columns)
    return UpstreamRequest(Kind.initial, policy, target, None, (target, None), named, written, defined, start)


def definition(shape: AuthorizedShape) -> str:
    """The canonical text of what Electric knows a shape by: table, filter with its values, columns, replica and log.

    `queryable_columns` are no part of it: they bound one subset, and requests for the same shape may differ in them.
    """
    return _written(shape)[1]


def _short(base: str, members: dict[str, object], most: int) -> str | None:
    """The target of a subset by GET, None if it passes `most`; a filter that is far longer is not even escaped."""
    pairs = _query_subset(members)
    if len(base) + sum(len(value) for _, value in pairs) > most:
        return None
    target = base + _target(pairs)
    return target if len(target) <= most else None


_WRITTEN: WeakKeyDictionary[AuthorizedShape, tuple[str, str]] = WeakKeyDictionary()
"""Kept for as long as somebody remembers the shape: who bounds that bounds this."""


def _written(shape: AuthorizedShape) -> tuple[str, str]:
    """The part of the target that is the same at every position: most of its bytes, and of the work; and the
    definition in it."""
    written = _WRITTEN.get(shape)
    if written is None:
        pairs = list(_shape(shape))
        defined = _target(pair for pair in pairs if pair[0] != "queryable_columns")
        written = _WRITTEN[shape] = (f"{PATH}?" + _target(pairs).removeprefix("&"), defined)
    return written


def _target(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"&{_escaped(key)}={_escaped(value)}" for key, value in pairs)


def _escaped(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


def _shape(shape: AuthorizedShape) -> Iterator[tuple[str, str]]:
    yield "table", shape.policy.table.quoted
    yield "where", shape.predicate.text
    for number, value in enumerate(shape.predicate.params, start=1):
        yield f"params[{number}]", value
    yield "columns", ",".join(map(quote_name, shape.columns))
    yield "queryable_columns", ",".join(map(quote_name, shape.queryable))
    yield "replica", shape.replica
    yield "log", shape.log


def _position(position: Position) -> Iterator[tuple[str, str]]:
    yield "offset", position.offset
    if position.handle:
        yield "handle", position.handle
    if position.live:
        yield "live", "true"
    if position.sse:
        yield "live_sse", "true"
    if position.expired_handle:
        yield "expired_handle", position.expired_handle
    if position.cache_buster:
        yield "cache-buster", position.cache_buster


def _cursor(position: Position) -> list[tuple[str, str]]:
    return [("cursor", position.cursor)] if position.cursor else []


def _members(subset: AuthorizedSubset) -> dict[str, object]:
    members: dict[str, object] = {"where": subset.predicate.text}
    if subset.predicate.params:
        members["params"] = {str(number): value for number, value in enumerate(subset.predicate.params, start=1)}
    for key in ("order_by", "limit", "offset"):
        if (value := getattr(subset, key)) is not None:
            members[key] = value
    return members


def _query_subset(members: dict[str, object]) -> list[tuple[str, str]]:
    return [
        (f"subset__{key}", value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))
        for key, value in members.items()
    ]
