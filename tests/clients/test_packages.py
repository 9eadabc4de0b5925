"""The npm packages are pinned, and the lock file names no registry."""

import json
import re

from tests.clients.peer import HERE


def test_every_package_is_pinned_to_one_version() -> None:
    asked = json.loads((HERE / "package.json").read_text())["dependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert all(re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) for version in asked.values())
    assert asked == {name: locked[f"node_modules/{name}"]["version"] for name in asked}


def test_the_lock_file_names_no_address_of_a_package() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)
    assert "omit-lockfile-registry-resolved=true" in (HERE / ".npmrc").read_text()


def test_there_is_one_copy_of_each_library() -> None:
    """TanStack's collection needs exactly its own version of the database; two copies do not know each other."""
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    for name in ("@electric-sql/client", "@tanstack/db"):
        assert [path for path in packages if path.endswith(f"node_modules/{name}")] == [f"node_modules/{name}"]
