"""Caddy and nginx in front of the proxy, by the files of deploy/edge, on a port of loopback."""

import asyncio
import datetime
import ipaddress
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.clients.peer import tool
from tests.clients.world import free_port
from tests.harness.raw import SECONDS

EDGE = Path(__file__).parents[2] / "deploy" / "edge"
NGINX_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@asynccontextmanager
async def edge(kind: str, upstream: str, folder: Path) -> AsyncIterator[str]:
    """The URL of an edge in front of `upstream` (host:port)."""
    port = free_port()
    command, environment = {"caddy": _caddy, "nginx": _nginx}[kind](port, upstream, folder)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    said = asyncio.create_task(read_all(process))
    try:
        await listening(port, process, said)
        yield f"https://localhost:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await said


def _caddy(port: int, upstream: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    environment = {
        "SHAPES_SITE": f"https://localhost:{port}",
        "SHAPES_UPSTREAM": upstream,
        "SHAPES_HTTP_PORT": str(free_port()),
        "XDG_DATA_HOME": str(folder / "caddy-data"),
        "XDG_CONFIG_HOME": str(folder / "caddy-config"),
    }
    return [tool("caddy"), "run", "--adapter", "caddyfile", "--config", str(EDGE / "Caddyfile")], environment


def _nginx(port: int, upstream: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    make_certificate(folder)
    text = (EDGE / "nginx.conf").read_text()
    for shipped, ours in (
        ("server 127.0.0.1:8080;", f"server {upstream};"),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("/etc/nginx/tls/", f"{folder}/"),
        ("http {", "http {\n" + "".join(f"{name}_temp_path {folder}/{name};\n" for name in NGINX_PATHS)),
    ):
        assert shipped in text, shipped
        text = text.replace(shipped, ours)
    (folder / "nginx.conf").write_text(text.replace("http {", "http {\n access_log off;", 1))
    directives = f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;"
    return [tool("nginx"), "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", directives], {}


def make_certificate(folder: Path) -> None:
    """A certificate that we sign ourselves, for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(encoded)


async def read_all(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode(errors="replace")


async def listening(port: int, process: asyncio.subprocess.Process, said: "asyncio.Task[str]") -> None:
    """Until the port takes connections."""
    async with asyncio.timeout(SECONDS):
        while True:
            assert process.returncode is None, f"the edge ended: {await said}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return
