"""Values that a policy binds, in the text forms that Electric has for them: equal ones never count as different."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bound import Bound

UUID = "abcdef00-0000-4000-8000-00000000000a"
HELD = [
    ("s-ada", "s-ada"),
    ('acc ü/"\\', 'acc ü/"\\'),
    ("42", "42"),
    ("42", 42),
    ("-7", "-7"),
    ("007", "7"),
    ("+7", "7"),
    ("-0", "0"),
    ("9223372036854775807", "9223372036854775807"),
    ("true", "true"),
    ("true", "t"),
    ("false", "f"),
    ("false", "false"),
    ("true", True),
    ("TRUE", "t"),
    (UUID, UUID),
    (UUID.upper(), UUID),
    (f"{{{UUID}}}", UUID),
    (UUID.replace("-", ""), UUID),
    ("s-ada", "s-ada     "),
    ("2026-01-01T00:00:00Z", "2026-01-01 00:00:00+00"),
    ("12:30", "12:30:00"),
    ("1.50", "1.5"),
    ("1e3", "1000"),
]
FOREIGN = [
    ("s-ada", "s-bob"),
    ("s-ada", "S-ADA"),
    ("s-ada", "s-ada-2"),
    ("s-ada", " s-ada"),
    ("s-ada", ""),
    ("s-ada", None),
    ("s-ada", {"a": 1}),
    ("s-ada", ["s-ada"]),
    ("42", "43"),
    ("42", 42.0),
    ("42", "042"),
    ("1", True),
    ("true", "f"),
    ("true", "1"),
    ("false", None),
    (UUID, UUID.replace("a", "b")),
    ("5e1f", "5e2f"),
    ("2026-01", "2026-02"),
]


@pytest.mark.parametrize(("bound", "sent"), HELD, ids=map(str, HELD))
def test_a_row_with_the_value_holds_it(bound: str, sent: object) -> None:
    assert Bound([("c", bound)]).held_by({"id": "1", "c": sent})


@pytest.mark.parametrize(("bound", "sent"), FOREIGN, ids=map(str, FOREIGN))
def test_a_row_with_another_does_not(bound: str, sent: object) -> None:
    checked = Bound([("c", bound)])
    row = {"id": "1", "c": sent}
    assert not checked.held_by(row)
    assert not checked.plainly_held(json.dumps(row).encode())


def test_a_column_that_a_row_lacks_says_nothing() -> None:
    assert Bound([("c", "x")]).held_by({"id": "1"})
    assert Bound([("c", "x")]).held_by({})


def test_every_bound_column_counts() -> None:
    checked = Bound([("c", "x"), ("d", "y")])
    assert checked.held_by({"c": "x", "d": "y"})
    assert not checked.held_by({"c": "x", "d": "x"})
    assert not checked.held_by({"d": "y", "c": "y"})


def test_nothing_is_bound_by_a_value_of_many_text_forms() -> None:
    assert not Bound([("at", "2026-01-01")])
    assert not Bound([])
    assert Bound([("at", "2026-01-01"), ("c", "x")])


PLAIN = [
    (b'{"c":"x"}', True),
    (b'{"c":"x","d":"c"}', False),  # mentions the name as a value, so it must be parsed
    (b'{"c":"x","d":"\\"c\\":\\"y\\""}', True),
    (b'{"c": "x"}', False),
    (b'{"c":"y"}', False),
    (b'{"c":null}', False),
    (b'{"\\u0063":"y"}', False),
    (b'{"d":"y"}', True),
    (b"", True),
]


@pytest.mark.parametrize(("text", "held"), PLAIN)
def test_what_is_plain_needs_no_parsing(text: bytes, held: bool) -> None:
    assert Bound([("c", "x")]).plainly_held(text) is held


@pytest.mark.parametrize("name", ["größe", 'a"b', "a b", "a-b"])
def test_a_name_that_may_be_written_otherwise_is_never_plain(name: str) -> None:
    checked = Bound([(name, "x")])
    assert not checked.plainly_held(json.dumps({name: "x"}).encode())
    assert checked.held_by({name: "x"})


TEXTS = st.text(alphabet='c"\\,:{}x y\ndé', max_size=8)


@given(st.lists(st.dictionaries(st.sampled_from(["c", "d", "cc"]), TEXTS | st.just("x") | st.none(), max_size=3)))
def test_plainly_held_is_never_said_of_a_foreign_row(rows: list[dict[str, str | None]]) -> None:
    checked = Bound([("c", "x")])
    for separators in ((",", ":"), (", ", ": ")):
        for ascii_only in (True, False):
            text = json.dumps(rows, separators=separators, ensure_ascii=ascii_only).encode()
            if checked.plainly_held(text):
                assert all(map(checked.held_by, rows))


def test_a_list_holds_each_of_its_values_and_no_other() -> None:
    bound = Bound([("org", (UUID, "42")), ("s", "s-ada")])
    for value, held in ((UUID, True), (UUID.upper(), False), ("42", True), ("43", False), (None, False)):
        assert bound.held_by({"org": value, "s": "s-ada"}) is held
    assert not bound.held_by({"org": "42", "s": "s-bob"})


def test_a_list_with_a_value_of_many_forms_is_not_compared() -> None:
    assert not Bound([("at", ("2026-01-01", "x"))])


@pytest.mark.parametrize("count", [2, 8, 9, 100])
def test_a_list_is_held_plainly_only_if_it_is_short(count: int) -> None:
    values = tuple(f"org-{number}" for number in range(count))
    bound = Bound([("org", values)])
    rows = json.dumps([{"value": {"org": value}} for value in values], separators=(",", ":")).encode()
    foreign = rows.replace(b'org-1"', b'org-x"')
    assert bound.plainly_held(rows) is (count <= 8)
    assert not bound.plainly_held(foreign)
    assert all(bound.held_by({"org": value}) for value in values)
