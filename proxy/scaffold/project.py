# SPDX-License-Identifier: Apache-2.0
"""The files of a first project, written all or not at all."""

import secrets
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.auth import policy_loader
from proxy.auth.key_files import KeyFile, write
from proxy.auth.policy_loader import PoliciesFault
from proxy.core.drift import TableFacts
from proxy.core.identifiers import Table
from proxy.scaffold import texts
from proxy.scaffold.guesses import Guess, GuessFault, Skipped, guesses, isolation_column

KEYS: Final = "keys.json"
PUBLIC_KEYS: Final = "keys.public.json"
_PRIVATE, _SHARED = 0o600, 0o644


class ProjectFault(Exception):
    """The files must not be written; the text has a line for each that is there."""


@dataclass(frozen=True, slots=True)
class Project:
    """What is to be written. `files` are texts by their path in the project, with the rights of each."""

    isolate: str
    guesses: tuple[Guess, ...]
    skipped: tuple[Skipped, ...]
    files: Mapping[str, tuple[str, int]]

    @classmethod
    def of(cls, facts: Mapping[Table, TableFacts], isolate: str | None, dsn: str) -> "Project":
        """The project for a database. Raises GuessFault."""
        column = isolation_column(facts, isolate)
        found, skipped = guesses(facts, column)
        loading, refused = _loading(found)
        if not loading:
            raise GuessFault(f"no table gets a policy by {column}: {(*refused, *skipped)[0].why}")
        keys = KeyFile.new("ES256")
        files = {f"policies/{guess.name}.toml": (texts.policy(guess), _SHARED) for guess in loading}
        files |= {
            KEYS: (keys.text(), _PRIVATE),
            PUBLIC_KEYS: (keys.public.text(), _SHARED),
            ".env": (texts.environment(dsn, PUBLIC_KEYS, secrets.token_urlsafe(32)), _PRIVATE),
            "electric.sql": (texts.sql(loading), _SHARED),
        }
        return cls(column, loading, (*skipped, *refused), files)

    def write(self, folder: Path) -> None:
        """Writes every file, and none if one of them is there. Raises ProjectFault, OSError."""
        there = [folder / name for name in self.files if (folder / name).exists()]
        there += sorted(set((folder / "policies").glob("*.toml")) - set(there))
        if there:
            raise ProjectFault("\n".join(f"{path}: is there already; nothing was written" for path in there))
        (folder / "policies").mkdir(parents=True, exist_ok=True)
        for name, (text, mode) in self.files.items():
            write(folder / name, text, mode, new=True)


def _loading(found: Iterable[Guess]) -> tuple[tuple[Guess, ...], tuple[Skipped, ...]]:
    """The guesses that load as policies, and those that do not, each with the reason."""
    loading: list[Guess] = []
    refused: list[Skipped] = []
    for guess in found:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"{guess.name}.toml").write_text(texts.policy(guess), "utf-8")
            try:
                policy_loader.load(Path(folder))
            except PoliciesFault as fault:
                reason = fault.lines[0].partition(": ")[2]
                refused.append(Skipped(guess.table, f"a policy {guess.how} would not load: {reason}", todo=True))
            else:
                loading.append(guess)
    return tuple(loading), tuple(refused)
