"""Filters to try: from the grammar, from fragments that do not fit together, and from any text."""

from hypothesis import strategies as st

from tests.core.filters.corpus import ACCEPTED, REFUSED

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\\\x00"), max_size=6)
PARAMS = {1: "user", 2: "a%", 3: "x", 4: "{a,user}", 5: "true", 6: "{a,NULL}", 7: "{ }", 8: "{2,3}"}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


texts = (st.sampled_from(["user", "assistant", "s1", "s2", "it's", "t1", ""]) | TEXTS).map(quoted)
parameters = st.sampled_from(["$1", "$3"])
text_columns = st.sampled_from(["role", '"role"', "SESSION_ID", "tenant", "content", '"Weird Col"'])
number_columns = st.sampled_from(["seq", "id", "tokens", "score"])
numbers = st.integers(-(2**31), 2**31 - 1).map(str) | st.sampled_from(
    ["0", "1", "-5", "+2", "0.5", "-0.25", "1.50", ".5", "-5.", "5e-1", "1.5E+1"]
)
bool_columns = st.sampled_from(["is_final", '"is_final"', "IS_FINAL"])
comparators = st.sampled_from(["=", "<>", "!=", " < ", "<=", ">", ">= "])
blanks = st.sampled_from([" ", "\n", "\t", "\r\n  "])
arrays_of_texts = st.lists(st.sampled_from(["'a'", "'user'", "'b c'", "$1", "$3"]), min_size=1, max_size=3).map(
    lambda items: f"ARRAY[{', '.join(items)}]"
)
arrays_of_numbers = st.lists(st.sampled_from(["1", "-2", "3", "-2147483648"]), min_size=1, max_size=3).map(
    lambda items: f"ARRAY[{','.join(items)}]"
)
array_pairs = st.tuples(st.just("tags"), arrays_of_texts | st.sampled_from(["$4", "'{}'", "tags", "$7"])) | st.tuples(
    st.just("numbers"), arrays_of_numbers | st.sampled_from(["$8", "'{\"1\"}'", "numbers"])
)
array_tests = (
    st.tuples(array_pairs, st.sampled_from(["@>", "<@", "&&"]), st.booleans()).map(
        lambda parts: f" {parts[1]} ".join(parts[0] if parts[2] else parts[0][::-1])
    )
    | st.sampled_from(["$1", "'a'", "role", "lower(content)"]).map("{} = ANY(tags)".format)
    | st.sampled_from(["1", "seq", "$8", "-5"]).filter(lambda value: value != "$8").map("{} = ANY(numbers)".format)
    | st.sampled_from(["$4", "$6", "$7", "'{\"user\",NULL}'", "'{}'"]).map("role = ANY({})".format)
    | st.sampled_from(["$7", "$8", "'{NULL}'"]).map("seq = ANY({})".format)
)
enum_values = st.sampled_from(["status", '"status"', "'open'", "'done'", "CAST(status AS text)", "status::text"])
enum_tests = st.tuples(
    st.just("status"),
    st.sampled_from(["= {}", "<> {}", "IN ({}, 'Open')", "NOT IN ({})", "IS DISTINCT FROM {}"]),
    enum_values,
).map(lambda parts: f"{parts[0]} {parts[1].format(parts[2])}")
time_values = st.sampled_from(
    ["day", "started", "date '2024-01-01'", "timestamp '2024-01-02 12:00'", "CAST('2024-01-01' AS date)", "NULL"]
)
spaced = st.sampled_from([" {} ", "{} ", " {}"])


def bracketed(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.sampled_from(["{}", "{}", "({})", "( ({} ))"]), texts).map(lambda pair: pair[0].format(pair[1]))


def _calls(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(values, min_size=1, max_size=3).map(", ".join)
    return (
        st.tuples(st.sampled_from(["lower", "UPPER"]), values).map(lambda p: f"{p[0]}({p[1]})")
        | several.map("coalesce({})".format)
        | several.map("concat({})".format)
    )


plain_texts = bracketed(
    text_columns | texts | parameters | parameters.map("{}::text".format) | texts.map("CAST({} AS text)".format)
)
text_values = plain_texts | _calls(plain_texts) | plain_texts.map("concat(coalesce(role, {}), 'x')".format)
number_values = bracketed(number_columns | numbers) | st.tuples(number_columns, numbers).map(
    lambda pair: f"coalesce({pair[0]}, {pair[1]})"
)
bool_values = bracketed(bool_columns | st.sampled_from(["true", "FALSE", "'t'::bool"]))


@st.composite
def tests_of(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """One test over values of one type."""
    value, other, third = draw(values), draw(values), draw(values)
    no = draw(st.sampled_from(["", "NOT "]))
    form = draw(
        st.sampled_from(
            [
                "{a}{op}{b}",
                "{a}{op}{b}",
                "{a} IS {no}NULL",
                "{a} IS {no}DISTINCT FROM {b}",
                "{a} {no}IN ({b},{c})",
                "{a} {no}IN ({b}, NULL)",
                "{a} {no}BETWEEN {b} AND {c}",
            ]
        )
    )
    return form.format(a=value, b=other, c=third, no=no, op=draw(comparators))


patterns = st.sampled_from(["'u%'", "'%s_'", "$2", "'HELLO%'", "''", "'%'"])
tests = (
    tests_of(text_values)
    | tests_of(number_values)
    | tests_of(bool_values)
    | st.tuples(text_values, st.sampled_from(["LIKE", "NOT LIKE", "ilike", "NOT ILIKE"]), patterns).map(" ".join)
    | text_values.map("{} = ANY ( $4 )".format)
    | array_tests
    | enum_tests
    | tests_of(time_values)
    | st.sampled_from(["coalesce(is_final, false)", "coalesce(NULL, is_final, TRUE)"])
    | st.tuples(bool_columns, st.sampled_from(["IS TRUE", "IS NOT FALSE", "IS UNKNOWN"])).map(" ".join)
    | bracketed(bool_columns | st.sampled_from(["true", "false"]))
)


def _conditions(conditions: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(conditions, min_size=2, max_size=4)
    return (
        several.map(" AND ".join)
        | several.map(" OR ".join)
        | several.map(lambda parts: " OR ".join(f"({part})" for part in parts))
        | several.map(lambda parts: " AND ".join(f"({part})" for part in parts))
        | conditions.map("NOT ({})".format)
        | st.tuples(
            conditions,
            st.sampled_from(["= true", "<> TRUE", "!= 'f'", "= $5", "<> is_final", "= (seq = 1)"]),
        ).map(lambda pair: f"({pair[0]}) {pair[1]}")
        | st.tuples(st.sampled_from(["true = ", "is_final <> ", "$5 = "]), conditions).map(
            lambda pair: f"{pair[0]}({pair[1]})"
        )
        | st.tuples(several, st.sampled_from(["IS TRUE", "IS NOT TRUE", "IS UNKNOWN"])).map(
            lambda pair: f"({' AND '.join(f'({part})' for part in pair[0])}) {pair[1]}"
        )
    )


filters = st.tuples(st.recursive(tests, _conditions, max_leaves=6), blanks).map(
    lambda pair: pair[0] if "'" in pair[0] else pair[0].replace(" ", pair[1])
)
"""Filters of the language. A few clash in types where a column cannot show it; the oracle leaves those out."""

_FRAGMENTS = """
role seq is_final secret_note session_id "role" 'x' ' " $1 $2 1 -1 0.5 = <> < ( ) , :: text ; -- /* */ \\ $$ . || {a} é
AND OR NOT IS NULL TRUE IN LIKE BETWEEN ANY DISTINCT FROM SELECT UNION LIMIT lower( coalesce( E'a'
"""
fragments = st.lists(st.sampled_from([*_FRAGMENTS.split(), "\x00", "\ud800", "\t"]), max_size=12).map(" ".join)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A filter of the tables with a few characters taken out, put in or doubled."""
    text = draw(st.sampled_from([row.text for row in (*ACCEPTED, *REFUSED)]))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        until = draw(st.integers(at, min(len(text), at + 4)))
        piece = draw(
            st.sampled_from(
                ["", "(", ")", "'", '"', " ", "$", "\\", "-", " OR ", " AND ", " IS NULL", "NOT ", "::text"]
            )
        )
        text = text[:at] + draw(st.sampled_from([piece, text[at:until] * 2])) + text[until:]
    return text


anything = st.text(st.characters()) | fragments | damaged()
