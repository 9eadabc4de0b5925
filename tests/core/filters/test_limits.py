"""Every bound at its edge: the last that passes and the first that does not."""

import pytest

from proxy.core.filters import Columns, FilterFault, FilterLimits, conjoin, parse
from proxy.core.filters.cursor import Cursor
from proxy.core.filters.lexer import lex
from tests.core.filters.corpus import CLAIMS, POLICY, sent
from tests.core.filters.reading import deparsed, flat, seen
from tests.core.filters.rows import COLUMNS, TYPED, TYPES

DEEP_VALUE = "{}role{} = 'x'"


def nested(depth: int) -> str:
    return "(" * depth + "is_final" + ")" * depth


def alternating(depth: int) -> str:
    """A tree that is sent with so many brackets inside one another; it is written with one pair less."""
    text = "seq = 1"
    for level in range(depth - 1):
        text = f"is_final {'OR' if level % 2 else 'AND'} ({text})"
    return text


def listed(count: int) -> str:
    return "seq IN (" + ", ".join(map(str, range(count))) + ")"


def cast(count: int) -> str:
    """A list whose elements are no plain constants."""
    return "seq IN (" + ", ".join(f"'{number}'::int4" for number in range(count)) + ")"


def chained(count: int) -> str:
    return " OR ".join(f"seq = {number}" for number in range(count))


def folds(count: int) -> str:
    return " OR ".join(["lower(role) = 'x'"] * count)


def called(function: str, count: int) -> str:
    return f"{function}({', '.join(['role'] * count)}) = 'x'"


EDGES = {
    "bytes": ("role = '" + "x" * 4087 + "'", "role = '" + "x" * 4088 + "'", 4096),
    "bytes of other scripts": ("role = '" + "é" * 2043 + "x'", "role = '" + "é" * 2044 + "'", 2053),
    "brackets": (nested(24), nested(25), 25),
    "brackets round values": (DEEP_VALUE.format("(" * 24, ")" * 24), DEEP_VALUE.format("(" * 25, ")" * 25), 25),
    "brackets on the right": ("'x' = " + "(" * 24 + "role" + ")" * 24, "'x' = " + "(" * 25 + "role" + ")" * 25, 31),
    "calls of lower and upper": (folds(4), folds(5), 84),
    "arguments of concat": (called("concat", 20), called("concat", 21), 0),
    "arguments of coalesce": (called("coalesce", 20), called("coalesce", 21), 0),
    "nots": ("NOT " * 24 + "is_final", "NOT " * 25 + "is_final", 96),
    "nots, as sent": ("NOT " * 23 + "seq = 1", "NOT " * 24 + "seq = 1", 0),
    "brackets as sent": (alternating(24), alternating(25), 0),
    "nodes": (chained(66), chained(67), 786),
    "list": (listed(10_000), f"{listed(9999)} OR role IN ('a', 'b')", 58_904),
    "list as ordinary tokens": (cast(148), cast(150), 1840),
    "pattern bytes": ("role LIKE '" + "x" * 256 + "'", "role LIKE '" + "x" * 257 + "'", 10),
    "pattern bytes of other scripts": ("role LIKE '" + "é" * 128 + "'", "role LIKE '" + "é" * 129 + "'", 10),
    "wildcards": ("role LIKE '%_%_%_%_'", "role LIKE '%_%_%_%_%'", 10),
    "integers": ("seq = 2147483647", "seq = 2147483648", 6),
    "digits": ("score = 0." + "1" * 28, "score = 0." + "1" * 29, 8),
    "parameter numbers": ("role = $99999", "role = $100000", 7),
}


@pytest.mark.parametrize(("most", "more", "at"), EDGES.values(), ids=EDGES.keys())
def test_a_bound_holds_at_its_edge(most: str, more: str, at: int) -> None:
    client = parse(most, TYPED)
    text = sent(client, {99999: "x"}).text
    assert flat(seen(deparsed(text))) == flat(seen(text)), "PostgreSQL reads the largest too"
    with pytest.raises(FilterFault) as caught:
        parse(more, TYPED)
    assert caught.value.position == at


def test_tokens_are_counted() -> None:
    few = FilterLimits(tokens=5)
    assert parse("(seq = 1)", TYPED, few)
    with pytest.raises(FilterFault, match="at 9: a filter has at most 5 words and signs besides its lists"):
        parse("(seq = (1) )", TYPED, few)


def test_nothing_is_taken_beyond_the_end() -> None:
    cursor = Cursor(lex("seq", FilterLimits()), FilterLimits())
    assert cursor.step() == "seq"
    with pytest.raises(FilterFault, match="at 3: the filter ends"):
        cursor.step()


def test_the_bound_on_patterns_holds_for_parameters_too() -> None:
    client = parse("role LIKE $1 AND lower(role) LIKE $1::text", TYPED)
    assert sent(client, {1: "%" * 8})
    for pattern in ("%" * 9, "x" * 257, "é" * 129, "x\\", "x\\\\\\"):
        with pytest.raises(FilterFault, match=r"at 10: \$1: a pattern"):
            sent(client, {1: pattern})
    assert sent(client, {1: "x\\\\"}).params[1] == "x\\\\"


def test_the_bound_on_lists_holds_for_arrays_too() -> None:
    client = parse("seq = ANY($1)", TYPED)
    for most, more in (("1" * 10_000, "1" * 10_001), (['"1"'] * 10_000, ['"1"'] * 10_001)):
        assert sent(client, {1: "{" + ",".join(most) + "}"})
        with pytest.raises(FilterFault, match=r"at 10: \$1 is not an array .* at most 10000 elements"):
            sent(client, {1: "{" + ",".join(more) + "}"})
    with pytest.raises(FilterFault):
        conjoin([POLICY], client, CLAIMS, {1: "{1,2,3}"}, FilterLimits(in_list=2))


def test_lower_and_upper_do_not_read_columns_with_large_values() -> None:
    columns = Columns.of({"role", "content"}, large={"content"})
    assert parse("lower(role) = 'x' AND content LIKE 'x%' AND concat(content) = 'x'", columns)
    for text in ("lower(content) = 'x'", "role = upper((content))"):
        with pytest.raises(FilterFault, match=r"does not read this column: its values are large"):
            parse(text, columns)


def test_a_value_that_is_sent_several_times_is_bounded_as_it_is_sent() -> None:
    once, twice = parse("role = $1", TYPED), parse("role = $1 OR tenant = $1", TYPED)
    assert sent(once, {1: "x" * 2_000_000})
    assert sent(twice, {1: "x" * 1_000_000})
    with pytest.raises(FilterFault, match="the values of a filter have at most 2097152 characters"):
        sent(twice, {1: "x" * 1_100_000})


@pytest.mark.parametrize("text", ["tags @> $1", "$1 && tags", "role = ANY($1) AND tags <@ $1"])
def test_null_in_an_array_that_is_compared_is_refused(text: str) -> None:
    assert sent(parse(text, TYPED), {1: "{a}"})
    assert sent(parse(text, TYPED), {1: "{}"})
    with pytest.raises(FilterFault, match="never finds NULL: leave it out of the array"):
        sent(parse(text, TYPED), {1: "{a,NULL}"})


@pytest.mark.parametrize("depth", [0, 65])
def test_a_depth_that_could_reach_the_interpreters_limit_cannot_be_set(depth: int) -> None:
    with pytest.raises(ValueError, match="depth must be"):
        FilterLimits(depth=depth)


def test_the_deepest_filter_that_can_be_set_does_not_reach_the_interpreters_limit() -> None:
    roomy = FilterLimits(bytes=100_000, tokens=10_000, depth=64, nodes=10_000)
    assert parse(nested(64), TYPED, roomy)
    assert parse(alternating(64), TYPED, roomy)
    with pytest.raises(FilterFault):
        parse("(NOT " * 64 + "is_final" + ")" * 64, TYPED, roomy)


def test_a_parsed_filter_is_remembered_by_text_columns_and_limits() -> None:
    first = parse("seq = 1", TYPED)
    assert parse("seq = 1", Columns.of(set(COLUMNS), TYPES)) is first
    assert parse("seq = 1", TYPED, FilterLimits(depth=5)) is not first
    with pytest.raises(FilterFault):
        parse("seq = 1", frozenset({"role"}))


def test_a_long_filter_is_not_remembered() -> None:
    text = listed(300)
    assert parse(text, COLUMNS) is not parse(text, COLUMNS)
    assert parse(text, COLUMNS) == parse(text, COLUMNS)


def test_a_text_that_is_too_long_is_not_read_to_its_end() -> None:
    with pytest.raises(FilterFault, match="at most 600 words and signs"):
        lex("(" * 4000 + "'", FilterLimits())
    with pytest.raises(FilterFault, match="at 4096: a filter has at most 4096 bytes besides its lists"):
        lex(" " * 4096 + "seq  " * 100_000, FilterLimits(list_bytes=1_000_000))
    with pytest.raises(FilterFault, match="at 4096: a filter has at most 4096 bytes besides its lists"):
        lex("x" * 2_000_000, FilterLimits())


@pytest.mark.parametrize("elements", [0, 10_001])
def test_a_list_longer_than_the_language_has_cannot_be_set(elements: int) -> None:
    with pytest.raises(ValueError, match="in_list must be"):
        FilterLimits(in_list=elements)


def test_lists_of_other_scripts_are_measured_in_bytes() -> None:
    text = "role IN ('" + "é" * 20 + "', 'a')"
    assert parse(text, COLUMNS, FilterLimits(list_bytes=47))
    with pytest.raises(FilterFault, match="at most 46 bytes"):
        parse(text, COLUMNS, FilterLimits(list_bytes=46))
    assert parse(text, COLUMNS, FilterLimits(bytes=10))
    with pytest.raises(FilterFault, match="at most 9 bytes besides"):
        parse(text, COLUMNS, FilterLimits(bytes=9))


HOSTILE = {
    "elements that never end": "seq IN (" + "1, " * 300_000,
    "texts that never end": "role IN (" + "'a', " * 200_000,
    "one text of quotes": "role IN ('" + "''" * 400_000,
    "lists that never end": "seq IN (1, " * 90_000,
    "one number": "seq IN (" + "1" * 900_000,
    "blanks": "seq IN (1" + " " * 900_000,
    "lists": "seq IN (1) OR " * 70_000 + "is_final",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_list_is_refused(text: str) -> None:
    with pytest.raises(FilterFault):
        parse(text, COLUMNS)
