"""Keys by address: how they are fetched, how often, and what happens while they cannot be."""

import asyncio
import json
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.auth import jwks as fetching
from proxy.auth.issuers import Issuer
from proxy.auth.jwks import FetchFault, KeySources, Pace, fetch, max_age, refresh_after
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.trust import Trust
from proxy.core.errors import Code
from tests.core.samples import refused
from tests.harness.raw import until
from tests.harness.upstream import Asked, Connection
from tests.tokens.issuing import AUDIENCE, ISSUER, Issuing, SigningKey, issuing, jwks

FIRST, SECOND = SigningKey("first"), SigningKey("second", "RS256")
SLOW = Pace(unknown=3600)
"""One fetch for an unknown key, and no more in the time of a test."""


def issuer_of(made: Issuing, **changes: Any) -> Issuer:
    """The issuer whose keys are published there."""
    return Issuer(ISSUER, made.url, frozenset({AUDIENCE}), **changes)


@pytest.fixture
async def published() -> AsyncIterator[Issuing]:
    """An issuer that publishes one key."""
    async with issuing(FIRST) as made:
        yield made


def kids(ring: KeyRing | None) -> list[str | None]:
    """The kids of the keys that verify."""
    return [] if ring is None else [key.kid for key in ring.verifying]


async def fault(made: Issuing) -> str:
    """Why the keys there are not fetched."""
    with pytest.raises(FetchFault) as caught:
        await fetch(issuer_of(made))
    return str(caught.value)


# --- one fetch


async def test_a_set_is_fetched_as_it_is(published: Issuing) -> None:
    assert kids((await fetch(issuer_of(published))).ring) == ["first"]
    (asked,) = published.upstream.asked
    headers = dict(asked.headers)
    assert (asked.method, asked.target) == ("GET", "/.well-known/jwks.json")
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers
    assert "authorization" not in headers


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 307, 308, 304, 400, 401, 404, 500, 503])
async def test_only_a_200_is_a_set_and_no_redirect_is_followed(published: Issuing, status: int) -> None:
    async with issuing(SECOND) as elsewhere:
        published.status, published.headers = status, {"location": elsewhere.url}
        if status in (204, 304):
            published.published = b""
        assert await fault(published) == f"status {status}"
        assert elsewhere.fetches == 0


BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "this is no JWKS file (JSONDecodeError)"),
    "a page": (b"<html>", "this is no JWKS file (JSONDecodeError)"),
    "a key alone": (json.dumps(FIRST.member()).encode(), "this is no JWKS file (KeyError)"),
    "no key": (jwks(), "there must be at least one key that verifies tokens"),
    "too deep": (b"[" * 60_000, "this is no JWKS file (RecursionError)"),
    "too large": (jwks(FIRST.member(x5c=["x" * 65_536])), "more than 65536 bytes"),
    "two of one kid": (jwks(FIRST.member(), SECOND.member(kid="first")), "each key must have a kid of its own"),
}


@pytest.mark.parametrize(("body", "sentence"), BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_set_is_a_fault(published: Issuing, body: bytes, sentence: str) -> None:
    published.published = body
    assert await fault(published) == sentence


async def test_a_body_that_was_compressed_unasked_is_not_unpacked(published: Issuing) -> None:
    published.headers = {"content-encoding": "gzip"}
    assert kids((await fetch(issuer_of(published))).ring) == ["first"]  # its bytes are taken as they are


async def test_a_body_without_an_end_is_cut_off(published: Issuing) -> None:
    async def endless(connection: Connection, _: Asked) -> None:
        await connection.head(headers={"content-type": "application/json"})
        while not connection.closed.is_set():
            await connection.chunk(b" " * 16_384)

    published.then(endless)
    assert await fault(published) == "more than 65536 bytes"


async def test_an_answer_has_a_deadline(published: Issuing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.2)
    published.then(published.silence)
    assert await fault(published) == "no answer in 0.2 s"


async def test_nobody_there_is_a_fault_without_an_address_in_it() -> None:
    with pytest.raises(FetchFault) as caught:
        await fetch(Issuer(ISSUER, "http://127.0.0.1:1/jwks", frozenset({AUDIENCE})))
    assert str(caught.value) == "ConnectError"


async def test_proxies_of_the_environment_are_not_used(published: Issuing, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert kids((await fetch(issuer_of(published))).ring) == ["first"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    published: Issuing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, certificate = certified(tmp_path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = len(published.published)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + published.published)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server) as listening:
        port = listening.sockets[0].getsockname()[1]
        issuer = Issuer(ISSUER, f"https://127.0.0.1:{port}/jwks", frozenset({AUDIENCE}))
        with pytest.raises(FetchFault, match="ConnectError"):
            await fetch(issuer)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert kids((await fetch(issuer)).ring) == ["first"]


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server of this machine needs for TLS, and the certificate to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keys")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    certificate, private = folder / "certificate.pem", folder / "private.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return context, certificate


SECRETS: dict[str, Callable[[], dict[str, Any]]] = {
    "a secret": lambda: {"kty": "oct", "kid": "x", "k": "A" * 43},
    "a private key": lambda: SECOND.member(private=True, kid="x"),
}


@pytest.mark.parametrize("member", SECRETS.values(), ids=SECRETS)
async def test_what_is_secret_is_not_believed_once_it_is_published(
    published: Issuing, member: Callable[[], dict[str, Any]]
) -> None:
    published.published = jwks(member(), FIRST.member())
    ring = (await fetch(issuer_of(published))).ring
    assert kids(ring) == ["first"]
    assert ring.skipped == ("key 1 (kid 'x'): it is secret, and published all the same",)


async def test_keys_for_other_purposes_are_skipped_and_counted(published: Issuing) -> None:
    others = [
        SECOND.member(kid="enc", use="enc", alg="RSA-OAEP"),
        SECOND.member(kid="ops", use=None, key_ops=["wrapKey"]),
        SECOND.member(kid="alg", alg="PS512"),
        FIRST.member(kid="curve", crv="P-384"),
    ]
    published.published = jwks(*others, SECOND.member())
    ring = (await fetch(issuer_of(published))).ring
    assert kids(ring) == ["second"]
    assert len(ring.skipped) == 4


async def test_commands_fetch_every_set_once(published: Issuing) -> None:
    trust = await fetching.fetched(Trust.read([issuer_of(published)]))
    assert kids(trust.rings[0]) == ["first"]
    published.status = 404
    with pytest.raises(KeysFault, match=r"jwks\.json: status 404$"):
        await fetching.fetched(trust)


# --- when

CACHING: dict[str, float | None] = {
    "": None,
    "public": None,
    "max-age=60": 60,
    "public, max-age=19204, must-revalidate, no-transform": 19204,
    "Max-Age=60": 60,
    'max-age="60"': 60,
    "public,max-age=15,stale-while-revalidate=15": 15,
    "no-store": 0,
    "no-cache, max-age=60": 0,
    "max-age=-1": None,
    "max-age=1e9": None,
    "max-age=" + "9" * 400: 999_999_999,
    "s-maxage=60": None,
    "max-age": None,
}


@pytest.mark.parametrize(("caching", "seconds"), CACHING.items())
def test_a_cache_control_is_read(caching: str, seconds: float | None) -> None:
    assert max_age(caching) == seconds


@pytest.mark.parametrize(
    ("age", "least", "most"),
    [(None, 225, 270), (0, 45, 54), (15, 45, 54), (600, 450, 540), (3600, 2700, 3240), (10**9, 2700, 3240)],
)
def test_a_refresh_comes_ahead_of_expiry_within_bounds_and_not_for_all_at_once(
    age: float | None, least: float, most: float
) -> None:
    assert refresh_after(age, Pace(), 0) == pytest.approx(least)
    assert refresh_after(age, Pace(), 1) == pytest.approx(most)


# --- a source


class Following:
    """Sources that are running: what they changed, and how each fetch ended."""

    def __init__(self, pace: Pace) -> None:
        self.changes: list[list[str | None]] = []
        self.ends: list[str] = []
        self.resumed: list[tuple[str, bool]] = []
        self.sources = KeySources(
            lambda _, ring: self.changes.append(kids(ring)), lambda _, fault: self.ends.append(fault), pace
        )

    def wait(self, kid: str | None) -> bool:
        """A request with this kid."""
        return self.sources.wait(ISSUER, kid, lambda fetched: self.resumed.append((kid or "", fetched)))

    async def fetched(self, count: int) -> None:
        """Waits until so many fetches have ended."""
        await until(lambda: len(self.ends) >= count)


@asynccontextmanager
async def following(made: Issuing, pace: Pace = SLOW) -> AsyncIterator[Following]:
    """The sources of one issuer."""
    watching = Following(pace)
    watching.sources.follow([issuer_of(made)])
    task = asyncio.create_task(watching.sources.run())
    try:
        yield watching
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


QUICK = Pace(usual=0.001, least=0, most=0.001, retry=0.001, retry_most=0.001)


async def test_keys_are_fetched_at_once_and_missed_until_then(published: Issuing) -> None:
    go = asyncio.Event()

    async def held(connection: Connection, asked: Asked) -> None:
        await go.wait()
        await published.answer(connection, asked)

    published.then(held)
    async with following(published) as watching:
        await until(lambda: published.fetches)
        assert watching.sources.missing() == (ISSUER,)
        assert math.isnan(watching.sources.age())
        assert watching.sources.report()[ISSUER]["fault"] == "not fetched yet"
        go.set()
        await watching.fetched(1)
        assert watching.changes == [["first"]]
        assert watching.sources.missing() == ()
        assert watching.sources.age() >= 0
        report = watching.sources.report()[ISSUER]
        assert (report["usable"], report["skipped"], report["fault"]) == (1, 0, "")


async def test_a_set_that_is_the_same_changes_nothing(published: Issuing) -> None:
    async with following(published, QUICK) as watching:
        await watching.fetched(3)
        published.publish(FIRST, SECOND)
        await until(lambda: len(watching.changes) > 1)
        assert watching.changes == [["first"], ["first", "second"]]


async def test_one_fetch_at_a_time(published: Issuing) -> None:
    running, most = 0, 0

    async def counted(connection: Connection, asked: Asked) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        await published.answer(connection, asked)

    published.then(counted)
    async with following(published, replace(QUICK, unknown=0)) as watching:
        for number in range(50):
            watching.wait(f"x{number}")
            await asyncio.sleep(0)
        await watching.fetched(5)
    assert most == 1


async def test_the_last_set_is_kept_while_its_source_is_down(published: Issuing) -> None:
    async with following(published, replace(QUICK, keep=3600)) as watching:
        await watching.fetched(1)
        published.status = 500
        await until(lambda: watching.ends.count("status 500") > 3)
        assert watching.changes == [["first"]]
        assert watching.sources.missing() == ()
        report = watching.sources.report()[ISSUER]
        assert (report["usable"], report["fault"]) == (1, "status 500")


async def test_for_so_long_and_no_longer_and_then_it_is_missed_until_it_is_back(published: Issuing) -> None:
    async with following(published, replace(QUICK, keep=0)) as watching:
        await watching.fetched(1)
        published.status = 500
        await until(watching.sources.missing)
        assert watching.changes == [["first"], []]
        published.status = 200
        await until(lambda: not watching.sources.missing())
        assert watching.changes == [["first"], [], ["first"]]


async def test_a_set_that_cannot_be_read_leaves_the_old_one(published: Issuing) -> None:
    async with following(published, replace(QUICK, keep=3600)) as watching:
        await watching.fetched(1)
        published.published = jwks()
        await until(lambda: any(watching.ends))
        assert watching.changes == [["first"]]


# --- unknown keys


async def test_a_key_that_was_published_since_is_found_by_one_fetch(published: Issuing) -> None:
    async with following(published) as watching:
        await watching.fetched(1)
        published.publish(FIRST, SECOND)
        assert watching.wait("second")
        await until(lambda: watching.resumed)
        assert watching.resumed == [("second", True)]
        assert watching.changes[-1] == ["first", "second"]
        assert published.fetches == 2


async def test_advisory_key_set_storm_unknown_keys_cause_one_fetch_in_their_time(published: Issuing) -> None:
    async with following(published) as watching:
        await watching.fetched(1)
        for number in range(500):
            assert watching.wait(f"x{number}")
        await until(lambda: len(watching.resumed) == 500)
        assert published.fetches == 2
        assert not watching.wait("x7")  # the issuer was asked, and does not have it
        for number in range(500):
            watching.wait(f"y{number}")
        for _ in range(100):
            await asyncio.sleep(0)
        assert published.fetches == 2


async def test_after_that_time_they_may_cause_another(published: Issuing) -> None:
    async with following(published, Pace(unknown=0.05)) as watching:
        await watching.fetched(1)
        assert watching.wait("second")
        await watching.fetched(2)
        published.publish(SECOND)
        assert watching.wait("another")  # is held until then
        await watching.fetched(3)
        assert watching.changes == [["first"], ["second"]]


async def test_those_who_came_while_a_fetch_was_under_way_are_served_by_it(published: Issuing) -> None:
    go = asyncio.Event()
    async with following(published) as watching:
        await watching.fetched(1)

        async def held(connection: Connection, asked: Asked) -> None:
            await go.wait()
            await published.answer(connection, asked)

        published.then(held)
        published.publish(FIRST, SECOND)
        assert watching.wait("x")
        await until(lambda: published.fetches == 2)
        assert watching.wait("second")
        assert watching.wait("y")
        go.set()
        await until(lambda: len(watching.resumed) == 2)
        assert watching.resumed == [("x", True), ("second", True)]


async def test_a_fetch_that_fails_says_so_to_those_who_waited(published: Issuing) -> None:
    async with following(published) as watching:
        await watching.fetched(1)
        published.status = 500
        assert watching.wait("second")
        await until(lambda: watching.resumed)
        assert watching.resumed == [("second", False)]


async def test_who_leaves_is_not_called(published: Issuing) -> None:
    async with following(published) as watching:
        await watching.fetched(1)
        called: list[bool] = []
        assert watching.sources.wait(ISSUER, "x", called.append)
        watching.sources.leave(ISSUER, called.append)
        assert watching.wait("y")
        await until(lambda: watching.resumed)
        assert called == []


async def test_only_so_many_may_wait(published: Issuing) -> None:
    async with following(published, replace(SLOW, most_waiting=3)) as watching:
        for number in range(3):
            assert watching.wait(f"x{number}")
        with refused(Code.keys_unavailable, reason="too many requests wait"):
            watching.wait("x3")


async def test_nobody_waits_for_an_issuer_that_has_a_file(published: Issuing) -> None:
    async with following(published) as watching:
        assert not watching.sources.wait("another", "x", lambda _: None)
        watching.sources.leave("another", lambda _: None)


# --- other issuers


async def test_a_source_that_stays_keeps_its_keys_and_one_that_is_gone_is_not_fetched(published: Issuing) -> None:
    async with following(published) as watching, issuing(SECOND) as other:
        await watching.fetched(1)
        second = Issuer("https://other.example", other.url, frozenset({AUDIENCE}))
        other.then(other.silence)
        watching.sources.follow([issuer_of(published), second])
        await until(lambda: other.fetches)
        assert watching.sources.missing() == ()  # one that was added later keeps nobody from serving the others
        trust = watching.sources.completed(Trust.read([issuer_of(published), second]))
        assert [kids(trusted.ring) for trusted in trust.by_name.values()] == [["first"], []]
        assert published.fetches == 1
        other.then(other.answer)
        watching.sources.follow([replace(second, algorithms=frozenset({"RS256"}))])
        await until(lambda: ["second"] in watching.changes)
        assert list(watching.sources.report()) == [second.name]
        assert kids(watching.sources.completed(Trust.read([second])).rings[0]) == ["second"]


async def test_keys_stay_known_whatever_else_of_their_issuer_changes(published: Issuing) -> None:
    async with following(published) as watching:
        await watching.fetched(1)
        changed = issuer_of(published, max_seconds=60)
        watching.sources.follow([changed])
        assert kids(watching.sources.completed(Trust.read([changed])).rings[0]) == ["first"]
        assert published.fetches == 1


async def test_other_algorithms_choose_other_keys_of_the_set_that_is_known(published: Issuing) -> None:
    published.publish(FIRST, SECOND)
    async with following(published) as watching:
        await watching.fetched(1)
        for algorithms, chosen in [
            ({"RS256"}, ["second"]),
            ({"ES256"}, ["first"]),
            ({"ES256", "RS256"}, ["first", "second"]),
        ]:
            changed = issuer_of(published, algorithms=frozenset(algorithms))
            watching.sources.follow([changed])
            assert kids(watching.sources.completed(Trust.read([changed])).rings[0]) == chosen
        assert published.fetches == 1


async def test_algorithms_that_no_known_key_is_for_make_the_set_be_fetched_again(published: Issuing) -> None:
    async with following(published) as watching:
        await watching.fetched(1)
        changed = issuer_of(published, algorithms=frozenset({"RS256"}))
        published.publish(SECOND)
        watching.sources.follow([changed])
        assert watching.sources.completed(Trust.read([changed])).rings == ()
        await until(lambda: ["second"] in watching.changes)
        assert kids(watching.sources.completed(Trust.read([changed])).rings[0]) == ["second"]


async def test_a_set_that_was_asked_for_by_other_algorithms_is_asked_for_again(published: Issuing) -> None:
    go = asyncio.Event()

    async def held(connection: Connection, asked: Asked) -> None:
        await go.wait()
        await published.answer(connection, asked)

    async with following(published) as watching:
        await watching.fetched(1)
        published.publish(FIRST, SECOND)
        published.then(held)
        watching.wait("second")
        await until(lambda: published.fetches == 2)
        watching.sources.follow([issuer_of(published, algorithms=frozenset({"ES256"}))])
        go.set()
        await watching.fetched(2)
        assert ["first", "second"] not in watching.changes  # the second is for RS256
        assert published.fetches == 3
