"""What the language takes and what it refuses, one row each."""

import pytest

from proxy.core.filters import FilterFault, parse
from tests.core.filters.corpus import ACCEPTED, ENFORCED, REFUSED, Accepted, Refused
from tests.core.filters.rows import TYPED


def named(row: Accepted | Refused) -> str:
    return row.name


@pytest.mark.parametrize("row", ACCEPTED, ids=named)
def test_an_accepted_filter_is_sent_like_this(row: Accepted) -> None:
    assert row.predicate.text == ENFORCED + row.half
    assert row.predicate.params == ("s1", *row.values)


@pytest.mark.parametrize("row", REFUSED, ids=named)
def test_a_refusal_names_the_place_and_the_fault(row: Refused) -> None:
    with pytest.raises(FilterFault) as caught:
        parse(row.text, TYPED)
    assert (caught.value.position, caught.value.kind) == (row.at, row.kind), str(caught.value)
    assert row.says in caught.value.sentence
    assert str(caught.value) == f"at {row.at}: {caught.value.sentence}"


def test_hidden_and_unknown_columns_are_refused_alike() -> None:
    sentences = set()
    for name in ("secret_note", "no_such_column", "xmin", '"Secret_Note"'):
        with pytest.raises(FilterFault) as caught:
            parse(f"{name} = 'x'", TYPED)
        sentences.add(str(caught.value))
    assert len(sentences) == 1


JUNK = [";", "--", "\x00", ")", "(", "'", '"', "\\", " OR", "$$", "::", ",", ".", "🙂"]


@pytest.mark.parametrize("row", ACCEPTED, ids=named)
def test_an_accepted_filter_with_junk_before_or_behind_is_refused(row: Accepted) -> None:
    by_digits = row.text[-1].isdigit() or row.text[0].isdigit()
    for each in JUNK:
        junk = ".." if each == "." and by_digits else each  # a point beside digits makes a decimal of them
        assert not is_taken(junk + row.text), junk
        assert not is_taken(row.text + junk), junk


def is_taken(text: str) -> bool:
    try:
        parse(text, TYPED)
    except FilterFault:
        return False
    return True


@pytest.mark.parametrize("row", ACCEPTED, ids=named)
def test_an_accepted_filter_doubled_is_refused(row: Accepted) -> None:
    for text in (row.text + row.text, f"{row.text} {row.text}", f"{row.text}, {row.text}", f"({row.text})({row.text})"):
        assert not is_taken(text), text


@pytest.mark.parametrize("row", ACCEPTED, ids=named)
def test_an_accepted_filter_in_capitals_means_the_same(row: Accepted) -> None:
    if '"' in "".join(row.text.split("'")[::2]):  # quoted names keep their case too: in capitals they are others
        with pytest.raises(FilterFault):
            parse(row.text.upper(), TYPED)
        return
    # literals are data and keep their case
    pieces = row.text.split("'")
    shouted = "'".join(piece if number % 2 else piece.upper() for number, piece in enumerate(pieces))
    assert parse(shouted, TYPED) == row.condition


@pytest.mark.parametrize("row", ACCEPTED, ids=named)
def test_the_clients_half_fed_back_gives_itself(row: Accepted) -> None:
    again = Accepted("again", row.half, row.half, row.values, {n: v for n, v in enumerate(row.predicate.params, 1)})
    assert again.predicate == row.predicate
