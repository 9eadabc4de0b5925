# SPDX-License-Identifier: Apache-2.0
"""The name that was probably meant by an unknown one."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean name?` for the known name nearest to the word, or nothing if none is near."""
    near = get_close_matches(word, sorted(set(known) - {word}), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""
