# SPDX-License-Identifier: Apache-2.0
"""The shapes that a token may use, as JSON: names, columns with types, filters, limits, and a JSON Schema of the rows.

Rows are described as the TypeScript client's own parsers give them: integers and floats as numbers, bool and json as
what they are, everything else as text; int8 is a bigint there, and an integer of format int64 here.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.core.agreement import has_subselect
from proxy.core.claims import Claims
from proxy.core.decision import considered
from proxy.core.filters import Condition, FilterLimits
from proxy.core.policy import Policy, PolicySet
from proxy.core.request import Position, ShapeRequest
from proxy.core.types import ColumnType

_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_SCHEMAS: Final[Mapping[str, Mapping[str, Any]]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "bool": {"type": "boolean"},
    "int2": {"type": "integer"},
    "int4": {"type": "integer"},
    "int8": {"type": "integer", "format": "int64"},
    "float4": {"type": "number"},
    "float8": {"type": "number"},
    "date": {"type": "string", "format": "date"},
    "json": {},
    "jsonb": {},
}


def rendered(claims: Claims, policies: PolicySet, limits: FilterLimits = FilterLimits()) -> bytes:
    """The JSON text of the shapes that these claims may use; no other is named in it."""
    found = (_for(claims, policy, policies, limits) for policy in _in_order(policies))
    return text([shape for shape in found if shape is not None])


def complete(policies: PolicySet) -> bytes:
    """The same of every shape, with all that any token may use of it."""
    return text(_described(policy, policy.columns, policy.client.filter, policies) for policy in _in_order(policies))


def text(shapes: Iterable[Mapping[str, Any]]) -> bytes:
    """The whole document."""
    return json.dumps({"shapes": list(shapes)}, ensure_ascii=False, separators=(",", ":")).encode()


def _in_order(policies: PolicySet) -> list[Policy]:
    return sorted(policies.by_name.values(), key=lambda policy: policy.name)


def _for(claims: Claims, policy: Policy, policies: PolicySet, limits: FilterLimits) -> Mapping[str, Any] | None:
    """What these claims may use of a policy, or None if no grant of it is for them."""
    _, evaluation, _ = considered(ShapeRequest(Position("-1"), name=policy.name), claims, policies, limits)
    if evaluation is None:
        return None
    filterable = _filterable(policy, evaluation.filter, evaluation.enforced)
    return _described(policy, evaluation.columns, filterable, policies)


def _filterable(policy: Policy, columns: frozenset[str], enforced: Iterable[Condition]) -> frozenset[str]:
    return columns & policy.client.filter_safe if any(map(has_subselect, enforced)) else columns


def _described(
    policy: Policy, columns: tuple[str, ...], filterable: frozenset[str], policies: PolicySet
) -> Mapping[str, Any]:
    client = policy.client
    types = {**policy.guard.known.own, **policy.types}
    page = {"max_limit": client.subset_limit, "require_limit": client.require_limit}
    return {
        "name": policy.name,
        "path": f"/v1/shapes/{policy.name}",
        "table": _spelling(policy, policies),
        "key": list(policy.key),
        "columns": [{"name": column, "type": _named(types.get(column))} for column in columns],
        "choose_columns": client.columns,
        "filter": sorted(filterable),
        "subset": None if client.subset_limit is None else page,
        "replica": sorted(client.replica),
        "log": sorted(client.log),
        "schema": {
            "type": "object",
            "properties": {column: _schema(types.get(column), column in policy.key) for column in columns},
            "required": list(columns),
            "additionalProperties": False,
        },
    }


def _spelling(policy: Policy, policies: PolicySet) -> str | None:
    """The shortest spelling of the table by which this policy is found, or None if it is found by its name alone."""
    mine = [spelling for spelling in policy.table.spellings() if policies.by_table.get(spelling) is policy]
    return min(mine, key=lambda spelling: (len(spelling), spelling), default=None)


def _named(type_: ColumnType | None) -> str | None:
    return None if type_ is None else str(type_)


def _schema(type_: ColumnType | None, in_key: bool) -> Mapping[str, Any]:
    """The JSON Schema of a value. Every column but those of the key may be NULL, for all that a policy knows."""
    if type_ is None:
        return {}
    one = _SCHEMAS.get(type_.name, _TEXT)
    schema = {"type": "array", "items": _nullable(one)} if type_.array else one
    return schema if in_key else _nullable(schema)


def _nullable(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema
