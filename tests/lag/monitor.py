"""The real Prometheus with the rules and the queries of the dashboard. The Debian package `prometheus` has it."""

import asyncio
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.harness.raw import SECONDS
from tests.lag.conftest import DEPLOY

RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
T = TypeVar("T")


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions(panel: dict[str, Any]) -> list[str]:
    """The queries of a panel."""
    return [target["expr"] for target in panel["targets"]]


def tool(name: str) -> str:
    """A program of Prometheus; without it these tests fail, for what they test would be untested."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: apt-get install --no-install-recommends prometheus"
    return found


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def quick(text: str) -> str:
    """A query or rules with short windows, and every alert at once."""
    return re.sub(r"\[\d+[mhd]\]", "[5s]", re.sub(r"for: \w+", "for: 0s", text))


def configure(folder: Path, target: str) -> None:
    """Writes a configuration that scrapes the target as often as it can."""
    folder.mkdir()
    (folder / "rules.yml").write_text(quick(RULES.read_text()))
    config = {
        "global": {"scrape_interval": "400ms", "scrape_timeout": "400ms", "evaluation_interval": "200ms"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "shape-proxy", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[str]:
    """A Prometheus over the target; gives its address."""
    configure(folder, target)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        tool("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


class Prometheus:
    """What a running Prometheus knows; nothing while it starts."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client, self._url = client, f"{url}/api/v1/"

    async def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = (await self._said("alerts")).get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    async def value(self, expression: str) -> str:
        """The value of an expression with one result."""
        result = (await self._said(f"query?query={expression}")).get("result", [])
        return str(result[0]["value"][1]) if result else ""

    async def values(self, expression: str) -> list[float]:
        """All values of an expression. Fails if Prometheus cannot evaluate it."""
        try:
            answer = await self._client.get(f"{self._url}query", params={"query": expression})
        except httpx.TransportError:
            return []
        if answer.status_code == 503:  # it starts
            return []
        assert answer.status_code == 200, answer.text
        return [float(sample["value"][1]) for sample in answer.json()["data"]["result"]]

    async def rules(self) -> list[dict[str, Any]]:
        """Every rule as it was evaluated last."""
        return [rule for group in (await self._said("rules")).get("groups", []) for rule in group["rules"]]

    async def _said(self, what: str) -> dict[str, Any]:
        try:
            answer = await self._client.get(self._url + what)
        except httpx.TransportError:
            return {}
        return dict(answer.json()["data"]) if answer.status_code == 200 else {}


async def until(asked: Callable[[], Awaitable[T]], wanted: T) -> None:
    """Asks until the answer is the wanted one; Prometheus announces nothing."""
    came = None
    try:
        async with asyncio.timeout(SECONDS):
            while (came := await asked()) != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"wanted {wanted}, last came {came}")
