"""The stand-in answers as the recorded Electric 1.7.12 did: no recorded answer differs.

What is known to differ and was not recorded stands in test_differences.py.
"""

import asyncio

import pytest

from proxy.sandbox import EmbeddedPostgres
from tests.sandbox.replay import FOLDER, SCALE, Played, Player, transcripts

EVERY = [one.name for one in transcripts()]


@pytest.fixture(scope="module")
def played(postgres: EmbeddedPostgres) -> dict[str, Played]:
    """Every recording, played once, in order."""
    dsn = postgres.create_database(sql=(FOLDER / "schema.sql").read_text())
    player = Player(postgres, dsn)
    asyncio.run(player.play())
    postgres.drop_database(dsn)
    return player.played


@pytest.mark.parametrize("name", EVERY)
def test_the_stand_in_answers_as_electric_did(played: dict[str, Played], name: str) -> None:
    one = played[name]
    assert one.ours.status == one.recorded.status
    assert one.ours.headers == one.recorded.headers
    assert one.ours.chunks == one.recorded.chunks
    if one.recorded_seconds > 0.9:
        assert one.seconds >= one.recorded_seconds * SCALE * 0.9
