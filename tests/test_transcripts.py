"""What a tutorial says that commands print is what they print."""

from pathlib import Path

import pytest

from proxy.sandbox import EmbeddedPostgres
from tests.transcript import DOCUMENTS, commands, written


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_a_document_shows_what_its_commands_print(document: Path, postgres: EmbeddedPostgres) -> None:
    text = document.read_text("utf-8")
    assert commands(text)
    assert written(document, postgres) == text, "run python -m tests.transcript"
