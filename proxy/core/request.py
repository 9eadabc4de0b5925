# SPDX-License-Identifier: Apache-2.0
"""What a client asks for, from raw bytes to values. Nothing in a ShapeRequest is trusted: decision.py judges it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from proxy.core import subset
from proxy.core.errors import Code, Refusal
from proxy.core.limits import Limits
from proxy.core.query import pairs
from proxy.core.subset import Subset

HANDLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,128}"
"""Any short text: handles.py distinguishes ours from all others, which cost their client one fetch, not its stream."""

PROTOCOL: Mapping[str, re.Pattern[str]] = {
    # Positions in the log, as Electric gives them out. They never choose data.
    "offset": re.compile(r"-1|now|[0-9]{1,20}_(?:[0-9]{1,20}|inf)", re.ASCII),
    "handle": re.compile(HANDLE),
    "live": re.compile(r"true|false"),
    "live_sse": re.compile(r"true|false"),
    "experimental_live_sse": re.compile(r"true|false"),
    "cursor": re.compile(r"[0-9]{0,20}", re.ASCII),  # the first live request sends it empty
    "log": re.compile(r"full|changes_only"),
    "replica": re.compile(r"default|full"),
    "expired_handle": re.compile(HANDLE),
    "cache-buster": re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII),
}
"""Parameters whose whole value is a token of a fixed grammar."""

SHAPE = frozenset({"table", "where", "columns"})
"""Parameters that select the data; each is judged by the policy."""

_KNOWN = PROTOCOL.keys() | SHAPE | subset.QUERY_KEYS
_PARAM_KEY = re.compile(r"params\[([1-9][0-9]{0,4})\]", re.ASCII)


class Kind(StrEnum):
    """What a request waits for: it decides the timeouts, and labels metrics and log lines."""

    initial = "initial"
    catch_up = "catch_up"
    live = "live"
    sse = "sse"
    subset = "subset"


AT_START: Final = ("-1", "now")
"""The offsets at which a log is asked for from its beginning, or from now on."""


class Position(NamedTuple):
    """Where in the log a client stands, in the protocol's own terms; never what data it sees."""

    offset: str
    handle: str | None = None
    live: bool = False
    sse: bool = False
    cursor: str | None = None
    expired_handle: str | None = None
    cache_buster: str | None = None

    @property
    def at_start(self) -> bool:
        """Whether the log is asked for from its beginning, or from now on: then a handle means nothing."""
        return self.offset in AT_START

    @property
    def kind(self) -> Kind:
        """The kind of answer that a request without a subset waits for here."""
        if self.sse:
            return Kind.sse
        if self.live:
            return Kind.live
        return Kind.initial if self.at_start else Kind.catch_up


@dataclass(frozen=True, slots=True)
class ShapeRequest:
    """A request as the client made it. `table` or `name` selects the shape; the rest may be None for "not given"."""

    position: Position
    table: str | None = None
    name: str | None = None
    where: str | None = None
    params: Mapping[int, str] | None = None
    columns: str | None = None
    replica: str | None = None
    log: str | None = None
    subset: Subset | None = None
    post: bool = False

    @property
    def kind(self) -> Kind:
        """The kind of answer that it waits for."""
        return self.position.kind if self.subset is None else Kind.subset


def parse(name: str | None, query: bytes, body: bytes | None = None, limits: Limits = Limits()) -> ShapeRequest:
    """The request that a raw query (and for POST a raw body) makes. Raises Refusal.

    `name` is the shape of `/v1/shapes/<name>`, None for `/v1/shape`, where the query names the table.
    """
    given = pairs(query, limits.query_bytes, limits.query_pairs)
    _refuse_unknown(given, named=name is not None)
    for key, value in given.items():
        if key in PROTOCOL and not PROTOCOL[key].fullmatch(value):
            raise Refusal(Code.malformed_request, f"The parameter {key} has a wrong form.")
    return ShapeRequest(
        position=_position(given),
        table=_table(given, name),
        name=name,
        where=given.get("where"),
        params=_params(given, limits),
        columns=given.get("columns"),
        replica=given.get("replica"),
        log=given.get("log"),
        subset=subset.from_query(given, limits) if body is None else subset.from_body(given, body, limits),
        post=body is not None,
    )


def _refuse_unknown(given: Mapping[str, str], *, named: bool) -> None:
    for key in given:
        if key in _KNOWN or _PARAM_KEY.fullmatch(key):
            continue
        raise Refusal(Code.unknown_parameter, "The proxy does not know one of the query's parameters.", about=key)
    if named and "table" in given:
        raise Refusal(Code.unknown_parameter, "A named shape takes no table.", about="table")


def _table(given: Mapping[str, str], name: str | None) -> str | None:
    if name is None and "table" not in given:
        raise Refusal(Code.malformed_request, "The parameter table is required.")
    return given.get("table")


def _position(given: Mapping[str, str]) -> Position:
    if "offset" not in given:
        raise Refusal(Code.malformed_request, "The parameter offset is required: -1 on the first request.")
    position = Position(
        offset=given["offset"],
        handle=given.get("handle"),
        live=given.get("live") == "true",
        sse=_sse(given),
        cursor=given.get("cursor") or None,
        expired_handle=given.get("expired_handle"),
        cache_buster=given.get("cache-buster"),
    )
    if problem := _contradiction(position):
        raise Refusal(Code.malformed_request, problem)
    return position


def _sse(given: Mapping[str, str]) -> bool:
    """`live_sse`, or the older `experimental_live_sse`, which clients still send beside it."""
    modes = {given[key] for key in ("live_sse", "experimental_live_sse") if key in given}
    if len(modes) > 1:
        raise Refusal(Code.malformed_request, "live_sse and experimental_live_sse disagree.")
    return modes == {"true"}


def _contradiction(position: Position) -> str | None:
    """Electric's own rules, so that nothing is asked that must fail."""
    if position.live and position.at_start:
        return f"live cannot be true at offset={position.offset}."
    if position.sse and not position.live:
        return "live_sse needs live=true."
    if not position.at_start and position.handle is None:
        return "The parameter handle is required at this offset."
    return None


def _params(given: Mapping[str, str], limits: Limits) -> Mapping[int, str] | None:
    params = {int(found[1]): value for key, value in given.items() if (found := _PARAM_KEY.fullmatch(key))}
    if not params:
        return None
    if "where" not in given:
        raise Refusal(Code.filter_malformed, "params need a where that uses them.")
    subset.check_params(params, limits)
    return params
