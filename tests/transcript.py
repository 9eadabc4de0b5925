"""Documents with commands and their output: `python -m tests.transcript` runs them and writes what came out.

A block of `console` has lines that begin with `$ `, each followed by what it prints. All of a document run in one
shell, in an empty folder, with DATABASE_URL of a database that has the schema named in the document's first comment.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from proxy.sandbox import EmbeddedPostgres
from tests.tree import ROOT

DOCUMENTS = (ROOT / "docs" / "tutorial" / "init.md",)
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SCHEMA = re.compile(r"<!-- schema: ([\w/.-]+) -->")
_PSQL = "import sys, psycopg; psycopg.connect(sys.argv[1], autocommit=True).execute(open(sys.argv[2], 'rb').read())"
_MARK = "=== end of a command"


def written(document: Path, postgres: EmbeddedPostgres) -> str:
    """The document with what its commands print now."""
    text = document.read_text("utf-8")
    schema = _SCHEMA.search(text)
    assert schema is not None, document
    dsn = postgres.create_database(sql=(ROOT / schema[1]).read_text("utf-8"))
    try:
        outputs = iter(_run(commands(text), dsn))
    finally:
        postgres.drop_database(dsn)
    return _BLOCK.sub(lambda found: _block(found[1], outputs), text)


def commands(text: str) -> list[str]:
    """Every command of a document."""
    return [line[2:] for found in _BLOCK.finditer(text) for line in found[1].splitlines() if line.startswith("$ ")]


def _block(block: str, outputs: Iterator[str]) -> str:
    told = "".join(f"{line}\n{next(outputs)}" for line in block.splitlines() if line.startswith("$ "))
    return f"```console\n{told}```"


def _run(given: list[str], dsn: str) -> list[str]:
    """What each command prints, on either stream."""
    lines = [f'psql() {{ {sys.executable} -c "$PSQL" "$1" "${{@: -1}}"; }}']  # tests need no client of PostgreSQL
    lines += [f"{command}\necho '{_MARK}'" for command in given]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROXY_", "ELECTRIC_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["bash", "-c", "exec 2>&1\n" + "\n".join(lines)],
            cwd=folder,
            env=kept | {"DATABASE_URL": dsn, "PATH": path, "PSQL": _PSQL},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    return done.stdout.split(f"{_MARK}\n")[:-1]


if __name__ == "__main__":
    with EmbeddedPostgres() as server:
        for path in DOCUMENTS:
            path.write_text(written(path, server), "utf-8")
