"""Which bearer tokens are believed, by which keys, for how long; and which key files are not used."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.auth import tokens
from proxy.auth.issuers import TYP, Issuer
from proxy.auth.keys import Key, KeyRing, KeysFault, new_keys
from proxy.auth.tokens import TokenBounds, Verifier
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from proxy.runtime.configuration import own_issuer, token_bounds
from proxy.settings import load
from tests.core.samples import outcome, refused

NOW = 1_800_000_000.0
ISSUER, AUDIENCE = "https://app.example", "shape-proxy"
RULES = Issuer(ISSUER, Path("keys.json"), frozenset({AUDIENCE}))
BOUNDS = TokenBounds()
STRICT = replace(RULES, typs=frozenset({TYP}))
PAYLOAD: Mapping[str, Any] = {"sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 300, "s": "s-ada"}

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SECRET = bytes(range(32))
PRIVATE: Mapping[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED, "HS256": SECRET}
SIGNERS = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
    "HS256": jwt.algorithms.HMACAlgorithm,
}


def member(algorithm: str, *, private: bool = False, **more: object) -> dict[str, Any]:
    """One key as a member of a JWKS, the public half unless given otherwise."""
    key = PRIVATE[algorithm]
    half = key if private or algorithm == "HS256" else key.public_key()
    return dict(SIGNERS[algorithm].to_jwk(half, as_dict=True)) | {"kid": algorithm.lower()} | more


def ring(folder: Path, *members: Any) -> KeyRing:
    """The ring of a file with these keys."""
    file = folder / "keys.json"
    file.write_text(json.dumps({"keys": members}))
    return KeyRing.read(file)


def believing(keys: KeyRing, issuer: Issuer = RULES, bounds: TokenBounds = BOUNDS) -> Verifier:
    """A verifier that believes this issuer's tokens by these keys."""
    return Verifier(Trust.of(TrustedIssuer(issuer, keys)), bounds)


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    """One key of each algorithm."""
    return ring(tmp_path, *map(member, PRIVATE))


@pytest.fixture
def verifier(keys: KeyRing) -> Verifier:
    """A verifier with those keys and the default rules."""
    return believing(keys)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(algorithm: str = "HS256", headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """A token of PAYLOAD with changes, None for a claim left out; an honest library made it."""
    payload = {key: value for key, value in {**PAYLOAD, **changes}.items() if value is not None}
    return jwt.encode(payload, PRIVATE[algorithm], algorithm, {"kid": algorithm.lower(), **(headers or {})})


def forged(header: Any, payload: Any = PAYLOAD, secret: bytes = SECRET) -> str:
    """A token whose parts are anything at all, signed with an HMAC over exactly these bytes."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    body = ".".join(map(b64, parts))
    return f"{body}.{b64(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def bearer(token: str) -> list[bytes]:
    return [b"Bearer " + token.encode()]


def verified(verifier: Verifier, token: str, now: float = NOW) -> Claims:
    return verifier.verify(bearer(token), now)


HS = {"alg": "HS256", "kid": "hs256"}


# --- the header field


def test_a_request_without_a_token_is_told_so(verifier: Verifier) -> None:
    with refused(Code.token_missing):
        verifier.verify([], NOW)


NO_BEARER = [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"Token abc", b"bearer", b"Bearerabc", b" Bearer abc", b"abc"]


@pytest.mark.parametrize("value", NO_BEARER)
def test_another_scheme_is_no_token(verifier: Verifier, value: bytes) -> None:
    with refused(Code.token_missing, reason="no Bearer"):
        verifier.verify([value], NOW)


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER "])
def test_the_schemes_name_has_no_case(verifier: Verifier, scheme: bytes) -> None:
    assert verifier.verify([scheme + signed().encode()], NOW).subject == "ada"


def test_two_authorization_headers_are_refused(verifier: Verifier) -> None:
    with refused(Code.malformed_request, "There must be one Authorization header."):
        verifier.verify(bearer(signed()) * 2, NOW)


@pytest.mark.parametrize(
    "junk", [b" ", b"\t", b",", b".", b"=", b"x", b"\x00", b"\n", b'"', b";", b"\xff", "é".encode()]
)
def test_a_token_with_junk_before_or_behind_is_refused(verifier: Verifier, junk: bytes) -> None:
    token = signed().encode()
    for value in (junk + token, token + junk):
        with refused(Code.token_invalid):
            verifier.verify([b"Bearer " + value], NOW)


def test_a_token_doubled_in_capitals_or_in_a_list_is_refused(verifier: Verifier) -> None:
    token = signed()
    for text in (token + token, f"{token}.{token}", f"{token}, {token}", f"{token},Bearer {token}", token.upper()):
        with refused(Code.token_invalid):
            verified(verifier, text)


def test_a_token_is_measured_before_it_is_decoded(keys: KeyRing) -> None:
    token = signed()
    most = len(token)
    assert verified(believing(keys, bounds=TokenBounds(max_bytes=most)), token)
    with refused(Code.token_invalid, reason="too long"):
        verified(believing(keys, bounds=TokenBounds(max_bytes=most - 1)), token)
    with refused(Code.token_invalid, reason="too long"):
        believing(keys).verify([b"Bearer " + b"." * 10_000_000], NOW)


# --- algorithms and keys


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_of_each_algorithm_is_believed(verifier: Verifier, algorithm: str) -> None:
    claims = verified(verifier, signed(algorithm))
    assert (claims.subject, claims.expires_at, claims.values) == ("ada", NOW + 300 + 10, PAYLOAD)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_of_another_key_is_refused(verifier: Verifier, algorithm: str) -> None:
    others: Mapping[str, Callable[[], Any]] = {
        "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
        "HS256": lambda: b"x" * 32,
    }
    token = jwt.encode(dict(PAYLOAD), others[algorithm](), algorithm, {"kid": algorithm.lower()})
    with refused(Code.token_invalid, "The token is not valid.", "the signature is not"):
        verified(verifier, token)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_whose_bytes_were_changed_is_refused(verifier: Verifier, algorithm: str) -> None:
    header, payload, signature = signed(algorithm).split(".")
    other = b64(json.dumps({**PAYLOAD, "s": "s-bob"}).encode())
    flipped = ("A" if signature[5] != "A" else "B").join([signature[:5], signature[6:]])
    for token in (f"{header}.{other}.{signature}", f"{header}.{payload}.{flipped}", f"{header}.{payload}."):
        with refused(Code.token_invalid):
            verified(verifier, token)


@pytest.mark.parametrize(
    "shape", ["{h}.{p}", "{h}", "", ".", "..", "{h}..{s}", ".{p}.{s}", "{h}.{p}.{s}.", "{h}.{p}.{s}.{s}"]
)
def test_a_token_of_another_shape_is_refused(verifier: Verifier, shape: str) -> None:
    header, payload, signature = signed().split(".")
    with refused(Code.token_invalid if shape else Code.token_missing):
        verified(verifier, shape.format(h=header, p=payload, s=signature))


HEADERS: dict[str, Any] = {
    "no object": [],
    "text": "HS256",
    "null": None,
    "no JSON": b"{",
    "no UTF-8": b"\xff",
    "deep": b"[" * 2000,
    "nothing": {},
    "no algorithm": {"kid": "hs256"},
    "none": {"alg": "none"},
    "None": {"alg": "None"},
    "NONE with a kid": {"alg": "NONE", "kid": "hs256"},
    "small letters": {"alg": "hs256", "kid": "hs256"},
    "a longer digest": {"alg": "HS512", "kid": "hs256"},
    "a list": {"alg": ["HS256"], "kid": "hs256"},
    "null as algorithm": {"alg": None, "kid": "hs256"},
    "a number": {"alg": 256, "kid": "hs256"},
    "an algorithm of another key": {"alg": "RS256", "kid": "hs256"},
    "a key of another algorithm": {"alg": "HS256", "kid": "rs256"},
    "an unknown kid": {"alg": "HS256", "kid": "other"},
    "a kid in capitals": {"alg": "HS256", "kid": "HS256"},
    "a kid with a blank": {"alg": "HS256", "kid": "hs256 "},
    "a kid that is a path": {"alg": "HS256", "kid": "../../../dev/null"},
    "a kid that is SQL": {"alg": "HS256", "kid": "' OR 1=1 --"},
    "a blank kid": {"alg": "HS256", "kid": ""},
    "a kid that is a list": {"alg": "HS256", "kid": ["hs256"]},
    "a kid that is a number": {"alg": "HS256", "kid": 1},
    "a kid that is null": {"alg": "HS256", "kid": None},
    "critical extensions": {**HS, "crit": ["exp"]},
    "no critical extensions": {**HS, "crit": []},
    "an unencoded payload": {**HS, "b64": False},
    "an unencoded payload, critical": {**HS, "b64": False, "crit": ["b64"]},
    "a key set of its own": {**HS, "jku": "https://evil.example/jwks.json"},
    "a certificate of its own": {**HS, "x5u": "https://evil.example/cert.pem"},
    "a certificate inside": {**HS, "x5c": ["MIIB"]},
    "a key inside": {**HS, "jwk": {"kty": "oct", "k": b64(SECRET)}},
    "another typ": {**HS, "typ": "secevent+jwt"},
    "an encrypted token": {**HS, "typ": "JWE"},
    "a blank typ": {**HS, "typ": ""},
    "a typ that is a list": {**HS, "typ": ["JWT"]},
    "a typ that is null": {**HS, "typ": None},
    "a typ with junk": {**HS, "typ": "JWT "},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_token_with_such_a_header_is_refused(verifier: Verifier, header: Any) -> None:
    with refused(Code.token_invalid, "The token is not valid."):
        verified(verifier, forged(header))


NOT_UNICODE: dict[str, dict[str, Any]] = {
    "a subject": {"sub": "ada\ud800"},
    "half a pair at the start": {"sub": "\udc00ada"},
    "a claim": {"session_id": "\ud83d"},
    "a claim in a list": {"roles": ["a", "\udfff"]},
    "a claim's name": {"x\ud800": 1},
    "a name deep in a claim": {"a": [{"b": {"\ud800": 1}}]},
}


@pytest.mark.parametrize("claims", NOT_UNICODE.values(), ids=NOT_UNICODE)
def test_a_claim_that_is_no_unicode_is_refused(verifier: Verifier, claims: dict[str, Any]) -> None:
    with refused(Code.token_invalid, reason="not Unicode"):
        verified(verifier, forged(HS, PAYLOAD | claims))


def test_a_claim_beyond_the_basic_plane_is_taken(verifier: Verifier) -> None:
    assert verified(verifier, forged(HS, PAYLOAD | {"sub": "ada \U0001f600"})).subject == "ada \U0001f600"


def test_the_forger_of_these_tests_makes_good_tokens_too(verifier: Verifier) -> None:
    assert verified(verifier, forged(HS)).subject == "ada"


def test_an_unsigned_token_is_refused(verifier: Verifier) -> None:
    body = f"{b64(json.dumps({'alg': 'none'}).encode())}.{b64(json.dumps(dict(PAYLOAD)).encode())}"
    for token in (f"{body}.", body):
        with refused(Code.token_invalid):
            verified(verifier, token)


def test_a_token_without_a_kid_gets_the_only_key_of_its_algorithm(verifier: Verifier) -> None:
    assert verified(verifier, forged({"alg": "HS256"})).subject == "ada"


def test_a_token_without_a_kid_is_refused_where_two_keys_fit(tmp_path: Path) -> None:
    two = ring(tmp_path, member("HS256"), member("HS256", kid="new", k=b64(b"n" * 32)))
    with refused(Code.token_invalid, reason="no key fits"):
        verified(believing(two), forged({"alg": "HS256"}))


def test_while_keys_change_both_are_believed_each_by_its_kid(tmp_path: Path) -> None:
    two = believing(ring(tmp_path, member("HS256"), member("HS256", kid="new", k=b64(b"n" * 32))))
    assert verified(two, forged(HS))
    assert verified(two, forged({"alg": "HS256", "kid": "new"}, secret=b"n" * 32))
    for kid, secret in (("hs256", b"n" * 32), ("new", SECRET)):
        with refused(Code.token_invalid):
            verified(two, forged({"alg": "HS256", "kid": kid}, secret=secret))


# --- known advisories, one test each


def test_advisory_cve_2022_29217_a_public_key_is_no_hmac_secret(tmp_path: Path) -> None:
    for algorithm in ("RS256", "ES256", "EdDSA"):
        public = PRIVATE[algorithm].public_key()
        verifier = believing(ring(tmp_path, member(algorithm)))
        spellings = [
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
            json.dumps(member(algorithm)).encode(),
        ]
        for secret in spellings:
            for kid in ({}, {"kid": algorithm.lower()}):
                with refused(Code.token_invalid, reason="no key fits"):
                    verified(verifier, forged({"alg": "HS256", **kid}, secret=secret))


@pytest.mark.parametrize(
    "issuer", ["https://app", "https", "h", "", "https://app.example/", "app.example", "HTTPS://APP.EXAMPLE"]
)
def test_advisory_cve_2024_53861_a_part_of_the_issuer_is_not_the_issuer(verifier: Verifier, issuer: str) -> None:
    with refused(Code.token_invalid, reason="not a trusted issuer"):
        verified(verifier, signed(iss=issuer))


@pytest.mark.parametrize("crit", [["b64"], ["x"], [], "x", None, ["exp", "exp"]])
def test_advisory_crit_a_token_that_demands_an_extension_is_refused(verifier: Verifier, crit: object) -> None:
    with refused(Code.token_invalid):
        verified(verifier, forged({**HS, "crit": crit, "x": 1}))


def test_advisory_cve_2017_11424_a_key_of_any_spelling_is_one_key(tmp_path: Path) -> None:
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    with refused(Code.token_invalid):
        verified(believing(ring(tmp_path, member("RS256"))), forged({"alg": "HS256"}, secret=pem))


def test_advisory_cve_2025_45768_a_weak_secret_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(KeysFault, match="shorter than 256 bits"):
        ring(tmp_path, member("HS256", k=b64(b"secret")))


# --- typ


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "electric-shape+jwt", "Electric-Shape+JWT"])
def test_the_usual_types_are_taken(verifier: Verifier, typ: str) -> None:
    assert verified(verifier, forged({**HS, "typ": typ}))


def test_a_type_of_our_own_can_be_demanded(keys: KeyRing) -> None:
    strict = believing(keys, STRICT)
    assert verified(strict, forged({**HS, "typ": "electric-shape+jwt"}))
    for header in (HS, {**HS, "typ": "JWT"}, {**HS, "typ": "at+jwt"}):
        with refused(Code.token_invalid, reason="typ is another"):
            verified(strict, forged(header))


# --- the claims

ODD: list[Any] = ["x", "1800000000", "", None, True, False, [], [NOW], {}, float("nan"), float("inf"), -float("inf")]
TIMES = {f"{name}: {value!r}": (name, value) for name in ("exp", "iat", "nbf") for value in ODD}
HUGE = {
    f"{name}: ten to the {power}": (name, 10**power) for name in ("exp", "iat", "nbf") for power in (16, 308, 309, 4000)
}
NAMES = {
    f"{name}: {value!r}": (name, value)
    for name, good in (("iss", ISSUER), ("aud", AUDIENCE))
    for value in (
        None,
        "",
        " ",
        True,
        1,
        [],
        ["x"],
        [good, 5],
        [[good]],
        {},
        good + " ",
        " " + good,
        good.upper(),
        good + good,
    )
}
SUBJECTS = {f"sub: {value!r}": ("sub", value) for value in (None, "", " ", "\t\n", True, 1, ["ada"], {})}


@pytest.mark.parametrize(
    ("name", "value"), (TIMES | HUGE | NAMES | SUBJECTS).values(), ids=TIMES | HUGE | NAMES | SUBJECTS
)
def test_a_token_with_such_a_claim_is_refused(verifier: Verifier, name: str, value: Any) -> None:
    with refused(Code.token_invalid, "The token is not valid."):
        verified(verifier, forged(HS, {**PAYLOAD, name: value}))


def test_an_audience_may_be_a_list_of_which_one_suffices(verifier: Verifier) -> None:
    for audience in ([AUDIENCE], ["other", AUDIENCE], [AUDIENCE, "other"]):
        assert verified(verifier, signed(aud=audience)).subject == "ada"


@pytest.mark.parametrize("name", ["sub", "iss", "aud", "iat", "exp"])
def test_a_token_without_such_a_claim_is_refused(verifier: Verifier, name: str) -> None:
    with refused(Code.token_invalid):
        verified(verifier, forged(HS, {key: value for key, value in PAYLOAD.items() if key != name}))


@pytest.mark.parametrize("payload", [[], "x", None, 1, b"{", b"", b"\xff", b"[" * 2000, b'{"exp":1e999}'])
def test_a_payload_that_is_no_object_is_refused(verifier: Verifier, payload: Any) -> None:
    with refused(Code.token_invalid):
        verified(verifier, forged(HS, payload))


BODY = json.dumps(PAYLOAD)[1:]
REPEATED: dict[str, tuple[bytes, bytes]] = {
    "a claim": (json.dumps(HS).encode(), b'{"s":"s-bob",' + BODY.encode()),
    "a claim of the same value": (json.dumps(HS).encode(), b'{"s":"s-ada",' + BODY.encode()),
    "a claim in another spelling": (json.dumps(HS).encode(), b'{"\\u0073":"s-bob",' + BODY.encode()),
    "the subject": (json.dumps(HS).encode(), b'{"sub":"eve",' + BODY.encode()),
    "a member of a claim": (json.dumps(HS).encode(), b'{"a":[{"b":1,"b":1}],' + BODY.encode()),
    "the algorithm": (b'{"alg":"none","alg":"HS256","kid":"hs256"}', json.dumps(PAYLOAD).encode()),
    "the kid": (b'{"alg":"HS256","kid":"x","kid":"hs256"}', json.dumps(PAYLOAD).encode()),
    "a member of a header's member": (b'{"alg":"HS256","kid":"hs256","x":{"y":1,"y":2}}', json.dumps(PAYLOAD).encode()),
}


@pytest.mark.parametrize(("header", "payload"), REPEATED.values(), ids=REPEATED)
def test_a_token_that_says_something_twice_is_refused(verifier: Verifier, header: bytes, payload: bytes) -> None:
    with refused(Code.token_invalid, reason="a member is repeated"):
        verified(verifier, forged(header, payload))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_refused(verifier: Verifier, number: str) -> None:
    with refused(Code.token_invalid, reason="a part is not JSON"):
        verified(verifier, forged(HS, f'{{"n":{number},{BODY}'.encode()))


def test_fractions_of_seconds_are_times(verifier: Verifier) -> None:
    assert verified(verifier, signed(iat=NOW - 0.5, exp=NOW + 0.5)).expires_at == NOW + 10.5


LIVES = {
    "the longest": (900, True),
    "one second more": (901, False),
    "a fraction more": (900.5, False),
    "one second": (1, True),
    "none": (0, False),
    "backwards": (-1, False),
    "for ever": (10**10, False),
}


@pytest.mark.parametrize(("seconds", "fits"), LIVES.values(), ids=LIVES)
def test_a_token_may_live_no_longer_than_the_setting(verifier: Verifier, seconds: float, fits: bool) -> None:
    came = outcome(lambda: verified(verifier, signed(exp=NOW + seconds)))
    assert isinstance(came, Claims) is fits
    assert fits or came.reason == "exp - iat is longer than permitted"


EDGES: dict[str, tuple[dict[str, float], Code | None]] = {
    "the last moment": ({"exp": NOW - 9.5, "iat": NOW - 100}, None),
    "exp and the leeway are over": ({"exp": NOW - 10, "iat": NOW - 100}, Code.token_expired),
    "long over": ({"exp": NOW - 1000, "iat": NOW - 1300}, Code.token_expired),
    "iat within the leeway": ({"iat": NOW + 10}, None),
    "iat in the future": ({"iat": NOW + 10.5}, Code.token_invalid),
    "nbf now": ({"nbf": NOW}, None),
    "nbf within the leeway": ({"nbf": NOW + 10}, None),
    "nbf in the future": ({"nbf": NOW + 10.5}, Code.token_invalid),
    "nbf long ago": ({"nbf": 0}, None),
}


@pytest.mark.parametrize(("changes", "code"), EDGES.values(), ids=EDGES)
def test_clocks_may_differ_by_the_leeway(verifier: Verifier, changes: dict[str, float], code: Code | None) -> None:
    came = outcome(lambda: verified(verifier, signed(**changes)))
    assert (came.code if isinstance(came, Refusal) else None) is code


def test_without_an_argument_the_present_is_now(verifier: Verifier) -> None:
    token = signed(iat=time.time() - 5, exp=time.time() + 60)
    assert verifier.verify(bearer(token)).subject == "ada"
    with refused(Code.token_invalid, reason="future"):
        verifier.verify(bearer(signed()))


# --- the memory


def test_a_token_is_verified_once_and_then_remembered(verifier: Verifier) -> None:
    token = signed()
    first = verified(verifier, token)
    assert verified(verifier, token) is first
    assert (verifier.verified, verifier.cache_hits) == (1, 1)


def test_a_remembered_token_ends_when_it_ends_and_is_forgotten(verifier: Verifier) -> None:
    token = signed()
    assert verified(verifier, token, NOW + 309.9)
    with refused(Code.token_expired):
        verified(verifier, token, NOW + 310)
    assert not verifier._seen
    with refused(Code.token_expired):
        verified(verifier, token, NOW + 310)
    assert not verifier._seen


def test_what_is_refused_is_not_remembered(verifier: Verifier) -> None:
    for token in (forged(HS, secret=b"x"), signed(exp=NOW - 100, iat=NOW - 200)):
        outcome(lambda token=token: verified(verifier, token))
    assert not verifier._seen


def test_no_more_tokens_are_remembered_than_the_setting_and_the_oldest_go(keys: KeyRing) -> None:
    verifier = believing(keys, bounds=TokenBounds(cached=3))
    made = [signed(sub=f"ada-{number}") for number in range(5)]
    for token in made[:3]:
        verified(verifier, token)
    verified(verifier, made[0])
    for token in made[3:]:
        verified(verifier, token)
    assert len(verifier._seen) == 3
    before = verifier.verified
    verified(verifier, made[0])
    assert verifier.verified == before
    verified(verifier, made[1])
    assert verifier.verified == before + 1


def test_the_memory_holds_no_text_of_a_token(verifier: Verifier) -> None:
    token = signed()
    verified(verifier, token)
    (digest,) = verifier._seen
    assert digest == hashlib.blake2b(token.encode(), digest_size=32).digest()
    kept = repr([(key, claims, dict(claims.values)) for key, claims in verifier._seen.items()])
    assert token not in kept
    assert not any(part in kept for part in token.split("."))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_claims_or_a_refusal(raw: bytes) -> None:
    verifier = believing(KeyRing((Key(None, "HS256", SECRET, SECRET),)))
    for headers in ([raw], [b"Bearer " + raw], [b"Bearer " + b64(raw).encode() + b".e30.AA"]):
        assert isinstance(outcome(lambda headers=headers: verifier.verify(headers, NOW)), Refusal)


# --- key files

BROKEN: dict[str, tuple[Any, str]] = {
    "nothing": ("", "this is no JWKS file"),
    "no JSON": ("{", "this is no JWKS file"),
    "no UTF-8": (b"\xff", "this is no JWKS file"),
    "deep": ("[" * 100_000, "this is no JWKS file"),
    "a list": ([], "this is no JWKS file"),
    "no keys": ({}, "this is no JWKS file"),
    "keys: null": ({"keys": None}, "this is no JWKS file"),
    "keys: none": ({"keys": []}, "at least one key"),
    "keys: an object": ({"keys": {"kty": "oct"}}, "a key is not an object"),
    "keys: text": ({"keys": ["x"]}, "a key is not an object"),
    "a key alone": (member("HS256"), "this is no JWKS file"),
    "no type": ({"keys": [{"k": b64(SECRET)}]}, "an algorithm other than"),
    "an unknown type": ({"keys": [{"kty": "x"}]}, "an algorithm other than"),
    "another curve": ({"keys": [{"kty": "EC", "crv": "P-521"}]}, "an algorithm other than"),
    "another Edwards curve": ({"keys": [{"kty": "OKP", "crv": "Ed448"}]}, "an algorithm other than"),
    "a curve that is a list": ({"keys": [{"kty": "EC", "crv": []}]}, "an algorithm other than"),
    "another algorithm": ({"keys": [member("HS256", alg="HS512")]}, "an algorithm other than"),
    "an algorithm of another type": ({"keys": [member("RS256", alg="HS256")]}, "an algorithm other than"),
    "a secret that is left out": ({"keys": [{"kty": "oct"}]}, "it cannot be read ("),
    "a secret that is a number": ({"keys": [{"kty": "oct", "k": 5}]}, "it cannot be read ("),
    "a secret that is no base64url": ({"keys": [{"kty": "oct", "k": "é" * 80}]}, "it cannot be read ("),
    "a secret of 31 bytes": ({"keys": [member("HS256", k=b64(SECRET[1:]))]}, "shorter than 256 bits"),
    "a secret of 31 bytes with padding": (
        {"keys": [member("HS256", k=b64(SECRET[1:]) + "==")]},
        "shorter than 256 bits",
    ),
    "half an RSA key": ({"keys": [member("RS256", e=None)]}, "it cannot be read ("),
    "half a point": ({"keys": [member("ES256", y="AA")]}, "it cannot be read ("),
    "half an Edwards key": ({"keys": [member("EdDSA", x="AA")]}, "it cannot be read ("),
    "one kid twice": ({"keys": [member("HS256"), member("RS256", kid="hs256")]}, "each key must have a kid of its own"),
    "two without a kid": (
        {"keys": [member("HS256", kid=None), member("RS256", kid=None)]},
        "each key must have a kid of its own",
    ),
    "a good one beside a number": ({"keys": [member("HS256"), 5]}, "a key is not an object"),
    "one for encryption": ({"keys": [member("RS256", use="enc")]}, "its use is not sig"),
    "one that only signs": ({"keys": [member("HS256", key_ops=["sign"])]}, "at least one key that verifies tokens"),
    "several, none usable": (
        {"keys": [member("RS256", use="enc"), {"kty": "x", "kid": "y"}]},
        "key 1 (kid 'rs256'): its use is not sig; key 2 (kid 'y'): it is for an algorithm other than",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_key_file_that_is_broken_is_one_line(tmp_path: Path, content: Any, sentence: str) -> None:
    file = tmp_path / "keys.json"
    raw = content if isinstance(content, bytes) else content if isinstance(content, str) else json.dumps(content)
    file.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    with pytest.raises(KeysFault) as caught:
        KeyRing.read(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: ")
    assert "\n" not in said
    assert b64(SECRET[1:]) not in said
    assert sentence in said, said


def test_a_key_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KeysFault, match="this is no JWKS file"):
        KeyRing.read(tmp_path / "keys.json")
    with pytest.raises(KeysFault, match="this is no JWKS file"):
        KeyRing.read(tmp_path)


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "for encryption": (member("RS256", kid="x", use="enc", alg="RSA-OAEP"), "its use is not sig"),
    "for encryption, by its use alone": (member("RS256", kid="x", use="enc"), "its use is not sig"),
    "for encryption, by its algorithm alone": (member("RS256", kid="x", alg="RSA-OAEP"), "an algorithm other than"),
    "of a use that is no text": (member("RS256", kid="x", use=["sig"]), "its use is not sig"),
    "for wrapping": (member("RS256", kid="x", key_ops=["wrapKey"]), "neither verify nor sign"),
    "for nothing": (member("RS256", kid="x", key_ops=[]), "neither verify nor sign"),
    "for operations that are no list": (member("RS256", kid="x", key_ops="verify"), "neither verify nor sign"),
    "for operations that are no text": (
        member("RS256", kid="x", key_ops=[["verify"], None]),
        "neither verify nor sign",
    ),
    "for a longer digest": (member("RS256", kid="x", alg="RS512"), "an algorithm other than"),
    "of an unknown type": ({"kty": "AKP", "kid": "x", "alg": "ML-DSA-44", "pub": "AA"}, "an algorithm other than"),
    "of another curve": ({"kty": "EC", "crv": "P-384", "kid": "x", "x": "AA", "y": "AA"}, "an algorithm other than"),
    "too short": (member("HS256", kid="x", k=b64(SECRET[1:])), "shorter than 256 bits"),
    "that is half there": (member("ES256", kid="x", y="AA"), "it cannot be read ("),
}


@pytest.mark.parametrize(("foreign", "why"), FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_key_for_something_else_is_skipped_and_the_others_serve(
    tmp_path: Path, foreign: dict[str, Any], why: str, first: bool
) -> None:
    keys = ring(tmp_path, *([foreign, member("HS256")] if first else [member("HS256"), foreign]))
    (skipped,) = keys.skipped
    assert skipped.startswith(f"key {1 if first else 2} (kid 'x'): ")
    assert why in skipped
    assert [key.kid for key in keys.verifying] == ["hs256"]
    assert verified(believing(keys), signed()).subject == "ada"


@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize("marks", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": ["sign"]}], ids=str)
def test_a_token_of_a_key_that_is_not_for_verifying_is_refused(
    tmp_path: Path, algorithm: str, marks: dict[str, Any]
) -> None:
    keys = ring(tmp_path, member(algorithm, **marks), member(algorithm, kid="other"))
    with refused(Code.token_invalid, reason="no key fits"):
        verified(believing(keys), signed(algorithm))


@pytest.mark.parametrize(
    "marks",
    [
        {"use": "sig"},
        {"use": None, "key_ops": None},
        {"key_ops": ["verify", "x"]},
        {"use": "sig", "key_ops": ["verify"]},
    ],
    ids=str,
)
def test_a_key_that_is_for_verifying_serves(tmp_path: Path, marks: dict[str, Any]) -> None:
    assert verified(believing(ring(tmp_path, member("RS256", **marks))), signed("RS256")).subject == "ada"


def test_a_private_key_that_is_for_signing_is_verified_by_its_public_half(tmp_path: Path) -> None:
    keys = ring(tmp_path, member("ES256", private=True, key_ops=["sign"]))
    assert verified(believing(keys), tokens.mint(keys, RULES, "ada", {}, 60, NOW)).subject == "ada"


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_private_key_that_is_for_verifying_does_not_sign(tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(KeysFault, match="there is no private key to sign with"):
        tokens.mint(ring(tmp_path, member(algorithm, private=True, key_ops=["verify"])), RULES, "ada", {}, 60)


def test_a_short_rsa_key_is_not_used(tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - too short on purpose
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(short.public_key(), as_dict=True)
    with pytest.raises(KeysFault, match="the RSA key is shorter than 2048 bits"):
        ring(tmp_path, jwk)


def test_a_key_says_nothing_of_itself(keys: KeyRing) -> None:
    shown = [f"Key(kid='{name.lower()}', algorithm='{name}')" for name in PRIVATE]
    assert repr(keys) == f"KeyRing(keys=({', '.join(shown)}))"


# --- minting


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_what_is_minted_is_believed(tmp_path: Path, algorithm: str) -> None:
    keys = ring(tmp_path, member(algorithm, private=True))
    strict = believing(keys, STRICT)
    token = tokens.mint(keys, RULES, "ada", {"s": "s-ada", "sub": "eve", "exp": 0}, 60, NOW + 0.9)
    claims = verified(strict, token)
    assert (claims.subject, claims.expires_at) == ("ada", NOW + 70)
    assert claims.values == {**PAYLOAD, "iat": int(NOW), "exp": int(NOW) + 60}


def test_the_first_private_key_signs(tmp_path: Path) -> None:
    keys = ring(tmp_path, member("RS256"), member("EdDSA"), member("ES256", private=True), member("HS256"))
    assert jwt.get_unverified_header(tokens.mint(keys, RULES, "ada", {}, 60))["alg"] == "ES256"


def test_a_key_without_a_kid_mints_without_one(tmp_path: Path) -> None:
    keys = ring(tmp_path, {key: value for key, value in member("HS256").items() if key != "kid"})
    token = tokens.mint(keys, RULES, "ada", {}, 60, NOW)
    assert "kid" not in jwt.get_unverified_header(token)
    assert verified(believing(keys), token)


def test_public_keys_cannot_mint(tmp_path: Path) -> None:
    with pytest.raises(KeysFault, match="there is no private key to sign with"):
        tokens.mint(ring(tmp_path, member("RS256"), member("ES256"), member("EdDSA")), RULES, "ada", {}, 60)


def test_new_keys_are_new_and_can_mint(tmp_path: Path) -> None:
    one, other = new_keys(), new_keys()
    assert one != other
    keys = ring(tmp_path, *one["keys"])
    assert verified(believing(keys), tokens.mint(keys, RULES, "ada", {}, 60, NOW))


def test_the_rules_come_from_the_settings(tmp_path: Path) -> None:
    ring(tmp_path, member("HS256"))
    said = load(
        {
            "PROXY_TOKEN_KEYS": str(tmp_path / "keys.json"),
            "PROXY_TOKEN_ISSUER": "i",
            "PROXY_TOKEN_AUDIENCE": "a",
            "PROXY_TOKEN_MAX_SECONDS": "60",
            "PROXY_TOKEN_LEEWAY_SECONDS": "1.5",
            "PROXY_TOKEN_REQUIRE_TYP": "true",
            "PROXY_TOKEN_MAX_BYTES": "1000",
            "PROXY_TOKEN_CACHE": "7",
        }
    )
    keys, typs = tmp_path / "keys.json", frozenset({"electric-shape+jwt"})
    assert own_issuer(said) == Issuer("i", keys, frozenset({"a"}), frozenset(), 60, 1.5, typs)
    assert token_bounds(said) == TokenBounds(1000, 7)
