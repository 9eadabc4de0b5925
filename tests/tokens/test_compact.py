"""Our reading of a token, held against PyJWT's: it never accepts what PyJWT refuses, both read the same claims, and
whatever it refuses besides has one of the reasons below."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.auth.compact import Compact
from proxy.auth.keys import KeyRing
from proxy.core.errors import Code, Refusal
from tests.core.samples import refused
from tests.tokens.issuing import SigningKey, jwks

SECRET = bytes(range(32))
KEYS = {algorithm: SigningKey(algorithm, algorithm) for algorithm in ("RS256", "ES256", "EdDSA")}
PUBLIC: Mapping[str, Any] = {
    "HS256": SECRET,
    **{algorithm: KeyRing.parse(jwks(key.member())).keys[0].public for algorithm, key in KEYS.items()},
}
_ORACLE = jwt.PyJWS()


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def signed(header: bytes, payload: bytes, secret: bytes = SECRET) -> bytes:
    """A token of exactly these bytes, with an HMAC over them."""
    body = b64(header) + b"." + b64(payload)
    return body + b"." + b64(hmac.digest(secret, body, hashlib.sha256))


def ours(token: bytes, algorithm: str) -> Mapping[str, Any] | Refusal:
    """What we read."""
    try:
        read = Compact.read(token)
    except Refusal as refusal:
        return refusal
    if read.algorithm != algorithm or not read.is_signed_by(algorithm, PUBLIC[algorithm]):
        return Refusal(Code.token_invalid, reason="the signature")
    return read.payload


def theirs(token: bytes, algorithm: str) -> Mapping[str, Any] | Exception:
    """What PyJWT reads, with this algorithm and no other."""
    try:
        payload = json.loads(_ORACLE.decode_complete(token, PUBLIC[algorithm], [algorithm])["payload"])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as fault:
        return fault
    return payload if isinstance(payload, dict) else ValueError("no object")


STRICTER = ("names a key or an extension", "repeated", "not JSON", "not Unicode", "not text", "nested", "not a compact")
"""The reasons for which we refuse tokens that PyJWT takes: an extension or key in the header, a repeated member, NaN
and other encodings than UTF-8, lone surrogates, a typ that is not text, depth, padding."""


def check(token: bytes, algorithm: str) -> None:
    """Holds one against the other."""
    our, their = ours(token, algorithm), theirs(token, algorithm)
    if isinstance(our, Refusal):
        assert isinstance(their, Exception) or any(reason in our.reason for reason in STRICTER), (token, our.reason)
    else:
        assert our == their, token


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc", "cty", "x"])
HEADERS = st.dictionaries(NAMES, st.sampled_from(["HS256", "none", "JWT", "", "k"]) | JSON_VALUES, max_size=4)


@given(HEADERS, st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=4))
@example({"kid": None}, {})
@example({"b64": False, "crit": ["b64"]}, {})
@example({"b64": True}, {})
@example({"crit": []}, {})
@example({"typ": None}, {})
def test_any_header_and_payload_mean_the_same_or_nothing(header: dict[str, Any], payload: dict[str, Any]) -> None:
    for full in (header, {"alg": "HS256", **header}, {**header, "alg": "HS256"}):
        check(signed(json.dumps(full).encode(), json.dumps(payload).encode()), "HS256")


@given(st.binary(max_size=40), st.binary(max_size=40))
@example(b'{"alg":"HS256"}', b'{"a":1,"a":2}')
@example(b'{"alg":"HS256"}', '{"a":1}'.encode("utf-16"))
@example(b'{"alg":"HS256"}', b'\xef\xbb\xbf{"a":1}')
@example(b'{"alg":"HS256"}', b'{"a":NaN}')
@example(b'{"alg":"HS256"}', b'{"a":"\\ud800"}')
@example(b'{"alg":"HS256"}', b'{"a":"\xed\xa0\x80"}')
@example(b'{"alg":"HS256"}', b' {"a" : 1} ')
@example(b'{"alg":"HS256"}', b'{"a":1}x')
def test_any_bytes_mean_the_same_or_nothing(header: bytes, payload: bytes) -> None:
    check(signed(header, payload), "HS256")
    check(signed(b'{"alg":"HS256"}', payload), "HS256")


TOKENS = {
    "HS256": signed(b'{"alg":"HS256"}', b'{"sub":"ada"}'),
    **{algorithm: key.sign({"sub": "ada"}).encode() for algorithm, key in KEYS.items()},
}


@pytest.mark.parametrize("algorithm", TOKENS)
@given(st.data())
def test_a_token_that_was_changed_anywhere_means_the_same_or_nothing(algorithm: str, data: st.DataObject) -> None:
    token = bytearray(TOKENS[algorithm])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(token) - 1))
        change = data.draw(st.sampled_from(["set", "drop", "insert"]))
        char = data.draw(st.sampled_from(list(b"AZaz09-_.=+/ ")))
        token[place : place + (change != "insert")] = b"" if change == "drop" else bytes([char])
    check(bytes(token), algorithm)
    for other in TOKENS:
        check(bytes(token), other)


@pytest.mark.parametrize("algorithm", TOKENS)
def test_an_honest_token_is_read_by_both(algorithm: str) -> None:
    assert ours(TOKENS[algorithm], algorithm) == theirs(TOKENS[algorithm], algorithm) == {"sub": "ada"}
    for other in TOKENS.keys() - {algorithm}:
        assert isinstance(ours(TOKENS[algorithm], other), Refusal)


@pytest.mark.parametrize("algorithm", TOKENS)
def test_a_signature_has_one_spelling(algorithm: str) -> None:
    """A last character whose loose bits are set would be another text for the same token."""
    body, _, signature = TOKENS[algorithm].rpartition(b".")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [signature[:-1] + bytes([char]) for char in alphabet] + [signature + b"=", signature + b"=="]
    read = [ours(body + b"." + spelling, algorithm) for spelling in spellings]
    assert [claims for claims in read if not isinstance(claims, Refusal)] == [{"sub": "ada"}]


DEEP: dict[str, tuple[bytes, bool]] = {
    "32 deep": (b'{"a":' + b"[" * 31 + b"]" * 31 + b"}", True),
    "33 deep, few brackets": (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", True),
    "many brackets, not deep": (b'{"a":[' + b"[]," * 100 + b"[]]}", True),
    "deep": (b'{"a":' + b"[" * 80 + b"]" * 80 + b"}", False),
    "very deep": (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", False),
    "never closed": (b'{"a":' + b"[" * 2000, False),
}


@pytest.mark.parametrize(("payload", "fits"), DEEP.values(), ids=DEEP)
def test_a_token_is_not_nested_deep(payload: bytes, fits: bool) -> None:
    token = signed(b'{"alg":"HS256"}', payload)
    if fits:
        assert Compact.read(token).payload
    else:
        with refused(Code.token_invalid, reason="nested deeper than 32"):
            Compact.read(token)
