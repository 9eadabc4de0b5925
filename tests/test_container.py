"""The image and the deployments, read as text: what they set is a setting, and what must not be reached is not."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy import settings
from proxy.settings import Settings, variable
from tests.tree import ROOT

DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
SIDECAR = ROOT / "deploy" / "kubernetes" / "sidecar.yaml"
FILES = (DOCKERFILE, COMPOSE, SIDECAR)
NAMES = {variable(field) for field in Settings.model_fields}
DRAIN_SECONDS = Settings.model_fields["drain_seconds"].default


def blocks(text: str, indent: int) -> Mapping[str, str]:
    """The members of a YAML mapping at an indentation, each with its text."""
    found = re.split(rf"(?m)^ {{{indent}}}(?=[\w-]+:)", text)[1:]
    return {block.partition(":")[0]: block.partition(":")[2] for block in found}


def service(name: str) -> str:
    """A service of the compose file; what follows the services is none of it."""
    services = COMPOSE.read_text().partition("\nservices:\n")[2].partition("\nconfigs:")[0]
    return blocks(services, 2)[name]


def container(name: str) -> str:
    """A container of the sidecar's pod."""
    containers = SIDECAR.read_text().partition("      containers:\n")[2].partition("\n      volumes:")[0]
    found = {block.split("\n", 1)[0].strip(): block for block in re.split(r"(?m)^        - name:", containers) if block}
    return found[name]


def documents() -> list[str]:
    """The documents of the sidecar's file."""
    return SIDECAR.read_text().split("\n---\n")


def seconds(text: str, key: str) -> int:
    found = re.findall(rf"(?m)^\s*{key}: (\d+)s?\b", text)
    assert len(found) == 1, found
    return int(found[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_that_is_named_is_one(path: Path) -> None:
    # What compose itself fills in, ${NAME:-…}, is the name of a variable of its own.
    named = set(re.findall(r"\bPROXY_[A-Z_]+\b", re.sub(r"\$\{\w+", "", path.read_text())))
    assert named
    assert named <= NAMES


@pytest.mark.parametrize("text", [service("proxy"), container("proxy")], ids=["compose", "sidecar"])
def test_every_setting_that_is_required_is_given(text: str) -> None:
    required = {variable(name) for name, field in Settings.model_fields.items() if field.is_required()}
    assert required
    assert {name for name in required if not re.search(rf"\b{name}\b", text)} == set()


def test_what_the_image_sets_can_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    given = dict(re.findall(r"\b(PROXY_\w+)=(\S+)", DOCKERFILE.read_text()))
    assert len(given) >= 3
    required = {"PROXY_TOKEN_KEYS": str(tmp_path / "keys"), "PROXY_TOKEN_ISSUER": "x", "PROXY_TOKEN_AUDIENCE": "x"}
    loaded = settings.load(given | required)
    assert (str(loaded.listen), str(loaded.admin_listen)) == ("0.0.0.0:8080", "0.0.0.0:9090")


# The image.


def last_stage() -> list[str]:
    """The instructions of what is shipped, each one line."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    first = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return lines[first:]


def instruction(name: str) -> str:
    found = [line.partition(" ")[2].strip() for line in last_stage() if line.startswith(f"{name} ")]
    assert len(found) == 1, found
    return found[0]


def test_the_image_runs_as_nobody_in_particular() -> None:
    user = instruction("USER")
    assert user.isdecimal()  # runAsNonRoot cannot judge a name
    assert int(user) > 0
    lines = [line.split(" ")[0] for line in last_stage()]
    assert not {"RUN", "COPY", "ADD"} & set(lines[lines.index("USER") :])


def test_the_image_says_its_health_by_ready() -> None:
    check = instruction("HEALTHCHECK")
    port = instruction("EXPOSE").split(" ")[1]
    assert f"http://127.0.0.1:{port}/ready" in check


def test_the_image_starts_the_command_without_a_shell_so_that_it_hears_signals() -> None:
    assert instruction("ENTRYPOINT") == '["shape-proxy"]'
    assert instruction("CMD") == '["serve"]'
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_the_image_exposes_where_it_listens() -> None:
    listened = re.findall(r"_LISTEN=\S+:(\d+)", DOCKERFILE.read_text())
    assert instruction("EXPOSE").split() == listened


def test_the_image_holds_neither_secrets_nor_tests() -> None:
    text = DOCKERFILE.read_text()
    assert "ELECTRIC_SECRET" not in text
    assert not re.search(r"COPY .*(\.env|keys|tests|\s\.\s)", text)
    assert all(re.match(r"FROM \S+:[\w.-]+", line) for line in text.split("\n") if line.startswith("FROM"))
    assert ":latest" not in text


def test_what_the_image_copies_is_there() -> None:
    copied = re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE.read_text())
    sources = [name for line in copied for name in line.split()[:-1]]
    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []


# Compose.


def test_only_the_proxys_public_listener_is_published() -> None:
    published = {name: re.findall(r"(?m)^    ports: (.*?)(?: #.*)?$", service(name)) for name in SERVICES}
    assert published == {"postgres": [], "electric": [], "proxy": ['["8080:8080"]']}


SERVICES = ("postgres", "electric", "proxy")


def test_these_are_all_the_services() -> None:
    services = COMPOSE.read_text().partition("\nservices:\n")[2].partition("\nconfigs:")[0]
    assert tuple(blocks(services, 2)) == SERVICES


@pytest.mark.parametrize("name", ["electric", "proxy"])
def test_the_secret_must_be_given_and_has_no_default(name: str) -> None:
    (value,) = re.findall(r"(?m)^      ELECTRIC_SECRET: (.*)$", service(name))
    assert re.fullmatch(r"\$\{ELECTRIC_SECRET:\?[^}]+\}", value)
    assert "ELECTRIC_INSECURE" not in COMPOSE.read_text()


def test_the_key_of_handles_has_no_value_of_its_own_in_the_repository() -> None:
    (value,) = re.findall(r"(?m)^      PROXY_HANDLE_KEY: (\S*)", service("proxy"))
    assert value == "${PROXY_HANDLE_KEY:-}"


def test_compose_stops_the_proxy_later_than_it_drains() -> None:
    assert seconds(service("proxy"), "stop_grace_period") > DRAIN_SECONDS


def test_compose_locks_the_proxy_in() -> None:
    text = service("proxy")
    assert "read_only: true" in text
    assert "cap_drop: [ALL]" in text
    assert '"no-new-privileges:true"' in text
    assert not re.search(r"privileged: true|network_mode: host|user: (root|0)", text)


# The sidecar.


def test_kubernetes_ends_the_pod_later_than_the_proxy_drains() -> None:
    assert seconds(SIDECAR.read_text(), "terminationGracePeriodSeconds") > DRAIN_SECONDS


def test_the_pods_electric_is_reached_by_the_proxy_alone() -> None:
    _, public, network = documents()
    assert "targetPort: 8080" in public
    assert re.findall(r"port: (\d+)", network) == ["8080", "9090"]
    assert "policyTypes: [Ingress]" in network
    (admin,) = [rule for rule in network.split("\n    - ") if "port: 9090" in rule]
    assert admin.startswith("from: [{ namespaceSelector:")
    assert "3000" not in public + network
    assert "ports:" not in container("electric")
    assert 'value: "http://127.0.0.1:3000"' in container("proxy")


@pytest.mark.parametrize("name", ["ELECTRIC_SECRET", "PROXY_HANDLE_KEY"])
def test_the_pods_secrets_come_from_a_secret(name: str) -> None:
    (line,) = [line for line in container("proxy").split("\n") if f"name: {name}" in line]
    assert "secretKeyRef" in line
    assert "value:" not in line.replace("valueFrom:", "")


def test_the_pods_proxy_is_locked_in() -> None:
    text = container("proxy")
    for said in ("runAsNonRoot: true", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false"):
        assert said in text
    assert "drop: [ALL]" in text
    assert "seccompProfile: { type: RuntimeDefault }" in text
    assert "automountServiceAccountToken: false" in documents()[0]


def test_the_pod_is_asked_for_its_health_where_the_proxy_says_it() -> None:
    text = container("proxy")
    admin = instruction("EXPOSE").split(" ")[1]
    assert f"readinessProbe: {{ httpGet: {{ path: /ready, port: {admin} }}" in text
    assert f"livenessProbe: {{ httpGet: {{ path: /live, port: {admin} }}" in text


def test_the_policies_are_mounted_where_the_image_reads_them() -> None:
    folder = dict(re.findall(r"\b(PROXY_\w+)=(\S+)", DOCKERFILE.read_text()))["PROXY_POLICIES"]
    assert f"mountPath: {folder}, readOnly: true" in container("proxy")


def test_images_of_the_deployments_have_versions() -> None:
    named = re.findall(r"(?m)^\s*image: (\S+)", COMPOSE.read_text() + SIDECAR.read_text())
    assert len(named) == 4
    assert all(re.fullmatch(r"[\w./-]+:\d[\w.-]*", image) for image in named)
