"""Policies of the whole language from a seed, each with the rows that it means in PostgreSQL's own words.

Every piece is written twice: as the policy says it, with claims in braces, and as an author would ask PostgreSQL, with
the token's values as literals.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

U = tuple(f"00000000-0000-0000-0000-00000000000{digit}" for digit in "abc")
TEXTS = ("a", "b", "it's", 'q"x', "k,l", "{z}", "NULL", "", "ß", "SS", "A", "a ", "x\ny", "open")
NUMBERS = (0, 1, 2, -5, 2_147_483_647, 9_007_199_254_740_992, 9_007_199_254_740_993)
STATES = ("open", "closed", "it's")
TYPES = {
    "id": "int8",
    "t": "text",
    "v": "varchar",
    "i2": "int2",
    "i4": "int4",
    "i8": "int8",
    "u": "uuid",
    "b": "bool",
    "st": "enum",
    "ta": "text[]",
    "ia": "int8[]",
    "ua": "uuid[]",
}
SCHEMA = """
CREATE TYPE st AS ENUM ('open', 'closed', 'it''s');
CREATE TABLE r (id int8 PRIMARY KEY, t text, v varchar, i2 int2, i4 int4, i8 int8, u uuid, b bool, st st, ta text[],
  ia int8[], ua uuid[]);
CREATE TABLE m (id int8 PRIMARY KEY, a text, k int8, o text);
INSERT INTO m VALUES (1, 'a', 1, 'a'), (2, 'b', 2, 'a'), (3, NULL, 2, 'a'), (4, 'ß', NULL, 'b'), (5, 'k,l', 0, 'b'),
  (6, 'a', 9007199254740993, 'b'), (7, NULL, NULL, 'it''s'), (8, 'NULL', 1, 'it''s');
"""
CLAIMS: Mapping[str, Any] = {
    "s": {"optional": True},
    "n": {"type": "integer", "from": ["deep", "n"], "optional": True},
    "u": {"type": "uuid", "optional": True},
    "ts": {"type": "text[]", "optional": True},
    "ns": {"type": "integer[]", "from": ["deep", "ns"], "optional": True},
    "us": {"type": "uuid[]", "optional": True},
    "role": {"optional": True},
}
"""Every generated policy declares these, as far as it uses them."""


@dataclass(frozen=True)
class Piece:
    """A predicate as the policy says it, and as PostgreSQL is asked; the claims that it uses."""

    policy: str
    own: str
    claims: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Meant:
    """A grant in other words: the token must have `claims`, and `role` one of `roles` if there are some."""

    name: str
    roles: tuple[str, ...]
    claims: frozenset[str]
    rows: str


@dataclass(frozen=True)
class Generated:
    """A policy with a token, and what it means."""

    document: dict[str, Any]
    token: dict[str, Any]
    grants: tuple[Meant, ...]
    narrow: str | None

    @property
    def rows(self) -> tuple[str, str] | None:
        """The grant that decides, and the rows that it gives; None if there is none."""
        said = {**self.token, **self.token.get("deep", {})}
        for grant in self.grants:
            if (not grant.roles or said.get("role") in grant.roles) and grant.claims <= said.keys():
                return grant.name, grant.rows if self.narrow is None else f"({grant.rows}) AND ({self.narrow})"
        return None


@dataclass
class Writer:
    """Writes policies. One seed always gives the same."""

    seed: object
    token: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(str(self.seed))  # noqa: S311 - the point is that it repeats

    def policy(self) -> Generated:
        """A policy of one to three grants, and a token."""
        values = self._values()
        count = self._random.randint(1, 3)
        grants, meant = [], []
        for number in range(count):
            roles = tuple(self._some(("owner", "admin", "guest"), 2)) if self._one_in(2) else ()
            where, public = self._where(), self._free(1, select=False) if self._one_in(4) else None
            claims = where.claims
            name = f"g{number}"
            rows = where.own if public is None else f"({where.own}) OR ({public.own})"
            given: dict[str, Any] = {"name": name, "where": where.policy}
            given |= {"when": {"role": list(roles)}} if roles else {}
            given |= {"also_public": public.policy} if public else {}
            grants.append(given)
            meant.append(Meant(name, roles, claims, rows))
        narrow = self._comparison("t", "v") if self._one_in(4) else None
        document = self._document(grants, frozenset().union(*(grant.claims for grant in meant)), meant, narrow)
        if narrow is not None and (limited := self._one_in(2)):
            self.token["limit"] = "a"
        carried = narrow is not None and limited
        return Generated(document, self.token | values, tuple(meant), "t = 'a'" if carried else None)

    def _document(
        self, grants: list[dict[str, Any]], used: frozenset[str], meant: Sequence[Meant], narrow: Piece | None
    ) -> dict[str, Any]:
        roles = {"role"} if any(grant.roles for grant in meant) else set()
        return {
            "table": "public.r",
            "key": ["id"],
            "columns": list(TYPES),
            "types": TYPES,
            "grant": grants,
            "claims": {name: CLAIMS[name] for name in CLAIMS if name in used | roles},
            "narrow": [{"claim": "limit", "where": "t = {limit}"}] if narrow else [],
            "case": [
                {"name": "yes", "request": "table=x&offset=-1", "expect": "allow"},
                {"name": "no", "request": "table=x&offset=-1", "expect": "shape_forbidden"},
            ],
        }

    def _values(self) -> dict[str, Any]:
        """What the token says: each claim is left out now and then."""
        pick = self._random
        self._said = {
            "s": pick.choice([text for text in TEXTS if text.strip() == text != "" and "\n" not in text]),
            "n": pick.choice(NUMBERS),
            "u": pick.choice(U),
            "ts": self._some([text for text in TEXTS if text.strip() == text != "" and "\n" not in text], 4),
            "ns": self._some(NUMBERS, 3),
            "us": self._some(U, 2),
            "role": pick.choice(("owner", "admin", "guest", "nobody")),
        }
        left = {name: value for name, value in self._said.items() if pick.random() > 0.15}
        deep = {name: left.pop(name) for name in ("n", "ns") if name in left}
        return {**left, "deep": deep}

    # --- predicates

    def _where(self) -> Piece:
        """A predicate whose every branch is bounded by a claim."""
        bounded = self._bounded()
        if self._one_in(3):
            bounded = _joined("OR", bounded, self._bounded())
        if self._one_in(2):
            free = self._free(2)
            return _joined("AND", *((bounded, free) if self._one_in(2) else (free, bounded)))
        return bounded

    def _bounded(self) -> Piece:
        form: Callable[[], Piece] = self._random.choice(
            (self._equal, self._any, self._contains, self._overlaps, self._member, self._row, self._listed)
        )
        return form()

    def _equal(self) -> Piece:
        column, claim = self._random.choice((("t", "s"), ("v", "s"), ("i8", "n"), ("u", "u"), ("st", "s")))
        own = f"{column}::text" if column == "st" else column
        return Piece(f"{column} = {{{claim}}}", f"{own} = {self._literal(claim)}", frozenset({claim}))

    def _any(self) -> Piece:
        column, claim = self._random.choice((("t", "ts"), ("v", "ts"), ("i8", "ns"), ("u", "us"), ("st", "ts")))
        own = f"{column}::text" if column == "st" else column
        return Piece(f"{column} = ANY({{{claim}}})", f"{own} IN ({self._literal(claim)})", frozenset({claim}))

    def _contains(self) -> Piece:
        column, claim = self._random.choice((("ta", "s"), ("ia", "n"), ("ua", "u")))
        said = f"{{{claim}}} = ANY({column})" if self._one_in(2) else f"{column} @> ARRAY[{{{claim}}}]"
        # in other words than the policy's: true where one element is equal
        own = f"EXISTS (SELECT FROM unnest({column}) AS e WHERE e = {self._literal(claim)})"
        return Piece(said, own, frozenset({claim}))

    def _overlaps(self) -> Piece:
        column, claim = self._random.choice((("ta", "ts"), ("ia", "ns"), ("ua", "us")))
        own = f"EXISTS (SELECT FROM unnest({column}) AS e WHERE e IN ({self._literal(claim)}))"
        return Piece(f"{column} && {{{claim}}}", own, frozenset({claim}))

    def _listed(self) -> Piece:
        return Piece("t IN ({s}, {s}::text)", f"t IN ({self._literal('s')})", frozenset({"s"}))

    def _member(self) -> Piece:
        column, wanted = self._random.choice((("t", "a"), ("v", "a"), ("i8", "k")))
        said = f"{column} IN (SELECT {wanted} FROM public.m WHERE o = {{s}})"
        own = f"EXISTS (SELECT FROM m WHERE m.{wanted} = r.{column} AND o = {self._literal('s')})"
        return Piece(said, own, frozenset({"s"}))

    def _row(self) -> Piece:
        own = f"EXISTS (SELECT FROM m WHERE m.a = r.t AND m.k = r.i8 AND o = {self._literal('s')})"
        return Piece("(t, i8) IN (SELECT a, k FROM public.m WHERE o = {s})", own, frozenset({"s"}))

    def _free(self, depth: int, *, select: bool = True) -> Piece:
        """Any predicate that both evaluators read alike."""
        if depth and self._one_in(3):
            return _joined(self._random.choice(("AND", "OR")), *(self._free(depth - 1, select=select) for _ in "ab"))
        if depth and self._one_in(5):
            inner = self._comparison("t", "v", "i8", "u", "st")
            return Piece(f"NOT ({inner.policy})", f"NOT ({inner.own})")
        if select and self._one_in(6):
            where = "a IS NOT NULL AND o = 'b'"
            return Piece(
                f"t NOT IN (SELECT a FROM public.m WHERE {where})",
                "t IS NOT NULL AND NOT EXISTS (SELECT FROM m WHERE m.a = r.t AND o = 'b')",
            )
        return self._comparison(*TYPES)

    def _comparison(self, *columns: str) -> Piece:
        column = self._random.choice([name for name in columns if not TYPES[name].endswith("[]")])
        if column == "b":
            said = self._random.choice(("b", "NOT b", "b IS NOT TRUE", "b = FALSE", "b IS DISTINCT FROM TRUE"))
            return Piece(said, said)
        if self._one_in(5):
            return Piece(f"{column} IS NOT NULL", f"{column} IS NOT NULL")
        values = [self._value(column) for _ in range(self._random.randint(1, 3))]
        operators = ["=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM", "IN", "NOT IN"]
        operators += ["<", ">="] if column in ("i2", "i4", "i8") else []
        operator = self._random.choice(operators)
        right = f"({', '.join(values)})" if operator.endswith("IN") else values[0]
        own = f"{column}::text" if column == "st" else column
        return Piece(f"{column} {operator} {right}", f"{own} {operator} {right}")

    def _value(self, column: str) -> str:
        if column in ("i2", "i4", "i8", "id"):
            return str(self._random.choice((0, 1, 2, -5, 7)))
        texts = [text for text in TEXTS if text != "{z}"]  # which looks like a claim
        return _quoted(self._random.choice(U if column == "u" else STATES if column == "st" else texts))

    def _literal(self, claim: str) -> str:
        value = self._said[claim]
        return ", ".join(map(_quoted, value)) if isinstance(value, list) else _quoted(value)

    def _some(self, values: Sequence[Any], most: int) -> list[Any]:
        return self._random.sample(list(values), self._random.randint(1, most))

    def _one_in(self, count: int) -> bool:
        return self._random.randrange(count) == 0

    def rows(self, count: int) -> list[dict[str, Any]]:
        """Rows for the table, with NULL in every place now and then."""
        pick = self._random
        choices: Mapping[str, Callable[[], Any]] = {
            "t": lambda: pick.choice(TEXTS),
            "v": lambda: pick.choice(TEXTS),
            "i2": lambda: pick.choice((0, 1, 2, -5)),
            "i4": lambda: pick.choice((0, 1, 2, -5, 2_147_483_647)),
            "i8": lambda: pick.choice(NUMBERS),
            "u": lambda: pick.choice(U),
            "b": lambda: pick.choice((True, False)),
            "st": lambda: pick.choice(STATES),
            "ta": lambda: [pick.choice((*TEXTS, None)) for _ in range(pick.randint(0, 3))],
            "ia": lambda: [pick.choice((*NUMBERS, None)) for _ in range(pick.randint(0, 3))],
            "ua": lambda: [pick.choice((*U, None)) for _ in range(pick.randint(0, 3))],
        }
        return [
            {"id": number} | {name: None if pick.random() < 0.2 else made() for name, made in choices.items()}
            for number in range(count)
        ]


def _joined(operator: str, *pieces: Piece) -> Piece:
    claims = frozenset().union(*(piece.claims for piece in pieces))
    return Piece(
        f" {operator} ".join(f"({piece.policy})" for piece in pieces),
        f" {operator} ".join(f"({piece.own})" for piece in pieces),
        claims,
    )


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
