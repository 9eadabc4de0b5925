"""What is one identifier, what a list of them, what a table; and how a name is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.identifiers import MAX_BYTES, Table, fold, is_name, quote, split_list

ONE = {
    "plain": ("todos", "todos"),
    "capitals fold": ("Todos", "todos"),
    "an underscore first": ("_x1", "_x1"),
    "quoted keeps its case": ('"Todos"', "Todos"),
    "quoted keeps its blanks": ('" a b "', " a b "),
    "a doubled quote is one": ('"a""b"', 'a"b'),
    "quoted quotes alone": ('""""', '"'),
    "quoted comma and dot": ('"a,b.c"', "a,b.c"),
    "quoted beyond ASCII": ('"Größe"', "Größe"),
    "63 bytes": ("a" * 63, "a" * 63),
    "63 bytes in quotes": ('"' + "ä" * 31 + 'a"', "ä" * 31 + "a"),
}
NOT_ONE = {
    "nothing": "",
    "blank": " ",
    "a blank before": " todos",
    "a blank behind": "todos ",
    "a line break behind": "todos\n",
    "a digit first": "1todos",
    "a hyphen": "to-dos",
    "a dollar": "to$dos",
    "beyond ASCII without quotes": "größe",
    "the Kelvin sign, which lower() makes a k": "\u212aey",
    "full width": "ｔｏｄｏｓ",
    "a dot": "public.todos",
    "two": "a,b",
    "empty quotes": '""',
    "an open quote": '"todos',
    "a closing quote alone": 'todos"',
    "a quote inside": '"to"dos"',
    "single quotes": "'todos'",
    "backticks": "`todos`",
    "a unicode escape": 'U&"todos"',
    "NUL": '"to\x00dos"',
    "DEL": '"to\x7fdos"',
    "a C1 control": '"to\x85dos"',
    "a line separator": '"to\u2028dos"',
    "a lone surrogate": '"to\ud800dos"',
    "64 bytes": "a" * 64,
    "64 bytes of 32 letters": '"' + "ä" * 32 + '"',
    "a comment": "todos--",
    "a bracket": "todos()",
}


@pytest.mark.parametrize(("spelling", "name"), ONE.values(), ids=ONE)
def test_one_identifier_means_one_name(spelling: str, name: str) -> None:
    assert fold(spelling) == name


@pytest.mark.parametrize("spelling", NOT_ONE.values(), ids=NOT_ONE)
def test_anything_else_means_none(spelling: str) -> None:
    assert fold(spelling) is None


@pytest.mark.parametrize("junk", [" ", "\t", ";", "--", "\x00", ".", ",", "'", "(", ")", "*", "\\", "%", "/"])
@pytest.mark.parametrize("spelling", ["todos", '"Todos"'])
def test_an_identifier_with_junk_before_or_behind_is_none(spelling: str, junk: str) -> None:
    assert fold(junk + spelling) is None
    assert fold(spelling + junk) is None


def test_a_doubled_identifier_is_another_name_or_none() -> None:
    assert fold("todostodos") == "todostodos"
    assert fold('"Todos""Todos"') == 'Todos"Todos'
    assert fold('"Todos" "Todos"') is None


@given(st.text())
def test_what_folds_is_a_name_and_its_quoted_form_folds_to_it(text: str) -> None:
    for spelling in (text, quote(text)):
        name = fold(spelling)
        if name is not None:
            assert is_name(name)
            assert fold(quote(name)) == name


@given(st.text(min_size=1, max_size=30).filter(is_name))
def test_every_name_can_be_quoted_and_read_again(name: str) -> None:
    assert fold(quote(name)) == name
    assert quote(name).count('"') == 2 + 2 * name.count('"')


@pytest.mark.parametrize(
    ("name", "fits"),
    [("", False), ("a", True), ("a" * MAX_BYTES, True), ("ä" * 32, False), ("a\n", False), ("\ud800", False)],
    ids=["none", "one letter", "63 bytes", "64 bytes", "a line break", "a surrogate"],
)
def test_postgresql_holds_1_to_63_printable_bytes(name: str, fits: bool) -> None:
    assert is_name(name) is fits


LISTS = {
    "one": ("id", ["id"]),
    "three": ("id,body,mode", ["id", "body", "mode"]),
    "quoted": ('"id","Größe"', ["id", "Größe"]),
    "a quoted comma is no separator": ('"a,b",c', ["a,b", "c"]),
    "capitals fold": ("ID,Body", ["id", "body"]),
    "repeats are kept for the caller": ("id,id", ["id", "id"]),
}
NO_LISTS = {
    "nothing": "",
    "a comma": ",",
    "a comma first": ",id",
    "a comma last": "id,",
    "two commas": "id,,body",
    "a blank": "id, body",
    "a star": "*",
    "a star among names": "id,*",
    "a semicolon": "id;body",
    "no separator": 'id"body"',
    "an open quote": 'id,"body',
    "a call": "lower(id)",
    "a qualified name": "notes.id",
    "a name too long": "id," + "a" * 64,
    "a line break behind": "id\n",
}


@pytest.mark.parametrize(("text", "names"), LISTS.values(), ids=LISTS)
def test_a_list_is_identifiers_with_commas_between(text: str, names: list[str]) -> None:
    assert split_list(text, 9) == names


@pytest.mark.parametrize("text", NO_LISTS.values(), ids=NO_LISTS)
def test_anything_else_is_no_list(text: str) -> None:
    assert split_list(text, 9) is None


def test_a_list_of_more_names_than_there_may_be_is_not_read_to_its_end() -> None:
    assert split_list("a,b", 2) == ["a", "b"]
    assert split_list("a,b,c", 2) is None
    assert split_list("a,b," * 100_000, 2) is None


@given(st.lists(st.text(min_size=1, max_size=20).filter(is_name), min_size=1, max_size=5))
def test_a_list_of_quoted_names_is_read_as_it_was_written(names: list[str]) -> None:
    assert split_list(",".join(map(quote, names)), len(names)) == names


TABLES = {
    "plain": ("public.todos", "public", "todos"),
    "folded": ("Public.TODOS", "public", "todos"),
    "quoted": ('"public"."Todos"', "public", "Todos"),
    "half quoted": ('app."to.dos"', "app", "to.dos"),
}
NO_TABLES = {
    "nothing": "",
    "no schema": "todos",
    "an empty schema": ".todos",
    "an empty name": "public.",
    "three parts": "db.public.todos",
    "a blank": "public. todos",
    "a blank before": " public.todos",
    "a line break behind": "public.todos\n",
    "a name too long": "public." + "a" * 64,
    "a schema too long": "a" * 64 + ".todos",
    "a schema that is too long in quotes": '"' + "ä" * 32 + '".todos',
    "an alias": "public.todos t",
    "doubled": "public.todospublic.todos",
    "a semicolon": "public.todos;",
}


@pytest.mark.parametrize(("spelling", "schema", "name"), TABLES.values(), ids=TABLES)
def test_a_table_is_a_schema_and_a_name(spelling: str, schema: str, name: str) -> None:
    assert Table.parse(spelling) == Table(schema, name)


@pytest.mark.parametrize("spelling", NO_TABLES.values(), ids=NO_TABLES)
def test_anything_else_is_no_table(spelling: str) -> None:
    assert Table.parse(spelling) is None


SPELLINGS = {
    "public": (Table("public", "todos"), {"todos", '"todos"'}, {"public", '"public"'}),
    "capitals need quotes": (Table("public", "Todos"), {'"Todos"'}, {"public", '"public"'}),
    "a quote is doubled": (Table("public", 'a"b'), {'"a""b"'}, {"public", '"public"'}),
    "another schema": (Table("app", "todos"), {"todos", '"todos"'}, {"app", '"app"'}),
    "another schema in quotes": (Table("App", "todos"), {"todos", '"todos"'}, {'"App"'}),
}


@pytest.mark.parametrize(("table", "names", "schemas"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_request_may_spell_a_table_like_this_and_no_other_way(
    table: Table, names: set[str], schemas: set[str]
) -> None:
    qualified = {f"{schema}.{name}" for schema in schemas for name in names}
    assert table.spellings() == (qualified | names if table.schema == "public" else qualified)
    assert all(Table.parse(spelling) == table for spelling in qualified)


def test_a_table_is_always_sent_in_quotes() -> None:
    assert Table("public", 'a"b').quoted == '"public"."a""b"'
