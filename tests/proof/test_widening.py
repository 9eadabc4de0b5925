"""What a change of the files lets a token read. Every gain is tried: the token reads it now, and did not before."""

from collections.abc import Mapping, Sequence

import pytest

from proxy.core.policy import Policy, PolicySet
from proxy.proof import report
from proxy.proof.widening import NOTHING, UNDECIDED, WIDER, Change
from tests.proof.ground import Connection, Ground
from tests.proof.written import change, policy

TYPES = '\n[types]\nid = "int8"\na = "text"\nb = "text"\n'
X = f'{TYPES}[claims]\nx = "text"\n'
ROLE = f'{X}role = {{ type = "text", optional = true }}\n'
BY_X = "where = 'a = {x}'"
OPEN = """where = "a = {x} AND b = 'open'" """
FROM_5 = "where = 'a = {x} AND id > 4'"
GRANT = "[[grant]]\nname = "
ONE, LIST, ELSEWHERE = 'x = "text"', 'x = "text[]"', 'x = { type = "text", from = ["app", "x"] }'


def grants(*given: str) -> str:
    """A policy of grants with roles."""
    return ROLE + "".join(f"{GRANT}'{index}'\n{text}\n" for index, text in enumerate(given))


ADMINS = "when = { role = 'admin' }\nwhere = 'a = {x}'"
MEMBERS = "where = \"a = {x} AND b = 'open'\"\ncolumns = ['id', 'a']"

CASES: Mapping[str, tuple[str, str, Sequence[str]]] = {
    # old, new, the columns of each gain: rows first
    "nothing": (BY_X + X, BY_X + X, []),
    "other words": (BY_X + X, "where = '{x} = a'" + X, []),
    "a further condition": (BY_X + X, OPEN + X, []),
    "a condition less": (OPEN + X, BY_X + X, ["id a b"]),
    "a condition that was of no effect": ("where = 'a = {x} AND a IS NOT NULL'" + X, BY_X + X, []),
    "NULL is seen now": (BY_X + X, "where = 'a = {x} OR (a IS NULL AND b = {x})'" + X, ["id a b"]),
    "rows for everybody": (BY_X + X, BY_X + "\nalso_public = \"b = 'open'\"" + X, ["id a b"]),
    "no rows for everybody any more": (BY_X + "\nalso_public = \"b = 'open'\"" + X, BY_X + X, []),
    "an order that begins earlier": (FROM_5 + X, "where = 'a = {x} AND id >= 4'" + X, ["id a b"]),
    "an order in other words": (FROM_5 + X, "where = 'a = {x} AND id >= 5'" + X, []),
    "a column": ("columns = ['id', 'a']\n" + BY_X + X, "columns = ['id', 'a', 'b']\n" + BY_X + X, ["b"]),
    "a column less": ("columns = ['id', 'a', 'b']\n" + BY_X + X, "columns = ['id', 'a']\n" + BY_X + X, []),
    "a grant behind a role": (grants(MEMBERS), grants(ADMINS, MEMBERS), ["id a b", "b"]),
    "a grant that comes too late": (grants(MEMBERS), grants(MEMBERS, ADMINS), []),
    "grants in another order": (grants(ADMINS, MEMBERS), grants(MEMBERS, ADMINS), []),
    "another role": (grants(ADMINS), grants(ADMINS.replace("'admin'", "['admin', 'owner']")), ["id a b"]),
    "a role that is not asked for": (grants(ADMINS), grants(BY_X), ["id a b"]),
    "a column of a grant": (grants(ADMINS, MEMBERS), grants(ADMINS, MEMBERS.split("\n")[0]), ["b"]),
    "a narrowing less": (BY_X + X + "[[narrow]]\nclaim = 'n'\nwhere = 'b = {n}'\n", BY_X + X, ["id a b"]),
    "a narrowing more": (BY_X + X, BY_X + X + "[[narrow]]\nclaim = 'n'\nwhere = 'b = {n}'\n", []),
    "a claim that may be missing": (
        grants(BY_X + "\nalso_public = \"b = 'open'\""),
        grants("also_public = \"b = 'open'\"").replace(ONE, 'x = { type = "text", optional = true }'),
        ["id a b"],
    ),
    "a claim of a wider type": (
        BY_X + X.replace(ONE, 'x = "uuid"'),
        BY_X + X,
        ["id a b"],
    ),
    "a claim of a narrower type": (BY_X + X, BY_X + X.replace(ONE, 'x = "uuid"'), []),
    "a list of what was one": (BY_X + X, "where = 'a = ANY({x})'" + X.replace(ONE, LIST), ["id a b"]),
    "a claim elsewhere": (BY_X + X, BY_X + X.replace(ONE, ELSEWHERE), ["id a b"]),
    "memberships": (BY_X + X, "where = 'a IN (SELECT a FROM public.m WHERE w = {x})'" + X, ["id a b"]),
    "memberships of fewer": (
        "where = 'a IN (SELECT a FROM public.m WHERE w = {x})'" + X,
        "where = \"a IN (SELECT a FROM public.m WHERE w = {x} AND r = 'full')\"" + X,
        [],
    ),
    "memberships of more": (
        "where = \"a IN (SELECT a FROM public.m WHERE w = {x} AND r = 'full')\"" + X,
        "where = 'a IN (SELECT a FROM public.m WHERE w = {x})'" + X,
        ["id a b"],
    ),
    "rows that are not among others": (
        "where = 'b = {x} AND a NOT IN (SELECT a FROM public.m WHERE w = {x})'" + X,
        "where = \"b = {x} AND a NOT IN (SELECT a FROM public.m WHERE w = {x} AND r = 'full')\"" + X,
        ["id a b"],
    ),
}  # fmt: skip


def _headed(text: str) -> Policy:
    columns = "" if text.startswith("columns") else 'columns = ["id", "a", "b"]\n'
    return policy(text, head=f'table = "public.things"\nkey = ["id"]\n{columns}')


@pytest.mark.parametrize("name", CASES)
def test_a_change_widens_or_is_shown_not_to(name: str, connection: Connection) -> None:
    old, new, expected = CASES[name]
    before, after = _headed(old), _headed(new)
    found = change(after, before)
    assert [" ".join(gain.columns) for gain in found.gains] == expected
    assert found.verdict == (WIDER if expected else NOTHING)
    with Ground(connection, [before, after]).laid() as ground:
        check_gains(after, before, found, ground)


def check_gains(after: Policy, before: Policy, found: Change, ground: Ground) -> None:
    """Every gain is one in PostgreSQL: the token reads these columns of the row now, and read none of them before."""
    for gain in found.gains:
        (claims,) = gain.witness.tokens
        assert set(gain.columns) <= set(ground.reads(after, gain.witness, claims)), gain
        assert not set(gain.columns) & set(ground.reads(before, gain.witness, claims)), gain


def _verdicts(new: Sequence[Policy], old: Sequence[Policy]) -> list[tuple[str, str]]:
    return [(found.policy, found.verdict) for found in report.compare(PolicySet.of(new), PolicySet.of(old)).outcomes]


def test_a_new_policy_is_all_new_and_one_of_another_name_is_not() -> None:
    here, there = (
        policy(BY_X + X),
        policy(BY_X + X, "others", 'table = "public.o"\nkey = ["id"]\ncolumns = ["id", "a"]\n'),
    )
    assert _verdicts([here, there], [here]) == [
        ("others", WIDER),
        ("things", NOTHING),
    ]
    assert _verdicts([policy(BY_X + X, "renamed")], [here]) == [("renamed", NOTHING)]


def test_what_two_policies_gave_one_may_give() -> None:
    left, right = policy("where = \"a = {x} AND b = '1'\"" + X), policy("where = \"a = {x} AND b = '2'\"" + X, "more")
    both = policy("where = \"a = {x} AND b IN ('1', '2')\"" + X)
    assert _verdicts([both], [left, right]) == [("things", NOTHING)]
    assert _verdicts([both], [left]) == [("things", WIDER)]


def test_new_rights_of_the_client_are_listed_and_are_no_gain() -> None:
    old = policy(BY_X + X + "[client]\nfilter = ['a']\nsubset = { max_limit = 10 }\n")
    new = policy(
        BY_X + X + "[client]\nfilter = ['a', 'b']\nreplica = ['default', 'full']\nsubset = { max_limit = 20 }\n"
    )
    found = change(new, old)
    assert found.verdict == NOTHING
    assert found.rights == ("a filter on b", "replica = full", "pages of up to 20 rows")
    assert change(old, new).rights == ()


def test_what_is_not_modelled_is_undecided() -> None:
    found = change(policy("where = \"a = {x} AND b LIKE 'x%'\"" + X), policy(BY_X + X))
    assert (found.verdict, found.why) == (UNDECIDED, "LIKE is not modelled")
