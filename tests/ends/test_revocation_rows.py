"""What the rows of the table of revocations say, and which tokens they void."""

import math

import pytest

from proxy.auth.revocation_rows import RevocationRows, Row, RowFault
from proxy.auth.revoked import Revoked
from proxy.core.claims import Claims
from proxy.core.errors import Refusal

Columns = dict[str, str | None]
NOON = 1_700_000_000.0


def row(
    kind: str | None = "subject", value: str | None = "ada", before: str | None = None, until: str | None = None
) -> Columns:
    return {"id": "1", "kind": kind, "value": value, "not_before": before, "expires_at": until}


ROWS: dict[str, tuple[Columns, Row]] = {
    "a subject": (row(), Row(("subject", "ada"), math.inf, math.inf)),
    "a token": (row("jti", "4f1c"), Row(("jti", "4f1c"), math.inf, math.inf)),
    "a claim": (row("claim:org_id", "o-1"), Row(("claim:org_id", "o-1"), math.inf, math.inf)),
    "times": (
        row(before="2023-11-14 22:13:20+00", until="2023-11-15 00:13:20.5+02"),
        Row(("subject", "ada"), NOON, NOON + 0.5),
    ),
    "a time of half an hour's zone": (row(before="2023-11-15 03:43:20+05:30"), Row(("subject", "ada"), NOON, math.inf)),
    "microseconds": (row(before="2023-11-14 22:13:20.000001+00"), Row(("subject", "ada"), NOON + 1e-6, math.inf)),
    "infinity": (row(before="infinity", until="infinity"), Row(("subject", "ada"), math.inf, math.inf)),
    "minus infinity": (row(before="-infinity"), Row(("subject", "ada"), -math.inf, math.inf)),
    "a time without a zone": (row(before="2023-11-14 22:13:20"), Row(("subject", "ada"), NOON, math.inf)),
}


@pytest.mark.parametrize(("columns", "meant"), ROWS.values(), ids=ROWS)
def test_a_row_names_tokens_and_times(columns: Columns, meant: Row) -> None:
    assert Row.parse(columns) == meant


FAULTS: dict[str, tuple[Columns, str]] = {
    "no kind": (row(None), "its kind is none of subject, jti, claim:<name>"),
    "another kind": (row("sub"), "its kind is none of subject, jti, claim:<name>"),
    "a claim without a name": (row("claim:"), "its kind is none of subject, jti, claim:<name>"),
    "no value": (row(value=None), "its value is missing or empty"),
    "an empty value": (row(value=""), "its value is missing or empty"),
    "no time": (row(before="soon"), "its not_before is not a time of the years 1 to 9999"),
    "a time before Christ": (row(until="0044-03-15 12:00:00+00 BC"), "its expires_at is not a time of the years"),
}


@pytest.mark.parametrize(("columns", "why"), FAULTS.values(), ids=FAULTS)
def test_a_row_that_cannot_be_used_says_why(columns: Columns, why: str) -> None:
    with pytest.raises(RowFault) as fault:
        Row.parse(columns)
    assert str(fault.value).startswith(why)


# What they add up to.

ADA = ("subject", "ada")


def at(seconds: float) -> str:
    return f"2023-11-14 22:{13 + int(20 + seconds) // 60}:{(20 + seconds) % 60:09.6f}+00"


def test_rows_come_and_go() -> None:
    rows = RevocationRows(lambda: 0)
    rows.put("1", row(before=at(0)), NOON)
    rows.put("2", row(before=at(30)), NOON)
    rows.put("3", row("jti", "x"), NOON)
    assert rows.before == {ADA: NOON + 30, ("jti", "x"): math.inf}
    assert (len(rows), rows.changed) == (3, {ADA, ("jti", "x")})
    rows.changed.clear()
    rows.remove("2")
    assert rows.before[ADA] == NOON
    rows.remove("1")
    rows.remove("unknown")
    assert rows.before == {("jti", "x"): math.inf}
    assert rows.changed == {ADA}


def test_an_update_says_only_what_changed() -> None:
    rows = RevocationRows(lambda: 0)
    rows.put("1", row(before=at(0)), NOON)
    rows.put("1", {"id": "1", "not_before": at(9)}, NOON)
    assert rows.before == {ADA: NOON + 9}
    rows.put("1", {"id": "1", "value": "bob"}, NOON)
    assert rows.before == {("subject", "bob"): NOON + 9}
    rows.put("1", {"id": "1", "not_before": None}, NOON)
    assert rows.before == {("subject", "bob"): math.inf}


def test_a_row_is_over_at_its_time_and_the_leeway_behind_it() -> None:
    rows = RevocationRows(lambda: 10)
    rows.put("1", row(until=at(5)), NOON)
    rows.put("2", row("jti", "x", until=at(90)), NOON)
    rows.put("3", row("jti", "y", until=at(5)), NOON + 15)  # over already
    rows.expire(NOON + 14.9)
    assert rows.before.keys() == {ADA, ("jti", "x")}
    rows.expire(NOON + 15)
    assert rows.before.keys() == {("jti", "x")}
    rows.put("2", {"until": None, "expires_at": None}, NOON)  # it is prolonged: the end that was noted is not its end
    rows.expire(NOON + 1000)
    assert rows.before.keys() == {("jti", "x")}


def test_a_longer_leeway_holds_the_rows_of_before_as_well() -> None:
    leeway = 10.0
    rows = RevocationRows(lambda: leeway)
    rows.put("1", row(until=at(5)), NOON)
    leeway = 60.0
    rows.expire(NOON + 64)
    assert rows.before.keys() == {ADA}
    rows.expire(NOON + 65)
    assert not rows.before


def test_rows_that_come_again_stay_and_those_that_do_not_are_gone_only_when_all_have_come() -> None:
    rows = RevocationRows(lambda: 0)
    rows.put("1", row(), NOON)
    rows.put("2", row("jti", "x"), NOON)
    rows.restart()
    assert rows.before.keys() == {ADA, ("jti", "x")}
    rows.put("2", row("jti", "x"), NOON)
    rows.put("3", row("jti", "z"), NOON)
    assert rows.before.keys() == {ADA, ("jti", "x"), ("jti", "z")}
    rows.complete()
    assert rows.before.keys() == {("jti", "x"), ("jti", "z")}
    rows.complete()
    assert len(rows) == 2


def test_a_faulty_row_is_told_until_it_is_mended_or_gone_and_the_others_hold() -> None:
    rows = RevocationRows(lambda: 0)
    rows.put("1", row(), NOON)
    rows.put("2", row("iss"), NOON)
    rows.put("3", row(value=""), NOON)
    assert rows.faults.keys() == {"2", "3"}
    assert rows.before.keys() == {ADA}
    rows.put("2", {"kind": "jti", "value": "x"}, NOON)
    rows.remove("3")
    assert rows.faults == {}
    assert rows.before.keys() == {ADA, ("jti", "x")}


# Which tokens.

TOKENS: dict[str, tuple[dict[tuple[str, str], float], dict[str, object], bool]] = {
    "issued before": ({ADA: 100.0}, {"iat": 99}, True),
    "issued at that time": ({ADA: 100.0}, {"iat": 100}, False),
    "issued within the second before": ({ADA: 100.5}, {"iat": 100}, True),
    "issued later": ({ADA: 100.0}, {"iat": 101}, False),
    "that do not tell when": ({ADA: 100.0}, {}, True),
    "whose time is a truth value": ({ADA: 100.0}, {"iat": True}, True),
    "all": ({ADA: math.inf}, {"iat": 1e12}, True),
    "none": ({ADA: -math.inf}, {"iat": 1}, False),
    "of another subject": ({("subject", "bob"): math.inf}, {"iat": 1}, False),
    "with this id": ({("jti", "7"): math.inf}, {"jti": "7"}, True),
    "with this number as id": ({("jti", "7"): math.inf}, {"jti": 7}, True),
    "with a claim": ({("claim:org", "o"): math.inf}, {"org": "o"}, True),
    "with another claim": ({("claim:org", "o"): math.inf}, {"org": "p"}, False),
    "without the claim": ({("claim:org", "o"): math.inf}, {}, False),
    "with the claim in a list": ({("claim:org", "o"): math.inf}, {"org": ["n", "o"]}, True),
    "with a truth": ({("claim:admin", "true"): math.inf}, {"admin": True}, True),
    "with a number": ({("claim:level", "3"): math.inf}, {"level": 3}, True),
    "with an object": ({("claim:org", "o"): math.inf}, {"org": {"o": 1}}, False),
    "with a claim that is called as a kind": ({("claim:subject", "ada"): math.inf}, {}, False),
}


@pytest.mark.parametrize(("before", "values", "held"), TOKENS.values(), ids=TOKENS)
def test_tokens(before: dict[tuple[str, str], float], values: dict[str, object], held: bool) -> None:
    assert (Claims("ada", 0.0, values) in Revoked(before)) is held


def test_while_nobody_knows_what_is_revoked_every_token_is_refused_as_that() -> None:
    with pytest.raises(Refusal) as refusal:
        Revoked(known=False).check(Claims("ada", 0.0, {}))
    assert refusal.value.code.name == "revocations_unknown"
    Revoked().check(Claims("ada", 0.0, {}))
