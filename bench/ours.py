# SPDX-License-Identifier: Apache-2.0
"""The proxy of this repository as a peer: its settings, generated policies, keys, and tokens for its clients."""

import base64
import json
import re
import secrets
import sys
import time
from functools import cache
from pathlib import Path

import jwt

from bench import processes
from bench.answers import COLUMNS
from bench.peers import Command, Peer, Place

ISSUER, AUDIENCE, SECRET = "https://app.example", "shape-proxy", "s3cr3t"
SECONDS = 3600
KEY = secrets.token_bytes(32)
ROOT = Path(__file__).parents[1]
NAME, ASGI_NAME = "shape-proxy", "shape-proxy (ASGI)"
RENAMED = {"max_open_requests": "max_streams", "max_open_requests_per_subject": "max_streams_per_subject"}
"""Settings whose name was another in older trees."""

POLICY = """\
table   = "public.bench_{number}"
key     = ["id"]
columns = {columns}
where   = "session_id = {{session_id}}"

[claims]
session_id = "text"

[client]
filter = ["id"]

[[case]]
name    = "its own session"
claims  = {{ session_id = "s-0" }}
request = "table=bench_{number}&offset=-1"
expect  = "allow"

[[case]]
name    = "no claim"
claims  = {{ }}
request = "table=bench_{number}&offset=-1"
expect  = "claim_missing"
"""


def peer(tree: Path = ROOT, *, policies: int = 10, name: str = NAME, **settings: str) -> Peer:
    """The proxy as it stands in a source tree, with so many policies, one for each table. `settings` are more than the
    usual ones; a tree without them is not measured."""

    def command(place: Place) -> Command:
        return Command([sys.executable, "-m", "proxy", "serve"], environment(tree, place, policies, **settings), tree)

    unknown = sorted(set(settings) - _known(tree))
    return Peer(name, "", command, f"the tree has no setting {' '.join(unknown)}" if unknown else "")


def asgi(tree: Path = ROOT, *, policies: int = 10) -> Peer:
    """The same handler behind uvicorn; not installed in a tree that has no such application."""

    def command(place: Place) -> Command:
        argv = [sys.executable, "-m", "uvicorn", "proxy.gateway.asgi:app", "--port", str(place.port), "--http"]
        argv += ["httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning", "--backlog", "4096"]
        return Command(argv, environment(tree, place, policies), tree)

    source = tree / "proxy" / "gateway" / "asgi.py"
    pattern = r"^(app\b|async def app\b|def app\b|def __getattr__\b)"
    present = source.exists() and re.search(pattern, source.read_text(), re.MULTILINE) is not None
    return Peer(ASGI_NAME, "", command, "" if present else "the tree has no proxy.gateway.asgi:app")


def environment(tree: Path, place: Place, policies: int, **more: str) -> dict[str, str]:
    """The settings, under the names that the tree has for them; those that it does not have are left out."""
    (folder := place.folder / "policies").mkdir()
    for number in range(policies):
        (folder / f"bench_{number}.toml").write_text(POLICY.format(number=number, columns=json.dumps(COLUMNS)))
    (place.folder / "keys.json").write_text(json.dumps(_key_set()))
    settings = {
        "token_keys": str(place.folder / "keys.json"),
        "token_issuer": ISSUER,
        "token_audience": AUDIENCE,
        "token_max_seconds": str(SECONDS),
        "listen": f"127.0.0.1:{place.port}",
        "admin_listen": f"127.0.0.1:{processes.free_port()}",
        "policies": str(folder),
        "drain_seconds": "0.1",
        "max_open_requests": "100000",
        "max_open_requests_per_subject": "100000",
        # The load is one subject, mostly, and what it is limited to is measured by `isolation`.
        "max_definitions_per_minute": "0",
        "max_definitions_per_minute_per_subject": "0",
        "max_initial_requests": "0",
        "max_initial_requests_per_subject": "0",
        "max_cpu_ms_per_second_per_subject": "0",
        "cache_share": "0",
    } | more
    known = _known(tree)
    named = {name if name in known else RENAMED.get(name, name): value for name, value in settings.items()}
    return {
        "ELECTRIC_HTTP_URL": f"http://127.0.0.1:{place.upstream}",
        "ELECTRIC_SECRET": SECRET,
    } | {f"PROXY_{name.upper()}": value for name, value in named.items() if name in known}


@cache
def _known(tree: Path) -> set[str]:
    """The settings that a tree has."""
    return set(re.findall(r"^    (\w+): ", (tree / "proxy" / "settings.py").read_text(), re.MULTILINE))


@cache
def bearers(count: int, shapes: int, org: str = "") -> list[bytes]:
    """Tokens of as many subjects, spread over so many sessions: equal sessions share a shape."""
    now = int(time.time())
    common = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + SECONDS} | ({"org": org} if org else {})
    headers = {"kid": "bench", "typ": "electric-shape+jwt"}
    claims = [{"sub": f"acc-{number}", "session_id": f"s-{number % shapes}"} for number in range(count)]
    return [jwt.encode(common | each, KEY, "HS256", headers).encode() for each in claims]


def _key_set() -> dict[str, object]:
    text = base64.urlsafe_b64encode(KEY).rstrip(b"=").decode()
    return {"keys": [{"kty": "oct", "alg": "HS256", "kid": "bench", "k": text}]}


def position(tree: Path) -> str:
    """Where a client is in its log, before the number of its request. The handle is as long as one that the proxy
    gave out and as much work to verify; it is relayed as that of no shape, which the mock accepts. Older trees accept
    Electric's own form only."""
    form = "1-1.AAAAAAAAAAAAAAAA" if (tree / "proxy" / "core" / "handles.py").exists() else "1-1"
    return f"&handle={form}&cache-buster="


NUMBER = position(ROOT)


def request(bearer: bytes, offset: str, number: int | None = None, more: str = "") -> bytes:
    """A shape request as a client sends it. Requests with different numbers share nothing."""
    query = f"table=bench_0&offset={offset}" + (f"{NUMBER}{number}" if number is not None else "") + more
    return (
        b"GET /v1/shape?%b HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nUser-Agent: bench\r\n"
        b"Authorization: Bearer %b\r\n\r\n"
    ) % (query.encode(), bearer)
