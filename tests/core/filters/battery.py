"""A compact set of checks over a package of filters, ours or a mutant of it: each names what it finds wrong."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.core.filters.attacks import ATTACKS, POLICIES
from tests.core.filters.corpus import ACCEPTED, REFUSED
from tests.core.filters.reading import deparsed, flat, meant, seen
from tests.core.filters.rows import COLUMNS, TYPES
from tests.core.filters.test_attacks import expected
from tests.core.filters.test_conjoin import ARRAYS, NO_ORDERS, ORDERS
from tests.core.filters.test_limits import EDGES, alternating, listed
from tests.core.filters.test_policies import BOUND, BOUNDED, FILTERABLE, NOT_REPEATS, REPEATS, SENT, VALUES, policy_of
from tests.core.filters.test_policies import ENFORCED as TOKENS_OWN
from tests.core.filters.test_policies import REFUSED as BAD_POLICIES
from tests.core.filters.test_verify import NAMES, OPEN, SHUT

Filters = Any
"""`proxy.core.filters`, or a package with the same names."""

Check = Callable[[Filters], Iterator[str]]


def wrong(filters: Filters, checks: Iterable[Check] | None = None) -> frozenset[str]:
    """The names of the checks, all unless some are named, that find anything; each stops at the first that it finds."""
    return frozenset(check.__name__ for check in (CHECKS if checks is None else checks) if _finds(check, filters))


def _finds(check: Check, filters: Filters) -> bool:
    try:
        return any(True for _ in check(filters))
    except Exception:  # a mutant may do anything
        return True


def _refuses(filters: Filters, work: Callable[[], object]) -> bool:
    try:
        work()
    except filters.FilterFault:
        return True
    return False


def _typed(filters: Filters) -> Any:
    return filters.Columns.of(COLUMNS, TYPES)


def _session(filters: Filters) -> Any:
    return filters.parse_policy("session_id = {session_id}", frozenset({"session_id"}))


def _sent(filters: Filters, text: str, params: dict[int, str]) -> Any:
    return filters.conjoin([_session(filters)], filters.parse(text, _typed(filters)), {"session_id": "s1"}, params)


def sends_what_the_table_says(filters: Filters) -> Iterator[str]:
    for row in ACCEPTED:
        predicate = _sent(filters, row.text, row.params)
        if predicate.text != '("session_id" = $1) AND ' + row.half or predicate.params != ("s1", *row.values):
            yield row.name


def refuses_what_the_table_says(filters: Filters) -> Iterator[str]:
    for row in REFUSED:
        if not _refuses(filters, lambda text=row.text: filters.parse(text, _typed(filters))):  # type: ignore[misc]
            yield row.name


def keeps_the_meaning_in_postgresql(filters: Filters) -> Iterator[str]:
    for row in ACCEPTED:
        client = filters.parse(row.text, _typed(filters))
        sent = _sent(filters, row.text, row.params)
        text = sent.text
        if seen(text, sent.params) != meant([_session(filters)], client, {"session_id": "s1"}, row.params) or flat(
            seen(deparsed(text))
        ) != flat(seen(text)):
            yield row.name


def keeps_the_meaning_through_the_deparser(filters: Filters) -> Iterator[str]:
    """Of all that it accepts, of rows that it should refuse too."""
    for text in [*(row.text for row in REFUSED), *(row.filter for row in ATTACKS if row.filter)]:
        try:
            sent = _sent(filters, text, {1: "{x}", 2: "x"}).text
        except filters.FilterFault:
            continue
        if flat(seen(deparsed(sent))) != flat(seen(sent)):
            yield text


def judges_the_attacks(filters: Filters) -> Iterator[str]:
    for row in ATTACKS:
        columns = frozenset(POLICIES[row.policy]["filter_columns"])
        try:
            client = filters.parse(row.filter, columns) if row.filter is not None else None
            filters.conjoin([_session(filters)], client, {"session_id": "s1"}, row.params)
            accepted = row.order is None or bool(filters.order_by(row.order, columns))
        except filters.FilterFault:
            accepted = False
        if accepted != expected(row):
            yield row.id


def keeps_its_bounds(filters: Filters) -> Iterator[str]:
    for name, (most, more, _) in EDGES.items():
        filters.parse(most, _typed(filters))
        if not _refuses(filters, lambda text=more: filters.parse(text, _typed(filters))):  # type: ignore[misc]
            yield name
    if not _refuses(filters, lambda: filters.parse("(((1 = 1)))", _typed(filters), filters.FilterLimits(tokens=8))):
        yield "tokens"
    large = filters.Columns.of({"role"}, {}, {"role"})
    if not _refuses(filters, lambda: filters.parse("upper(role) = 'X'", large)):
        yield "large columns"
    if not _refuses(filters, lambda: filters.parse(alternating(25), _typed(filters))):
        yield "depth as sent"
    two = f"{listed(6000)} OR {listed(6000)}"
    if not _refuses(filters, lambda: filters.parse(two, COLUMNS)):
        yield "two lists"
    if not _refuses(filters, lambda: filters.parse(listed(100), COLUMNS, filters.FilterLimits(list_bytes=300))):
        yield "bytes of lists"


CUT: dict[str, str | tuple[str, ...]] = {
    "session_id = {session_id}": "s1\x00x",
    "team = ANY({teams})": ("a", "b\x00c"),
    "labels @> ARRAY[{tenant}]": "s1\x00x",
}
"""Values that Electric would cut at the NUL."""


def judges_values(filters: Filters) -> Iterator[str]:
    bad = [
        ("role = $1", {}),
        ("role = $1", {1: "a\x00"}),
        ("role LIKE $1", {1: "%" * 9}),
        ("role LIKE $1", {1: "a" * 257}),
        ("role LIKE $1", {1: "a\\"}),
        ("role = ANY($1)", {1: "a"}),
        ("tags @> $1", {1: "{NULL}"}),
        ("tags && ARRAY[$1]", {1: "a\x00"}),
        ("role = $1 OR tenant = $1", {1: "a" * 1_100_000}),
        ("role = ANY($1)", {1: "{" + "a," * 10_000 + "a}"}),
        ("role = ANY($1)", {1: "{" + '"a",' * 10_000 + '"a"}'}),
        ("role = ANY($1)", {1: "{" + "a b," * 10_000 + "a}"}),
    ]
    for text, params in bad:
        if not _refuses(filters, lambda text=text, params=params: _sent(filters, text, params)):  # type: ignore[misc]
            yield text
    for text, value in CUT.items():
        try:
            filters.conjoin([policy_of(text, filters)], None, dict.fromkeys(VALUES, value), {})
            yield f"a claim that is cut: {text}"
        except filters.Unverified:
            pass


def writes_arrays(filters: Filters) -> Iterator[str]:
    for literal, written in ARRAYS.items():
        if filters.arrays.reread(literal, 100) != written:
            yield literal


def sends_policies(filters: Filters) -> Iterator[str]:
    for text, (half, params) in SENT.items():
        predicate = filters.conjoin([policy_of(text, filters)], None, VALUES, {})
        if predicate.text != f"{half} AND (TRUE)" or predicate.params != params:
            yield text
    if not _refuses(filters, lambda: policy_of('"a\nb" = 1', filters)):
        yield "a line in a name"
    two = filters.conjoin([_session(filters)] * 2, filters.parse("is_final", _typed(filters)), {"session_id": "s1"}, {})
    if two.text != '(("session_id" = $1) AND ("session_id" = $1)) AND ("is_final")' or two.params != ("s1",):
        yield "narrowing"
    if filters.conjoin([], filters.parse('"%d" = 1', {"%d"}), {}, {}).text != '(TRUE) AND ("%d" = 1)':
        yield "per cent"


def refuses_policies(filters: Filters) -> Iterator[str]:
    for text in BAD_POLICIES:
        if not _refuses(filters, lambda text=text: policy_of(text, filters)):  # type: ignore[misc]
            yield text


def knows_what_binds(filters: Filters) -> Iterator[str]:
    for text, bound in BOUND.items():
        if filters.bindings(policy_of(text, filters)) != bound:
            yield text
    for text, bounded in BOUNDED.items():
        if filters.is_bounded(policy_of(text, filters)) != bounded:
            yield text


def drops_repeats_only(filters: Filters) -> Iterator[str]:
    names = FILTERABLE | TOKENS_OWN.keys()
    for text, left in REPEATS.items():
        kept = filters.drop_repeats(filters.parse(text, names), TOKENS_OWN, {1: "s-ada"}, FILTERABLE)
        if kept != (left and filters.parse(left, FILTERABLE)):
            yield text
    for text, (_, kind, _) in NOT_REPEATS.items():
        try:
            filters.drop_repeats(filters.parse(text, names), TOKENS_OWN, {1: "s-ada", 2: "s-bob"}, FILTERABLE)
            yield text
        except filters.FilterFault as fault:
            if fault.kind != kind:
                yield text


def orders_by_names_only(filters: Filters) -> Iterator[str]:
    for text, order in ORDERS.items():
        if filters.order_by(text, COLUMNS) != order:
            yield text
    for text in NO_ORDERS:
        if not _refuses(filters, lambda text=text: filters.order_by(text, COLUMNS)):  # type: ignore[misc]
            yield text


def locks_a_second_time(filters: Filters) -> Iterator[str]:
    for text, params in OPEN:
        filters.verify.check(text, NAMES, params)
    for name, (text, params) in SHUT.items():
        try:
            filters.verify.check(text, NAMES, params)
            yield name
        except filters.Unverified:
            pass


def locks_all_that_leaves(filters: Filters) -> Iterator[str]:
    """A condition whose text was spoiled after it was written does not get out."""
    good = filters.parse("is_final", _typed(filters))
    fields = {name: getattr(good, name) for name in type(good).__slots__}
    spoiled = type(good)(**(fields | {"template": "(TRUE) OR (TRUE)"}))
    try:
        filters.conjoin([_session(filters)], spoiled, {"session_id": "s1"}, {})
        yield "a break-out"
    except filters.Unverified:
        pass


CHECKS: tuple[Check, ...] = (
    sends_what_the_table_says,
    refuses_what_the_table_says,
    keeps_the_meaning_in_postgresql,
    keeps_the_meaning_through_the_deparser,
    judges_the_attacks,
    keeps_its_bounds,
    judges_values,
    writes_arrays,
    sends_policies,
    refuses_policies,
    knows_what_binds,
    drops_repeats_only,
    orders_by_names_only,
    locks_a_second_time,
    locks_all_that_leaves,
)
