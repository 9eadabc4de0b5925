"""The guides for identity providers work as they are written: a token of the form that each is documented to issue is
taken by the lines of its guide, its policy binds the right claim, and tokens for others are refused.

The keys are made here, and published on a real socket in place of the provider's address.
"""

import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.auth import issuers, jwks, policy_loader
from proxy.auth.tokens import TokenBounds, Verifier
from proxy.auth.trust import Trust
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Code, Refusal
from proxy.core.request import parse
from tests.tokens.issuing import Issuing, SigningKey, issuing
from tests.tokens.issuing import jwks as key_set
from tests.tree import ROOT

GUIDES = ROOT / "docs" / "how-to"
Form = Callable[[int], tuple[dict[str, Any], dict[str, Any]]]
"""From the time of issue to the header and the claims of a token."""

TENANT = "0b5a1f0e-7a4c-4f0e-9d53-2f4c1d2e3a4b"
USER = "c2d1a7be-4a52-4a3f-8d0a-0a6b0c1d2e3f"


def auth0(now: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An access token of an API, with the scope openid, and a claim that an Action added."""
    return {"typ": "JWT"}, {
        "https://acme.example/org_id": "org_7",
        "iss": "https://acme.eu.auth0.com/",
        "sub": "auth0|64f0c2d1e9a7b3",
        "aud": ["https://api.acme.example", "https://acme.eu.auth0.com/userinfo"],
        "iat": now,
        "exp": now + 86_400,
        "scope": "openid profile email",
        "azp": "h7Jk2example",
        "permissions": ["read:projects"],
    }


def clerk(now: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A session token, version 2, with an active organisation."""
    return {"typ": "JWT", "cat": "cl_B7d4PD111AAA"}, {
        "azp": "https://acme.example",
        "exp": now + 60,
        "fva": [7, -1],
        "iat": now,
        "iss": "https://clerk.acme.example",
        "jti": "8bd2c1a0e7f3",
        "nbf": now - 10,
        "o": {"id": "org_7", "rol": "admin", "slg": "acme", "per": "read,manage", "fpm": "3"},
        "pla": "o:free",
        "sid": "sess_2abc",
        "sts": "active",
        "sub": "user_2abc",
        "v": 2,
    }


def supabase(now: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An access token of a project with asymmetric keys."""
    return {"typ": "JWT"}, {
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": now}],
        "app_metadata": {"provider": "email", "providers": ["email"], "tenant_id": TENANT},
        "aud": "authenticated",
        "email": "ada@acme.example",
        "exp": now + 3600,
        "iat": now,
        "is_anonymous": False,
        "iss": "https://abcdefgh.supabase.co/auth/v1",
        "phone": "",
        "role": "authenticated",
        "session_id": str(uuid.uuid4()),
        "sub": USER,
        "user_metadata": {"email_verified": True, "tenant_id": "mine, says the user"},
    }


def keycloak(now: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An access token of a realm with a mapper for the audience."""
    return {"typ": "JWT"}, {
        "exp": now + 300,
        "iat": now,
        "auth_time": now - 20,
        "jti": f"onrtac:{uuid.uuid4()}",
        "iss": "https://id.acme.example/realms/acme",
        "aud": ["shape-proxy", "account"],
        "sub": USER,
        "typ": "Bearer",
        "azp": "web",
        "sid": str(uuid.uuid4()),
        "acr": "1",
        "allowed-origins": ["https://acme.example"],
        "realm_access": {"roles": ["offline_access", "uma_authorization", "member"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid profile email",
        "tenant_id": "acme",
        "email_verified": True,
        "preferred_username": "ada",
    }


def cognito(now: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An access token of a user pool; its header has no typ."""
    return {"typ": ""}, {
        "sub": USER,
        "cognito:groups": ["acme", "globex"],
        "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI",
        "version": 2,
        "client_id": "4f2k9example",
        "origin_jti": str(uuid.uuid4()),
        "event_id": str(uuid.uuid4()),
        "token_use": "access",
        "scope": "openid profile",
        "auth_time": now,
        "exp": now + 3600,
        "iat": now,
        "jti": str(uuid.uuid4()),
        "username": "ada",
    }


def firebase(now: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An ID token with a custom claim."""
    return {"typ": "JWT"}, {
        "tenant_id": "acme",
        "iss": "https://securetoken.google.com/acme-prod",
        "aud": "acme-prod",
        "auth_time": now - 500,
        "user_id": "k3Jd8example",
        "sub": "k3Jd8example",
        "iat": now,
        "exp": now + 3600,
        "email": "ada@acme.example",
        "email_verified": True,
        "firebase": {"identities": {"email": ["ada@acme.example"]}, "sign_in_provider": "password"},
    }


PROVIDERS: dict[str, tuple[Form, str, tuple[str, ...]]] = {
    "auth0": (auth0, "RS256", ("org_7",)),
    "clerk": (clerk, "RS256", ("org_7",)),
    "supabase": (supabase, "ES256", (TENANT,)),
    "keycloak": (keycloak, "RS256", ("acme",)),
    "cognito": (cognito, "RS256", ('{"acme","globex"}',)),
    "firebase": (firebase, "RS256", ("acme",)),
}
"""Form, algorithm, and the values that the guide's policy binds."""

KEYS = {algorithm: SigningKey(f"{algorithm} of the provider", algorithm) for algorithm in ("RS256", "ES256")}


def blocks(provider: str) -> dict[str, str]:
    """The TOML of a guide by the names of its files."""
    text = (GUIDES / f"{provider}.md").read_text("utf-8")
    found = re.findall(r"^```toml\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```toml")
    return dict(found)


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    return str(request.param)


@pytest.fixture
async def published(provider: str) -> AsyncIterator[Issuing]:
    """The provider's key set: its key, and as Keycloak has it, one for encryption before it."""
    async with issuing() as made:
        key = KEYS[PROVIDERS[provider][1]]
        encryption = KEYS["RS256"].member(kid="encryption", use="enc", alg="RSA-OAEP")
        made.published = key_set(*([encryption] if provider == "keycloak" else []), key.member())
        made.headers = {"cache-control": "public, max-age=19204, must-revalidate, no-transform"}
        yield made


@pytest.fixture
async def verifier(provider: str, published: Issuing, tmp_path: Path) -> Verifier:
    """A verifier made of the guide's file, with keys from our address in place of the provider's."""
    text, count = re.subn(r'(?m)^(keys +=) "[^"]+"', rf'\1 "{published.url}"', blocks(provider)["issuers.toml"])
    assert count == 1
    (tmp_path / "issuers.toml").write_text(text)
    trust = await jwks.fetched(Trust.read(issuers.read(tmp_path / "issuers.toml")))
    return Verifier(trust, TokenBounds())


def token(provider: str, now: int | None = None, **changes: Any) -> bytes:
    """A token of the provider's form, with some claims changed; None leaves one out."""
    form, algorithm, _ = PROVIDERS[provider]
    header, claims = form(int(time.time()) if now is None else now)
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return KEYS[algorithm].sign(claims, **header).encode()


def policies(provider: str, folder: Path) -> policy_loader.LoadedPolicies:
    """The policies of the guide, whose cases are run when they are loaded."""
    (folder / "policies").mkdir()
    for name, text in blocks(provider).items():
        if name.startswith("policies/"):
            (folder / name).write_text(text)
    return policy_loader.load(folder / "policies")


async def test_a_token_of_its_form_reads_what_the_guide_says(provider: str, verifier: Verifier, tmp_path: Path) -> None:
    claims = verifier.verify_token(token(provider))
    assert isinstance(claims, Claims)
    loaded = policies(provider, tmp_path)
    shape = decide(parse("projects", b"offset=-1"), claims, loaded.policies).authorized()
    assert shape.predicate.params == PROVIDERS[provider][2]


def code(verifier: Verifier, raw: bytes) -> Code | None:
    """How a token is refused."""
    try:
        verifier.verify_token(raw)
    except Refusal as refusal:
        return refusal.code
    return None


FOR_OTHERS: dict[str, list[dict[str, Any]]] = {
    "auth0": [
        {"aud": "h7Jk2example"},
        {"aud": ["https://acme.eu.auth0.com/userinfo"]},
        {"iss": "https://evil.eu.auth0.com/"},
    ],
    "clerk": [{"azp": "https://evil.example"}, {"azp": None}, {"sts": "pending"}, {"v": 1}, {"aud": "another"}],
    "supabase": [
        {"role": "service_role"},
        {"is_anonymous": True},
        {"aud": "anon"},
        {"iss": "https://x.supabase.co/auth/v1"},
    ],
    "keycloak": [{"typ": "ID"}, {"typ": "Refresh"}, {"aud": "account"}, {"azp": "admin-cli"}, {"sub": None}],
    "cognito": [{"token_use": "id"}, {"client_id": "another"}, {"client_id": None}, {"aud": "4f2k9example"}],
    "firebase": [{"aud": "other-project"}, {"iss": "https://securetoken.google.com/other-project"}],
}


async def test_tokens_for_others_are_refused(provider: str, verifier: Verifier) -> None:
    assert code(verifier, token(provider)) is None
    for changes in FOR_OTHERS[provider]:
        assert code(verifier, token(provider, **changes)) is Code.token_invalid, changes


async def test_a_token_may_not_live_longer_than_the_guide_says(provider: str, verifier: Verifier) -> None:
    now = int(time.time())
    _, claims = PROVIDERS[provider][0](now)
    assert code(verifier, token(provider, now, exp=claims["exp"] + 1)) is Code.token_invalid
    assert code(verifier, token(provider, now - claims["exp"] + now - 11)) is Code.token_expired


async def test_a_key_of_another_provider_is_not_believed(provider: str, verifier: Verifier) -> None:
    form, algorithm, _ = PROVIDERS[provider]
    header, claims = form(int(time.time()))
    forger = SigningKey(KEYS[algorithm].kid, algorithm)
    assert code(verifier, forger.sign(claims, **header).encode()) is Code.token_invalid


def test_every_guide_is_tried_here_and_its_file_has_ten_lines_at_most() -> None:
    with_issuers = {path.stem for path in GUIDES.glob("*.md") if "# issuers.toml" in path.read_text("utf-8")}
    assert with_issuers - {"gatekeeper-python", "gatekeeper-typescript"} == PROVIDERS.keys()
    assert all(len(blocks(provider)["issuers.toml"].splitlines()) <= 10 for provider in PROVIDERS)
