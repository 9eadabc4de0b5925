"""An issuer of tokens with keys of its own, and the address where it publishes them, on a real socket."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.harness.upstream import Asked, Connection, Script, Upstream, scripted

ISSUER = "https://id.example/"
AUDIENCE = "https://api.example"

MAKERS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
SIGNERS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


@dataclass
class SigningKey:
    """One key of an issuer."""

    kid: str
    algorithm: str = "ES256"
    private: Any = None

    def __post_init__(self) -> None:
        self.private = self.private or MAKERS[self.algorithm]()

    def member(self, *, private: bool = False, **more: object) -> dict[str, Any]:
        """The public half as a member of a JWKS, or the private one."""
        half = SIGNERS[self.algorithm].to_jwk(self.private if private else self.private.public_key(), as_dict=True)
        return {**half, "kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": None} | more

    def sign(self, payload: dict[str, Any], **headers: object) -> str:
        """A token with exactly these claims."""
        raw = json.dumps(payload).encode()
        return jwt.PyJWS().encode(raw, self.private, self.algorithm, {"kid": self.kid, **headers})


def jwks(*members: object) -> bytes:
    """A key set of these members."""
    return json.dumps({"keys": members}).encode()


@dataclass
class Issuing:
    """What an issuer publishes, and how it answers; `upstream.asked` are the fetches."""

    upstream: Upstream
    published: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"{self.upstream.url}/.well-known/jwks.json"

    @property
    def fetches(self) -> int:
        """How often they were fetched."""
        return len(self.upstream.asked)

    def publish(self, *keys: SigningKey) -> None:
        """Publishes these keys and no others."""
        self.published = jwks(*(key.member() for key in keys))

    async def answer(self, connection: Connection, _: Asked) -> None:
        """One fetch."""
        fields = {"content-type": "application/json", **self.headers}
        await connection.reply(self.status, self.published, fields)

    async def silence(self, connection: Connection, _: Asked) -> None:
        """No answer, until the client has gone."""
        await connection.closed.wait()

    def then(self, script: Script) -> None:
        """Answers by another script from now on."""
        self.upstream.script = script


@asynccontextmanager
async def issuing(*keys: SigningKey) -> AsyncIterator[Issuing]:
    """An issuer that publishes these keys."""
    async with scripted() as upstream:
        made = Issuing(upstream)
        made.publish(*keys)
        upstream.script = made.answer
        yield made


def payload(**changes: Any) -> dict[str, Any]:
    """The claims of somebody in session s-ada, valid now; None leaves a claim out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "acc-ada", "iat": now, "exp": now + 300}
    claims |= {"session_id": "s-ada", "account_id": "acc-ada"}
    return {name: value for name, value in (claims | changes).items() if value is not None}
