"""The rules and the dashboard, by the real Prometheus. The Debian package `prometheus` has it, and promtool."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from proxy.telemetry.metrics import Metrics
from tests.harness.raw import SECONDS
from tests.harness.running import running
from tests.harness.upstream import Upstream
from tests.lag.conftest import DEPLOY

RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
NAME = re.compile(r"\bshape_proxy_[a-z0-9_]+\b")
T = TypeVar("T")


def tool(name: str) -> str:
    """A program of Prometheus; without it these tests fail, for what they test would be untested."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: apt-get install --no-install-recommends prometheus"
    return found


def exported() -> set[str]:
    """Every name that a scrape can have."""
    metrics = Metrics(lambda: 0, lambda: {"verified": 0, "cached": 0})
    names = set()
    for family in metrics.registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    return names


def test_the_rules_pass_their_own_tests() -> None:
    result = subprocess.run(
        [tool("promtool"), "test", "rules", "rules_test.yml"], cwd=RULES.parent, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_sample_configuration_is_one() -> None:
    result = subprocess.run([tool("promtool"), "check", "config", "prometheus.yml"], cwd=RULES.parent)
    assert result.returncode == 0


def test_every_rule_has_a_test_that_it_fires() -> None:
    tested = set(re.findall(r"alertname: (\w+)", (RULES.parent / "rules_test.yml").read_text()))
    assert tested == set(re.findall(r"- alert: (\w+)", RULES.read_text()))


@pytest.mark.parametrize("file", [RULES, RULES.parent / "rules_test.yml", DASHBOARD], ids=lambda file: file.name)
def test_every_metric_that_is_named_exists(file: Path) -> None:
    recorded = set(re.findall(r"record: \w+:(\w+):", RULES.read_text()))
    named = set(NAME.findall(file.read_text())) - recorded
    assert named
    assert named <= exported()


def test_every_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    """Nobody looks at what is in neither: a metric that is worth having has a place."""
    named = set(NAME.findall(DASHBOARD.read_text())) | set(NAME.findall(RULES.read_text()))
    ours = {name for name in exported() if not name.endswith(("_sum", "_count"))}
    assert ours <= named


def test_the_panels_of_the_dashboard_are_told_apart() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def hurried(rules: str) -> str:
    """The rules with every alert at once: what is tested here is that they hold against the real metrics."""
    return re.sub(r"for: \w+", "for: 0s", rules).replace("[5m]", "[5s]").replace("[10m]", "[5s]")


def configure(folder: Path, target: str) -> None:
    """Writes a configuration that scrapes the target as often as it can."""
    folder.mkdir()
    (folder / "rules.yml").write_text(hurried(RULES.read_text()))
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


async def test_the_real_prometheus_says_that_electric_is_down_and_that_it_is_back(
    upstream: Upstream, tmp_path: Path, client: httpx.AsyncClient
) -> None:
    quick = {
        "PROXY_PROBE_SECONDS": "0.1",
        "PROXY_PROBE_FAILURES": "2",
        "PROXY_READY_REQUIRES_ELECTRIC": "true",
    }
    async with (
        running(upstream.url, tmp_path, **quick) as proxy,
        prometheus(tmp_path / "prometheus", proxy.admin_url.removeprefix("http://")) as url,
    ):
        said = Prometheus(client, url)
        await until(lambda: said.value("shape_proxy_ready"), "1")
        await until(said.firing, set())
        upstream.health = (500, b"")
        await until(said.firing, {"ShapeProxyElectricDown", "ShapeProxyNotReady"})
        upstream.health = (200, b'{"status":"active"}')
        await until(said.firing, set())
