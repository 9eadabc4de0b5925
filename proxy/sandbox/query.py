# SPDX-License-Identifier: Apache-2.0
"""The query string and the body as Electric reads them (Plug.Conn.Query, Jason): nothing is refused that it would take.

The last of two equal keys wins, keys are percent-decoded before brackets are read, and unknown names are kept until
nobody asks for them.
"""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

Values = dict[str, Any]
"""Text, or lists and objects of text where the name had brackets; the JSON body adds every other JSON value."""

SUBSET_NAMES = ("where", "order_by", "limit", "offset", "params", "where_expr", "order_by_expr")
"""In a flat body any of these makes it a subset."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"([^\[]*)((?:\[[^\]]*\])*)")
_BRACKET = re.compile(r"\[([^\]]*)\]")


class Undecodable(ValueError):
    """A percent sign that starts nothing: Plug raises, which is a 500."""


class NotText(ValueError):
    """Bytes that are no UTF-8: 400."""


class BadBody(ValueError):
    """A body that is no JSON object: 400 with Electric's text."""


def parse_query(raw: bytes) -> Values:
    """The parameters of a query string."""
    values: Values = {}
    for pair in filter(None, raw.split(b"&")):
        name, _, value = pair.partition(b"=")
        _put(values, _decode(name), _decode(value))
    return values


def merge_body(values: Values, body: bytes) -> Values:
    """Lay the body of a POST over the parameters of its URL: the body wins."""
    if not body.strip():
        return values
    found = _object(body)
    if isinstance(found.get("subset"), dict):
        subset, rest = found.pop("subset"), found
    else:
        subset = {name: found[name] for name in SUBSET_NAMES if name in found}
        rest = {name: value for name, value in found.items() if name not in SUBSET_NAMES}
    merged = values | rest
    if subset:
        merged["subset"] = subset_of(values) | subset
    return merged


def subset_of(values: Values) -> Values:
    """The subset that the parameters ask for: `subset__x`, and over it `subset[x]`."""
    flat = {name.removeprefix("subset__"): value for name, value in values.items() if name.startswith("subset__")}
    deep = values.get("subset")
    return flat | (deep if isinstance(deep, dict) else {})


def _object(body: bytes) -> Values:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadBody("Invalid JSON in request body") from error
    if not isinstance(found, dict):
        raise BadBody("Request body must be a JSON object")
    return found


def _decode(raw: bytes) -> str:
    if _BAD_ESCAPE.search(raw):
        raise Undecodable
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise NotText from error


def _put(values: Values, name: str, value: str) -> None:
    """Set `name`, set `name[key]`, or append to `name[]`. Of a text, a list and an object of one name the last wins."""
    found = _NAME.fullmatch(name)
    brackets = _BRACKET.findall(found[2]) if found else []
    if found is None or not brackets:
        values[name] = value
    elif brackets == [""]:
        known = values.get(found[1])
        values[found[1]] = [*(known if isinstance(known, list) else []), value]
    else:
        known = values.get(found[1])
        values[found[1]] = {**(known if isinstance(known, dict) else {}), brackets[0]: value}
