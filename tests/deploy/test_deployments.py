"""Compose, Kubernetes and systemd: valid by their own schemas, with settings that exist, and with what must not be
reached out of reach."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import Settings, variable
from tests.clients.peer import tool
from tests.tree import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE, SCALE = DEPLOY / "compose.yaml", DEPLOY / "scale" / "compose.yaml"
SIDECAR, REPLICAS = DEPLOY / "kubernetes" / "sidecar.yaml", DEPLOY / "kubernetes" / "replicas.yaml"
UNIT = DEPLOY / "systemd" / "shape-proxy.service"
NAMES = {variable(field) for field in Settings.model_fields}
REQUIRED = {variable(name) for name, field in Settings.model_fields.items() if field.is_required()}
DRAIN_SECONDS = Settings.model_fields["drain_seconds"].default


def compose(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def documents(path: Path, kind: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one["kind"] == kind]


def container(path: Path, name: str = "proxy") -> dict[str, Any]:
    """A container of the file's deployment."""
    (deployment,) = documents(path, "Deployment")
    (found,) = [one for one in deployment["spec"]["template"]["spec"]["containers"] if one["name"] == name]
    return dict(found)


def program(name: str, *arguments: str) -> str:
    """What a program of the environment, or of the machine, prints. Fails with it."""
    installed = Path(sys.executable).with_name(name)
    command = [str(installed) if installed.exists() else tool(name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- by their own schemas


@pytest.mark.parametrize("path", [COMPOSE, SCALE], ids=["one", "scale"])
def test_compose_files_are_valid(path: Path) -> None:
    program("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))


@pytest.mark.parametrize("path", [SIDECAR, REPLICAS], ids=lambda path: path.name)
def test_kubernetes_files_are_valid(path: Path) -> None:
    program("kubernetes-validate", "--strict", str(path))


def test_the_unit_is_locked_in() -> None:
    """By the measure of systemd itself: 0 is safest, 10 is a service without any of it."""
    told = program("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT))
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert exposure is not None
    assert float(exposure[1]) <= 2


def test_grafana_is_provisioned_with_what_compose_mounts() -> None:
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/shape-proxy.yml").read_text())["providers"]
    mounts = [volume.split(":") for volume in compose(COMPOSE)["services"]["grafana"]["volumes"]]
    assert any(target.startswith(provider["options"]["path"]) for _, target, *_ in mounts)
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


# --- settings


def settings_of(environment: Any) -> dict[str, Any]:
    """The settings of a service or a container, whichever way they are written."""
    if isinstance(environment, dict):
        return environment
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in environment}


def environments() -> Iterator[Any]:
    yield pytest.param(settings_of(compose(COMPOSE)["services"]["proxy"]["environment"]), id="compose")
    yield pytest.param(settings_of(compose(SCALE)["services"]["proxy1"]["environment"]), id="scale")
    yield pytest.param(settings_of(container(SIDECAR)["env"]), id="sidecar")
    yield pytest.param(settings_of(container(REPLICAS)["env"]), id="replicas")


@pytest.mark.parametrize("given", list(environments()))
def test_every_setting_that_is_named_is_one_and_the_required_ones_are_there(given: dict[str, Any]) -> None:
    assert given.keys() <= NAMES
    assert given.keys() >= REQUIRED


def test_the_unit_names_settings_that_there_are() -> None:
    assert set(re.findall(r"\bPROXY_[A-Z_]+\b", UNIT.read_text())) <= NAMES


def test_what_compose_mounts_is_there() -> None:
    for path in (COMPOSE, SCALE):
        for service in compose(path)["services"].values():
            for volume in service.get("volumes", []):
                source = volume.partition(":")[0]
                if source.startswith(".") and source != "./shapes.pem":  # your own certificate
                    assert (DEPLOY / source).exists(), source  # both files are read with deploy/ as their folder


def test_every_variable_of_compose_is_in_its_example() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE.read_text() + SCALE.read_text()))
    given = set(re.findall(r"(?m)^([A-Z_]+)=$", (DEPLOY / "compose.env.example").read_text()))
    assert asked <= given


# --- what is out of reach


def test_only_the_proxys_public_listener_and_on_loopback_the_console_and_grafana_are_published() -> None:
    published = {name: one["ports"] for name, one in compose(COMPOSE)["services"].items() if "ports" in one}
    assert published == {"proxy": ["8080:8080", "127.0.0.1:9090:9090"], "grafana": ["127.0.0.1:3001:3000"]}
    published = {name: one["ports"] for name, one in compose(SCALE)["services"].items() if "ports" in one}
    assert published == {"edge": ["443:443"]}


@pytest.mark.parametrize("path", [COMPOSE, SCALE], ids=["one", "scale"])
def test_no_secret_has_a_default(path: Path) -> None:
    for service in compose(path)["services"].values():
        for name, value in settings_of(service.get("environment", {})).items():
            if name.endswith(("SECRET", "PASSWORD", "ADMIN_TOKEN")):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
    assert "ELECTRIC_INSECURE" not in path.read_text()


def test_electric_has_a_role_of_least_rights() -> None:
    environment = compose(COMPOSE)["services"]["electric"]["environment"]
    assert environment["DATABASE_URL"].startswith("postgresql://electric:")
    assert environment["ELECTRIC_MANUAL_TABLE_PUBLISHING"] == "true"


@pytest.mark.parametrize(
    ("path", "name"), [(COMPOSE, "proxy"), (COMPOSE, "keys"), (COMPOSE, "mint"), (SCALE, "proxy1")]
)
def test_compose_locks_the_proxy_in(path: Path, name: str) -> None:
    service = compose(path)["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid"} & service.keys()


@pytest.mark.parametrize(("path", "name"), [(COMPOSE, "proxy"), (SCALE, "proxy1")])
def test_compose_stops_the_proxy_later_than_it_drains(path: Path, name: str) -> None:
    assert int(compose(path)["services"][name]["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS


@pytest.mark.parametrize("path", [SIDECAR, REPLICAS], ids=lambda path: path.name)
def test_the_pods_proxy_is_locked_in(path: Path) -> None:
    (deployment,) = documents(path, "Deployment")
    pod, proxy = deployment["spec"]["template"]["spec"], container(path)
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] > DRAIN_SECONDS + 5
    assert proxy["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"} <= proxy.keys()
    assert {"requests", "limits"} <= proxy["resources"].keys()


@pytest.mark.parametrize("path", [SIDECAR, REPLICAS], ids=lambda path: path.name)
@pytest.mark.parametrize("name", ["ELECTRIC_SECRET", "PROXY_HANDLE_KEY", "PROXY_ADMIN_TOKEN"])
def test_the_pods_secrets_come_from_a_secret(path: Path, name: str) -> None:
    (found,) = [one for one in container(path)["env"] if one["name"] == name]
    assert "secretKeyRef" in found["valueFrom"]
    volumes = documents(path, "Deployment")[0]["spec"]["template"]["spec"]["volumes"]
    assert next(one for one in volumes if one["name"] == "keys")["secret"]


def test_the_secrets_of_the_proxy_are_not_electrics() -> None:
    """Its container takes the whole secret `electric` into its environment."""
    assert container(SIDECAR, "electric")["envFrom"] == [{"secretRef": {"name": "electric"}}]
    named = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container(SIDECAR)["env"] if "valueFrom" in one}
    assert {name for name, said in named.items() if said["name"] == "electric"} == {"ELECTRIC_SECRET"}
    assert named["PROXY_ADMIN_TOKEN"]["optional"] is True


@pytest.mark.parametrize(("path", "name"), [(COMPOSE, "proxy"), (SCALE, "proxy1")])
def test_the_console_of_compose_has_a_token(path: Path, name: str) -> None:
    assert "PROXY_ADMIN_TOKEN" in settings_of(compose(path)["services"][name]["environment"])


def test_the_pods_electric_is_reached_by_the_proxy_alone() -> None:
    assert "ports" not in container(SIDECAR, "electric")
    (service,) = documents(SIDECAR, "Service")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["shapes"]
    (policy,) = documents(SIDECAR, "NetworkPolicy")
    admin = [rule for rule in policy["spec"]["ingress"] if rule["ports"] != [{"port": 8080}]]
    assert [rule["ports"] for rule in admin] == [[{"port": 9090}]]
    assert all("from" in rule for rule in admin)


def test_the_replicas_electric_is_reached_by_the_proxies_alone() -> None:
    proxies, electric = documents(REPLICAS, "NetworkPolicy")
    assert [rule["ports"] for rule in proxies["spec"]["ingress"]] == [[{"port": 8080}], [{"port": 9090}]]
    (rule,) = electric["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "shape-proxy"}}}]
    (budget,) = documents(REPLICAS, "PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == 1


def test_images_of_the_deployments_have_versions() -> None:
    text = "".join(path.read_text() for path in (COMPOSE, SCALE, SIDECAR, REPLICAS))
    named = re.findall(r"(?m)^\s*image: (\S+)", text)
    assert len(named) >= 8
    assert all(re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image) for image in named)


# --- the workflows


def test_the_workflows_are_valid_and_their_auditor_finds_nothing() -> None:
    files = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    assert files
    program("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    program("zizmor", "--offline", "--quiet", *files)


def test_every_action_is_pinned_to_a_commit_and_no_job_may_more_than_it_says() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            assert job["permissions"].keys() <= {"contents", "id-token", "attestations", "packages"}
            assert job["timeout-minutes"] <= 40
            used = [step["uses"] for step in job["steps"] if "uses" in step]
            assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)
