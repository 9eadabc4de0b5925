"""Addresses, names and certificates."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from proxy.carriers.carrier import Unreachable

from proxy.electric.client import CARRIERS
from proxy.http1.origin import Origin
from tests.carriers.asking import asked, read, send
from tests.carriers.origin import Link, answering, origin
from tests.carriers.streams import CHUNKED, GOOD

ADDRESSES = {
    "http://electric:3000": ("electric", 3000, "electric:3000", "", False),
    "http://electric": ("electric", 80, "electric", "", False),
    "http://electric:80": ("electric", 80, "electric", "", False),
    "http://electric:443": ("electric", 443, "electric:443", "", False),
    "https://electric.example/base/x": ("electric.example", 443, "electric.example", "/base/x", True),
    "https://electric.example:8443": ("electric.example", 8443, "electric.example:8443", "", True),
    "http://[::1]:3000": ("::1", 3000, "[::1]:3000", "", False),
    "http://[::1]": ("::1", 80, "[::1]", "", False),
}


@pytest.mark.parametrize(("url", "meant"), ADDRESSES.items())
def test_an_address_is_taken_apart(url, meant):
    taken = Origin(url)
    assert (taken.host, taken.port, taken.authority, taken.prefix, taken.tls is not None) == meant


async def test_a_name_is_looked_up_once_for_all_who_wait():
    looked_up = Origin("http://localhost:1")
    first, *others = await asyncio.gather(*(looked_up.addresses() for _ in range(50)))
    assert "127.0.0.1" in first
    assert len(first) == len(set(first))
    assert all(one is first for one in others)


async def test_who_gives_up_waiting_takes_nobody_along():
    looked_up = Origin("http://localhost:1")
    one, two = (asyncio.ensure_future(looked_up.addresses()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert "127.0.0.1" in await two


async def test_a_name_that_was_not_found_is_looked_up_again():
    looked_up = Origin("http://no.such.host.invalid:1")
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011 - resolvers differ in what they say
            await looked_up.addresses()
    looked_up.host = "localhost"
    assert "127.0.0.1" in await looked_up.addresses()
    looked_up.close()


async def test_the_second_address_of_a_name_is_tried_too(name):
    async with origin(answering(GOOD["a length"][0])) as running:
        carrier = CARRIERS[name](running.url.replace("127.0.0.1", "localhost"), 3)  # it listens on one of its addresses
        async with carrier:
            response = await send(carrier)
            assert await read(response) == b"abc"
            response.close()


async def test_a_name_without_an_address_is_unreachable():
    async with CARRIERS["llhttp"]("http://127.0.0.1:1", 1) as carrier:
        carrier._origin._lookup = asyncio.ensure_future(asyncio.sleep(0, []))
        carrier._origin._looked_up = float("inf")
        assert await asked(carrier) is Unreachable


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "origin")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "origin.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def server_side(certificate):
    """What the origin shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_https_is_read_as_http_is(name, certificate, server_side):
    trust = ssl.create_default_context(cafile=certificate)
    body = bytes(range(256)) * 8000
    said = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    async def large(link: Link) -> None:
        while True:
            await link.request()
            await link.part(CHUNKED, said)

    async with origin(large, server_side) as running, CARRIERS[name](running.url, 3, tls=trust) as carrier:
        for _ in range(3):
            response = await send(carrier)
            assert await read(response) == body
            response.close()
        assert len(running.links) == 1
        response = await send(carrier)
        response.close()
        await running.links[0].gone.wait()


async def test_a_certificate_that_nobody_vouches_for_is_unreachable(name, server_side):
    async with (
        origin(answering(GOOD["a length"][0]), server_side) as running,
        CARRIERS[name](running.url, 3) as carrier,
    ):
        assert await asked(carrier) is Unreachable
    assert running.links == []


async def test_an_origin_that_speaks_no_tls_is_unreachable(name):
    async def plain(link: Link) -> None:
        await link.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with origin(plain) as running:
        carrier = CARRIERS[name](running.url.replace("http:", "https:"), 3)
        async with carrier:
            assert await asked(carrier) is Unreachable
