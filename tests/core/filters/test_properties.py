"""What must hold for every text, stated once and tried on many."""

import re
import sys
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.filters import Condition, FilterFault, FilterLimits, conjoin, order_by, parse, parse_policy
from proxy.core.filters.predicate import as_written, read
from tests.core.filters.corpus import ACCEPTED, CLAIMS, POLICY, Accepted, sent
from tests.core.filters.reading import AsWritten, deparsed, flat, meant, seen, untyped
from tests.core.filters.rows import COLUMNS, TYPED
from tests.core.filters.strategies import PARAMS, anything, filters, fragments

MOST_CALLS = 30_000
"""Of Python and C functions for one text. Ten thousand are about a millisecond, and the longest texts take twelve."""

ROOMY = FilterLimits(bytes=100_000, tokens=5000, depth=64, nodes=1000, in_list=1000)
"""What is sent is longer than what was written; the bounds are on cost, not part of the language."""

POLICIES = (
    (POLICY,),
    (POLICY, parse_policy("tenant = {tenant} AND seq > 0", frozenset({"tenant"}))),
    (parse_policy("session_id = {session_id} OR shared_with = {session_id}", frozenset({"session_id"})),),
    (parse_policy("is_final", frozenset()), POLICY),
    (parse_policy("id IN (SELECT thread_id FROM public.members WHERE sub = {session_id})", frozenset({"session_id"})),),
)
NAME = re.compile(r'"([^"]*)"')
WORD = re.compile(r"[^\s(),:]+")
NUMBER = re.compile(r"-?\d+(\.\d+)?")
WORDS = """
AND OR NOT IN BETWEEN LIKE ILIKE IS NULL TRUE FALSE UNKNOWN @> <@ && DISTINCT FROM ANY lower upper coalesce concat
= <> < <= > >= $%d text int2 int4 int8 float8 bool uuid date timestamp timestamptz
"""
EVERY_CLAIM = {"session_id": "s1", "tenant": "t1"}


def understood(text: str) -> Condition | None:
    """The condition, or None for a refusal: there is no third way."""
    try:
        return parse(text, TYPED)
    except FilterFault as caught:
        fault = caught
    assert 0 <= fault.position <= len(text)
    assert fault.sentence
    return None


@given(filters, st.sampled_from(POLICIES))
def test_postgresql_reads_what_we_mean_with_the_policy_first(text: str, policy: tuple[Condition, ...]) -> None:
    client = understood(text)
    if client is not None:
        predicate = conjoin(policy, client, EVERY_CLAIM, PARAMS)
        assert seen(predicate.text, predicate.params) == meant(policy, client, EVERY_CLAIM, PARAMS)


@given(anything)
def test_any_text_gives_a_condition_or_a_fault_and_postgresql_agrees_on_it(text: str) -> None:
    client = understood(text)
    if client is not None:
        try:
            predicate = sent(client, PARAMS)
        except FilterFault:
            return
        assert seen(predicate.text, predicate.params) == meant([POLICY], client, CLAIMS, PARAMS)


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_postgresql_reads_the_rows_of_the_table_as_meant(row: Accepted) -> None:
    for policy in POLICIES:
        predicate = conjoin(policy, row.condition, EVERY_CLAIM, row.params)
        assert seen(predicate.text, predicate.params) == meant(policy, row.condition, EVERY_CLAIM, row.params)


@given(filters)
def test_what_postgresql_reads_in_the_clients_own_text_is_what_we_mean(text: str) -> None:
    client = understood(text)
    if client is not None and "+" not in text:  # a plus is an operator there, and nothing here
        assert flat(untyped(seen(text))) == flat(untyped(AsWritten().of(as_written(text, TYPED))))


@pytest.mark.parametrize(
    "row", [row for row in ACCEPTED if "+" not in row.text and not row.rewritten], ids=lambda row: row.name
)
def test_what_postgresql_reads_in_the_rows_of_the_table_is_what_we_mean(row: Accepted) -> None:
    assert flat(untyped(seen(row.text))) == flat(untyped(AsWritten().of(as_written(row.text, TYPED))))


@given(filters, st.sampled_from(POLICIES))
def test_the_deparser_in_electric_changes_no_meaning(text: str, policy: tuple[Condition, ...]) -> None:
    client = understood(text)
    if client is not None:
        before = conjoin(policy, client, EVERY_CLAIM, PARAMS).text
        after = deparsed(before)
        assert flat(seen(after)) == flat(seen(before))
        assert deparsed(after) == after


@pytest.mark.parametrize("left", ["(is_final OR true)", "(NOT is_final)", "(seq = 1 OR is_final)"])
@pytest.mark.parametrize("test", ["IS NOT NULL", "IS NULL", "IN (true, false)"])
def test_without_the_operand_rule_the_deparser_would_change_the_meaning(left: str, test: str) -> None:
    text = f"(session_id = $1) AND ({left} {test})"
    assert flat(seen(deparsed(text))) != flat(seen(text))
    assert understood(f"{left} {test}") is None


@given(anything | filters)
def test_nothing_of_the_client_but_numbers_reaches_the_text(text: str) -> None:
    client = understood(text)
    if client is None:
        return
    outside = NAME.split(client.template)
    assert COLUMNS.issuperset(outside[1::2])
    for word in WORD.findall(" ".join(outside[::2])):
        assert word in WORDS.split() or NUMBER.fullmatch(word), word


@given(filters)
def test_the_clients_half_fed_back_gives_itself(text: str) -> None:
    client = understood(text)
    if client is not None:
        predicate = sent(client, PARAMS)
        half = predicate.text.removeprefix('("session_id" = $1) AND ')
        again = read(half, TYPED, ROOMY)
        values = dict(enumerate(predicate.params, 1))
        assert conjoin([POLICY], again, CLAIMS, values, ROOMY) == predicate


@given(filters)
def test_brackets_and_blanks_mean_nothing(text: str) -> None:
    client = understood(text)
    if client is not None:
        assert read(f"({text})", TYPED, ROOMY) == client
        assert read(f"  ( ( {text} ) ) ", TYPED, ROOMY) == client


@given(anything)
def test_adding_a_filter_never_frees_the_policy(text: str) -> None:
    """Whatever the text: refused, or the policy's own half stands unchanged in front of it."""
    client = understood(text)
    if client is None:
        return
    try:
        predicate = sent(client, PARAMS)
    except FilterFault:
        return
    assert predicate.text.startswith('("session_id" = $1) AND (')
    assert predicate.params[0] == "s1"


@given(anything | st.text(max_size=5000) | fragments.map(lambda text: text * 50))
@example("(" * 4096)
@example("NOT " * 1024)
@example("'" * 4095)
@example('"' * 4095)
@example(" " * 4096)
@example("a" * 4095 + "'")
@example("1" * 4096)
@example("$" * 4096)
@example("seq IN (" + "1," * 2000)
@example("x" + "'a' " * 1000)
@example("lower(" * 600)
@example("coalesce(" * 20 + "1" + ")" * 20)
@example("is_final AND " * 300 + "true")
@example("role = '" + "é" * 2044 + "'")
def test_no_text_takes_much_work(text: str) -> None:
    """Calls are counted and not seconds, which a busy machine or a tracer stretches: bench/filters.py has those."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        with suppress(FilterFault):
            sent(read(text, TYPED), PARAMS)
    finally:
        sys.setprofile(None)
    assert calls < MOST_CALLS


@given(anything)
def test_an_order_is_names_and_six_words_or_refused(text: str) -> None:
    try:
        ordered = order_by(text, COLUMNS)
    except FilterFault:
        return
    for key in ordered.split(", "):
        name = key.partition('" ')[0].strip('"')
        rest = key.removeprefix(f'"{name}"').split()
        assert name in COLUMNS
        assert set(rest) <= {"ASC", "DESC", "NULLS", "FIRST", "LAST"}


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))))
def test_a_policy_text_gives_a_condition_or_a_fault(text: str) -> None:
    with suppress(FilterFault):
        assert isinstance(parse_policy(text, frozenset({"session_id"})), Condition)
