# SPDX-License-Identifier: Apache-2.0
"""A request as people have it at hand: a URL from a browser, a log or a page of documentation, whole or in part."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from proxy.core.errors import Code, Refusal
from proxy.core.inbound import NAMED, SHAPE

_ADDRESS: Final = re.compile(r"(?P<address>[^?=&\s/]*/[^?=&\s]*)(?:\?(?P<query>.*))?", re.DOTALL)
_ENDING: Final = re.compile(rb"/v1/shapes?(?:/[^/]*)?")
_PLAIN: Final = re.compile(r'[\s<>"^`{|}\\]')
"""Characters that no query has as they are: then nothing in it is percent-encoded."""

_PARAMETER: Final = re.compile(r"(?<!&)&(?=[A-Za-z_][\w-]*(?:\[[^\]=&]*\])?=)")
"""Where a parameter ends: not at the `&&` of a filter."""

_UNSENDABLE: Final = re.compile(r"[^!-~]|[#\\^`{|}]")
"""Characters that a browser encodes by itself before it sends a query."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """The name and the query of a request. `plain` is whether it was read as text that nobody had encoded yet."""

    name: str | None
    query: bytes
    plain: bool = False


def parse(text: str, name: str | None = None) -> Pasted:
    """The request that a URL, a path with a query, or a query alone means. Raises Refusal for another path.

    `name` is the shape's name where the text does not hold it.
    """
    found = _ADDRESS.fullmatch(text.strip())
    query = text.strip() if found is None else found["query"] or ""
    named = name if found is None else _name(found["address"].encode("utf-8", "surrogateescape"))
    plain = _PLAIN.search(query) is not None
    return Pasted(named, _encoded(query) if plain else _sent(query), plain)


def _name(address: bytes) -> str | None:
    """The shape's name at the end of an address; what stands before is where the proxy is mounted."""
    at = address.rfind(b"/v1/")
    path = address[at:] if at >= 0 else b""
    if path == SHAPE:
        return None
    named = NAMED.fullmatch(path)
    if named is None:
        near = "; did you mean /v1/shape?" if _ENDING.fullmatch(path) else ""
        raise Refusal(Code.not_found, reason=f"the path is neither /v1/shape nor /v1/shapes/NAME{near}")
    return named[1].decode()


def _encoded(query: str) -> bytes:
    """Plain text, every value of it percent-encoded."""
    pairs = (part.partition("=") for part in _PARAMETER.split(query.removeprefix("?")))
    return "&".join(
        f"{quote(key, safe='[]', errors='surrogateescape')}={_quoted(value)}" for key, _, value in pairs
    ).encode()


def _quoted(value: str) -> str:
    return quote(value, safe="", errors="surrogateescape")


def _sent(query: str) -> bytes:
    """A query as a browser would send it."""
    return _UNSENDABLE.sub(lambda found: _quoted(found[0]), query.removeprefix("?")).encode()
