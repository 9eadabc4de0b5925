"""The wheel and the sdist, as a stranger gets them: built, installed into an empty environment, and used from there."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from proxy.auth.keys import new_keys
from tests.tree import ROOT

SECONDS = 120


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def command(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`shape-proxy` of an environment that has nothing but the wheel and what it asks for."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=False)
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check"]
    install = [*pip, "install", "-q", "--no-compile", "-c", str(ROOT / "constraints.txt"), f"{wheel}[sandbox]"]
    subprocess.run(install, check=True, capture_output=True, timeout=SECONDS)
    return environment / "bin" / "shape-proxy"


def test_the_wheel_has_the_code_its_data_and_its_types(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = subprocess.run(["git", "ls-files", "proxy"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(shipped.split()) <= names
    assert "proxy/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {
        "proxy",
        next(n for n in names if "dist-info" in n).split("/")[0],
    }


def test_the_sdist_has_no_tests_keys_or_caches(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "proxy/py.typed", "policies/todos.toml"} <= names
    assert not [name for name in names if re.search(r"^tests/|node_modules|\.venv|keys\.json|__pycache__", name)]


def test_check_works_from_the_wheel(command: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [command, "check"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PROXY_POLICIES": str(ROOT / "policies")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_serve_works_from_the_wheel(command: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(new_keys()))
    given = {
        "PATH": os.environ["PATH"],
        "ELECTRIC_SECRET": "a secret of more than thirty-two characters",
        "PROXY_TOKEN_KEYS": str(tmp_path / "keys.json"),
        "PROXY_TOKEN_ISSUER": "https://app.example",
        "PROXY_TOKEN_AUDIENCE": "shape-proxy",
        "PROXY_POLICIES": str(ROOT / "policies"),
        "PROXY_LISTEN": "127.0.0.1:0",
        "PROXY_ADMIN_LISTEN": "127.0.0.1:0",
    }
    with subprocess.Popen([command, "serve"], cwd=tmp_path, env=given, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any('"ready"' in line for line in process.stdout)
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
