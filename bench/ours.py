"""The proxy of this repository as a peer: its settings, generated policies, keys, and tokens for its clients."""

import base64
import json
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


def peer(tree: Path = ROOT, *, policies: int = 10, share: bool = True, name: str = "shape-proxy", **more: str) -> Peer:
    """The proxy as it stands in a source tree, with so many policies, one for each table; `more` are settings."""

    def command(place: Place) -> Command:
        argv = [sys.executable, "-m", "proxy", "serve"]
        environment = _environment(place, policies)
        if "    share:" in (tree / "proxy" / "settings.py").read_text():  # older trees have no such setting
            environment["PROXY_SHARE"] = "on" if share else "off"
        return Command(argv, environment | more, tree)

    return Peer(name, "", command)


def _environment(place: Place, policies: int) -> dict[str, str]:
    folder = place.folder / "policies"
    folder.mkdir()
    for number in range(policies):
        (folder / f"bench_{number}.toml").write_text(POLICY.format(number=number, columns=json.dumps(COLUMNS)))
    (place.folder / "keys.json").write_text(json.dumps(_key_set()))
    return {
        "ELECTRIC_HTTP_URL": f"http://127.0.0.1:{place.upstream}",
        "ELECTRIC_SECRET": SECRET,
        "PROXY_TOKEN_KEYS": str(place.folder / "keys.json"),
        "PROXY_TOKEN_ISSUER": ISSUER,
        "PROXY_TOKEN_AUDIENCE": AUDIENCE,
        "PROXY_TOKEN_MAX_SECONDS": str(SECONDS),
        "PROXY_LISTEN": f"127.0.0.1:{place.port}",
        "PROXY_ADMIN_LISTEN": f"127.0.0.1:{processes.free_port()}",
        "PROXY_POLICIES": str(folder),
        "PROXY_DRAIN_SECONDS": "0.1",
        "PROXY_MAX_OPEN_REQUESTS": "100000",
        "PROXY_MAX_OPEN_REQUESTS_PER_SUBJECT": "100000",
    }


@cache
def bearers(count: int, shapes: int) -> list[bytes]:
    """Tokens of as many subjects as there are riders, spread over so many sessions: equal sessions share a shape."""
    now = int(time.time())
    common = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + SECONDS}
    headers = {"kid": "bench", "typ": "electric-shape+jwt"}
    claims = [{"sub": f"acc-{number}", "session_id": f"s-{number % shapes}"} for number in range(count)]
    return [jwt.encode(common | each, KEY, "HS256", headers).encode() for each in claims]


def _key_set() -> dict[str, object]:
    text = base64.urlsafe_b64encode(KEY).rstrip(b"=").decode()
    return {"keys": [{"kty": "oct", "alg": "HS256", "kid": "bench", "k": text}]}


def position(tree: Path) -> str:
    """Where a client stands in its log, before the number of its request. The handle is as long as one that the proxy
    gave out and as much work to verify; it goes on as that of no shape, which the mock does not mind. Older trees
    take Electric's own form only."""
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
