# SPDX-License-Identifier: Apache-2.0
"""The body of Electric's answers, read by the proxy for shapes of its own: never for a client's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPERATIONS = frozenset({"insert", "update", "delete"})


class MessagesFault(Exception):
    """A body is not the array of messages that it should be."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row that was inserted, changed or deleted; of an updated row only its key and what changed are in `value`."""

    operation: str
    key: str
    value: Mapping[str, str | None]


def changes(body: bytes) -> list[Change]:
    """The changes of a body in their order, controls and events left out. Raises MessagesFault."""
    try:
        messages = json.loads(body) if body else []
    except ValueError:
        raise MessagesFault("no JSON") from None
    if not isinstance(messages, list):
        raise MessagesFault("no array")
    return [change for change in map(_change, messages) if change is not None]


def _change(message: Any) -> Change | None:
    headers = message.get("headers") if isinstance(message, dict) else None
    if not isinstance(headers, dict):
        raise MessagesFault("a message without headers")
    if "operation" not in headers:
        return None
    key, value = message.get("key"), message.get("value", {})
    if headers["operation"] not in OPERATIONS or not isinstance(key, str) or not isinstance(value, dict):
        raise MessagesFault("a change of another form")
    return Change(headers["operation"], key, value)
