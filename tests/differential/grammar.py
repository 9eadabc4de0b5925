"""Filters from a seed: of the language, damaged ones, and hostile texts. One seed always gives the same ones."""

import random
from collections.abc import Callable
from dataclasses import dataclass

TEXT_COLUMNS = ("role", "body", "label", '"Weird Col"', "ROLE")
INTEGER_COLUMNS = ("seq", "id", "tokens")
BOOLEAN_COLUMNS = ("done", '"done"')
TEXTS = ("user", "assistant", "it's", "", "s1", "Straße", "50%", "a_b", "x\ny", "NULL", "true", "{a}", "$1", "--", "é")
INTEGERS = ("0", "1", "2", "-5", "+7", "2147483647")
TIMES = ("2024-01-01T00:00:00Z", "2024-01-02 00:00:00+00", "2024-01-02T00:00:00.000Z", "1999-12-31T23:59:59.0Z")
PATTERNS = ("u%", "%s%", "_", "%", "it's", "A%", "%'%", "")
COMPARISONS = ("=", "<>", "!=", "<", "<=", ">", ">=")
SAFE_COMPARISONS = ("=", "<>", "!=")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as a client writes it: its text, and the parameters $1…$n."""

    text: str
    params: tuple[str, ...] = ()


class Grammar:
    """Writes filters. `agreeing` ones use only what Electric's evaluator and PostgreSQL read alike."""

    def __init__(self, seed: object, *, agreeing: bool = False) -> None:
        self._random = random.Random(str(seed))  # noqa: S311 - the point is that it repeats
        self._agreeing = agreeing
        self._params: list[str] = []

    def filter(self, depth: int = 3) -> Filter:
        """A filter of the language."""
        self._params = []
        text = self._condition(depth)
        return Filter(text, tuple(self._params))

    def mutant(self) -> Filter:
        """A filter of the language with a few characters taken out, put in or doubled."""
        found = self.filter()
        text = found.text
        for _ in range(self._random.randint(1, 3)):
            at = self._random.randint(0, len(text))
            end = min(len(text), at + self._random.randint(0, 4))
            piece = self._random.choice([*PIECES, text[at:end] * 2])
            text = text[:at] + piece + text[end:]
        return Filter(text, found.params)

    def hostile(self) -> Filter:
        """A text that has harmed somebody, alone or beside a filter."""
        text = self._random.choice(HOSTILE)
        if self._random.random() < 0.5:
            beside = self.filter(1)
            operator = self._random.choice(("AND", "OR"))
            return Filter(f"{beside.text} {operator} {text}", beside.params or ("s2",))
        return Filter(text, ("s2", "%"))

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _condition(self, depth: int) -> str:
        if depth <= 0 or self._random.random() < 0.35:
            return self._test()
        parts = [self._condition(depth - 1) for _ in range(self._random.randint(2, 3))]
        match self._random.randrange(5):
            case 0:
                return f"NOT ({parts[0]})"
            case 1:
                return f"({parts[0]}) IS {self._pick('TRUE', 'NOT TRUE', 'NOT FALSE', 'UNKNOWN')}"
            case 2:
                return self._pick(" AND ", " and\n ").join(f"({part})" for part in parts)
            case 3:
                return " OR ".join(f"({part})" for part in parts)
            case _:
                return self._pick(" AND ", " OR ").join(parts)

    def _test(self) -> str:
        kinds: list[Callable[[], str]] = [self._of_texts, self._of_texts, self._of_integers, self._of_booleans]
        kinds += [self._of_equal_values]
        if not self._agreeing:
            kinds += [self._of_patterns, self._of_times, self._of_calls]
        return self._random.choice(kinds)()

    def _of_texts(self) -> str:
        return self._compared(lambda: self._pick(*TEXT_COLUMNS), self._text)

    def _of_integers(self) -> str:
        numbers = [number for number in INTEGERS if number]
        return self._compared(lambda: self._pick(*INTEGER_COLUMNS), lambda: self._pick(*numbers), ordered=True)

    def _compared(self, column: Callable[[], str], value: Callable[[], str], *, ordered: bool = False) -> str:
        no = self._pick("", "NOT ")
        operators = COMPARISONS if ordered or not self._agreeing else SAFE_COMPARISONS
        match self._random.randrange(8):
            case 0:
                return f"{column()} IS {no}NULL"
            case 1:
                return f"{column()} IS {no}DISTINCT FROM {value()}"
            case 2:
                return f"{column()} {no}IN ({value()}, {value()})"
            case 3 if ordered or not self._agreeing:
                return f"{column()} {no}BETWEEN {value()} AND {value()}"
            case 4:
                return f"coalesce({column()}, {value()}) = {value()}"
            case 5:
                return f"{value()} {self._pick(*SAFE_COMPARISONS)} {column()}"
            case _:
                return f"{column()}{self._pick(' {} ', '{}', ' {}').format(self._pick(*operators))}{value()}"

    def _of_booleans(self) -> str:
        column = self._pick(*BOOLEAN_COLUMNS)
        tail = self._pick("", " IS TRUE", " IS NOT FALSE", " IS UNKNOWN", " = true", " <> FALSE", " IS NOT NULL")
        return column + tail

    def _of_patterns(self) -> str:
        operator = self._pick("LIKE", "NOT LIKE", "ilike", "NOT ILIKE")
        return f"{self._pick(*TEXT_COLUMNS)} {operator} {self._quoted(self._pick(*PATTERNS))}"

    def _of_equal_values(self) -> str:
        """Equalities whose constants are written otherwise than PostgreSQL writes the values of rows."""
        no = self._pick("", "NOT ")
        times = self._quoted(self._pick(*TIMES)), self._quoted(self._pick(*TIMES))
        decimals = self._pick("2.0", "1.0", "0.5"), self._pick("2.0", "-5.00")
        column, values = self._pick("at", "seq"), times
        if column == "seq":
            values = decimals
        form = self._pick("{c} = {a}", "{b} = {c}", "{c} {no}IN ({a}, {b})", "{no}({c} = {a})", "{c} <> {b}")
        return form.format(c=column, a=values[0], b=values[1], no=no)

    def _of_times(self) -> str:
        return f"at {self._pick('=', '<', '>=')} {self._quoted(self._pick(*TIMES))}"

    def _of_calls(self) -> str:
        column = self._pick(*TEXT_COLUMNS)
        call = self._pick("lower({})", "UPPER({})", "concat({}, 'x')", "concat({0}, {0})").format(column)
        return f"{call} = {self._text()}"

    def _text(self) -> str:
        value = self._pick(*TEXTS)
        if self._random.random() < 0.5 or not value.isprintable():
            self._params.append(value)
            return f"${len(self._params)}"
        return self._quoted(value)

    def _quoted(self, value: str) -> str:
        return "'" + value.replace("'", "''") + "'"


PIECES = (
    "",
    "(",
    ")",
    "'",
    '"',
    " ",
    "$",
    "\\",
    "-",
    "--",
    " OR ",
    " AND ",
    " IS NULL",
    "NOT ",
    "::text",
    ";",
    "\0",
    "/*",
)

HOSTILE = (
    "true) OR (true",
    "true) OR (true) --",
    "1=1",
    "true --",
    "true /*",
    "session_id = 's2'",
    "session_id <> 's1'",
    "session_id IN ('s1', 's2')",
    "session_id LIKE '%'",
    "(session_id) = $1",
    '"session_id" = $1',
    "notes.session_id = 's2'",
    "secret_note IS NOT NULL",
    "secret_note LIKE '%'",
    '"secret_note" = $1',
    "((role = 'x') OR true) IS NOT NULL",
    "(role = 'x' OR true) IN (true, false)",
    "(role = 'x' OR true) = ANY('{t}')",
    "(role IS NULL) IS NULL",
    "(done OR true) BETWEEN false AND true",
    "(done OR true) LIKE 't'",
    "a = $$'$$ ) OR (a <> $$'$$",
    "role = E'\\'' ) OR (role <> E'\\''",
    "role = U&'\\0027' OR true",
    "id IN (SELECT id FROM notes)",
    "EXISTS (SELECT 1 FROM notes)",
    "true UNION SELECT 1",
    "true LIMIT 100",
    "true; DELETE FROM notes",
    "true\0 AND false",
    "pg_sleep(1) IS NULL",
    "current_user = 'postgres'",
    "ctid IS NOT NULL",
    "xmin <> '0'",
    "CASE WHEN true THEN true ELSE false END",
    "role || 'x' = 'userx'",
    "role ~ '.*'",
    "ARRAY[role] = ARRAY['user']",
    "(role, id) = ('user', 1)",
    "role COLLATE \"C\" = 'user'",
    "$1",
    "$3 = $3",
    "TRUE\u00a0OR TRUE",
    "ｔrue",
    "role = '\\'' OR true --'",
    "seq = 1e1",
    "seq = 0x10",
    "seq!=-1",
    "NULL",
    "'t'",
)
"""What must be refused, or give no row that the filter and the policy do not give."""
