"""All rows, tables and tokens over a few values, in a real PostgreSQL: what a proof says must hold among them.

The contents of a table that an inner SELECT reads are worlds: each row of the policy's own table is looked at in each
of them. One query for a token gives every pair of a row and a world in which it reads the row.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, TypeAlias

from proxy.core.claims import ClaimSpec, ClaimType
from proxy.core.filters import Condition, Predicate
from proxy.core.filters.ast import Subselect
from proxy.core.identifiers import Table, quote
from proxy.core.policy import Policy
from proxy.proof.accesses import Shape
from proxy.proof.isolation import selects
from proxy.proof.reading import literals
from tests.proof.ground import Granted, Ground, granted, inner_tables, written

Claims: TypeAlias = Mapping[str, object]
Seen: TypeAlias = frozenset[tuple[int, int]]
"""Pairs of a row and a world."""

UUIDS = ("00000001-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "00000002-aaaa-4aaa-8aaa-aaaaaaaaaaaa")
_MOST_WORLDS = 40
_MOST_ROWS = 120

_SEEN: dict[tuple[str, ...], Seen] = {}
"""What a predicate selects: the rows and worlds of a policy are the same each time that they are laid."""


@dataclass(frozen=True)
class Token:
    """A token, what the proxy lets it read, the rows that are that, and which of them are public."""

    claims: Claims
    given: Granted
    seen: Seen
    public: Seen


class Exhaustive:
    """Every row over a few values of the columns that some policies test, in every small world."""

    def __init__(self, ground: Ground, policies: Sequence[Policy]) -> None:
        self._ground = ground
        self._policy = policy = policies[0]
        texts = {text for one in policies for node in Shape.of(one).conditions() for text in literals(node)}
        self._texts = sorted(text for text in texts if text)
        (self._inner,) = inner_tables(policies) or {None}
        assert self._inner != policy.table
        self._worlds = self._all_worlds()
        self._lay()

    @staticmethod
    def more(policies: Sequence[Policy]) -> dict[Table, list[str]]:
        """The columns that number the rows and the worlds."""
        numbered = {table: ['"in world" int'] for table in inner_tables(policies)}
        return numbered | {policies[0].table: ['"row" int']}

    def _values(self, table: Table, name: str) -> list[object]:
        known = self._ground.schema.of(table)
        kind = known.kind(name)
        values: list[object] = {
            "integer": [1, 2],
            "boolean": [True, False],
            "uuid": [*UUIDS],
            "text": ["v1", "v2", *self._texts],
            "date": ["2026-01-31"],
        }.get(kind, [None])
        if name in known.arrays:
            values = [[], [values[0]], [values[1]], [values[0], values[1]]]
        return values if name in known.key or None in values else [*values, None]

    def _rows(self, table: Table, most: int) -> tuple[list[str], list[tuple[object, ...]]]:
        names = sorted(self._ground.columns[table])
        rows = list(product(*(self._values(table, name) for name in names)))
        return names, rows[:: 1 + len(rows) // most]

    def _all_worlds(self) -> list[tuple[int, ...]]:
        """Each world as the numbers of the inner rows that it has: none, one or two of them, under their key."""
        if self._inner is None:
            return [()]
        names, self._members = self._rows(self._inner, 12)
        key = self._ground.schema.of(self._inner).key
        keys = [tuple(row[names.index(name)] for name in key) for row in self._members]
        pairs = [pair for pair in combinations(range(len(keys)), 2) if not key or keys[pair[0]] != keys[pair[1]]]
        worlds = [(), *((index,) for index in range(len(keys))), *pairs]
        return worlds[:: 1 + len(worlds) // _MOST_WORLDS]

    def _lay(self) -> None:
        names, rows = self._rows(self._policy.table, _MOST_ROWS)
        self._fill(self._policy.table, [*names, "row"], [(*row, number) for number, row in enumerate(rows)])
        self._ground.execute("CREATE TEMP TABLE worlds (world int) ON COMMIT DROP")
        self._ground.execute("INSERT INTO worlds SELECT generate_series(0, $1::int)", [str(len(self._worlds) - 1)])
        if self._inner is not None:
            names = sorted(self._ground.columns[self._inner])
            held = [(*self._members[at], number) for number, world in enumerate(self._worlds) for at in world]
            self._fill(self._inner, [*names, "in world"], held)

    def _fill(self, table: Table, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        for start in range(0, len(rows), 200):
            part = rows[start : start + 200]
            numbers = iter(range(1, len(names) * len(part) + 1))
            values = ", ".join("(" + ", ".join(f"${next(numbers)}" for _ in names) + ")" for _ in part)
            params = [written(value) for row in part for value in row]
            self._ground.execute(f"INSERT INTO {table.quoted} ({', '.join(map(quote, names))}) VALUES {values}", params)

    def tokens(self, policy: Policy, *others: Policy) -> list[Token]:
        """Every token over a few values that the policy does not refuse, with what it reads.

        The values are of the claims that this policy and the others read.
        """
        found = []
        for claims in _all_claims((policy, *others)):
            given = granted(policy, claims)
            if given is not None:
                public = given.grant.also_public
                of_all = frozenset() if public is None else self._seen(given.alone(public))
                found.append(Token(claims, given, self._seen(given.sent), of_all))
        return found

    def _seen(self, sent: Predicate) -> Seen:
        key = (self._policy.name, *self._texts, sent.text, *sent.params)
        if key not in _SEEN:
            _SEEN[key] = self._asked(sent)
        return _SEEN[key]

    def _asked(self, sent: Predicate) -> Seen:
        text = sent.text
        if self._inner is not None:
            one = f'(SELECT * FROM {self._inner.quoted} AS held WHERE held."in world" = worlds.world) AS held'
            text = text.replace(f"FROM {self._inner.quoted}", f"FROM {one}")
        query = f'SELECT "row", world FROM {self._policy.table.quoted}, worlds WHERE {text}'
        return frozenset((row, world) for row, world in self._ground.rows_or_none(query, sent.params))

    def shared(self, policy: Policy) -> list[tuple[Claims, Claims, tuple[int, int]]]:
        """Rows that two tokens read although the policy's isolation says that they do not."""
        tokens = self.tokens(policy)
        specs = {spec.name: spec for spec in policy.claims}
        found = []
        for first, second in combinations(tokens, 2):
            by = first.given.grant.isolation
            if by and by == second.given.grant.isolation and _differ(first, second, [specs[name] for name in by]):
                both = (first.seen & second.seen) - first.public - second.public
                found += [
                    (first.claims, second.claims, at) for at in both if self._counts(policy, at[1], first, second)
                ]
        return found

    def _counts(self, policy: Policy, world: int, *tokens: Token) -> bool:
        """Whether the world has no membership that is for one of the tokens alone."""
        if self._inner not in policy.through:
            return True
        return all(at in self._serving(token) for at in self._worlds[world] for token in tokens)

    def _serving(self, token: Token) -> set[int]:
        """The numbers of the inner rows that a token's grant selects."""
        conditions = [condition for _, condition in token.given.grant.conditions]
        tests = [test for condition in conditions for test in selects(condition.root) if test.table == self._inner]
        return {at for test in tests for at in self._selected(test, token.given)}

    def _selected(self, test: Subselect, given: Granted) -> set[int]:
        assert self._inner is not None
        if test.where is None:
            return set(range(len(self._members)))
        sent = given.alone(Condition.of(test.where))
        names = sorted(self._ground.columns[self._inner])
        cells = [written(value) for row in self._members for value in row]
        numbers = iter(range(len(sent.params) + 1, len(sent.params) + len(cells) + 1))
        types = [self._ground.type_of(self._inner, name) for name in names]
        values = ", ".join(
            "(" + ", ".join([f"${next(numbers)}::{type_}" for type_ in types]) + f", {at})"
            for at in range(len(self._members))
        )
        listed = ", ".join([*map(quote, names), '"at"'])
        query = f'SELECT "at" FROM (VALUES {values}) AS held ({listed}) WHERE {sent.text}'
        return {row[0] for row in self._ground.rows(query, [*sent.params, *cells])}

    def gained(self, new: Policy, old: Policy) -> list[tuple[Claims, Any]]:
        """What tokens read under the new policy and not under the old one: rows, or columns of rows."""
        before = {str(token.claims): token for token in self.tokens(old, new)}
        found: list[tuple[Claims, Any]] = []
        for token in self.tokens(new, old):
            earlier = before.get(str(token.claims))
            more = token.seen - (earlier.seen if earlier else frozenset())
            columns = set(token.given.grant.columns) - set(earlier.given.grant.columns if earlier else ())
            if more or (columns and token.seen):
                found.append((token.claims, more or columns))
        return found


def _differ(first: Token, second: Token, specs: Iterable[ClaimSpec]) -> bool:
    for spec in specs:
        left, right = (token.given.values.get(spec.name) for token in (first, second))
        if isinstance(left, tuple) and isinstance(right, tuple):
            if set(left).isdisjoint(right):
                return True
        elif left != right:
            return True
    return False


def _all_claims(policies: Sequence[Policy]) -> Iterator[Claims]:
    grants = [grant for policy in policies for grant in policy.grants]
    wanted: dict[ClaimSpec, list[str]] = {}
    for when in (when for grant in grants for when in grant.when):
        wanted.setdefault(when.claim, []).append(min(when.values))
    narrow = [part.claim for grant in grants for part in grant.narrow]
    needed = [spec for policy in policies for spec in policy.claims if not spec.optional]
    read = [spec for grant in grants for spec in (*grant.claims, *narrow)]
    specs = list(dict.fromkeys((*needed, *read, *wanted)))
    options = [_options(spec, wanted.get(spec, ()), optional=spec.optional or spec in narrow) for spec in specs]
    for chosen in product(*options):
        yield _nested(dict(zip(specs, chosen, strict=True)))


def _nested(values: Mapping[ClaimSpec, object]) -> Claims:
    """Claims by their paths, as a token has them."""
    claims: dict[str, Any] = {}
    for spec, value in values.items():
        if value is not None:
            place = claims
            for step in spec.path[:-1]:
                place = place.setdefault(step, {})
            place[spec.path[-1]] = value
    return claims


_VALUES: Mapping[ClaimType, Sequence[object]] = {
    ClaimType.text: ("v1", "v2"),
    ClaimType.uuid: UUIDS,
    ClaimType.integer: (1, 2),
    ClaimType.boolean: (True, False),
}


def _options(spec: ClaimSpec, wanted: Sequence[str], *, optional: bool) -> list[object]:
    values = [*dict.fromkeys(wanted), "other"] if wanted else list(_VALUES[spec.type])
    options: list[object] = [[value] for value in values] if spec.list else values
    return [*options, None] if optional else options
