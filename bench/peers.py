# SPDX-License-Identifier: Apache-2.0
"""The proxies that are compared, each a way to start one process, or the reason that it is not installed."""

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import processes

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer listens, where its upstream does, and a folder of its own."""

    port: int
    upstream: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a process."""

    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy. Without a command it is no proxy at all: the client speaks to the upstream."""

    name: str
    binary: str = ""
    command: Callable[[Place], Command] | None = None
    missing: str = ""

    @property
    def absent(self) -> str:
        """Why it cannot be started here; empty if it can."""
        if self.binary and shutil.which(self.binary) is None:
            return f"{self.binary} is not installed"
        return self.missing


@dataclass(frozen=True, slots=True)
class Running:
    """A started peer: where to connect, and what it costs."""

    port: int
    pid: int

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far; 0 for no proxy."""
        return processes.cpu_seconds(self.pid) if self.pid else 0.0

    @property
    def resident_kib(self) -> float:
        """Resident memory now; 0 for no proxy."""
        return processes.resident_kib(self.pid) if self.pid else 0.0


@contextmanager
def running(peer: Peer, upstream: int) -> Iterator[Running]:
    """Starts a peer in front of an upstream, alone on its core. Raises NotStarted."""
    if peer.command is None:
        yield Running(upstream, 0)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        place = Place(processes.free_port(), upstream, Path(name))
        command, log = peer.command(place), place.folder / "stderr"
        with processes.started(
            command.argv, processes.PROXY_CORE, log, command.environment, command.folder or place.folder
        ) as pid:
            processes.wait_until_it_answers(place.port, pid, log)
            yield Running(place.port, pid)


def _configured(name: str, place: Place, **more: str) -> Path:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    values = {
        "PORT": str(place.port),
        "UPSTREAM": str(place.upstream),
        "FOLDER": str(place.folder),
        "FILES": str(files),
        "PAIRS": str((files - 100) // 2),
        "USER": "user root;" if os.geteuid() == 0 else "",
    } | more
    text = (CONFIGS / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    path = place.folder / name
    path.write_text(text)
    return path


def _nginx(location: str) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        config = _configured("nginx.conf", place, LOCATION=location)
        return Command(["nginx", "-p", str(place.folder), "-e", "stderr", "-c", str(config)])

    return command


def _haproxy(place: Place) -> Command:
    return Command(["haproxy", "-db", "-q", "-f", str(_configured("haproxy.cfg", place))])


def _varnish(place: Place) -> Command:
    config = _configured("varnish.vcl", place)
    listening = ["-a", f"127.0.0.1:{place.port}", "-n", str(place.folder / "state"), "-f", str(config)]
    return Command(["varnishd", "-F", "-j", "none", *listening, "-s", "malloc,256m", "-p", "listen_depth=4096"])


def _caddy(place: Place) -> Command:
    config = _configured("Caddyfile", place)
    return Command(
        ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)],
        {"HOME": str(place.folder), "XDG_DATA_HOME": str(place.folder), "XDG_CONFIG_HOME": str(place.folder)},
    )


def _node(place: Place) -> Command:
    return Command(["node", str(CONFIGS / "proxy.js"), str(place.port), str(place.upstream)])


_LOCK = (
    "proxy_cache shapes; proxy_cache_key $request_uri; proxy_cache_lock on; proxy_cache_lock_timeout 90s;"
    " proxy_cache_lock_age 90s;"
)

DIRECT = Peer("direct")
NGINX = Peer("nginx", "nginx", _nginx(""))
NGINX_AUTH = Peer("nginx auth_request", "nginx", _nginx("auth_request /auth;"))
NGINX_LOCK = Peer("nginx proxy_cache_lock", "nginx", _nginx(_LOCK))
NGINX_UNBUFFERED = Peer("nginx unbuffered", "nginx", _nginx("proxy_buffering off;"))
HAPROXY = Peer("HAProxy", "haproxy", _haproxy)
VARNISH = Peer("Varnish", "varnishd", _varnish)
CADDY = Peer("Caddy", "caddy", _caddy)
NODE = Peer("Node", "node", _node)

_VERSIONS = {
    "nginx": ["nginx", "-v"],
    "HAProxy": ["haproxy", "-v"],
    "Varnish": ["varnishd", "-V"],
    "Caddy": ["caddy", "version"],
    "Node": ["node", "--version"],
}


def versions() -> dict[str, str]:
    """The version that each peer reports; `absent` if it is not installed."""
    found = {}
    for name, argv in _VERSIONS.items():
        if shutil.which(argv[0]) is None:
            found[name] = "absent"
            continue
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
        found[name] = (done.stdout + done.stderr).strip().splitlines()[0]
    return found
