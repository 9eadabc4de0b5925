"""The text of a function within its module."""

import ast
import functools


@functools.cache
def parts(source: str, function: str) -> tuple[str, str, str]:
    """The text of a module before, in and behind a function of it; all of it is in if no function is named."""
    lines = source.splitlines(keepends=True)
    if not function:
        return "", source, ""
    node: ast.AST = ast.parse(source)
    for name in function.split("."):
        node = next(child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name)
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return (
        "".join(lines[: node.lineno - 1]),
        "".join(lines[node.lineno - 1 : node.end_lineno]),
        "".join(lines[node.end_lineno :]),
    )
