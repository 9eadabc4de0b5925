# SPDX-License-Identifier: Apache-2.0
"""What the demo is started with: its options, the environment, the proxy's settings that follow, and the ports."""

import errno
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import click

from proxy import settings
from proxy.demo.messages import HEARTBEAT_TABLE
from proxy.demo.upstream import Upstream
from proxy.runtime import server as serve
from proxy.settings import Address, Settings, SettingsFault

PORT = 8000
POLICIES = (Path(__file__).parent / "policies", Path(__file__).parents[2] / "policies")
"""Where the demo's policies are: in the wheel, and in a checkout."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command."""

    clients: int = 0
    port: int = PORT
    lines: bool = False


@dataclass(frozen=True, slots=True)
class PrivateFiles:
    """The paths of the files that only this process has: the keys and the revocations."""

    keys: Path
    revocations: Path


def check(environment: dict[str, str], files: PrivateFiles, options: Options) -> None:
    """Raises SettingsFault for all that is wrong with the environment, before anything is started."""
    url, dsn = environment.get("ELECTRIC_HTTP_URL"), environment.get("DATABASE_URL")
    faults = []
    if url and not dsn:
        faults.append("DATABASE_URL: the demo in front of a real Electric writes rows to it")
    url = url or "http://127.0.0.1"
    try:
        stands = Upstream(url, "", dsn or "postgresql://none", "")
        proxy_settings(environment, stands, url, files, options, f"http://127.0.0.1:{PORT}")
    except SettingsFault as fault:
        faults.append(str(fault))
    if faults:
        raise SettingsFault("\n".join(faults))


def proxy_settings(
    environment: dict[str, str], upstream: Upstream, tap_url: str, files: PrivateFiles, options: Options, page: str
) -> Settings:
    """The settings of the demo's proxy: some are the demo's own, others are the environment's if it has them.

    Raises SettingsFault.
    """
    own = {
        "PROXY_TOKEN_KEYS": str(files.keys),
        "PROXY_TOKEN_ISSUER": "demo",
        "PROXY_TOKEN_AUDIENCE": "shape-proxy",
        "PROXY_REVOCATIONS": str(files.revocations),
        "PROXY_ALLOWED_ORIGINS": _origins(environment, page),
        "ELECTRIC_HTTP_URL": tap_url,
        "ELECTRIC_SECRET": upstream.secret,
        "DATABASE_URL": upstream.dsn,
        "PROXY_DRAIN_SECONDS": "1",
    }
    if upstream.slot:
        own["PROXY_REPLICATION_SLOT"] = upstream.slot
    usual = {
        "PROXY_POLICIES": str(next((folder for folder in POLICIES if folder.is_dir()), POLICIES[0])),
        "PROXY_LOG_LEVEL": "info" if options.lines and not options.clients else "error",
        "PROXY_MAX_OPEN_REQUESTS_PER_SUBJECT": str(options.clients + 1200),
        "PROXY_HANDLE_KEY": secrets.token_hex(32),  # an Electric without a secret has none to derive it from
        "PROXY_HEARTBEAT_TABLE": HEARTBEAT_TABLE,
        "PROXY_HEARTBEAT_SECONDS": "1",
    }
    return settings.load(usual | environment | own)


def _origins(environment: dict[str, str], page: str) -> str:
    given = environment.get("PROXY_ALLOWED_ORIGINS", "")
    port = page.rpartition(":")[2]
    return given if given == "*" else ",".join(filter(None, (given, page, f"http://localhost:{port}")))


def listening(setting: str, address: Address) -> socket.socket:
    """A socket at the wanted address, or at a free port, which is printed, if that is taken."""
    try:
        return serve.listening(address)
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            why = fault.strerror if isinstance(fault, socket.gaierror) else os.strerror(fault.errno or 0)
            raise SettingsFault(f"{setting}: cannot listen on {address}: {why}") from None
    bound = serve.listening(Address(address.host, 0))
    click.echo(f"{setting}: port {address.port} is taken by another program; here it is {bound.getsockname()[1]}")
    return bound


def url_of(bound: socket.socket) -> str:
    """How a browser on this machine reaches a socket, also one that listens on every address."""
    host, port = bound.getsockname()[:2]
    return f"http://{Address({'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host), port)}"  # noqa: S104
