"""Two decisions compared: what is wider, narrower, or unclear."""

import pytest

from proxy.core.comparison import Decided, Sent, compare, conjuncts, outcome
from tests.core.samples import claims, decided, policy


def sent(where: str = "a", columns: tuple[str, ...] = ("id", "a"), page: str | None = None) -> Sent:
    return Sent("notes", columns, where, page)


ROWS: dict[str, tuple[str, str, str]] = {
    "the same": ("\"a\" = '1'", "\"a\" = '1'", "same"),
    "the same without the client's TRUE": ("(\"a\" = '1') AND (TRUE)", "\"a\" = '1'", "same"),
    "in another order": ("(a) AND (b)", "(b) AND (a)", "same"),
    "one more conjunct": ("a", "(a) AND (b)", "narrower"),
    "one conjunct less": ("((a) AND (b)) AND (c)", "(a) AND (c)", "wider"),
    "everything": ("a", "TRUE", "wider"),
    "another value": ("a = '1'", "a = '2'", "unclear"),
    "an OR": ("a", "(a) OR (b)", "unclear"),
    "an AND within an OR is none": ("(a) OR ((b) AND (c))", "(a) OR (b)", "unclear"),
    "an AND in a text is none": ("a = 'x AND y'", "a = 'x", "unclear"),
    "an AND in a name is none": ('"x AND y" = 1', 'y" = 1', "unclear"),
    "a bracket in a text is none": ("(a = ')') AND (b)", "a = ')'", "wider"),
    "a quote in a text": ("(a = 'it''s (') AND (b)", "b", "wider"),
}


@pytest.mark.parametrize(("before", "after", "came"), ROWS.values(), ids=ROWS)
def test_predicates_are_compared_by_what_must_hold(before: str, after: str, came: str) -> None:
    assert outcome(compare(sent(before), sent(after))) == came


DECIDED: dict[str, tuple[Decided, Decided, str, str]] = {
    "refused twice": ("claim_missing", "shape_forbidden", "same", ""),
    "refused now": (sent(), "claim_missing", "narrower", "refused with claim_missing, was allowed"),
    "allowed now": (
        "claim_missing",
        sent("a"),
        "wider",
        "allowed, was refused with claim_missing: id, a where a",
    ),
    "a column more": (sent(), sent(columns=("id", "a", "b")), "wider", "gains the columns b"),
    "a column less": (sent(), sent(columns=("id",)), "narrower", "loses the columns a"),
    "one more and one less": (sent(), sent(columns=("id", "b")), "wider", "gains the columns b; loses the columns a"),
    "a page of more rows": (
        sent("(a) AND (b)", page="(a) AND (b)"),
        sent("(a) AND (b)", page="a"),
        "wider",
        "more rows: where a, was where (a) AND (b)",
    ),
}


@pytest.mark.parametrize(("before", "after", "came", "said"), DECIDED.values(), ids=DECIDED)
def test_what_a_decision_gives_or_takes_is_a_sentence(before: Decided, after: Decided, came: str, said: str) -> None:
    changes = compare(before, after)
    assert outcome(changes) == came
    assert "; ".join(change.text for change in changes) == said


def test_a_page_and_its_shape_are_compared_once_if_they_change_alike() -> None:
    assert len(compare(sent("(a) AND (b)", page="(a) AND (b)"), sent("a", page="a"))) == 1


def test_what_is_sent_holds_the_values_and_can_be_written_and_read() -> None:
    made = Sent.of(decided(who=claims(session_id="it's"), where="mode = '$1'", columns="id"))
    assert made.where == """("session_id" = 'it''s') AND ("mode" = '$1')"""
    assert (made.policy, made.columns, made.page) == ("notes", ("id",), None)
    paged = Sent.of(decided(subset__where="mode = 'a'"))
    assert paged.page == """("session_id" = 's-ada') AND ("mode" = 'a')"""
    for one in (made, paged):
        assert Sent.parse(one.members()) == one


def test_another_claim_of_the_same_value_is_another_column() -> None:
    texts = ("session_id = {session_id}", "mode = {session_id}")
    before, after = (decided(policy(where=text, narrow=[])) for text in texts)
    assert outcome(compare(Sent.of(before), Sent.of(after))) == "unclear"


def test_brackets_that_stand_around_all_are_no_part_of_it() -> None:
    assert conjuncts("((a) AND ((b) AND (TRUE)))") == ("a", "b")
    assert conjuncts("(a) OR (b)") == ("(a) OR (b)",)
    assert conjuncts("TRUE") == ()
    assert conjuncts("(a") == ("(a",), "no text of ours, and left as it is"
