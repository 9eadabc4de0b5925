"""What comes of a request: a response, or the name of the fault instead of it."""

import asyncio
from dataclasses import dataclass

from proxy.carriers.carrier import Broken, Carrier, Fault, Response

from tests.harness.raw import SECONDS

FIELDS = {"accept-encoding": "identity"}


@dataclass(frozen=True)
class Got:
    """A whole response."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True)
class Cut:
    """A response whose body broke off."""

    status: int


Outcome = Got | Cut | type[Fault]


async def send(carrier: Carrier, target: str = "/", silence: float = 5, method: str = "GET") -> Response:
    """A request without a body."""
    async with asyncio.timeout(SECONDS):
        return await carrier.send(method, target, FIELDS, None, silence=silence)


async def read(response: Response) -> bytes:
    """The whole body. Raises Broken."""
    body = b""
    async with asyncio.timeout(SECONDS):
        async for piece in response.chunks():
            assert piece
            body += piece
    assert response.whole in (None, body)
    return body


async def asked(carrier: Carrier, method: str = "GET", silence: float = 5) -> Outcome:
    """One request, to its end."""
    try:
        response = await send(carrier, method=method, silence=silence)
    except Fault as fault:
        return type(fault)
    try:
        return Got(response.status, tuple(response.headers), await read(response))
    except Broken:
        return Cut(response.status)
    finally:
        response.close()
