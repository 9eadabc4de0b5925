"""A row for each published advisory on readers of tokens and key sets that could apply here, named by its id.

Each builds what the advisory describes, and must be refused; those on key sets are shown by what is fetched or kept.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.auth.issuers import Issuer, source_of_keys
from proxy.auth.jwks import KeySources, Pace
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.tokens import TokenBounds, Verifier
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core.errors import Code, Refusal
from tests.harness.raw import until
from tests.tokens.issuing import AUDIENCE, ISSUER, SigningKey, issuing, jwks, payload
from tests.tokens.test_compact import b64

RS, ES, ED = SigningKey("rs", "RS256"), SigningKey("es", "ES256"), SigningKey("ed", "EdDSA")
ALL = (RS, ES, ED)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def verifier(*keys: dict[str, object]) -> Verifier:
    """A verifier of an issuer with these keys; without any, one of each asymmetric algorithm."""
    ring = KeyRing.parse(jwks(*(keys or [key.member() for key in ALL])))
    issuer = Issuer(ISSUER, Path(), frozenset({AUDIENCE}))
    return Verifier(Trust.of(TrustedIssuer(issuer, ring)), TokenBounds())


def parts(header: object, claims: object = None) -> bytes:
    """The signed part of a token."""
    raw = [header, payload() if claims is None else claims]
    return b".".join(b64(each if isinstance(each, bytes) else json.dumps(each).encode()) for each in raw)


def hmac_of(secret: bytes, header: dict[str, object], digest: str = "sha256") -> bytes:
    """A token signed by HMAC."""
    body = parts(header)
    return body + b"." + b64(hmac.new(secret, body, getattr(hashlib, digest)).digest())


def spellings(key: SigningKey) -> list[bytes]:
    """Ways in which a public key may stand somewhere as text."""
    public = key.private.public_key()
    spki = PublicFormat.SubjectPublicKeyInfo
    formats = [(Encoding.PEM, spki), (Encoding.DER, spki), (Encoding.OpenSSH, PublicFormat.OpenSSH)]
    if key is RS:
        formats.append((Encoding.PEM, PublicFormat.PKCS1))
    texts = [public.public_bytes(*each) for each in formats]
    texts += [b"\n" + text for text in texts] + [text.strip() for text in texts] + [text + b"\n" for text in texts]
    return [*texts, json.dumps(key.member()).encode(), jwks(key.member())]


def confused() -> list[bytes]:
    """Tokens whose HMAC has a public key as its secret."""
    return [
        hmac_of(secret, {"alg": f"HS{bits}", "kid": kid} if kid else {"alg": f"HS{bits}"}, f"sha{bits}")
        for key in ALL
        for secret in spellings(key)
        for bits in (256, 384, 512)
        for kid in (None, key.kid)
    ]


def unsigned() -> list[bytes]:
    """Tokens that say that they are not signed, or simply are not."""
    nones = [parts({"alg": alg, "kid": "rs"}) for alg in ("none", "None", "NONE", "nOnE", "", "null")]
    stripped = [key.sign(payload()).encode().rpartition(b".")[0] for key in ALL]
    return [body + end for body in nones + stripped for end in (b"", b".", b".AA", b".AAAA", b"." + b64(bytes(64)))]


def psychic() -> list[bytes]:
    """ES256 signatures of zeros and of the order of the curve."""
    body = parts({"alg": "ES256", "kid": "es"})
    numbers = [0, ORDER, ORDER + 1, 1, 2**256 - 1]
    raw = [r.to_bytes(32, "big") + s.to_bytes(32, "big") for r in numbers for s in numbers]
    der = [b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\x30\x00", bytes(63), bytes(65), bytes(128)]
    return [body + b"." + b64(signature) for signature in raw + der]


def embedded() -> list[bytes]:
    """Tokens that bring the key that they are signed with."""
    own = SigningKey("own", "RS256")
    members = [{"jwk": own.member()}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example/x"}]
    members += [{"x5c": ["MIIB"]}, {"jwk": own.member(kid="rs")}]
    return [own.sign(payload(), **({"kid": "rs"} | more)).encode() for more in members]


def critical() -> list[bytes]:
    """Tokens that demand what nobody here understands."""
    demands = [["exp"], ["b64"], ["x"], [], "x", None, ["cnf"]]
    tokens = [RS.sign(payload(), crit=crit, x=1).encode() for crit in demands]
    body = b64(json.dumps({"alg": "RS256", "kid": "rs", "b64": False, "crit": ["b64"]}).encode())
    signature = b64(jwt.get_algorithm_by_name("RS256").sign(body + b"." + b"{}", RS.private))
    return [*tokens, body + b".." + signature, body + b"." + b64(b"{}") + b"." + signature]


def mixed() -> list[bytes]:
    """A good token inside JSON, which a second reader takes for another."""
    header, claims, signature = RS.sign(payload()).split(".")
    forged = b64(json.dumps(payload(sub="eve")).encode()).decode()
    json_form = {"protected": header, "payload": claims, "signature": signature}
    polyglot = f'{{"  {header}.{forged}.":"","protected":"{header}","payload":"{claims}","signature":"{signature}"}}'
    return [polyglot.encode(), json.dumps(json_form).encode(), f"{header}.{forged}.{signature}".encode()]


def compressed() -> list[bytes]:
    """Five parts, and headers of encrypted and compressed tokens."""
    five = b".".join([parts({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}), b"AA", b"AA", b"AA"])
    return [five, *(RS.sign(payload(), **more).encode() for more in ({"zip": "DEF"}, {"enc": "A128GCM"}))]


def oversized() -> list[bytes]:
    """Parts of many megabytes, and nothing but dots."""
    huge = b"A" * 20_000_000
    good = RS.sign(payload()).encode()
    header, claims, signature = good.split(b".")
    dots = [b"." * 20_000_000, b"a." * 5_000_000, good + b"." * 1_000_000]
    return [*dots, huge, b".".join([huge, claims, signature]), b".".join([header, claims, huge])]


def partial_issuers() -> list[bytes]:
    """Issuers that are a part of the right one, or a list with it."""
    names = ["https://id.example", "h", "", ISSUER + "/", [ISSUER], [ISSUER, "x"]]
    return [RS.sign(payload(iss=name)).encode() for name in names]


def partial_audiences() -> list[bytes]:
    """Audiences that are a part of the right one, or nothing of it."""
    names = ["", [], [""], "https://api", [["https://api.example"]], {AUDIENCE: 1}, AUDIENCE + "x"]
    return [RS.sign(payload(aud=name)).encode() for name in names]


def repeated() -> list[bytes]:
    """Names that stand twice."""
    body = parts({"alg": "RS256", "kid": "rs"}, b'{"sub":"eve",' + json.dumps(payload()).encode()[1:])
    header = b64(b'{"alg":"none","alg":"RS256","kid":"rs"}') + b"." + body.split(b".")[1]
    sign = jwt.get_algorithm_by_name("RS256").sign
    return [each + b"." + b64(sign(each, RS.private)) for each in (body, header)]


def nested() -> list[bytes]:
    """Claims so deep that a reader's stack ends."""
    body = parts({"alg": "RS256", "kid": "rs"}, b'{"a":' * 700 + b"1" + b"}" * 700)
    return [body + b"." + b64(jwt.get_algorithm_by_name("RS256").sign(body, RS.private))]


def kid_injection() -> list[bytes]:
    """A kid that is a path, a statement, or no text."""
    kids = ["../../../dev/null", "/dev/null", "' UNION SELECT 'AA", "rs\x00", "|id", "", None, 0, ["rs"], {"a": 1}]
    secrets = [b"", b"AA", b"\x00"]
    return [hmac_of(secret, {"alg": "HS256", "kid": kid}) for kid in kids for secret in secrets]


ROWS: dict[str, Callable[[], list[bytes]]] = {
    "CVE-2015-9235 unsigned tokens (jsonwebtoken)": unsigned,
    "CVE-2015-9235 a public key as an HMAC secret (jsonwebtoken)": confused,
    "CVE-2016-10555 a public key as an HMAC secret (jwt-simple)": confused,
    "CVE-2017-11424 a PKCS1 key as an HMAC secret (PyJWT)": confused,
    "CVE-2018-0114 a key in the header (node-jose)": embedded,
    "CVE-2018-1000531 a signature that is left out (prime-jwt)": unsigned,
    "CVE-2020-28042 an empty signature (ServiceStack)": unsigned,
    "CVE-2022-21449 signatures of zeros (Java)": psychic,
    "CVE-2022-23540 no algorithm demanded (jsonwebtoken)": unsigned,
    "CVE-2022-29217 an OpenSSH key as an HMAC secret (PyJWT)": confused,
    "CVE-2022-39227 two serializations in one (python-jwt)": mixed,
    "CVE-2023-48223 a public key as an HMAC secret (fast-jwt)": confused,
    "GHSA-mvf2-f6gm-w987 a public key behind a blank (fast-jwt)": confused,
    "CVE-2024-33663 an ECDSA key as an HMAC secret (python-jose)": confused,
    "CVE-2024-33664 compressed tokens (python-jose)": compressed,
    "CVE-2024-37568 HMAC with any public key (Authlib)": confused,
    "CVE-2024-53861 a part of the issuer (PyJWT)": partial_issuers,
    "CVE-2025-27144 nothing but dots (go-jose)": oversized,
    "CVE-2025-30204 nothing but dots (golang-jwt)": oversized,
    "CVE-2025-59420 critical extensions (Authlib)": critical,
    "CVE-2025-61920 oversized parts (Authlib)": oversized,
    "CVE-2026-22817 an unsafe default algorithm (hono)": confused,
    "CVE-2026-22818 a key without an algorithm (hono)": confused,
    "CVE-2026-27962 a key in the header (Authlib)": embedded,
    "CVE-2026-32597 critical extensions (PyJWT)": critical,
    "CVE-2026-48525 a payload that is not encoded (PyJWT)": critical,
    "CVE-2026-48526 a JWK as an HMAC secret (PyJWT)": confused,
    "RFC 8725 2.3, 2.8 a part of the audience": partial_audiences,
    "RFC 8725 2.4 names that stand twice": repeated,
    "RFC 8725 3.10 a kid that is looked up elsewhere": kid_injection,
    "deep nesting": nested,
}


@pytest.mark.parametrize("tokens", ROWS.values(), ids=ROWS)
def test_advisory(tokens: Callable[[], list[bytes]]) -> None:
    without_algorithms = [{name: value for name, value in key.member().items() if name != "alg"} for key in ALL]
    made = tokens()
    assert made
    for believing in (verifier(), verifier(*without_algorithms)):
        for token in made:
            with pytest.raises(Refusal) as caught:
                believing.verify([b"Bearer " + token])
            assert caught.value.code is Code.token_invalid


def test_the_keys_of_these_rows_verify_honest_tokens() -> None:
    for key in ALL:
        assert verifier().verify_token(key.sign(payload()).encode()).subject == "acc-ada"


def test_advisory_cve_2026_48523_a_key_verifies_by_its_own_algorithm_alone() -> None:
    pss = jwt.get_algorithm_by_name("PS256")
    body = parts({"alg": "PS256", "kid": "rs"})
    relabelled = parts({"alg": "RS256", "kid": "rs"})
    for each in (body, relabelled):
        with pytest.raises(Refusal):
            verifier().verify_token(each + b"." + b64(pss.sign(each, RS.private)))


@pytest.mark.parametrize("secret", [b"", b"\x00", b"secret", bytes(31)], ids=["empty", "one byte", "a word", "short"])
def test_advisories_cve_2026_45363_and_cve_2025_45768_an_empty_or_short_secret_is_no_key(secret: bytes) -> None:
    member = {"kty": "oct", "kid": "x", "k": b64(secret).decode()}
    with pytest.raises(KeysFault, match=r"shorter than 256 bits|cannot be read"):
        KeyRing.parse(jwks(member))
    believing = verifier(member, RS.member())
    with pytest.raises(Refusal):
        believing.verify_token(hmac_of(secret, {"alg": "HS256", "kid": "x"}))


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://a/b", "gopher://a", "FILE://a"])
def test_advisory_cve_2026_48522_keys_come_from_no_other_scheme(address: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        source_of_keys(address)


async def test_advisory_cve_2026_48524_a_source_that_is_down_takes_no_keys_away() -> None:
    changes: list[KeyRing | None] = []
    ends: list[str] = []
    async with issuing(RS) as made:
        sources = KeySources(
            lambda _, ring: changes.append(ring), lambda _, fault: ends.append(fault), Pace(usual=0.001, most=0.001)
        )
        sources.follow([Issuer(ISSUER, made.url, frozenset({AUDIENCE}))])
        task = asyncio.create_task(sources.run())
        await until(lambda: changes)
        made.status = 500
        await until(lambda: any(ends))
        assert len(changes) == 1
        assert sources.missing() == ()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_advisory_ghsa_rp9m_7r4c_75qg_no_token_gets_the_claims_of_another() -> None:
    believing = verifier()
    first = ES.sign(payload(sub="ada")).encode()
    second = ES.sign(payload(sub="eve")).encode()
    head, claims, _ = first.split(b".")
    assert believing.verify_token(first).subject == "ada"
    assert believing.verify_token(second).subject == "eve"
    with pytest.raises(Refusal):
        believing.verify_token(b".".join([head, claims, second.split(b".")[2]]))
    assert believing.verify_token(first).subject == "ada"
