"""Filters that are accepted, with what is sent for them; and what is refused, where, and why."""

from dataclasses import dataclass, field

from proxy.core.filters import Condition, Predicate, conjoin, parse, parse_policy
from tests.core.filters.rows import TYPED

POLICY = parse_policy("session_id = {session_id}", frozenset({"session_id"}))
CLAIMS = {"session_id": "s1"}
ENFORCED = '("session_id" = $1) AND '


def sent(client: Condition | None, params: dict[int, str] | None = None) -> Predicate:
    """The predicate under the one policy of these tests."""
    return conjoin([POLICY], client, CLAIMS, params or {})


@dataclass(frozen=True)
class Accepted:
    """A filter, the client's half of what is sent, and the values behind $2…"""

    name: str
    text: str
    half: str
    values: tuple[str, ...] = ()
    params: dict[int, str] = field(default_factory=dict)

    @property
    def rewritten(self) -> bool:
        """Whether another form is sent, which gives the same rows."""
        return "ANY" in self.half and "ANY" not in self.text.upper()

    @property
    def condition(self) -> Condition:
        return parse(self.text, TYPED)

    @property
    def predicate(self) -> Predicate:
        return sent(self.condition, self.params)


@dataclass(frozen=True)
class Refused:
    """A text, the place of its fault, and words of the sentence."""

    name: str
    text: str
    at: int
    says: str
    kind: str = "malformed"


DECIMALS = '(("score" BETWEEN 0.5 AND 0.5) OR ("score" BETWEEN (-0.25) AND (-0.25)))'

LONG = (*(f"s{number}" for number in range(96)), "user", "it's", 'a "b", {c}', "", "NULL", " z ")
"""More texts than are sent one by one, those among them that an array literal must quote."""

LONG_ARRAY = "{" + ",".join('"' + text.replace('"', '\\"') + '"' for text in LONG) + "}"


def literals(texts: tuple[str, ...], between: str = ", ") -> str:
    """The texts as literals with commas between."""
    return between.join("'" + text.replace("'", "''") + "'" for text in texts)


def numbered(first: int, last: int) -> str:
    """`$first, …, $last`."""
    return ", ".join(f"${number}" for number in range(first, last + 1))


ACCEPTED = (
    Accepted("a long list of texts", f"role IN ({literals(LONG)})", '("role" = ANY($2))', (LONG_ARRAY,)),
    Accepted("the same without blanks", f"role in({literals(LONG, ',')})", '("role" = ANY($2))', (LONG_ARRAY,)),
    Accepted("none of a long list", f"role NOT IN ({literals(LONG)})", '(NOT ("role" = ANY($2)))', (LONG_ARRAY,)),
    Accepted(
        "a long list behind a literal", f"'user' IN ({literals(LONG)})", "($2::text = ANY($3))", ("user", LONG_ARRAY)
    ),
    Accepted(
        "as many texts as are sent one by one",
        f"role IN ({literals(LONG[:100])})",
        f'("role" IN ({numbered(2, 101)}))',
        LONG[:100],
    ),
    Accepted(
        "a long list of numbers",
        f"seq NOT IN ({', '.join(map(str, range(-1, 300)))})",
        f'("seq" NOT IN ((-1), {", ".join(map(str, range(300)))}))',
    ),
    Accepted(
        "a long list of parameters",
        f"role IN ({numbered(1, 150)})",
        f'("role" IN ({numbered(2, 151)}))',
        tuple(f"r{number}" for number in range(150)),
        {number + 1: f"r{number}" for number in range(150)},
    ),
    Accepted(
        "a list of texts and parameters",
        "role IN ('a', $1 ,'it''s')",
        '("role" IN ($2, $3, $4))',
        ("a", "b", "it's"),
        {1: "b"},
    ),
    Accepted(
        "a long list in a condition",
        f"is_final OR (role IN ({literals(LONG)}) AND seq IN (1, 2.5, -3))",
        '("is_final" OR (("role" = ANY($2)) AND (("seq" IN (1, (-3))) OR ("seq" BETWEEN 2.5 AND 2.5))))',
        (LONG_ARRAY,),
    ),
    Accepted("or", "role = 'a' OR role = 'b'", '(("role" = $2) OR ("role" = $3))', ("a", "b")),
    Accepted("and", "seq = 1 AND is_final", '(("seq" = 1) AND "is_final")'),
    Accepted("not", "NOT is_final", '(NOT "is_final")'),
    Accepted("not twice", "NOT NOT is_final", '(NOT (NOT "is_final"))'),
    Accepted("not binds less than =", "NOT seq = 1", '(NOT ("seq" = 1))'),
    Accepted("not over is null", "NOT (is_final) IS NULL", '(NOT ("is_final" IS NULL))'),
    Accepted("and before or", "true OR false AND false", "(TRUE OR (FALSE AND FALSE))"),
    Accepted("brackets", "((role = 'a'))", '("role" = $2)', ("a",)),
    Accepted("brackets round values", "(role) = ('user')", '("role" = $2)', ("user",)),
    Accepted("chains are flat", "(seq=1 OR seq=2) OR seq=3", '(("seq" = 1) OR ("seq" = 2) OR ("seq" = 3))'),
    Accepted("chains are flat to the right", "is_final AND (true AND seq=3)", '("is_final" AND TRUE AND ("seq" = 3))'),
    Accepted("equal", "seq = 1", '("seq" = 1)'),
    Accepted("not equal", "seq <> 1", '("seq" <> 1)'),
    Accepted("not equal, C's way", "seq != 1", '("seq" <> 1)'),
    Accepted("less", "seq < 1", '("seq" < 1)'),
    Accepted("at most", "seq <= 1", '("seq" <= 1)'),
    Accepted("more", "seq > 1", '("seq" > 1)'),
    Accepted("at least", "seq >= 1", '("seq" >= 1)'),
    Accepted("value first", "'user' = role", '($2 = "role")', ("user",)),
    Accepted("column to column", "role = tenant", '("role" = "tenant")'),
    Accepted("in", "seq IN (1, 2)", '("seq" IN (1, 2))'),
    Accepted("not in", "role NOT IN ('a', NULL)", '("role" NOT IN ($2, NULL))', ("a",)),
    Accepted("in, value first", "'s2' IN (session_id, tenant)", '($2 IN ("session_id", "tenant"))', ("s2",)),
    Accepted("between", "seq BETWEEN 1 AND 2", '("seq" BETWEEN 1 AND 2)'),
    Accepted("not between", "seq NOT BETWEEN 1 AND 2 AND true", '(("seq" NOT BETWEEN 1 AND 2) AND TRUE)'),
    Accepted("like", "role LIKE 'u%'", '("role" LIKE $2)', ("u%",)),
    Accepted("not like", "role NOT LIKE 'u%'", '("role" NOT LIKE $2)', ("u%",)),
    Accepted("ilike", "lower(role) ILIKE $1", '(lower("role") ILIKE $2)', ("U%",), {1: "U%"}),
    Accepted("not ilike", "role NOT ILIKE 'u%'", '("role" NOT ILIKE $2)', ("u%",)),
    Accepted("like of two texts", "'ab' LIKE 'a%'", "($2::text LIKE $3::text)", ("ab", "a%")),
    Accepted("like an escaped wildcard", "content LIKE $1", '("content" LIKE $2)', ("bye 50\\%",), {1: "bye 50\\%"}),
    Accepted("is null", "role IS NULL", '("role" IS NULL)'),
    Accepted("is not null", "role IS NOT NULL", '("role" IS NOT NULL)'),
    Accepted("null is null", "NULL IS NULL", "(NULL IS NULL)"),
    Accepted("a text is null", "$1 IS NULL", "($2::text IS NULL)", ("x",), {1: "x"}),
    Accepted("is true", "is_final IS TRUE", '("is_final" IS TRUE)'),
    Accepted("is not true", "is_final IS NOT TRUE", '("is_final" IS NOT TRUE)'),
    Accepted("is false", "is_final IS FALSE", '("is_final" IS FALSE)'),
    Accepted("is not false", "(is_final = true) IS NOT FALSE", '(("is_final" = TRUE) IS NOT FALSE)'),
    Accepted("is unknown", "is_final IS UNKNOWN", '("is_final" IS UNKNOWN)'),
    Accepted("is not unknown", "true IS NOT UNKNOWN", "(TRUE IS NOT UNKNOWN)"),
    Accepted("an or is true", "(is_final OR true) IS TRUE", '(("is_final" OR TRUE) IS TRUE)'),
    Accepted("a not is true", "(NOT is_final) IS TRUE", '((NOT "is_final") IS TRUE)'),
    Accepted("an in is true", "(seq IN (1)) IS TRUE", '(("seq" IN (1)) IS TRUE)'),
    Accepted("distinct", "1 IS DISTINCT FROM seq", '(1 IS DISTINCT FROM "seq")'),
    Accepted("not distinct", "lower(role) IS NOT DISTINCT FROM 'x'", '(lower("role") IS NOT DISTINCT FROM $2)', ("x",)),
    Accepted("distinct from a text", "role IS DISTINCT FROM 'user'", '(("role" = $2) IS NOT TRUE)', ("user",)),
    Accepted("a parameter, not distinct", "$1 IS NOT DISTINCT FROM role", '(($2 = "role") IS TRUE)', ("u",), {1: "u"}),
    Accepted("distinct from null", "NULL IS DISTINCT FROM role", '("role" IS NOT NULL)'),
    Accepted("not distinct from null", "role IS NOT DISTINCT FROM NULL", '("role" IS NULL)'),
    Accepted(
        "distinct columns",
        "role IS DISTINCT FROM tenant",
        '((("role" = "tenant") IS NOT TRUE) AND (NOT (("role" IS NULL) AND ("tenant" IS NULL))))',
    ),
    Accepted(
        "columns that are not distinct",
        "is_final OR day IS NOT DISTINCT FROM started",
        '("is_final" OR (("day" = "started") IS TRUE) OR (("day" IS NULL) AND ("started" IS NULL)))',
    ),
    Accepted("another day", "day <> '2024-01-01'::date", '(NOT ("day" = $2::date))', ("2024-01-01",)),
    Accepted("not equal, of unknown types", "role <> tenant", '(NOT ("role" = "tenant"))'),
    Accepted("not equal, of known types", "role <> lower(tenant)", '("role" <> lower("tenant"))'),
    Accepted("not equal to null", "role <> NULL", '(NOT ("role" = NULL))'),
    Accepted("any", "role = ANY($1)", '("role" = ANY($2))', ('{"a","b c"}',), {1: '{a, "b c" }'}),
    Accepted("any of a text", "'a' = ANY($1)", "($2::text = ANY($3))", ("a", '{"a"}'), {1: "{a}"}),
    Accepted("any of nothing", "NOT role = ANY($1)", "(NOT FALSE)", (), {1: "{ }"}),
    Accepted("any of nothing, alone", "role = ANY('{}')", "(FALSE)"),
    Accepted(
        "any with null",
        "role = ANY($1)",
        '(("role" = ANY($2)) OR ("role" = NULL))',
        ('{"a","NULL"}',),
        {1: '{a,null,"NULL",NULL}'},
    ),
    Accepted(
        "any with null in an or",
        "is_final OR role = ANY($1) AND true OR seq = ANY($2) OR false",
        '("is_final" OR ((("role" = ANY($2)) OR ("role" = NULL)) AND TRUE) OR ("seq" = NULL) OR FALSE)',
        ('{"a"}',),
        {1: "{NULL,a}", 2: "{NULL}"},
    ),
    Accepted(
        "any with null is unknown", "(seq = ANY($1)) IS UNKNOWN", '(("seq" = NULL) IS UNKNOWN)', (), {1: "{NULL}"}
    ),
    Accepted("any of a literal", 'role = ANY(\'{"a","b,c"}\')', '("role" = ANY($2))', ('{"a","b,c"}',)),
    Accepted(
        "any of a literal with null",
        "NOT seq = ANY('{\"1\",NULL}')",
        '(NOT (("seq" = ANY($2)) OR ("seq" = NULL)))',
        ('{"1"}',),
    ),
    Accepted("any of a column", '$1 = ANY("tags")', '($2 = ANY("tags"))', ("a",), {1: "a"}),
    Accepted("any number of a column", "NOT 2 = ANY(numbers)", '(NOT (2 = ANY("numbers")))'),
    Accepted("contains", "\"tags\" @> ARRAY[$1, 'a']", '("tags" @> $2)', ('{"it\'s","a"}',), {1: "it's"}),
    Accepted("contains numbers", "numbers @> ARRAY[-2147483648, +3]", '("numbers" @> $2)', ('{"-2147483648","3"}',)),
    Accepted("contains a truth value", "tags && ARRAY[TRUE, false]", '("tags" && $2)', ('{"true","false"}',)),
    Accepted("contains by a parameter", "tags @> $1", '("tags" @> $2)', ('{"a"}',), {1: "{a}"}),
    Accepted("contains nothing", "tags @> '{}'", '("tags" @> $2)', ("{}",)),
    Accepted("is contained", "ARRAY['a'] <@ tags", '($2 <@ "tags")', ('{"a"}',)),
    Accepted("is contained, the other way", 'tags <@ \'{"a","user"}\'', '("tags" <@ $2)', ('{"a","user"}',)),
    Accepted(
        "overlaps",
        "$1 && tags AND numbers && (ARRAY[2])",
        '(($2 && "tags") AND ("numbers" && $3))',
        ('{"a"}', '{"2"}'),
        {1: "{a}"},
    ),
    Accepted(
        "an empty array compared as a whole too",
        "role = ANY($1) AND $1 <@ tags",
        '(FALSE AND ($2 <@ "tags"))',
        ("{}",),
        {1: "{}"},
    ),
    Accepted("overlaps, in brackets", "(tags) && (tags)", '("tags" && "tags")'),
    Accepted("an enum", "status = 'open'", '("status"::text = $2)', ("open",)),
    Accepted(
        "an enum in a list", "status IN ('open', $1)", '("status"::text IN ($2, $3))', ("open", "done"), {1: "done"}
    ),
    Accepted("an enum of any", "status = ANY($1)", '("status"::text = ANY($2))', ('{"open"}',), {1: "{open}"}),
    Accepted("not an enum", "status <> 'open'", '("status"::text <> $2)', ("open",)),
    Accepted("an enum's text", "CAST(status AS text) = status::text", '("status"::text = "status"::text)'),
    Accepted("an enum is null", "status IS NULL", '("status"::text IS NULL)'),
    Accepted("a null test is true", "(role IS NULL) = true", '("role" IS NULL)'),
    Accepted("true is a null test", "TRUE <> (role IS NULL)", '(NOT ("role" IS NULL))'),
    Accepted("a comparison is false", "(seq = 1) = 'f'", '(NOT ("seq" = 1))'),
    Accepted("a comparison is not a text", "(seq = 1) != 'FALSE'::bool", '("seq" = 1)'),
    Accepted("an or is true, by =", "((is_final OR seq = 1)) = true", '("is_final" OR ("seq" = 1))'),
    Accepted(
        "a null test is a parameter",
        '("role" IS NULL) = $1',
        '((("role" IS NULL) AND ($2::bool = TRUE)) OR ((NOT ("role" IS NULL)) AND (NOT ($2::bool = TRUE))))',
        ("false",),
        {1: "false"},
    ),
    Accepted(
        "a column is a comparison",
        "is_final = (seq = 1)",
        '(("is_final" AND ("seq" = 1)) OR ((NOT "is_final") AND (NOT ("seq" = 1))))',
    ),
    Accepted(
        "two conditions differ",
        "(seq = 1 AND is_final) <> (role IS NULL)",
        '((("seq" = 1) AND "is_final" AND (NOT ("role" IS NULL))) '
        'OR ((NOT (("seq" = 1) AND "is_final")) AND ("role" IS NULL)))',
    ),
    Accepted("a test of what became a null test", "((role IS NULL) = true) IS NOT TRUE", '(NOT ("role" IS NULL))'),
    Accepted("of what became no test", "((role IS NULL) = true) IS UNKNOWN", "(FALSE)"),
    Accepted("a bare coalesce", "coalesce(is_final, false)", '(coalesce("is_final", FALSE))'),
    Accepted("no coalesce", "NOT coalesce(NULL, is_final, true)", '(NOT coalesce(NULL, "is_final", TRUE))'),
    Accepted(
        "a coalesce is true", "coalesce(is_final, false) IS NOT TRUE", '(coalesce("is_final", FALSE) IS NOT TRUE)'
    ),
    Accepted(
        "a coalesce is a comparison",
        "(seq = 1) = coalesce(is_final, false)",
        '((("seq" = 1) AND coalesce("is_final", FALSE)) OR ((NOT ("seq" = 1)) AND (NOT coalesce("is_final", FALSE))))',
    ),
    Accepted(
        "coalesce in concat",
        "concat(coalesce(role, 'x'), tenant) = 'x'",
        '(concat(coalesce("role", $2), "tenant") = $3)',
        ("x", "x"),
    ),
    Accepted("a written cast", "CAST($1 AS int) = seq", '($2::int4 = "seq")', ("1",), {1: "1"}),
    Accepted(
        "a written cast to a long type",
        "created_at > cast('2024-01-01' as timestamp with time zone)",
        '("created_at" > $2::timestamptz)',
        ("2024-01-01 00:00:00+00",),
    ),
    Accepted("a date", "day >= date '2024-01-02'", '("day" >= $2::date)', ("2024-01-02",)),
    Accepted(
        "a timestamp", "started < timestamp '2024-01-02'", '("started" < $2::timestamp)', ("2024-01-02 00:00:00",)
    ),
    Accepted(
        "a timestamptz",
        "created_at = timestamptz '2024-01-01Z'",
        '("created_at" = $2::timestamptz)',
        ("2024-01-01 00:00:00+00",),
    ),
    Accepted(
        "a timestamp with a zone",
        "created_at = timestamp with time zone '2024-01-01Z'",
        '("created_at" = $2::timestamptz)',
        ("2024-01-01 00:00:00+00",),
    ),
    Accepted("blanks of all kinds", "\tseq\n=\r\n1\n", '("seq" = 1)'),
    Accepted("lines in a text", "role = 'a\n\tb\x7f\x85'", '("role" = $2)', ("a\n\tb\x7f\x85",)),
    Accepted("decimals with bare points", "score > .5 OR score < -5.", '(("score" > 0.5) OR ("score" < (-5.0)))'),
    Accepted("exponents", "score > 1e-3 OR score < 1.25E+1", '(("score" > 0.001) OR ("score" < 12.5))'),
    Accepted("lower", "lower(role) = 'user'", '(lower("role") = $2)', ("user",)),
    Accepted("upper of a text", "upper('a') = role", '(upper($2::text) = "role")', ("a",)),
    Accepted("coalesce", "coalesce(role, 'x') = 'x'", '(coalesce("role", $2) = $3)', ("x", "x")),
    Accepted(
        "coalesce of texts", "coalesce($1, 'x') = role", '(coalesce($2::text, $3::text) = "role")', ("y", "x"), {1: "y"}
    ),
    Accepted("coalesce of nulls", "coalesce(NULL, NULL) IS NULL", "(coalesce(NULL, NULL) IS NULL)"),
    Accepted(
        "concat", "concat(role, 1, 'x') = 'user1x'", '(concat("role", $2::text, $3::text) = $4)', ("1", "x", "user1x")
    ),
    Accepted(
        "concat of truth values, a NULL and a decimal",
        "concat(true, NULL, false, 1.50, coalesce(role, 'x')) = 'tf1.50user'",
        '(concat($2::text, NULL, $3::text, $4::text, coalesce("role", $5)) = $6)',
        ("t", "f", "1.50", "x", "tf1.50user"),
    ),
    Accepted("a decimal that is equal", "score = 0.5", '("score" BETWEEN 0.5 AND 0.5)'),
    Accepted("a decimal before its column", "-0.25 = score", '("score" BETWEEN (-0.25) AND (-0.25))'),
    Accepted("a decimal that is not equal", "score <> 0.5", '("score" <> 0.5)'),
    Accepted("decimals of a list", "score IN (0.5, -0.25)", DECIMALS),
    Accepted("decimals that are not in a list", "score NOT IN (0.5, 1)", '("score" NOT IN (0.5, 1))'),
    Accepted(
        "a decimal in the midst",
        "NOT ((seq = 2.0 OR role = 'a') IS TRUE)",
        '(NOT ((("seq" BETWEEN 2.0 AND 2.0) OR ("role" = $2)) IS TRUE))',
        ("a",),
    ),
    Accepted("cast to text", "$1::text = role", '($2::text = "role")', ("user",), {1: "user"}),
    Accepted("cast to int2", "seq = '1'::smallint", '("seq" = $2::int2)', ("1",)),
    Accepted("cast to int4", "seq = '1'::integer", '("seq" = $2::int4)', ("1",)),
    Accepted("cast to int4, short", "seq = '1'::int", '("seq" = $2::int4)', ("1",)),
    Accepted("cast to int8", "tokens = $1::bigint", '("tokens" = $2::int8)', ("3000000001",), {1: "3000000001"}),
    Accepted("cast to float8", "score < '1'::double precision", '("score" < $2::float8)', ("1",)),
    Accepted("cast to float8, short", "score < '1'::float", '("score" < $2::float8)', ("1",)),
    Accepted("cast to bool", "is_final = 't'::boolean", '("is_final" = $2::bool)', ("t",)),
    Accepted(
        "cast to uuid",
        "msg_uuid = $1::uuid",
        '("msg_uuid" = $2::uuid)',
        ("00000000-0000-0000-0000-000000000001",),
        {1: "00000000-0000-0000-0000-000000000001"},
    ),
    Accepted("cast to date", "created_at > '2024-01-01'::date", '("created_at" > $2::date)', ("2024-01-01",)),
    Accepted(
        "cast to timestamp",
        "created_at > '2024-01-01'::timestamp without time zone",
        '("created_at" > $2::timestamp)',
        ("2024-01-01 00:00:00",),
    ),
    Accepted(
        "cast to timestamptz",
        "created_at > '2024-01-01'::timestamp with time zone",
        '("created_at" > $2::timestamptz)',
        ("2024-01-01 00:00:00+00",),
    ),
    Accepted("a bare boolean column", "is_final", '("is_final")'),
    Accepted("true", "TRUE", "(TRUE)"),
    Accepted("false", "false", "(FALSE)"),
    Accepted("no filter, as TanStack says it", "true = true", "(TRUE = TRUE)"),
    Accepted("unknown stays unknown", "NOT NULL = NULL", "(NOT (NULL = NULL))"),
    Accepted("two texts", "'a' = 'a'", "($2::text = $3::text)", ("a", "a")),
    Accepted("a text and null", "NULL = 'a'", "(NULL = $2::text)", ("a",)),
    Accepted("a quote in a text", "role = 'it''s'", '("role" = $2)', ("it's",)),
    Accepted("an empty text", "role = ''", '("role" = $2)', ("",)),
    Accepted("SQL in a text", "role = 'select; drop -- /*'", '("role" = $2)', ("select; drop -- /*",)),
    Accepted("other scripts in a text", "role = 'é漢🙂'", '("role" = $2)', ("é漢🙂",)),
    Accepted("a number and a number", "1 = 1", "(1 = 1)"),
    Accepted(
        "negative numbers", "seq >=-5 OR seq <>-1 OR seq=-2", '(("seq" >= (-5)) OR ("seq" <> (-1)) OR ("seq" = (-2)))'
    ),
    Accepted("a plus", "seq = +5", '("seq" = 5)'),
    Accepted("zero", "seq = -0 OR seq = 0", '(("seq" = 0) OR ("seq" = 0))'),
    Accepted("decimals", "score > 0.5 AND score > -1.50", '(("score" > 0.5) AND ("score" > (-1.50)))'),
    Accepted(
        "the ends of int4", "seq IN (2147483647,-2147483648)", '("seq" IN (2147483647, $2::int4))', ("-2147483648",)
    ),
    Accepted("a number in brackets", "seq = (-5)", '("seq" = (-5))'),
    Accepted(
        "parameters by first use",
        "role = $2 OR tenant = $1",
        '(("role" = $2) OR ("tenant" = $3))',
        ("b", "a"),
        {1: "a", 2: "b"},
    ),
    Accepted("a parameter used twice", "role = $1 OR $1 < role", '(("role" = $2) OR ($2 < "role"))', ("a",), {1: "a"}),
    Accepted(
        "a parameter of two types",
        "role = $1 OR tenant IN ($1) OR $1::int4 = seq OR 1 = $1::int4 OR role <> lower($1)",
        '(("role" = $2) OR ("tenant" IN ($3)) OR ($4::int4 = "seq") OR (1 = $4::int4) OR ("role" <> lower($5::text)))',
        ("1", "1", "1", "1"),
        {1: "1"},
    ),
    Accepted(
        "a list of two types",
        "role = ANY($1) AND tenant = ANY($1) AND role = ANY($1)",
        '(("role" = ANY($2)) AND ("tenant" = ANY($3)) AND ("role" = ANY($2)))',
        ('{"1"}', '{"1"}'),
        {1: "{1}"},
    ),
    Accepted("an unused parameter", "is_final", '("is_final")', (), {1: "a"}),
    Accepted("a value like a placeholder", "role = $1", '("role" = $2)', ("$1",), {1: "$1"}),
    Accepted("a name folds", "ROLE = 'user' OR Seq = 1", '(("role" = $2) OR ("seq" = 1))', ("user",)),
    Accepted("a quoted name", "\"role\" = 'user'", '("role" = $2)', ("user",)),
    Accepted("a name with a blank", '"Weird Col" IS NULL', '("Weird Col" IS NULL)'),
    Accepted("blanks", "  seq=1  ", '("seq" = 1)'),
)

REFUSED = (
    Refused("nothing", "", 0, "empty"),
    Refused("blanks only", "   ", 3, "empty"),
    Refused("null alone", "NULL", 0, "not a condition"),
    Refused("a parameter alone", "$1", 0, "not a condition"),
    Refused("a text alone", "'t'", 0, "not a condition"),
    Refused("a number as a part", "seq = 1 AND 1", 12, "not a condition"),
    Refused("a function alone", "coalesce(is_final, role)", 0, "not a condition"),
    Refused("another function alone", "lower(role)", 0, "not a condition"),
    Refused("a value under not", "NOT ($1)", 4, "not a condition"),
    Refused("an or left of is null", "(is_final OR true) IS NOT NULL", 0, "left of IS NOT NULL: operands are values"),
    Refused("a comparison left of in", "(seq = 1) IN (true)", 0, "left of IN: operands are values"),
    Refused("a comparison left of not in", "(seq = 1) NOT IN (true)", 0, "left of NOT: operands are values"),
    Refused("a comparison beside null", "(seq = 1) = NULL", 10, "IS UNKNOWN test it"),
    Refused("a comparison beside a text", "(seq = 1) = 'yes'", 10, "truth value"),
    Refused("a comparison beside a cast", "(seq = 1) = $1::text", 10, "a truth value cannot be compared with a text"),
    Refused("a comparison beside a call", "(seq = 1) = coalesce(role, tenant)", 10, "truth value"),
    Refused("a comparison beside an array", "(seq = 1) = (ARRAY['a'])", 10, "cannot be compared with an array"),
    Refused("a comparison beside a number", "1 <> (seq = 1)", 2, "cannot be compared"),
    Refused("a comparison left of <", "(seq = 1) < true", 0, "left of <: operands are values"),
    Refused("a comparison right of <", "true < (seq = 1)", 12, "operands are values"),
    Refused("a comparison left of any", "(seq = 1) = ANY($1)", 0, "left of =: operands are values"),
    Refused("a comparison right of distinct", "is_final IS DISTINCT FROM (seq = 1)", 31, "operands are values"),
    Refused("a chain of equated conditions", "(seq = 1) = true = true", 17, "not chained"),
    Refused("many doubled conditions", "(" * 7 + "seq = 1" + ") = $1" * 7, 0, "too many operators"),
    Refused("a comparison left of between", "(seq = 1) BETWEEN 1 AND 2", 0, "left of BETWEEN"),
    Refused("a comparison left of like", "(seq = 1) LIKE 'x'", 0, "left of LIKE"),
    Refused("a comparison left of distinct", "(seq = 1) IS DISTINCT FROM true", 0, "left of IS DISTINCT FROM"),
    Refused("a comparison in a list", "is_final IN (true, seq = 1)", 23, "list of values ends with a bracket"),
    Refused("a comparison in a call", "coalesce(seq = 1)", 13, "call ends with a bracket"),
    Refused("a not as operand", "is_final = NOT true", 11, "is missing here"),
    Refused("is over is", "(seq IS NULL) IS TRUE", 0, "IS cannot stand over another IS"),
    Refused("is over is true", "((seq = 1) IS TRUE) IS TRUE", 0, "IS cannot stand over another IS"),
    Refused("is over distinct", "(seq IS DISTINCT FROM 1) IS TRUE", 0, "IS cannot stand over another IS"),
    Refused("is null over is", "(seq IS NULL) IS NULL", 0, "left of IS NULL"),
    Refused("chained comparisons", "seq = 1 = true", 8, "not chained"),
    Refused("is behind a comparison", "seq = 1 IS TRUE", 8, "not chained"),
    Refused("not in behind a comparison", "seq = 1 NOT IN (1)", 8, "not chained"),
    Refused("is true of a parameter", "$1 IS TRUE", 3, "tests a column or a condition"),
    Refused("is true of null", "NULL IS TRUE", 5, "tests a column or a condition"),
    Refused("is and a value", "seq IS 1", 7, "IS is followed by"),
    Refused("is json", "role IS JSON", 8, "IS is followed by"),
    Refused("distinct without from", "seq IS DISTINCT 1", 16, "IS is followed by"),
    Refused("subquery", "id IN (SELECT 1)", 7, "SELECT is not part"),
    Refused("scalar subquery", "(SELECT 1) = 1", 1, "SELECT is not part"),
    Refused("exists", "EXISTS (SELECT 1)", 0, "functions are"),
    Refused("set operation", "is_final UNION SELECT 1", 9, "UNION is not part"),
    Refused("order by", "is_final ORDER BY 1", 9, "ORDER is not part"),
    Refused("limit", "is_final LIMIT 1", 9, "LIMIT is not part"),
    Refused("case", "CASE WHEN is_final THEN true END", 0, "CASE is not part"),
    Refused("two conditions", "is_final is_final", 9, "is missing here"),
    Refused("semicolon", "is_final;", 8, "semicolon"),
    Refused("line comment", "is_final -- x", 9, "comments"),
    Refused("block comment", "is_final /* x */", 9, "comments"),
    Refused("escape string", "role = E'a'", 7, "runs into a quote"),
    Refused("unicode string", "role = U&'a'", 8, "sign is not part"),
    Refused("bit string", "role = B'1'", 7, "runs into a quote"),
    Refused("dollar quotes", "role = $$a$$", 7, "dollar quoting"),
    Refused("tagged dollar quotes", "role = $a$x$a$", 7, "dollar quoting"),
    Refused("backslash", "role = 'a\\b'", 7, "backslash"),
    Refused("literals that touch", "role = 'a'\"role\"", 7, "runs into"),
    Refused("names that touch", '"role""seq" = 1', 0, "may not use", "column"),
    Refused("a name that runs into a word", '"role"x = 1', 0, "runs into"),
    Refused("a word before a quoted name", 'x"role" = 1', 0, "runs into a quote"),
    Refused("an empty name", '"" = 1', 0, "cannot be empty"),
    Refused("an open literal", "role = 'a", 7, "does not end"),
    Refused("an open name", '"role = 1', 0, "does not end"),
    Refused("a word and a dollar", "role$ = 1", 0, "runs into what follows"),
    Refused("a parameter and a word", "role = $1OR true", 7, "runs into"),
    Refused("parameter zero", "role = $0", 7, "parameters are"),
    Refused("a list that does not end", "seq IN (1, 2", 12, "ends with a bracket"),
    Refused("a list with a comma too many", "seq IN (1, 2,)", 13, "is missing here"),
    Refused("a list with nothing between", "seq IN (1,, 2)", 10, "is missing here"),
    Refused("a list with a backslash", r"role IN ('a', '\')", 14, "backslash"),
    Refused("a list with a word", "role IN ('a', 'b'c)", 14, "runs into"),
    Refused("a list with arithmetic", "seq IN (1, 2-1)", 12, "ends with a bracket"),
    Refused("a list with parameter zero", "seq IN (1, $0)", 11, "parameters are"),
    Refused("a list with a leading zero", "seq IN (1, 02)", 11, "start with 0"),
    Refused("a list with a large integer", "seq IN (1, 2147483648)", 11, "four bytes"),
    Refused("a list with a hidden column", "role IN ('a', hidden)", 14, "may not use", "column"),
    Refused("a long parameter", "role = $100000", 7, "parameters are"),
    Refused("addition", "seq + 1 = 2", 4, "arithmetic"),
    Refused("a number after a number", "seq = 1 -1", 8, "is missing here"),
    Refused("multiplication", "seq * 2 = 2", 4, "sign is not part"),
    Refused("concatenation", "role || 'x' = 'x'", 5, "sign is not part"),
    Refused("regular expression", "role ~ 'x'", 5, "sign is not part"),
    Refused("one operator for PostgreSQL", "seq !=-1", 4, "sign is not part"),
    Refused("equals at", "seq =@1", 5, "sign is not part"),
    Refused("arrow", "seq => 1", 5, "is missing here"),
    Refused("a row", "(seq, 1) = (1, 1)", 4, "bracket is not closed"),
    Refused("any of an array", "seq = ANY(ARRAY[1])", 10, "write IN"),
    Refused("an array beside =", "tags = ARRAY['a']", 7, "ARRAY is not part"),
    Refused("an array in brackets beside =", "tags = (ARRAY['a'])", 5, "by @>, <@ and && only"),
    Refused("an array left of =", "ARRAY['a'] = tags", 11, "by @>, <@ and && only"),
    Refused("an array alone", "(ARRAY['a'])", 0, "not a condition"),
    Refused("an array in a list", "role IN (ARRAY['a'])", 9, "ARRAY is not part"),
    Refused("an empty array", "tags @> ARRAY[]", 14, "a value at least"),
    Refused("an array in round brackets", "tags @> ARRAY(1)", 13, "square brackets"),
    Refused("an open array", "tags @> ARRAY['a'", 17, "square bracket"),
    Refused("an array of arrays", "tags @> ARRAY[ARRAY[1]]", 14, "ARRAY is not part"),
    Refused("an array of columns", "tags @> ARRAY[role]", 14, "literals, numbers and parameters"),
    Refused("an array of casts", "tags @> ARRAY['a'::text]", 14, "literals, numbers and parameters"),
    Refused("an array of two types", "tags @> ARRAY[1, true]", 22, "cannot be compared"),
    Refused("an array with null", "tags @> ARRAY['a', NULL]", 5, "@> never finds NULL"),
    Refused("a literal with null", "'{NULL}' && tags", 9, "&& never finds NULL"),
    Refused("no array at all", "tags <@ 'a'", 8, "written like {a,b}"),
    Refused("no array on the left", "'a' <@ tags", 0, "written like {a,b}"),
    Refused("a number beside an array", "1 <@ tags", 2, "left side is no array"),
    Refused("no column beside an array", "'{a}' @> ARRAY['a']", 6, "compares a column"),
    Refused("an enum is no array", "status @> '{a}'", 7, "left side is no array"),
    Refused("any of an enum", "'a' = ANY(status)", 10, "an array is a column of arrays"),
    Refused("the order of an enum", "status < 'open'", 7, "no order"),
    Refused("a range of an enum", "status BETWEEN 'a' AND 'z'", 7, "no order"),
    Refused("an enum's number", "status::int4 = 1", 8, "cast to text only"),
    Refused("an enum's number, written", "CAST(status AS int4) = 1", 15, "cast to text only"),
    Refused("an operator of arrays that is none", "tags @>= '{a}'", 7, "is missing here"),
    Refused("a subscript", "seq[1] = 1", 3, "subscripts"),
    Refused("json", "meta->'k' = 1", 4, "arithmetic"),
    Refused("an unknown function", "pg_sleep(1) IS NULL", 0, "functions are"),
    Refused("a quoted function", '"lower"(role) = 1', 0, "may not use", "column"),
    Refused("lower of nothing", "lower() = 'x'", 6, "is missing here"),
    Refused("lower of two", "lower(role, role) = 'x'", 0, "one argument"),
    Refused("a call in a call", "lower(upper(role)) = 'x'", 6, "a call reads columns and values"),
    Refused("a call in concat", "concat(role, lower(role)) = 'x'", 13, "a call reads columns and values"),
    Refused("a coalesce in lower", "lower(coalesce(role, 'x')) = 'x'", 6, "a call reads columns and values"),
    Refused(
        "a coalesce twice", "concat(coalesce(coalesce(role, 'x'), 'y')) = 'x'", 7, "a call reads columns and values"
    ),
    Refused("a concat in coalesce", "coalesce(concat(role), 'x') = 'x'", 9, "a call reads columns and values"),
    Refused(
        "five folds", " OR ".join(["lower(role) = 'x'"] * 4) + " OR upper(role) = 'x'", 84, "at most 4 calls of lower"
    ),
    Refused(
        "three folds that are sent as six",
        "is_final <> ((lower(role) = 'x' OR lower(role) = 'y' OR upper(role) = 'Z'))",
        0,
        "more than 4 calls of lower",
    ),
    Refused("lower of a number", "lower(1) = 'x'", 0, "reads a text"),
    Refused("coalesce of two types", "coalesce(1, true) = 1", 0, "one type"),
    Refused("an open call", "lower(role = 'x'", 11, "call ends"),
    Refused("a cast column", "role::text = 'x'", 4, "can be cast"),
    Refused("a cast number", "1::bool", 1, "can be cast"),
    Refused("a cast condition", "(seq = 1)::text = 'x'", 9, "can be cast"),
    Refused("a cast cast", "'1'::text::int4 = 1", 9, "can be cast"),
    Refused("an unknown type", "'x'::regclass = 1", 5, "does not cast to this type"),
    Refused("a quoted type", "'x'::\"text\" = role", 5, "names a type"),
    Refused("half a type", "score = '1'::double", 13, "does not cast"),
    Refused("half a zone", "created_at = '1'::timestamp with zone", 33, "time zone"),
    Refused("a type's modifier", "'1'::text(3) = role", 9, "is missing here"),
    Refused("collate", "role COLLATE \"C\" = 'x'", 5, "COLLATE is not part"),
    Refused("escape", "role LIKE 'a' ESCAPE 'b'", 14, "is missing here"),
    Refused("a written cast of a column", "CAST(role AS text) = 'x'", 5, "can be cast"),
    Refused("a written cast of a cast", "CAST('1'::text AS int4) = 1", 5, "can be cast"),
    Refused("a written cast without a type", "CAST('1') = 1", 8, "then AS and a type"),
    Refused("an open cast", "CAST('1' AS int4", 16, "ends with a bracket"),
    Refused("a text in front of a text", "role = text 'a'", 7, "may not use", "column"),
    Refused("a zone without a text", "created_at > timestamp with time zone", 13, "may not use", "column"),
    Refused("a qualified name", "chat_messages.role = 'x'", 13, "qualified"),
    Refused("a qualified name that is permitted", "role.role = 'x'", 4, "qualified"),
    Refused("a system column", "xmin IS NULL", 0, "may not use", "column"),
    Refused("a hidden column", "secret_note = 'x'", 0, "may not use", "column"),
    Refused("a hidden column in a call", "concat(role, secret_note) = 'x'", 13, "may not use", "column"),
    Refused("a quoted name does not fold", '"ROLE" = 1', 0, "may not use", "column"),
    Refused("a keyword is no column", "select = 1", 0, "SELECT is not part"),
    Refused("hex", "seq = 0x1F", 6, "plain number"),
    Refused("half an exponent", "seq = 1e", 6, "plain number"),
    Refused("a sign as an exponent", "seq = 1e+", 6, "plain number"),
    Refused("two points", "seq = 1.2.3", 6, "plain number"),
    Refused("a point alone", "seq = .", 6, "qualified"),
    Refused("a large exponent", "seq = 1e30", 6, "at most 30 digits"),
    Refused("a huge exponent", "seq = 1e9999999", 6, "at most 30 digits"),
    Refused("a small exponent", "seq = 1e-29", 6, "at most 30 digits"),
    Refused("underscore", "seq = 1_000", 6, "plain number"),
    Refused("leading zero", "seq = 01", 6, "start with 0"),
    Refused("above int4", "seq = 2147483648", 6, "four bytes"),
    Refused("below int4", "seq = -2147483649", 6, "four bytes"),
    Refused("many digits", "score = 0.1234567890123456789012345678901", 8, "at most 30 digits"),
    Refused("a sign apart", "seq = - 1", 6, "sign stands directly"),
    Refused("two signs", "seq = --1", 6, "comments"),
    Refused("other white space", "role = 'a' OR\u00a0true", 13, "ASCII"),
    Refused("fullwidth", "role ＝ 'a'", 5, "ASCII"),
    Refused("other letters", "rоle = 'a'", 0, "runs into"),
    Refused("a letter that folds to another", "to\u212aens = 1", 0, "runs into"),
    Refused("a number and a word", "seq = 1OR true", 6, "plain number"),
    Refused("a vertical tab", "seq\v= 1", 3, "control"),
    Refused("a form feed", "seq\f= 1", 3, "control"),
    Refused("a tab in a name", '"Weird\tCol" = 1', 0, "no control"),
    Refused("a line in a word", "is_\nfinal", 0, "may not use", "column"),
    Refused("literals on two lines", "role = 'a'\n'b'", 11, "is missing here"),
    Refused("dates on two lines", "day = date '2024'\n'-01-01'", 18, "is missing here"),
    Refused("nul", "seq = 1 \x00", 8, "NUL"),
    Refused("nul in a literal", "role = 'a\x00b'", 9, "NUL"),
    Refused("delete", "role =\x7f 'a'", 6, "control"),
    Refused("c1", "role =\x85 'a'", 6, "control"),
    Refused("surrogate", "role = 'a\ud800'", 9, "surrogates"),
    Refused("break-out", "1=1) OR (1=1", 3, "is missing here"),
    Refused("not closed", "(1=1", 4, "bracket is not closed"),
    Refused("not closed value", "1 = (1", 6, "bracket is not closed"),
    Refused("empty brackets", "()", 1, "is missing here"),
    Refused("dangling and", "is_final AND", 12, "ends where"),
    Refused("dangling =", "seq =", 5, "ends where"),
    Refused("dangling cast", "'1'::", 5, "names a type"),
    Refused("dangling not", "seq NOT", 7, "NOT behind a value"),
    Refused("not and a value", "seq NOT 1", 8, "NOT behind a value"),
    Refused("in without brackets", "seq IN 1", 7, "values in brackets"),
    Refused("an empty list", "seq IN ()", 8, "is missing here"),
    Refused("an open list", "seq IN (1", 9, "ends with a bracket"),
    Refused("between without and", "seq BETWEEN 1 OR 2", 14, "AND between them"),
    Refused("between symmetric", "seq BETWEEN SYMMETRIC 2 AND 1", 12, "SYMMETRIC is not part"),
    Refused("a list left of the values", "'1' IN (1, 'x')", 4, "cast the left side"),
    Refused("a list of two types", "1 IN (1, true)", 2, "cannot be compared"),
    Refused("a number and a truth value", "1 = true", 2, "a number cannot be compared with a truth value"),
    Refused("a uuid and a time", "$1::uuid = $2::date", 9, "a uuid cannot be compared with a time"),
    Refused("like a column", "role LIKE tenant", 10, "literal or a parameter"),
    Refused("a number like", "1 LIKE 'x'", 7, "reads a text"),
    Refused("too many wildcards", "role LIKE $1 OR role LIKE '" + "%" * 9 + "'", 26, "at most 8 wildcards"),
    Refused("any with another operator", "seq > ANY($1)", 6, "behind = only"),
    Refused("all", "seq <> ALL($1)", 7, "functions are"),
    Refused("any without brackets", "seq = ANY $1", 10, "in brackets"),
    Refused("any of a call", "seq = ANY(lower(role))", 10, "without a cast"),
    Refused("any of no array", "seq = ANY('a')", 10, "written like {a,b}"),
    Refused("any of a cast", "seq = ANY($1::text)", 10, "without a cast"),
    Refused("any of two", "seq = ANY($1, $2)", 12, "one array"),
    Refused("a list and a value", "role = ANY($1) OR role = $1", 25, "list in one place"),
    Refused("a value and a list", "role = $1 OR role = ANY($1)", 24, "list in one place"),
    Refused("a list and an element", "role = ANY($1) OR tags @> ARRAY[$1]", 32, "list in one place"),
    Refused("a claim of a policy", "role = {role}", 7, "placeholders"),
)
