# SPDX-License-Identifier: Apache-2.0
"""A subset: one filtered page of a shape's rows, asked by `subset__*` in a query or by a JSON body.

Electric lets a body override the whole request, so a body is read into the five members of a subset, and every other
member is refused.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from proxy.core.errors import Code, Refusal
from proxy.core.filters import array_literal
from proxy.core.limits import Limits
from proxy.core.query import printable, storable

QUERY_KEYS = frozenset(
    "subset__" + key for key in ("where", "params", "limit", "offset", "order_by", "where_expr", "order_by_expr")
)
"""The spellings of a subset in a query. The `_expr` hints of the client library are read and dropped."""

_BODY_KEYS = frozenset(key.removeprefix("subset__") for key in QUERY_KEYS)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_PARAM_NUMBER = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"[]{},")
_DEEPER = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]


@dataclass(frozen=True, slots=True)
class Subset:
    """What page of the shape is asked for. `arrays` are the numbers of the params that were lists."""

    where: str | None = None
    params: Mapping[int, str] = field(default_factory=dict)
    arrays: frozenset[int] = frozenset()
    limit: int | None = None
    offset: int | None = None
    order_by: str | None = None


def from_query(given: Mapping[str, str], limits: Limits) -> Subset | None:
    """The subset that `subset__*` asks for, None if there is none. Raises Refusal."""
    fields = {key.removeprefix("subset__"): given[key] for key in QUERY_KEYS if key in given}
    if not fields:
        return None
    members: dict[str, Any] = dict(fields)
    if "params" in fields:
        members["params"] = _json(fields["params"].encode(), limits)
    for key in ("limit", "offset"):
        if key in fields:
            members[key] = _number(fields[key])
    return _subset(members, limits)


def from_body(given: Mapping[str, str], body: bytes, limits: Limits) -> Subset:
    """The subset that a JSON body asks for. Raises Refusal; an empty one would be a plain log request."""
    if len(body) > limits.body_bytes:
        raise Refusal(Code.body_too_large, f"The body is longer than {limits.body_bytes} bytes.")
    if any(key in given for key in QUERY_KEYS):
        raise Refusal(Code.subset_malformed, "A subset stands in the body or in the query, not in both.")
    members = _json(body, limits)
    if not isinstance(members, dict):
        raise Refusal(Code.subset_malformed, "The body must be a JSON object.")
    if "subset" in members:
        raise Refusal(
            Code.subset_malformed,
            "Send the members of the subset flat: where, params, order_by, limit, offset, without a subset object.",
        )
    if unknown := members.keys() - _BODY_KEYS:
        raise Refusal(Code.subset_malformed, f"The body has {len(unknown)} member(s) that no subset has.")
    return _subset(members, limits)


def _subset(members: Mapping[str, Any], limits: Limits) -> Subset:
    params, arrays = _params(members, limits)
    subset = Subset(
        where=_text(members, "where", storable),
        params=params,
        arrays=arrays,
        limit=_count(members, "limit", limits.subset_offset),
        offset=_count(members, "offset", limits.subset_offset),
        order_by=_text(members, "order_by", printable),
    )
    if subset == Subset():
        raise Refusal(Code.subset_malformed, "The subset is empty: give where, or order_by with limit.")
    if (subset.limit is not None or subset.offset is not None) and subset.order_by is None:
        raise Refusal(Code.subset_malformed, "limit and offset need an order_by.")
    return subset


def _text(members: Mapping[str, Any], key: str, checked: Callable[[str], str]) -> str | None:
    value = members.get(key)
    if key in members and not isinstance(value, str):
        raise Refusal(Code.subset_malformed, f"The member {key} must be text.")
    return None if value is None else checked(value)


def _count(members: Mapping[str, Any], key: str, most: int) -> int | None:
    value = members.get(key)
    if key not in members:
        return None
    if type(value) is not int or not 0 <= value <= most or (key == "limit" and value == 0):
        raise Refusal(Code.subset_malformed, f"The member {key} must be a whole number within its bounds.")
    return value


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Refusal(Code.subset_malformed, "limit and offset are plain whole numbers.")
    return int(text)


def _params(members: Mapping[str, Any], limits: Limits) -> tuple[Mapping[int, str], frozenset[int]]:
    """The params by number, as text. A list becomes a PostgreSQL array literal, for `= ANY($n)` alone."""
    value = members.get("params", {})
    if isinstance(value, dict) and len(value) > limits.params:
        raise Refusal(Code.filter_malformed, f"There are at most {limits.params} params.")
    if not isinstance(value, dict) or not all(_PARAM_NUMBER.fullmatch(key) for key in value):
        raise Refusal(Code.subset_malformed, 'params is an object with the keys "1", "2", …')
    if value and "where" not in members:
        raise Refusal(Code.subset_malformed, "params need a where that uses them.")
    params = {int(key): _param(item) for key, item in value.items()}
    check_params(params, limits)
    return params, frozenset(int(key) for key, item in value.items() if isinstance(item, list))


def check_params(params: Mapping[int, str], limits: Limits) -> None:
    """Raises Refusal unless the numbers run from 1 without a gap and the values keep within the bounds."""
    if len(params) > limits.params or set(params) != set(range(1, len(params) + 1)):
        raise Refusal(Code.filter_malformed, f"params are numbered from 1 without gaps, at most {limits.params}.")
    sizes = [(len(value.encode()), value.startswith("{")) for value in params.values()]
    too_long = any(size > limits.param_bytes for size, is_list in sizes if not is_list)
    if too_long or sum(size for size, _ in sizes) > limits.params_bytes:
        raise Refusal(
            Code.filter_malformed,
            f"A parameter has at most {limits.param_bytes} bytes, all together {limits.params_bytes}.",
        )


def _param(item: Any) -> str:
    if isinstance(item, list):
        return array_literal(_texts(item))
    return _scalar(item)


def _texts(items: list[Any]) -> list[str]:
    if all(type(item) is str for item in items):
        storable("".join(items))  # all at once: a list is long
        return items
    return [_scalar(item) for item in items]


def _scalar(item: Any) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    if type(item) is int and abs(item) < 2**63:
        return str(item)
    if isinstance(item, str):
        return storable(item)
    raise Refusal(Code.subset_malformed, "A parameter is text, a whole number or a boolean.")


def _json(raw: bytes, limits: Limits) -> Any:
    """JSON without repeated keys, constants that JSON lacks, or deep nesting. Raises Refusal."""
    _check_structure(raw, limits)
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_unrepeated, parse_constant=_no_constant)
    except ValueError:
        raise Refusal(Code.subset_malformed, "That is not JSON.") from None


def _check_structure(raw: bytes, limits: Limits) -> None:
    """Bounds what the text holds before it is read; strings count for nothing, whatever is in them.

    Every step but the last is one pass of C code, and the last is over no more signs than may be.
    """
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"")  # pairs first: in \\" the quote ends the string
    signs = b"".join(unescaped.split(b'"')[::2]).translate(None, _NOT_STRUCTURE)
    if len(signs) > limits.json_values:
        raise Refusal(Code.subset_malformed, f"The JSON has more than {limits.json_values} values.")
    if max(accumulate(map(_DEEPER.__getitem__, signs)), default=0) > limits.json_depth:
        raise Refusal(Code.subset_malformed, f"The JSON is nested deeper than {limits.json_depth}.")


def _unrepeated(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise Refusal(Code.subset_malformed, "A member is repeated.")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
