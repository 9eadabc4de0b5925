# SPDX-License-Identifier: Apache-2.0
"""Whether a request is allowed, and as what: the only place where an AuthorizedShape is made.

Two things may live here: RULES, each a small function of the Evaluation that returns one field of the shape or raises a
Refusal; and `decide`, which runs them. Its result holds the reason, for allowed and refused requests alike.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.core import filters
from proxy.core.agreement import has_subselect
from proxy.core.claims import Claims, bind
from proxy.core.errors import Code, Refusal
from proxy.core.filters import ClaimValue, Condition, FilterFault, FilterLimits, Predicate
from proxy.core.grants import Grant, Values, choose
from proxy.core.identifiers import split_list
from proxy.core.policy import Policy, PolicySet
from proxy.core.request import ShapeRequest
from proxy.core.subset import Subset
from proxy.core.token_shape import UNBOUND, TokenShape, guarding
from proxy.core.type_guard import TypeGuard


@dataclass(frozen=True, slots=True)
class AuthorizedSubset:
    """A page that may be read: the policy's predicate again, and the client's filter."""

    predicate: Predicate
    order_by: str | None
    limit: int | None
    offset: int | None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class AuthorizedShape:
    """What may be sent upstream: every part of it comes from the policy, or passed it.

    `bound` are the columns that every row must hold at one value, or at one of several. Two shapes are never equal:
    what is remembered of one is remembered by identity, without hashing its parts.
    """

    policy: Policy
    columns: tuple[str, ...]
    queryable: tuple[str, ...]
    replica: str
    log: str
    predicate: Predicate
    subset: AuthorizedSubset | None
    bound: Mapping[str, ClaimValue]
    guard: TypeGuard

    @property
    def filtered(self) -> bool:
        """Whether a filter of the client's is in it, in text that may make Electric fail."""
        return self.predicate.filtered or (self.subset is not None and self.subset.predicate.filtered)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A request before its judges: the policy and the grant that it falls under, and the predicates in force with
    their values."""

    request: ShapeRequest
    policy: Policy
    grant: Grant
    enforced: tuple[Condition, ...]
    values: Values
    filter_limits: FilterLimits
    token: TokenShape = UNBOUND
    condition: Condition | None = None
    """The token's own predicate, which is one of those in force."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that may leave: the grant's, or those of them that the token is for, and always the key."""
        named, key = self.token.columns, self.policy.key
        return tuple(column for column in self.grant.columns if named is None or column in named or column in key)

    @property
    def filter(self) -> frozenset[str]:
        """The columns that a client's filter may test."""
        return self.grant.filter.intersection(self.columns)

    @property
    def testable(self) -> filters.Columns:
        """The columns that a client's filter may name: of those that a predicate binds it may repeat the value."""
        of_grant = self.grant.testable
        return of_grant if self.condition is None else of_grant.with_names(filters.bindings(self.condition))

    @property
    def guard(self) -> TypeGuard:
        """What the types of the answer are held against."""
        return self.policy.guard if self.condition is None else guarding(self.policy.guard, self.condition)

    @property
    def bound(self) -> dict[str, ClaimValue]:
        """The columns that the grant holds to one value, or to one of a list, with these."""
        pairs = [pair for part in reversed(self.enforced) for pair in filters.bindings(part).items()]
        return {column: self.values[claim] for column, claim in pairs}  # the policy's own, where a token repeats it


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one rule: the field's value, or why not."""

    rule: str
    value: Any = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What was decided of a request, and why: the verdict of each rule that ran, in their order.

    `policy` and `grant` are the names of those that it fell under, empty if there was none; `shape` is None if a rule
    refused.
    """

    verdicts: tuple[Verdict, ...]
    policy: str = ""
    grant: str = ""
    shape: AuthorizedShape | None = None

    @property
    def refusal(self) -> Refusal | None:
        """The first refusal among the verdicts."""
        return next((verdict.refusal for verdict in self.verdicts if verdict.refusal is not None), None)

    def authorized(self) -> AuthorizedShape:
        """The shape that the request may read. Raises the refusal if there is one."""
        if self.shape is None:
            nothing = Refusal(Code.internal_error, reason="no rule refused, and there is no shape")
            raise (self.refusal or nothing).again()
        return self.shape


def decide(
    request: ShapeRequest,
    claims: Claims,
    policies: PolicySet,
    limits: FilterLimits = FilterLimits(),
    *,
    whole: bool = False,
) -> Decision:
    """Judges a request. The first refusal is the last verdict, unless the `whole` of the rules shall be heard."""
    verdicts, evaluation, policy = considered(request, claims, policies, limits)
    if evaluation is None:
        return Decision(verdicts, policy)
    found = [*verdicts]
    for rule in RULES:
        found.append(_verdict(rule, evaluation))
        if found[-1].refusal is not None and not whole:
            break
    shape = None
    if all(verdict.refusal is None for verdict in found):
        fields = {verdict.rule: verdict.value for verdict in found[len(verdicts) :]}
        shape = AuthorizedShape(policy=evaluation.policy, bound=evaluation.bound, guard=evaluation.guard, **fields)
    return Decision(tuple(found), policy, evaluation.grant.name, shape)


def considered(
    request: ShapeRequest, claims: Claims, policies: PolicySet, limits: FilterLimits
) -> tuple[tuple[Verdict, ...], Evaluation | None, str]:
    """The policy, the token's claims, the grant and the narrows in force: their verdicts, and what comes of them."""
    policy = policies.find(request.table, request.name)
    if policy is None:  # unknown and forbidden are the same answer: the difference would reveal which tables there are
        refusal = Refusal(Code.shape_forbidden, reason="no policy for this table or name")
        return (Verdict("shape", refusal=refusal),), None, ""
    found, rule = [Verdict("shape", policy.name)], "token"
    try:
        token = TokenShape.of(claims)
        token.check(policy)
        rule = "claims"
        values = bind(policy.claims, claims)
        found.append(Verdict(rule, tuple(values)))
        rule = "grant"
        choice = choose(policy.grants, values)
        found.append(Verdict(rule, choice))
        rule = "narrow"
        narrow = [part for part in choice.grant.narrow if part.claim.is_in(claims)]
        values |= bind([part.claim for part in narrow], claims)
        found.append(Verdict(rule, tuple(part.claim.name for part in narrow)))
        rule = "token"
        own = token.condition(policy, limits)
        if choice.grant.by_token and own is None:
            raise Refusal(Code.claim_missing, "The token lacks the claim shape.", reason="claim shape has no where")
    except Refusal as refusal:
        return (*found, Verdict(rule, refusal=refusal.with_traceback(None))), None, policy.name
    enforced = (choice.grant.rows, *(part.where for part in narrow), *(() if own is None else (own,)))
    values |= dict(token.values)
    evaluation = Evaluation(request, policy, choice.grant, enforced, values, limits, token, own)
    return tuple(found), evaluation, policy.name


def _verdict(rule: Callable[[Evaluation], Any], evaluation: Evaluation) -> Verdict:
    try:
        return Verdict(rule.__name__, rule(evaluation))
    except Refusal as refusal:
        return Verdict(rule.__name__, refusal=refusal.with_traceback(None))


def columns(evaluation: Evaluation) -> tuple[str, ...]:
    """The columns that leave: all that may, or those of them that the client names, and always the key."""
    policy, granted, asked = evaluation.policy, evaluation.columns, evaluation.request.columns
    if asked is None:
        return granted
    names = split_list(asked, len(granted))
    if names is None or len(set(names)) != len(names) or not policy.client.columns:
        raise Refusal(Code.column_forbidden, reason="columns is no list of different names, or may not be given")
    if others := [name for name in names if name not in granted]:
        reason = "a column that is not in the grant, or not for the token"
        raise Refusal(Code.column_forbidden, reason=reason, about=", ".join(others))
    return tuple(column for column in granted if column in names or column in policy.key)


def queryable(evaluation: Evaluation) -> tuple[str, ...]:
    """The columns that Electric lets a subset test: those that may leave, and for a subset those of its predicate."""
    tested = evaluation.grant.predicate_columns if evaluation.request.subset else frozenset()
    if evaluation.request.subset and evaluation.condition is not None:
        tested |= filters.columns_of(evaluation.condition)
    return (*evaluation.columns, *sorted(tested.difference(evaluation.columns)))


def replica(evaluation: Evaluation) -> str:
    """How much of a changed row is sent."""
    only = evaluation.token.replica
    asked = evaluation.request.replica or only or "default"
    if asked not in evaluation.policy.client.replica or only not in (None, asked):
        raise Refusal(Code.replica_forbidden, reason=f"replica {asked} is not in the policy, or not for the token")
    return asked


def log(evaluation: Evaluation) -> str:
    """Whether the log begins with the rows, or with changes only."""
    asked = evaluation.request.log or "full"
    if asked not in evaluation.policy.client.log:
        raise Refusal(Code.log_forbidden, reason=f"log {asked} is not in the policy")
    return asked


def predicate(evaluation: Evaluation) -> Predicate:
    """The policy's predicate, and the client's filter under it."""
    request = evaluation.request
    try:
        return _conjoined(evaluation, request.where, request.params or {}, frozenset(), live=True)
    except FilterFault as fault:
        raise _filter_refusal(evaluation, "where", fault, request.where) from None


def subset(evaluation: Evaluation) -> AuthorizedSubset | None:
    """The page of the shape, under the same predicate."""
    asked, most = evaluation.request.subset, evaluation.policy.client.subset_limit
    if asked is None:
        return None
    if most is None:
        raise Refusal(Code.subset_forbidden, reason="the policy allows no subsets")
    if asked.limit is None and evaluation.policy.client.require_limit:
        raise Refusal(Code.subset_malformed, f"This shape is read in pages: send a limit, at most {most}.")
    if asked.limit is not None and asked.limit > most:
        raise Refusal(Code.subset_malformed, f"limit is at most {most}.")
    try:
        page = _conjoined(evaluation, asked.where, asked.params, asked.arrays)
    except FilterFault as fault:
        raise _filter_refusal(evaluation, "subset where", fault, asked.where) from None
    return AuthorizedSubset(page, _order(evaluation, asked), asked.limit, asked.offset)


RULES: tuple[Callable[[Evaluation], Any], ...] = (columns, queryable, replica, log, predicate, subset)


def _conjoined(
    evaluation: Evaluation, text: str | None, params: Mapping[int, str], arrays: frozenset[int], *, live: bool = False
) -> Predicate:
    client = None if text is None else _client_filter(evaluation, text, params)
    if live and client is not None and any("\\" in params.get(number, "") for number in client.patterns):
        # PostgreSQL reads an escape, Electric a backslash; the filter of a subset is PostgreSQL's alone
        raise FilterFault(0, "the pattern of a shape holds no backslash: ask for a subset, or use = for exact texts")
    if client is not None and arrays - filters.array_params_of(client):
        raise FilterFault(0, "a list is for = ANY($n) alone", "malformed")
    return filters.conjoin(evaluation.enforced, client, evaluation.values, params, evaluation.filter_limits)


def _client_filter(evaluation: Evaluation, text: str, params: Mapping[int, str]) -> Condition | None:
    """The client's filter without the parts that only repeat the policy, or the token's own predicate as a whole."""
    if evaluation.token.is_repeated_by(text, params):
        return None
    condition = filters.parse(text, evaluation.testable, evaluation.filter_limits)
    left = filters.drop_repeats(condition, evaluation.bound, params, evaluation.filter)
    if left is not None and any(map(has_subselect, evaluation.enforced)):
        _check_beside_select(left, evaluation.policy.client.filter_safe)
    return left


def _check_beside_select(client: Condition, safe: frozenset[str]) -> None:
    columns = filters.equality_columns(client)
    if columns is None:
        raise Refusal(Code.filter_forbidden, "This shape takes =, IN and = ANY with constants only, joined by AND.")
    if unsafe := columns - safe:
        raise Refusal(
            Code.filter_forbidden,
            "The filter uses a column that cannot be filtered in this shape.",
            reason=f"not in filter_safe: {', '.join(sorted(unsafe))}",
            about=", ".join(sorted(unsafe)),
        )


def _filter_refusal(evaluation: Evaluation, place: str, fault: FilterFault, text: str | None) -> Refusal:
    code, about = _FILTER_CODES[fault.kind], (text or "")[fault.position :][:_SHOWN]
    if code is Code.filter_column_forbidden and not evaluation.filter:
        return Refusal(Code.filter_forbidden, reason=f"{place}, {fault}", about=about)
    return Refusal(code, f"{place}, {fault}", about=about)


_SHOWN = 40
"""So many characters of a filter show where it is refused."""


_FILTER_CODES: Mapping[str, Code] = {
    "malformed": Code.filter_malformed,
    "column": Code.filter_column_forbidden,
    "mismatch": Code.predicate_mismatch,
}


def _order(evaluation: Evaluation, asked: Subset) -> str | None:
    if asked.order_by is None:
        return None
    try:
        return filters.order_by(asked.order_by, frozenset(evaluation.columns))
    except FilterFault as fault:
        code = Code.column_forbidden if fault.kind == "column" else Code.subset_malformed
        raise Refusal(code, f"order_by, {fault}", about=asked.order_by[fault.position :][:_SHOWN]) from None
