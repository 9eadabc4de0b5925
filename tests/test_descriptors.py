"""Connections, Electric's and what is kept back fit into the limit of open files."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import settings
from proxy.auth.keys import new_keys
from proxy.runtime import configuration, descriptors
from proxy.settings import Settings, SettingsFault
from tests.harness.running import environment

FITTING = {256: 96, 1024: 480, 4096: 2016, 8192: 4064}
"""Connections at once, by the limit."""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The limit of this process is as it was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def limit(files: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def given(folder: Path, **variables: str) -> Settings:
    (folder / "keys.json").write_text(json.dumps(new_keys()))
    return settings.load(environment("http://127.0.0.1:1", folder / "keys.json") | variables)


@pytest.mark.parametrize(("files", "fitting"), FITTING.items())
def test_what_may_be_open_at_once_fits_into_the_limit(tmp_path: Path, files: int, fitting: int) -> None:
    limit(files)
    clients = descriptors.most_connections(given(tmp_path).max_connections)
    assert clients == fitting
    assert descriptors.KEPT_BACK + 2 * clients <= files


def test_a_setting_is_taken_as_it_is(tmp_path: Path) -> None:
    limit(1024)
    said = given(tmp_path, PROXY_MAX_CONNECTIONS="960")
    configuration.check_descriptors(said)
    assert descriptors.most_connections(said.max_connections) == 960


def test_a_setting_that_leaves_no_descriptors_is_a_fault_that_says_how_many_it_needs(tmp_path: Path) -> None:
    limit(1024)
    with pytest.raises(SettingsFault, match=r"^PROXY_MAX_CONNECTIONS: needs 1025 open files or more; .* is 1024$"):
        configuration.check_descriptors(given(tmp_path, PROXY_MAX_CONNECTIONS="961"))


def test_a_process_takes_all_the_files_that_it_may_open() -> None:
    limit(256)
    descriptors.raise_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
