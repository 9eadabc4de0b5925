"""The blocks of examples/typescript/README.md, and examples/python, as programs."""

import re
from pathlib import Path

from tests.clients.peer import HERE

EXAMPLES = Path(__file__).parents[2] / "examples"
README = EXAMPLES / "typescript" / "README.md"
PYTHON = EXAMPLES / "python" / "follow.py"
FOLDER = HERE / "dist" / "recipes"
COMPILED = HERE / "dist" / "node" / "tests" / "clients" / "dist" / "recipes"
GUIDES = HERE.parents[1] / "docs" / "how-to"
GATEKEEPER = GUIDES / "gatekeeper-typescript.md"
PROXY, BACKEND = "https://shapes.example", "https://app.example"


def blocks(language: str, file: Path = README) -> list[str]:
    """The blocks of a language, in order."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", file.read_text(), re.MULTILINE | re.DOTALL)
    return found


def write_typescript() -> None:
    """Puts the TypeScript blocks where `tsc` takes them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for number, block in enumerate(blocks("ts")):
        (FOLDER / f"recipe{number}.ts").write_text(block)
    for number, block in enumerate(blocks("ts", GATEKEEPER)):
        (FOLDER / f"gatekeeper{number}.ts").write_text(block)


def placed(text: str, proxy: str, backend: str) -> str:
    """A recipe with addresses that are there."""
    return text.replace(PROXY, proxy).replace(BACKEND, backend)
