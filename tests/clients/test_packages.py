"""The npm packages are pinned, the lock file names no registry, and our own package is one that others can install."""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.clients.conftest import COPY, PACKAGE, command, program
from tests.clients.peer import HERE, tool

OLDER = HERE / "node_modules" / "tanstack-0.3"
"""The oldest release of TanStack's electric collection that our package names; installed beside the newest."""


def test_every_package_is_pinned_to_one_version() -> None:
    asked = json.loads((HERE / "package.json").read_text())["dependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    asked = {name: version.rpartition("@")[2] for name, version in asked.items()}
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
        found = [path for path in packages if path.endswith(f"node_modules/{name}") and OLDER.name not in path]
        assert found == [f"node_modules/{name}"]


# --- our own package


def test_the_package_holds_what_it_names_and_nothing_else() -> None:
    (packed,) = COPY.glob("*.tgz")
    with tarfile.open(packed) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    described = json.loads((PACKAGE / "package.json").read_text())
    assert {"package.json", "README.md", "LICENSE", described["types"].removeprefix("./")} <= names
    assert {name.partition("/")[0] for name in names} == {"package.json", "README.md", "LICENSE", "dist", "src"}


def test_the_tested_versions_are_the_ends_of_what_the_package_accepts() -> None:
    peers = json.loads((PACKAGE / "package.json").read_text())["peerDependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text())["packages"]
    oldest, newest = (locked[f"node_modules/{name}"] for name in (OLDER.name, "@tanstack/electric-db-collection"))
    assert peers["@tanstack/electric-db-collection"].startswith(f">={oldest['version']} ")
    assert peers["@tanstack/db"].startswith(f">={oldest['dependencies']['@tanstack/db']} ")
    below = re.findall(r"<0\.(\d+)\.0", peers["@tanstack/electric-db-collection"])
    assert int(below[0]) == int(newest["version"].split(".")[1]) + 1


@pytest.mark.parametrize("newest", [True, False], ids=["newest", "oldest"])
def test_the_types_hold_with_the_oldest_and_the_newest_tanstack(newest: bool, tmp_path: Path) -> None:
    """Compiled in a folder whose only packages are those of one release."""
    folder = COPY / ("newest" if newest else "oldest")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PACKAGE / "test", folder)
    ours = "@shape-proxy/client"
    paths = {ours: [f"{HERE}/node_modules/{ours}/src/index.ts"]}
    if not newest:
        paths |= {
            "@tanstack/db": [f"{OLDER}/node_modules/@tanstack/db"],
            "@tanstack/electric-db-collection": [str(OLDER)],
        }
    settings = json.loads((folder / "tsconfig.json").read_text())
    settings["compilerOptions"] |= {"paths": paths, "rootDir": "/"}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    program("tsc", "-p", str(folder))


def test_the_package_installs_into_an_empty_folder(tmp_path: Path) -> None:
    (packed,) = COPY.glob("*.tgz")
    (tmp_path / "package.json").write_text('{"type":"module"}')
    command(
        [tool("npm"), "install", "--prefix", str(tmp_path), "--no-audit", "--no-fund", "--prefer-offline", str(packed)]
    )
    script = 'import("@shape-proxy/client").then((all) => process.exit(all.shapeCollectionOptions ? 0 : 1))'
    command([tool("sh"), "-c", f"cd {tmp_path} && exec node -e '{script}'"])
    assert len(list(tmp_path.glob("**/node_modules/@tanstack/db"))) == 1
