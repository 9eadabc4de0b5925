"""A stream goes on in whole events, or in pieces where one is too long; no byte is lost, added or moved."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.sse import BOUNDARY, MAX_HELD_BYTES, Frames

FEEDS: dict[str, tuple[list[bytes], list[bytes], bytes]] = {
    "one event": ([b"data: 1\n\n"], [b"data: 1\n\n"], b""),
    "two events at once": ([b"data: 1\n\ndata: 2\n\n"], [b"data: 1\n\ndata: 2\n\n"], b""),
    "half an event is held": ([b"data: 1\n\nda", b"ta: 2\n\n"], [b"data: 1\n\n", b"data: 2\n\n"], b""),
    "a boundary in two chunks": ([b"data: 1\n", b"\n"], [b"", b"data: 1\n\n"], b""),
    "one line break is no boundary": ([b"data: 1\nid: 2\n"], [b""], b"data: 1\nid: 2\n"),
    "a keep-alive": ([b": keep-alive\n\n"], [b": keep-alive\n\n"], b""),
    "what is left at the end": ([b"data: 1\n\ndata"], [b"data: 1\n\n"], b"data"),
    "nothing": ([b""], [b""], b""),
    "three line breaks": ([b"a\n\n\nb"], [b"a\n\n\n"], b"b"),
}


@pytest.mark.parametrize(("chunks", "out", "rest"), FEEDS.values(), ids=FEEDS)
def test_chunks_become_whole_events(chunks: list[bytes], out: list[bytes], rest: bytes) -> None:
    frames = Frames()
    assert [frames.feed(chunk) for chunk in chunks] == out
    assert frames.rest() == rest
    assert frames.at_boundary


def test_an_event_that_is_too_long_passes_in_pieces() -> None:
    frames = Frames()
    assert frames.feed(b"x" * MAX_HELD_BYTES) == b""
    assert frames.at_boundary
    assert frames.feed(b"x") == b"x" * (MAX_HELD_BYTES + 1)
    assert not frames.at_boundary
    assert frames.feed(b"y") == b""
    assert not frames.at_boundary
    assert frames.feed(b"z\n\n") == b"yz\n\n"
    assert frames.at_boundary


@given(st.lists(st.sampled_from([b"", b"\n", b"\n\n", b"data: 1", b":", b"\r\n", b"x\n\ny", b"\xff"]), max_size=30))
def test_the_bytes_go_out_in_order_and_are_cut_at_boundaries_only(chunks: list[bytes]) -> None:
    frames = Frames()
    out = [frames.feed(chunk) for chunk in chunks]
    assert b"".join(out) + frames.rest() == b"".join(chunks)
    assert all(piece.endswith(BOUNDARY) for piece in out if piece)
    assert BOUNDARY not in frames.rest()
    assert frames.at_boundary


lines = st.binary(min_size=1, max_size=9).map(lambda raw: raw.replace(b"\n", b":"))


@given(st.lists(lines, min_size=1).map(BOUNDARY.join), st.booleans(), st.lists(st.integers(0, 200), max_size=9))
def test_where_the_chunks_are_cut_does_not_matter(events: bytes, ended: bool, cuts: list[int]) -> None:
    whole = events + BOUNDARY * ended
    at = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    frames = Frames()
    sent = b"".join(frames.feed(whole[start:end]) for start, end in pairwise(at))
    assert sent + frames.rest() == whole
    assert sent == whole[: whole.rfind(BOUNDARY) + len(BOUNDARY) if BOUNDARY in whole else 0]
