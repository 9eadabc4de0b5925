# SPDX-License-Identifier: Apache-2.0
"""The filter language: what a client may add to a shape, and a policy's predicate in the same words.

Electric re-writes SQL through a deparser that loses brackets, so ANDing text is not enough: every byte that is sent
is generated here, from a tree in which operands are values and never conditions.

    parse, parse_policy → Condition → drop_repeats → conjoin → Predicate
"""

from proxy.core.filters.analysis import bindings, drop_repeats, is_bounded
from proxy.core.filters.arrays import written as array_literal
from proxy.core.filters.columns import Columns, Declared
from proxy.core.filters.conjunction import ClaimValue, Predicate, conjoin
from proxy.core.filters.equalities import equality_columns
from proxy.core.filters.errors import DEFAULT_LIMITS, FilterFault, FilterLimits
from proxy.core.filters.order_by import order_by
from proxy.core.filters.predicate import (
    Condition,
    array_params_of,
    claims_of,
    columns_of,
    either,
    params_of,
    parse,
    parse_policy,
    parse_token,
)
from proxy.core.filters.verify import Unverified

__all__ = [
    "DEFAULT_LIMITS",
    "ClaimValue",
    "Columns",
    "Condition",
    "Declared",
    "FilterFault",
    "FilterLimits",
    "Predicate",
    "Unverified",
    "array_literal",
    "array_params_of",
    "bindings",
    "claims_of",
    "columns_of",
    "conjoin",
    "drop_repeats",
    "either",
    "equality_columns",
    "is_bounded",
    "order_by",
    "params_of",
    "parse",
    "parse_policy",
    "parse_token",
]
