"""Words that mean something else to PostgreSQL than a column of their name, unless they are quoted."""

import pytest

from proxy.core.filters import FilterFault, columns_of, parse, parse_policy

WORDS = ("user", "current_user", "current_timestamp", "localtime", "session_user", "system_user", "default", "left")


@pytest.mark.parametrize("word", WORDS)
def test_a_reserved_word_is_no_column_of_a_filter(word: str) -> None:
    for spelling in (word, word.upper()):
        with pytest.raises(FilterFault, match=f"{word.upper()} is not part of the filter language here"):
            parse(f"{spelling} = 'x'", {word})


@pytest.mark.parametrize("word", WORDS)
def test_a_reserved_word_is_no_column_of_a_policy(word: str) -> None:
    for text in (f"{word} = {{c}}", f"a IN (SELECT {word} FROM public.t WHERE b = {{c}})"):
        with pytest.raises(FilterFault, match=f"{word.upper()} is not part of the filter language here"):
            parse_policy(text, {"c"})


@pytest.mark.parametrize("word", WORDS)
def test_in_quotes_it_is_one(word: str) -> None:
    assert columns_of(parse(f"\"{word}\" = 'x'", {word})) == {word}
    assert columns_of(parse_policy(f'"{word}" IN (SELECT "{word}" FROM public."{word}" WHERE b = {{c}})', {"c"})) == {
        word
    }


def test_a_word_that_is_not_reserved_is_a_column() -> None:
    assert columns_of(parse("date = 'x' AND value = 'y' AND text = 'z'", {"date", "value", "text"})) == {
        *("date", "value", "text")
    }
