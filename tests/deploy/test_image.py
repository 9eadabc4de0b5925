"""The image, read as text and by a linter: what it sets can be loaded, and what must not be in it is not."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from proxy import settings
from tests.tree import ROOT

DOCKERFILE = ROOT / "Dockerfile"


def test_what_the_image_sets_can_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    given = dict(re.findall(r"\b(PROXY_\w+)=(\S+)", DOCKERFILE.read_text()))
    assert len(given) >= 3
    required = {"PROXY_TOKEN_KEYS": str(tmp_path / "keys"), "PROXY_TOKEN_ISSUER": "x", "PROXY_TOKEN_AUDIENCE": "x"}
    loaded = settings.load(given | required)
    assert (str(loaded.listen), str(loaded.admin_listen)) == ("0.0.0.0:8080", "0.0.0.0:9090")


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
    assert not re.search(r"COPY .*policies .*/etc/", text)
    assert "COPY policies" not in "\n".join(last_stage())


def test_no_file_whose_name_starts_with_a_dot_is_built_into_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    admitted = [number for number, line in enumerate(lines) if line.startswith("!")]
    assert lines.index("**/.*") > max(admitted)  # the last line that matches counts


def test_the_environment_of_the_image_has_no_installer() -> None:
    text = DOCKERFILE.read_text()
    assert "-m venv --without-pip" in text
    assert "uninstall --yes --quiet -r requirements-build.txt" in text


def test_the_user_and_the_group_of_the_image_have_one_number() -> None:
    (made,) = (line for line in last_stage() if "useradd" in line)
    assert f"--uid {instruction('USER')} --user-group" in made


def test_the_image_starts_from_a_version_and_may_start_from_a_digest() -> None:
    text = DOCKERFILE.read_text()
    assert re.search(r"(?m)^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+$", text)
    assert re.findall(r"(?m)^FROM (\S+)", text) == ["${PYTHON_IMAGE}"] * 2


def test_the_linter_finds_nothing_in_the_image() -> None:
    command = [str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# The packages of the image.


def locked(file: str) -> dict[str, str]:
    """The version of each package of a lock file, by its normalized name."""
    lines = re.findall(r"(?m)^([\w.-]+)==([\w.]+)", (ROOT / file).read_text())
    return {normalized(name): version for name, version in lines}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-build.txt"])
def test_every_package_of_the_image_has_hashes(file: str) -> None:
    entries = re.split(r"(?m)^(?=\w)", (ROOT / file).read_text())[1:]
    assert entries
    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


def test_the_image_has_the_versions_that_the_tests_had() -> None:
    tested = locked("constraints.txt")
    image = locked("requirements.txt")
    assert {name: version for name, version in image.items() if tested.get(name, version) != version} == {}
    assert image.keys() - tested.keys() <= {"tzdata"}  # for Windows


def test_the_image_has_all_packages_that_the_proxy_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    names = {normalized(re.match(r"[\w.-]+", one)[0]) for one in needed}  # type: ignore[index]
    assert names - locked("requirements.txt").keys() == set()


def test_what_the_image_copies_is_there() -> None:
    copied = re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE.read_text())
    sources = [name for line in copied for name in line.split()[:-1]]
    assert sources
    assert [name for name in sources if not (ROOT / name).exists()] == []
