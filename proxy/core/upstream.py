# SPDX-License-Identifier: Apache-2.0
"""The bytes that go to Electric. Two rules: everything is built from an AuthorizedShape and a Position, in one fixed
order; and two requests with the same key may see the same bytes."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
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


class UpstreamRequest(NamedTuple):
    """A request to Electric, complete but for the secret, which only the client of Electric knows.

    `key` is what makes two requests the same: the target without the cursor (which only spreads caches) and the
    body. `columns` are those that the answer may hold. `shape` is the part of the target that selects the data, and
    `position` the part that is the place in its log: equal shapes may see the same bytes of one stream. `bound` are the
    columns that every row of the answer must hold at one value; `filtered` is whether a client's filter is in it;
    `guard` is what the types of the answer are held against. `definition` is
    the part of `shape` that Electric knows a shape by; the handles that clients get are bound to it.
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
    guard: TypeGuard = NO_GUARD

    @property
    def method(self) -> str:
        """GET, or POST for a subset that travels in the body."""
        return "GET" if self.body is None else "POST"


class Target:
    """What is the same in every request for one authorized shape: only the position is written each time.

    It does not hold the shape, because it is remembered for as long as the shape is held.
    """

    __slots__ = ("_bound", "_columns", "_filtered", "_guard", "_policy", "definition", "written")

    def __init__(self, shape: AuthorizedShape) -> None:
        pairs = list(_shape(shape))
        self.written = f"{PATH}?" + _target(pairs).removeprefix("&")
        self.definition = _target(pair for pair in pairs if pair[0] != "queryable_columns")
        self._policy = shape.policy.name
        self._columns = frozenset(shape.columns)
        self._bound = tuple(shape.bound.items())
        self._filtered = shape.filtered
        self._guard = shape.guard

    def at(self, position: TrustedPosition, most: int) -> UpstreamRequest:
        """The request for the shape itself at a position. Raises Refusal if it passes `most` bytes."""
        base, cursor = self.base(position), _cursor(position)
        return self.request(position.kind, base, cursor, None, position, most)

    def base(self, position: TrustedPosition) -> str:
        """The target at a position, without its cursor."""
        return _base(self.written, position)

    def request(
        self, kind: Kind, base: str, cursor: str, body: bytes | None, position: TrustedPosition, most: int
    ) -> UpstreamRequest:
        """A request with this target and body. Raises Refusal if the target passes `most` bytes."""
        target = base + cursor
        if len(target) > most:
            raise Refusal(
                Code.target_too_long,
                "The where of a shape is too long for Electric: filter by fewer values, or ask for a subset, whose "
                "filter may be as long as a body.",
            )
        return UpstreamRequest(
            kind,
            self._policy,
            target,
            body,
            (base, body),
            self._columns,
            self.written,
            self.definition,
            position,
            self._bound,
            self._filtered,
            self._guard,
        )


def build(shape: AuthorizedShape, request: ShapeRequest, position: TrustedPosition, most: int) -> UpstreamRequest:
    """The upstream request for this shape at this position. Raises Refusal if its target passes `most` bytes.

    A subset goes by POST if the client posted it, or if its target would be too long for a GET.
    """
    target = target_of(shape)
    if shape.subset is None:
        return target.at(position, most)
    base, cursor, body = target.base(position), _cursor(position), None
    members = _members(shape.subset)
    long = None if request.post else _short(base, members, most - len(cursor))
    if long is None:
        body = json.dumps(members, separators=(",", ":")).encode()
    else:
        base = long
    return target.request(request.kind, base, cursor, body, position, most)


def moved(request: UpstreamRequest, offset: str) -> UpstreamRequest:
    """The same request from another offset of the log on."""
    position = TrustedPosition(request.position._replace(offset=offset))
    base = _base(request.shape, position)
    return request._replace(target=base + _cursor(position), key=(base, request.body), position=position)


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
    return target_of(shape).definition


def _short(base: str, members: dict[str, object], most: int) -> str | None:
    """The target of a subset by GET, None if it passes `most`; a filter that is far longer is not even escaped."""
    pairs = _query_subset(members)
    if len(base) + sum(len(value) for _, value in pairs) > most:
        return None
    target = base + _target(pairs)
    return target if len(target) <= most else None


_TARGETS: WeakKeyDictionary[AuthorizedShape, Target] = WeakKeyDictionary()
"""Cached for as long as the shape is: the bound on shapes is the bound on these."""


def target_of(shape: AuthorizedShape) -> Target:
    """The target of a shape, written once."""
    target = _TARGETS.get(shape)
    if target is None:
        target = _TARGETS[shape] = Target(shape)
    return target


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


def _base(written: str, position: TrustedPosition) -> str:
    offset, handle, live, sse, _, expired, buster = position
    return "".join(
        (
            written,
            "&offset=" + _escaped(offset),
            "&handle=" + _escaped(handle) if handle else "",
            "&live=true" if live else "",
            "&live_sse=true" if sse else "",
            "&expired_handle=" + _escaped(expired) if expired else "",
            "&cache-buster=" + _escaped(buster) if buster else "",
        )
    )


def _cursor(position: Position) -> str:
    return "&cursor=" + _escaped(position.cursor) if position.cursor else ""


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
