"""The types that `shape-proxy types` writes are TypeScript, and those of the rows that the client gives."""

import json
import subprocess
from pathlib import Path

from proxy.scaffold.typescript import module
from tests.clients.peer import HERE
from tests.test_cli import run
from tests.tree import ROOT

USE = """
import { ShapeStream, Shape, type Row } from "@electric-sql/client";
import type { Shapes, ShapeName, Todos, Odd } from "./shapes";

export function shape<Name extends ShapeName>(name: Name): Shape<Shapes[Name]> {
  return new Shape(new ShapeStream<Shapes[Name]>({ url: `https://shapes.example/v1/shapes/${name}` }));
}
export const rows: Promise<Todos[]> = shape("todos").rows;
export const id: bigint = (await rows)[0].id;
export const done: boolean | null = (await rows)[0].done;
export const odd: Row<unknown> = (await shape("odd").rows)[0] satisfies Odd;
export const tags: (string | null)[] | null = (await shape("odd").rows)[0]["the tags"];
// @ts-expect-error there is no such shape
shape("secrets");
// @ts-expect-error there is no such column
export const secret = (await rows)[0].secret;
// @ts-expect-error int8 is no number
export const number: number = (await rows)[0].id;
"""
ODD = {
    "name": "odd",
    "path": "/v1/shapes/odd",
    "key": ["id"],
    "columns": [
        {"name": "id", "type": "int4"},
        {"name": "the tags", "type": "text[]"},
        {"name": "body", "type": "jsonb"},
        {"name": "other", "type": None},
    ],
}


def test_the_written_module_is_checked_by_typescript(tmp_path: Path) -> None:
    written = run("types", "--typescript", "--policies", str(ROOT / "policies"))
    assert written.exit_code == 0
    odd = module([ODD]).partition("/** /v1/shapes/odd */")[2].partition("/** The rows")[0]
    text = written.stdout.replace("export type Shapes = {", f"{odd}export type Shapes = {{\n  odd: Odd;")
    (tmp_path / "shapes.ts").write_text(text)
    (tmp_path / "use.ts").write_text(USE)
    options = {
        **json.loads((HERE / "tsconfig.json").read_text())["compilerOptions"],
        "rootDir": "/",
        "noEmit": True,
        "paths": {"@electric-sql/*": [f"{HERE}/node_modules/@electric-sql/*"]},
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["*.ts"]}))
    tsc = [str(HERE / "node_modules" / ".bin" / "tsc"), "-p", str(tmp_path)]
    checked = subprocess.run(tsc, cwd=HERE, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
