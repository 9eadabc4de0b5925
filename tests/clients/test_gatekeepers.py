"""The gatekeepers of docs/how-to work as they are written: their tokens read what they say, and nothing else."""

import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.clients.conftest import StartWorld
from tests.clients.peer import HERE, tool
from tests.clients.recipes import COMPILED, GUIDES, blocks
from tests.clients.test_recipes import program, until
from tests.clients.world import World, free_port
from tests.harness.plain import plain

ISSUER = "https://acme.example"
PYTHON = GUIDES / "gatekeeper-python.md"
TYPESCRIPT = GUIDES / "gatekeeper-typescript.md"
LOGIN = {"cookie": "theme=dark; login=cookie-of-ada"}


@asynccontextmanager
async def in_python(folder: Path) -> AsyncIterator[str]:
    """The gatekeeper of the guide in Python; gives its address."""
    (script,) = blocks("python", PYTHON)
    (folder / "gatekeeper.py").write_text(script)
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL  # as `openssl ecparam -genkey` writes it
    raw = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "gatekeeper.pem").write_bytes(raw)
    port = free_port()
    said = {**os.environ, "GATEKEEPER_URL": ISSUER, "GATEKEEPER_KEY": "gatekeeper.pem"}
    command = ["env", *(f"{name}={said[name]}" for name in ("GATEKEEPER_URL", "GATEKEEPER_KEY"))]
    command += [sys.executable, "-W", "error", "-m", "uvicorn", "gatekeeper:app", "--port", str(port)]
    async with program(*command, cwd=folder) as output:
        await until(output, "Uvicorn running on")
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def in_typescript(folder: Path) -> AsyncIterator[str]:
    """The gatekeeper of the guide in TypeScript; gives its address."""
    script = str(HERE / "node" / "gatekeeper.mjs")
    async with program(tool("node"), script, str(COMPILED / "gatekeeper0.js"), ISSUER, cwd=folder) as output:
        yield f"http://127.0.0.1:{int(await output.readline())}"


Gatekeeper = tuple[str, Path]
"""Its address, and its guide."""


@pytest.fixture(params=[in_python, in_typescript])
async def gatekeeper(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Gatekeeper]:
    """Each of them, running."""
    (folder := tmp_path / "gatekeeper").mkdir()
    started: AbstractAsyncContextManager[str] = request.param(folder)
    async with started as address:
        yield address, PYTHON if request.param is in_python else TYPESCRIPT


def configured(folder: Path, gatekeeper: Gatekeeper) -> dict[str, str]:
    """The proxy's settings by the files of the guides."""
    address, guide = gatekeeper
    (issuers,) = [text for text in blocks("toml", guide) if text.startswith("# issuers.toml")]
    text, count = re.subn(r'(?m)^(keys +=) "https://acme.example', rf'\1 "{address}', issuers)
    assert count == 1
    (folder / "issuers.toml").write_text(text)
    (policies := folder / "policies").mkdir()
    (policy,) = [text for text in blocks("toml", PYTHON) if text.startswith("# policies/chat_messages.toml")]
    (policies / "chat_messages.toml").write_text(policy)
    single = ("KEYS", "ISSUER", "AUDIENCE", "LEEWAY_SECONDS")
    files = {"PROXY_ISSUERS": str(folder / "issuers.toml"), "PROXY_POLICIES": str(policies)}
    return files | dict.fromkeys([f"PROXY_TOKEN_{name}" for name in single], "")


async def token_of(client: httpx.AsyncClient, gatekeeper: Gatekeeper) -> dict[str, str]:
    """The header with a token for ada's messages."""
    answered = await client.post(f"{gatekeeper[0]}/gatekeeper/chat_messages", headers=LOGIN)
    assert answered.status_code == 200
    return {"authorization": f"Bearer {answered.json()['token']}"}


def rows(answered: httpx.Response) -> list[dict[str, str]]:
    """The rows of an answer."""
    assert answered.status_code == 200, answered.text
    return [message["value"] for message in json.loads(answered.text) if "value" in message]


async def asked(client: httpx.AsyncClient, app: World, headers: dict[str, str], **params: str) -> httpx.Response:
    """What the proxy answers to a request for the messages."""
    url = f"{app.proxy.url}/v1/shapes/chat_messages"
    return await client.get(url, params={"offset": "-1"} | params, headers=headers)


async def test_a_gatekeepers_token_reads_its_rows_and_columns_and_no_others(
    start: StartWorld, gatekeeper: Gatekeeper, tmp_path: Path
) -> None:
    async with start(**configured(tmp_path, gatekeeper)) as app, plain(timeout=60) as client:
        headers = await token_of(client, gatekeeper)
        first = await asked(client, app, headers)
        assert {row["session_id"] for row in rows(first)} == {"s-ada"}
        assert all(row.keys() == {"id", "session_id", "body"} for row in rows(first))

        await app.message("for bob", session="s-bob")
        await app.message("for ada")
        place = {"offset": first.headers["electric-offset"], "handle": first.headers["electric-handle"]}
        live = await asked(client, app, headers, live="true", **place)
        assert [row["body"] for row in rows(live)] == ["for ada"]

        for params, code in (
            ({"where": "session_id = 's-bob'"}, "predicate_mismatch"),
            ({"columns": "id,role"}, "column_forbidden"),
        ):
            assert (await asked(client, app, headers, **params)).json()["code"] == code
        repeated = {"where": "session_id = $1", "params[1]": "s-ada", "columns": "id,session_id,body"}
        assert {row["session_id"] for row in rows(await asked(client, app, headers, **repeated))} == {"s-ada"}


async def test_a_gatekeeper_asks_who_somebody_is(gatekeeper: Gatekeeper) -> None:
    async with plain(timeout=60) as client:
        for path, headers, status in (
            ("chat_messages", {}, 401),
            ("chat_messages", {"cookie": "login=x"}, 401),
            ("others", LOGIN, 403),
        ):
            answered = await client.post(f"{gatekeeper[0]}/gatekeeper/{path}", headers=headers)
            assert answered.status_code == status
        published = (await client.get(f"{gatekeeper[0]}/.well-known/jwks.json")).json()
        assert all("d" not in key for key in published["keys"])
