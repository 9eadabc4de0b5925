# SPDX-License-Identifier: Apache-2.0
"""`(<policy>) AND (<client>)`: the only place where a predicate is put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from proxy.core.filters import times
from proxy.core.filters.arrays import has_backslash, has_null, reread, taken_apart, written
from proxy.core.filters.ast import (
    Array,
    ArrayTest,
    Claim,
    Column,
    Constant,
    Item,
    Node,
    Number,
    Parameter,
    Source,
    Text,
    walk,
)
from proxy.core.filters.errors import DEFAULT_LIMITS, FilterFault, FilterLimits
from proxy.core.filters.lexer import control_in, is_unfit
from proxy.core.filters.operands import pattern_fault
from proxy.core.filters.predicate import Condition
from proxy.core.filters.ranges import as_ranges
from proxy.core.filters.rewriting import listed
from proxy.core.filters.verify import Unverified, check

ClaimValue: TypeAlias = str | tuple[str, ...]
"""The text of a claim, or the texts of one that is a list."""

_NOTHING: Final = "(TRUE)"
_MOST_SENT: Final = 2_097_152


@dataclass(frozen=True, slots=True)
class Predicate:
    """What is sent as `where`, and the values of its $1…$n. `filtered` is whether a client's filter is in it."""

    text: str
    params: tuple[str, ...]
    filtered: bool = field(default=False, compare=False)


def conjoin(
    policy: Sequence[Condition],
    client: Condition | None,
    claims: Mapping[str, ClaimValue],
    params: Mapping[int, str],
    limits: FilterLimits = DEFAULT_LIMITS,
) -> Predicate:
    """All of the policy's conditions and the client's filter, each half in brackets, the policy first.

    The policy comes first: an accident that cuts text cuts the client. `(TRUE)` stands for a missing half and
    keeps a top-level OR of the policy in brackets, because Electric ANDs a subset onto the base without any.
    `params` are the client's values by number. A number is never shared between the halves; inside one, a claim or
    a parameter that is used twice has one number.
    Raises FilterFault for the client's values, KeyError for a claim that is not there, Unverified for our own bugs.
    """
    values: list[str] = []
    enforced = _policy_half(policy, claims, values)
    chosen = _NOTHING if client is None else _client_half(client, params, limits, values)
    text = f"{enforced} AND {chosen}"
    parts = policy if client is None else (*policy, client)
    check(text, frozenset().union(*[part.names for part in parts]), len(values))
    return Predicate(text, tuple(values), client is not None)


def _policy_half(policy: Sequence[Condition], claims: Mapping[str, ClaimValue], values: list[str]) -> str:
    numbers: dict[tuple[str, str], int] = {}
    halves = [_numbered(condition, claims, numbers, values) for condition in policy]
    if len(halves) > 1:
        return f"({' AND '.join(halves)})"
    return halves[0] if halves else _NOTHING


def _numbered(
    condition: Condition, claims: Mapping[str, ClaimValue], numbers: dict[tuple[str, str], int], values: list[str]
) -> str:
    own: list[int] = []
    for source, type_ in zip(condition.sources, condition.types, strict=True):
        if not isinstance(source, Claim):
            values.append(_constant(source, claims))
            own.append(len(values))
            continue
        read_as = (source.name, type_)
        if read_as not in numbers:
            values.append(_claim(claims[source.name]))
            numbers[read_as] = len(values)
        own.append(numbers[read_as])
    return condition.template % tuple([own[index] for index in condition.order])


def _constant(source: Source, claims: Mapping[str, ClaimValue]) -> str:
    """The value of a constant in a policy: a text, or an array of constants and claims."""
    match source:
        case Text(value):
            return value
        case Array(items):
            return written([_claim(claims[item.name]) if isinstance(item, Claim) else _literal(item) for item in items])
        case _:
            raise Unverified("a policy reads a client's parameter")


def _claim(value: ClaimValue) -> str:
    """The value of a claim as that of a parameter: a list as an array."""
    # Electric cuts a value at a NUL: s1\0x would be the session s1.
    if control_in(value if isinstance(value, str) else "".join(value)) is not None:
        raise Unverified("a claim's value holds a control character")
    return value if isinstance(value, str) else written(list(value))


def _client_half(client: Condition, params: Mapping[int, str], limits: FilterLimits, values: list[str]) -> str:
    first = len(values) + 1
    if client.lists:
        client, params = _with_lists(client, params, limits)
    client = _with_ranges(client, params, limits)
    for source, type_ in zip(client.sources, client.types, strict=True):
        if isinstance(source, Text):
            values.append(_plain(source.value, type_))
        elif isinstance(source, Parameter):
            values.append(_plain(_parameter(source, client, params, limits), type_))
        elif isinstance(source, Array):
            values.append(written([_item(item, client, params, limits) for item in source.items]))
        else:
            raise Unverified("a client's filter reads a claim")
    _check_size(client, values)
    return client.template % tuple([first + index for index in client.order])


def _plain(value: str, type_: str) -> str:
    return times.plain(value, type_) if type_ in times.TYPES else value


def _with_ranges(client: Condition, params: Mapping[int, str], limits: FilterLimits) -> Condition:
    """The filter for times that may have another form than PostgreSQL's own, beside columns of unknown type."""

    def padded(column: Column, value: Node) -> bool:
        return column.type is None and _is_padded(value, params)

    if not any(_is_padded(source, params) for source in client.sources):
        return client
    return Condition.of(as_ranges(client.root, padded), limits, client.names)


def _is_padded(value: Node, params: Mapping[int, str]) -> bool:
    if isinstance(value, Text):
        return times.is_padded(value.value)
    return isinstance(value, Parameter) and times.is_padded(params.get(value.number, ""))


def _check_size(client: Condition, values: list[str]) -> None:
    """A value that is read as several types is sent several times, which must not multiply what a request may hold."""
    if len(client.sources) > 1 and sum(map(len, values)) > _MOST_SENT:
        raise FilterFault(0, f"the values of a filter have at most {_MOST_SENT} characters as they are sent")


def _item(item: Item, client: Condition, *given: Any) -> str:
    return _parameter(item, client, *given) if isinstance(item, Parameter) else _literal(item)


def _literal(item: Item) -> str:
    match item:
        case Text(value):
            return value
        case Number(digits):
            return digits
        case Constant(word):
            return word.lower()
    raise Unverified("an array holds the parameter or the claim of the other half")


def _parameter(source: Parameter, client: Condition, params: Mapping[int, str], limits: FilterLimits) -> str:
    number = source.number
    value = params.get(number)
    if value is None:
        raise FilterFault(source.at, f"${number} has no value")
    if is_unfit(value):
        raise FilterFault(source.at, f"the value of ${number} holds NUL or a lone surrogate")
    if number in client.patterns and (sentence := pattern_fault(value, limits)):
        raise FilterFault(source.at, f"${number}: {sentence}")
    return value


def _with_lists(
    client: Condition, params: Mapping[int, str], limits: FilterLimits
) -> tuple[Condition, Mapping[int, str]]:
    """The arrays written with our own quotes, and the filter for them: those that are empty or hold NULL or a backslash
    change it."""
    arrays: dict[int, str] = {}
    for source in client.sources:
        if isinstance(source, Parameter) and source.number in client.lists and source.number not in arrays:
            arrays[source.number] = _list(source, client, params, limits)
    if special := {number: array for number, array in arrays.items() if _is_special(array)}:
        special = {number: special[number] for number in special.keys() - _whole(client, special)}
        client = _for_special(client, special, limits)
        arrays |= {number: taken_apart(array)[0] for number, array in special.items()}
    return client, {**params, **arrays}


def _is_special(array: str) -> bool:
    return array == "{}" or has_null(array) or has_backslash(array)


def _whole(client: Condition, arrays: Mapping[int, str]) -> frozenset[int]:
    """The numbers of arrays that stay as they are: with a backslash, and compared as a whole too, where Electric reads
    a backslash in both alike."""
    tests = [node for node in walk(client.root) if isinstance(node, ArrayTest)]
    read = {side.number for test in tests for side in (test.left, test.right) if isinstance(side, Parameter)}
    return frozenset(
        number for number in read & arrays.keys() if arrays[number] != "{}" and not has_null(arrays[number])
    )


def _list(source: Parameter, client: Condition, params: Mapping[int, str], limits: FilterLimits) -> str:
    array = reread(_parameter(source, client, params, limits), limits.in_list)
    if array is None:
        sentence = f"${source.number} is not an array like {{a,b}} of at most {limits.in_list} elements"
        raise FilterFault(source.at, sentence)
    return array


def _for_special(client: Condition, special: Mapping[int, str], limits: FilterLimits) -> Condition:
    for node in walk(client.root):
        if isinstance(node, ArrayTest):
            for side in (node.left, node.right):
                if isinstance(side, Parameter) and has_null(special.get(side.number, "")):
                    raise FilterFault(side.at, f"{node.operator} never finds NULL: leave it out of the array")
    return Condition.of(listed(client.root, special), limits, client.names)
