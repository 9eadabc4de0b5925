# SPDX-License-Identifier: Apache-2.0
"""A shape request, and every reason for which Electric answers 400 without asking PostgreSQL."""

from dataclasses import dataclass
from typing import Any

import orjson

from . import names, offset
from .offset import Offset
from .query import Values, subset_of

Errors = dict[str, Any]
"""Field to texts, as in the body of Electric's 400; `subset` holds such an object itself."""


class Invalid(ValueError):
    """The request is answered with 400 and these errors."""

    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Subset:
    """Part of a shape's rows, asked for once."""

    where: str | None
    params: tuple[tuple[int, str], ...]
    order_by: str | None
    limit: int | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What data a request selects: the key under which its definition is remembered."""

    table: str
    where: str | None
    params: tuple[tuple[int, str], ...]
    columns: tuple[str, ...] | None
    queryable: tuple[str, ...] | None
    replica: str
    log: str


@dataclass(frozen=True, slots=True)
class ShapeRequest:
    """A request for a shape. `offset` is None for `now`; `offset_text` is what the client wrote."""

    wanted: Wanted
    offset: Offset | None
    offset_text: str
    handle: str | None
    live: bool
    sse: bool
    cursor: str
    subset: Subset | None


def parse(values: Values) -> ShapeRequest:
    """Read the parameters, or raise Invalid with everything that is wrong at the first stage that finds something."""
    errors: Errors = {}
    table = _text(values, "table", errors) or ""
    offset_text = _text(values, "offset", errors) or ""
    where = _text(values, "where", errors)
    replica = _choice(values, "replica", ("default", "full"), errors)
    log = _choice(values, "log", ("full", "changes_only"), errors)
    params = _params(values.get("params"), errors)
    columns, queryable = _columns(values, "columns", errors), _columns(values, "queryable_columns", errors)
    position = _offset(offset_text, errors)
    if not table and "table" not in errors:
        errors["table"] = ["can't be blank"]
    handle = _text(values, "handle", errors)
    _stop(errors)
    live, sse = _truth(values.get("live")), _truth(values.get("live_sse", values.get("experimental_live_sse")))
    _check_together(offset_text, handle, live, sse)
    wanted = Wanted(table, where, params, columns, queryable, replica, log)
    cursor = values.get("cursor")
    return ShapeRequest(
        wanted, position, offset_text, handle, live, sse, cursor if isinstance(cursor, str) else "", _subset(values)
    )


def _check_together(offset_text: str, handle: str | None, live: bool, sse: bool) -> None:
    """The rules that join parameters, in Electric's order."""
    if offset_text not in ("-1", "now") and handle is None:
        raise Invalid({"handle": ["can't be blank when offset != -1"]})
    if live and offset_text == "-1":
        raise Invalid({"live": ["can't be true when offset == -1"]})
    if live and offset_text == "now":
        raise Invalid({"live": ["can't be true when offset is 'now'"]})
    if sse and not live:
        raise Invalid({"live_sse": ["can't be true unless live is also true"]})


def _stop(errors: Errors) -> None:
    if errors:
        raise Invalid(errors)


def _text(values: Values, name: str, errors: Errors) -> str | None:
    """A parameter that is text; blank is absent."""
    value = values.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        errors[name] = ["is invalid"]
        return None
    return value


def _choice(values: Values, name: str, choices: tuple[str, ...], errors: Errors) -> str:
    value = _text(values, name, errors)
    if value is not None and value not in choices:
        errors[name] = ["is invalid"]
    return value or choices[0]


def _truth(value: Any) -> bool:
    """Whether a switch is on: everything is but its absence and the text `false` (the JSON value false is true)."""
    return value is not None and value != "false"


def _offset(text: str, errors: Errors) -> Offset | None:
    if "offset" in errors or text == "now":
        return None
    if not text:
        errors["offset"] = ["can't be blank"]
        return None
    found = offset.parse(text)
    if found is None:
        errors["offset"] = ["has invalid format"]
    return found


def _params(value: Any, errors: Errors) -> tuple[tuple[int, str], ...]:
    """`params[1]`, `params[2]` … in order."""
    try:
        return numbered(value or {})
    except ValueError as error:
        errors["params"] = [str(error)]
        return ()


def numbered(value: Any) -> tuple[tuple[int, str], ...]:
    """Parameters by number, as text cut at a NUL. ValueError has Electric's text."""
    if not isinstance(value, dict):
        raise ValueError("is invalid")
    if not all(isinstance(key, str) and key.isdecimal() for key in value):
        raise ValueError("Parameters can only use numbers as keys")
    if sorted(map(int, value)) != list(range(1, len(value) + 1)):
        raise ValueError("Parameters must be numbered sequentially, starting from 1")
    # `params[01]` passes that check and is then not found as $1
    return tuple(
        (int(key) if key == str(int(key)) else -int(key), names.cut(_as_text(value[key])))
        for key in sorted(value, key=int)
    )


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _columns(values: Values, name: str, errors: Errors) -> tuple[str, ...] | None:
    """A list of columns, `a,b` or `name[]=a&name[]=b`; blank is every column."""
    value = values.get(name)
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return tuple(names.parse_columns(value))
    except (names.BadName, TypeError) as error:
        errors[name] = [str(error) if isinstance(error, names.BadName) else "is invalid"]
        return None


def _subset(values: Values) -> Subset | None:
    """The subset asked for, if any."""
    found = subset_of(values)
    if not any(found.get(name) not in (None, "") for name in found):
        return None
    errors: Errors = {}
    where, order_by = _text(found, "where", errors), _text(found, "order_by", errors)
    limit, skip = _count(found, "limit", 1, errors), _count(found, "offset", 0, errors)
    params = _subset_params(found.get("params"), errors)
    if (limit is not None or skip is not None) and order_by is None:
        errors["order_by"] = ["order_by is required when limit or offset is present"]
    if errors:
        raise Invalid({"subset": errors})
    return Subset(where, params, order_by, limit, skip)


def _count(values: Values, name: str, least: int, errors: Errors) -> int | None:
    value = values.get(name)
    if value is None or value == "":
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        errors[name] = ["is invalid"]
        return None
    if number < least:
        errors[name] = ["must be greater than 0" if least else "must be greater than or equal to 0"]
    return number


def _subset_params(value: Any, errors: Errors) -> tuple[tuple[int, str], ...]:
    """An object, or text that is the JSON of one."""
    try:
        found = orjson.loads(value) if isinstance(value, str) and value else value or {}
        if not isinstance(found, dict):
            raise ValueError("params must be a JSON object")
        return numbered(found)
    except orjson.JSONDecodeError:
        errors["params"] = ["params must be valid JSON"]
    except ValueError as error:
        errors["params"] = [str(error)]
    return ()
