"""`shape-proxy types`: TypeScript of the rows of shapes, from policies or from a running proxy.

That TypeScript takes it is tested with the clients.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from proxy.scaffold.typescript import module
from tests.harness.running import POLICIES, running
from tests.harness.shared import DIRECT
from tests.test_cli import run


def shape(name: str, **columns: str | None) -> dict[str, Any]:
    listed = [{"name": column, "type": type_} for column, type_ in columns.items()]
    return {"name": name, "path": f"/v1/shapes/{name}", "key": ["id"], "columns": listed}


TYPES: dict[str | None, str] = {
    "int2": "number",
    "int4": "number",
    "int8": "bigint",
    "float8": "number",
    "numeric": "string",
    "bool": "boolean",
    "jsonb": "Value",
    "timestamptz": "string",
    "uuid": "string",
    "enum": "string",
    "int8[]": "(bigint | null)[]",
    "text[]": "(string | null)[]",
    None: "Value",
}


@pytest.mark.parametrize(("type_", "written"), TYPES.items())
def test_a_column_has_the_type_that_the_clients_parsers_give(type_: str | None, written: str) -> None:
    text = module([shape("notes", id=type_, more=type_)])
    assert f"  id: {written};\n" in text
    assert f"  more: {written} | null;\n" in text


def test_every_shape_has_a_type_and_stands_in_the_map() -> None:
    text = module([shape("chat_messages", id="int4"), shape("chat-messages", id="int4"), shape("shapes", id="int4")])
    assert "export type ChatMessages = {" in text
    assert "export type ChatMessagesRow2 = {" in text
    assert '  chat_messages: ChatMessages;\n  "chat-messages": ChatMessagesRow2;\n  shapes: ShapesRow2;\n' in text


def test_a_name_that_is_no_identifier_is_quoted() -> None:
    assert '  "a b": string | null;\n' in module([shape("notes", **{"a b": "text"})])


def types(*arguments: str) -> Result:
    return run("types", "--typescript", *arguments)


def test_policies_give_every_shape() -> None:
    result = types("--policies", str(POLICIES))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("export type ") == len(list(POLICIES.glob("*.toml"))) + 3


async def test_a_running_proxy_gives_those_that_the_token_may_use(upstream, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    async with running(upstream.url, tmp_path, **DIRECT) as proxy:
        file = tmp_path / "token"
        file.write_text(proxy.exact_token({"account_id": "acc-ada"}) + "\n")
        result = await asyncio.to_thread(types, "--url", proxy.url + "/", "--token", f"@{file}")
        assert (result.exit_code, result.stderr) == (0, "")
        assert "export type UiSettings = {" in result.stdout
        assert "Todos" not in result.stdout
        refused = await asyncio.to_thread(types, "--url", proxy.url, "--token", "x")
        assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert refused.stderr.startswith(f"{proxy.url}/v1/shapes: 401 token_invalid: ")
        elsewhere = await asyncio.to_thread(types, "--url", proxy.admin_url, "--token", "x")
        assert elsewhere.stderr == f"{proxy.admin_url}/v1/shapes: this is no answer of shape-proxy\n"


FAULTS = {
    "nobody there": (
        ["--url", "http://127.0.0.1:1", "--token", "x"],
        "http://127.0.0.1:1/v1/shapes: cannot be",
    ),
    "no URL": (["--url", "http://[", "--token", "x"], "http://[/v1/shapes: cannot be asked ("),
    "no policies": (["--policies", "/none"], "/none: there are no policies here"),
    "no token": (["--url", "http://127.0.0.1:1"], "Usage: "),
}


@pytest.mark.parametrize(("arguments", "line"), FAULTS.values(), ids=FAULTS)
def test_what_keeps_it_from_running_exits_2(arguments: list[str], line: str) -> None:
    result = types(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(line)


def test_a_language_must_be_named() -> None:
    assert run("types", "--policies", str(POLICIES)).exit_code == 2
