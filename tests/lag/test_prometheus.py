"""The rules and the dashboard, by the real Prometheus. The Debian package `prometheus` has it, and promtool."""

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from proxy.core.errors import Code
from proxy.gateway.endings import RELAYED, UPSTREAM_BROKE
from proxy.gateway.open_requests import End
from proxy.telemetry.metrics import Metrics
from tests.harness.running import running
from tests.harness.upstream import Upstream
from tests.lag.monitor import DASHBOARD, RULES, Prometheus, expressions, panels, prometheus, tool, until
from tests.tree import ROOT

NAME = re.compile(r"\bshape_proxy_[a-z0-9_]+\b")
SELECTOR = re.compile(r"\bshape_proxy_\w+(?:\{[^}]*\})?")
REQUESTS = re.compile(r"shape_proxy_requests_total\{([^}]*)\}")
FAULTS = {code.name for code in Code if code.value.status >= 500} - {"draining"} | {UPSTREAM_BROKE, "upstream_503"}
USUAL = {"ok", "draining", "token_over", "token_expired", "client_gone", "client_stalled", "policy_changed"}
"""How requests end that nobody did anything wrong with."""


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
    said = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in said}) == len(said)
    assert len({panel["title"] for panel in said}) == len(said)
    assert all(panel["description"] for panel in panels())


def test_the_panels_do_not_overlap_and_leave_no_gap() -> None:
    taken = [_cells(panel["gridPos"]) for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert not [(one, other) for one, other in combinations(taken, 2) if one & other]
    cells = set[tuple[int, int]]().union(*taken)
    assert cells == {(x, y) for x in range(24) for y in range(max(y for _, y in cells) + 1)}


def _cells(at: dict[str, int]) -> set[tuple[int, int]]:
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def test_every_query_is_of_the_chosen_instances() -> None:
    for panel in panels():
        for expression in expressions(panel):
            for selector in SELECTOR.findall(expression):
                assert 'instance=~"$instance"' in selector, panel["title"]


def rules() -> dict[str, dict[str, Any]]:
    """The alerts by their names."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


@pytest.mark.parametrize("name", rules())
def test_every_alert_says_what_to_do_and_which_page_helps(name: str) -> None:
    said = rules()[name]
    assert said["labels"]["severity"] in ("page", "ticket")
    assert said["annotations"].keys() == {"summary", "description", "runbook"}
    assert said["annotations"]["runbook"].startswith("docs/how-to/")
    assert (ROOT / said["annotations"]["runbook"]).is_file()


def test_every_alert_is_in_the_table_of_the_page_on_operating() -> None:
    page = (ROOT / "docs" / "how-to" / "operate.md").read_text()
    rows = re.findall(r"(?m)^\| `(\w+)` \| (page|ticket) \|", page)
    assert sorted(rows) == sorted((name, rule["labels"]["severity"]) for name, rule in rules().items())


def selected(matchers: str) -> set[str]:
    """The codes of all that there are which the matchers on `code` leave."""
    codes = {code.name for code in Code} | {end.value for end in End} | {"ok", UPSTREAM_BROKE, *RELAYED.values()}
    for operator, pattern in re.findall(r'code(=~|!~|=|!=)"([^"]*)"', matchers):
        codes = {code for code in codes if bool(re.fullmatch(pattern, code)) is not operator.startswith("!")}
    return codes


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_codes_are_faults_of_ours_or_of_electric_or_refusals_or_neither(file: Path) -> None:
    """A new code is a fault by its status, and else a refusal; the rules and the dashboard agree."""
    refusals = selected("") - FAULTS - USUAL - {"upstream_400", "upstream_409"}
    found = {frozenset(selected(said)) for said in REQUESTS.findall(file.read_text().replace('\\"', '"'))}
    single = [codes for codes in found if len(codes) == 1]
    rest = found.difference(single) - {frozenset(selected(""))}
    assert rest == {frozenset(FAULTS), frozenset(refusals)}


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
