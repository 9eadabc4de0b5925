"""Three proxies between HAProxy and one nginx cache, by the files of deploy/scale, with the real programs."""

import asyncio
import re
import shutil
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from proxy.telemetry.events import KeysLoaded
from tests.clients.edges import NGINX_PATHS, listening, make_certificate, read_all
from tests.clients.peer import tool
from tests.clients.world import free_port
from tests.harness.plain import plain
from tests.harness.raw import SECONDS, until
from tests.harness.running import POLICIES, Proxy, running
from tests.harness.upstream import HEADERS, Asked, Connection, Upstream, scripted
from tests.tree import ROOT

SCALE = ROOT / "deploy" / "scale"
PLAIN_SECRET = "0123456789abcdef0123456789abcdef"
CHANGE = b'[{"key":"1","value":{"id":"1"},"headers":{"operation":"insert"}},{"headers":{"control":"up-to-date"}}]'
LIVE_HEADERS = HEADERS | {"cache-control": "public, max-age=5, stale-while-revalidate=5", "electric-cursor": "100"}


@dataclass
class Farm:
    """Everything that runs. `url` is HAProxy's, `cache_url` nginx'."""

    url: str
    cache_url: str
    proxies: list[Proxy]
    upstream: Upstream
    log: Path
    change: asyncio.Event = field(default_factory=asyncio.Event)

    def asked(self, **params: str) -> int:
        """How many requests for shapes with these parameters Electric has received."""
        return sum(params.items() <= one.params.items() for one in self.upstream.asked)


@asynccontextmanager
async def started(*command: str, port: int) -> AsyncIterator[None]:
    """A server that listens on a port."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    output = asyncio.create_task(read_all(process))
    try:
        await listening(port, process, output)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await output


def nginx(port: int, upstream: str, folder: Path) -> list[str]:
    """The cache of deploy/scale as its image would make it from the template."""
    text = (SCALE / "cache.conf.template").read_text()
    for shipped, ours in (
        ("${ELECTRIC_SECRET}", PLAIN_SECRET),
        ("${ELECTRIC_UPSTREAM}", upstream),
        ("listen 3000 backlog=4096;", f"listen 127.0.0.1:{port};"),
        ("/var/cache/nginx/shapes", f"{folder}/cache"),
        ("access_log /dev/stdout", f"access_log {folder}/access.log"),
        ("error_log /dev/stderr crit", f"error_log {folder}/error.log crit"),
    ):
        assert shipped in text, shipped
        text = text.replace(shipped, ours)
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in NGINX_PATHS)
    (folder / "cache.conf").write_text(f"events {{}}\nhttp {{\n{paths}{text}\n}}\n")
    directives = f"daemon off; master_process off; pid {folder}/nginx.pid;"
    return [tool("nginx"), "-c", str(folder / "cache.conf"), "-e", str(folder / "start.log"), "-g", directives]


def haproxy(port: int, proxies: list[Proxy], folder: Path) -> list[str]:
    """HAProxy of deploy/scale in front of these proxies."""
    make_certificate(folder)
    (folder / "shapes.pem").write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    text = (SCALE / "haproxy.cfg").read_text()
    for shipped, ours in (
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/haproxy/shapes.pem", f"{folder}/shapes.pem"),
        ("maxconn 40000", "maxconn 500"),
        ("default-server check port 9090", "default-server check"),
    ):
        assert shipped in text, shipped
        text = text.replace(shipped, ours)
    for number, proxy in enumerate(proxies, 1):
        public, admin = (urlsplit(url).netloc for url in (proxy.url, proxy.admin_url))
        line = f"server proxy{number} proxy{number}:8080"
        assert line in text
        text = text.replace(line, f"server proxy{number} {public} addr 127.0.0.1 port {admin.rpartition(':')[2]}")
    (folder / "haproxy.cfg").write_text(text)
    return [tool("haproxy"), "-f", str(folder / "haproxy.cfg")]


def loaded_keys(proxy: Proxy) -> int:
    """How often a proxy has read its keys."""
    return sum(isinstance(seen, KeysLoaded) for seen in proxy.seen)


@pytest.fixture
async def farm(tmp_path: Path) -> AsyncIterator[Farm]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(scripted())
        cache, front = free_port(), free_port()
        command = nginx(cache, urlsplit(upstream.url).netloc, tmp_path)
        await stack.enter_async_context(started(*command, port=cache))
        shutil.copytree(POLICIES, tmp_path / "policies")
        (tmp_path / "revocations").touch()
        variables = {
            "ELECTRIC_SECRET": PLAIN_SECRET,
            "PROXY_CHECK_REQUEST_ID": "false",
            "PROXY_DRAIN_SECONDS": "1",
            "PROXY_POLICIES": str(tmp_path / "policies"),
            "PROXY_REVOCATIONS": str(tmp_path / "revocations"),
        }
        proxies = []
        for number in range(3):
            (folder := tmp_path / f"proxy{number}").mkdir()
            started_proxy = running(f"http://127.0.0.1:{cache}", folder, **variables)
            proxies.append(await stack.enter_async_context(started_proxy))
            if number:  # all know the keys of the first
                (folder / "keys.json").write_text((tmp_path / "proxy0" / "keys.json").read_text())
                proxies[-1].hangup.set()
                await until(lambda proxy=proxies[-1]: loaded_keys(proxy) == 2, "reloaded")
        await stack.enter_async_context(started(*haproxy(front, proxies, tmp_path), port=front))
        farm = Farm(f"https://localhost:{front}", f"http://127.0.0.1:{cache}", proxies, upstream, tmp_path)

        async def script(connection: Connection, asked: Asked) -> None:
            if asked.params.get("live") == "true":
                await farm.change.wait()
                await connection.reply(body=CHANGE, headers=LIVE_HEADERS | {"electric-offset": "8_0"})
            else:
                await connection.reply()

        upstream.script = script
        yield farm


def shape(base: str, **params: str) -> str:
    return f"{base}/v1/shape?" + "&".join(f"{name}={value}" for name, value in params.items())


async def test_one_request_to_electric_for_each_shape_whatever_the_number_of_proxies(farm: Farm) -> None:
    trusted = ssl.create_default_context(cafile=str(farm.log / "cert.pem"))
    async with httpx.AsyncClient(timeout=20, verify=trusted, trust_env=False) as client:

        async def get(session: str, **params: str) -> httpx.Response:
            bearer = farm.proxies[0].bearer(session_id=session)
            return await client.get(shape(farm.url, table="chat_messages", **params), headers=bearer)

        sessions = ["s-ada", "s-bob"] * 6
        first = await asyncio.gather(*(get(session, offset="-1") for session in sessions))
        assert {answer.status_code for answer in first} == {200}
        assert Counter(one.params["params[1]"] for one in farm.upstream.asked) == {"s-ada": 1, "s-bob": 1}
        handles = dict(zip(sessions, (answer.headers["electric-handle"] for answer in first), strict=True))
        assert len(set(handles.values())) == 2

        polls = [
            asyncio.create_task(get(session, offset="7_0", handle=handles[session], live="true"))
            for session in sessions
        ]
        await until(lambda: farm.asked(live="true") == 2)
        farm.change.set()
        answers = await asyncio.gather(*polls)
        assert {(answer.status_code, answer.content) for answer in answers} == {(200, CHANGE)}
        assert farm.asked(live="true") == 2
    used = [proxy for proxy in farm.proxies if proxy.opened]
    assert len(used) == 3


async def test_the_cache_answers_only_who_knows_the_secret_and_logs_no_query(farm: Farm) -> None:
    async with plain() as client:
        right = shape(farm.cache_url, table="t", offset="-1", secret=PLAIN_SECRET)
        assert (await client.get(right)).status_code == 200
        for wrong in ("", "&secret=", "&secret=wrong", f"&secret={PLAIN_SECRET}0"):
            url = shape(farm.cache_url, table="t", offset="-1") + wrong
            assert (await client.get(url)).status_code == 401
        assert (await client.get(f"{farm.cache_url}/v1/shape/other")).status_code == 404
        assert (await client.get(right)).status_code == 200
    assert farm.asked(table="t") == 1
    lines = (farm.log / "access.log").read_text()
    assert re.search(r"GET /v1/shape 200 (MISS|HIT)", lines)
    assert "secret" not in lines + (farm.log / "error.log").read_text()
    assert PLAIN_SECRET not in lines


async def test_a_proxy_that_goes_away_is_replaced_by_the_others(farm: Farm) -> None:
    trusted = ssl.create_default_context(cafile=str(farm.log / "cert.pem"))
    async with httpx.AsyncClient(timeout=20, verify=trusted, trust_env=False) as client:
        farm.proxies[0].stop.set()
        for _ in range(20):
            bearer = farm.proxies[0].bearer()
            answer = await client.get(shape(farm.url, table="chat_messages", offset="-1"), headers=bearer)
            assert answer.status_code in {200, 503}
            if answer.status_code == 503:
                assert "retry-after" in answer.headers
        await until(lambda: len(farm.proxies[1].opened) + len(farm.proxies[2].opened) > 0)


async def test_revocations_and_policies_reach_all(farm: Farm) -> None:
    async with plain(timeout=20) as client:

        async def statuses() -> set[int]:
            bearer = farm.proxies[0].bearer()
            urls = [shape(proxy.url, table="chat_messages", offset="-1") for proxy in farm.proxies]
            return {(await client.get(url, headers=bearer)).status_code for url in urls}

        async def become(status: int) -> None:
            async with asyncio.timeout(SECONDS):
                while await statuses() != {status}:
                    pass  # each look is three requests

        await become(200)
        (farm.log / "policies" / "chat_messages.toml").unlink()
        for proxy in farm.proxies:
            proxy.hangup.set()
        await become(403)
        (farm.log / "revocations").write_text("sub acc-ada\n")
        await become(401)
