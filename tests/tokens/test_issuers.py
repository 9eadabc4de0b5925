"""The file of issuers: what it may say, and every fault in it at once, each with the file and a sentence."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.auth import issuers
from proxy.auth.issuers import Issuer, IssuerDocument, IssuersFault, source_of_keys
from proxy.auth.keys import KeyRing
from proxy.auth.tokens import TokenBounds, Verifier, mint
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core.errors import Code, Refusal
from proxy.runtime import configuration
from proxy.settings import SettingsFault, load
from tests.core.samples import refused
from tests.tokens.issuing import AUDIENCE, ISSUER, SigningKey, jwks, payload

KEY = SigningKey("one")
PLAIN = Issuer(ISSUER, "https://id.example/keys", frozenset({AUDIENCE}))


def written(folder: Path, text: str) -> Path:
    """A file with this text, beside a key file."""
    (folder / "keys.json").write_bytes(jwks(KEY.member()))
    file = folder / "issuers.toml"
    file.write_text(text)
    return file


def faults(folder: Path, text: str) -> list[str]:
    """What is wrong with a file, each line without the file's name, which must begin it."""
    file = written(folder, text)
    with pytest.raises(IssuersFault) as caught:
        issuers.read(file)
    assert all(line.startswith(f"{file}: ") for line in caught.value.lines)
    return [line.removeprefix(f"{file}: ") for line in caught.value.lines]


def test_an_issuer_needs_a_name_keys_and_an_audience(tmp_path: Path) -> None:
    file = written(tmp_path, '[[issuer]]\nissuer = "https://a"\nkeys = "keys.json"\naudience = "b"\n')
    assert issuers.read(file) == (Issuer("https://a", tmp_path / "keys.json", frozenset({"b"})),)


WHOLE = """
[[issuer]]
issuer = "https://a"
keys = "https://a/jwks?tenant=1"
audience = ["b", "c"]
authorized_party = "d"
max_seconds = 60
leeway_seconds = 1
typ = ["application/AT+JWT"]
require = { token_use = "access", verified = true, level = 3 }
algorithms = "RS256"

[[issuer]]
issuer = "https://e"
keys = "http://127.0.0.1:1/jwks"
authorized_party = ["f", "g"]
"""


def test_every_member_is_read(tmp_path: Path) -> None:
    first, second = issuers.read(written(tmp_path, WHOLE))
    required = {"token_use": "access", "verified": True, "level": 3}
    typs, algorithms = frozenset({"at+jwt"}), frozenset({"RS256"})
    both, party = frozenset({"b", "c"}), frozenset({"d"})
    assert first == Issuer("https://a", "https://a/jwks?tenant=1", both, party, 60, 1.0, typs, required, algorithms)
    assert second == Issuer("https://e", "http://127.0.0.1:1/jwks", authorized_party=frozenset({"f", "g"}))
    assert len(fields(Issuer)) == len(IssuerDocument.model_fields)


ONE = 'issuer = "https://a"\nkeys = "keys.json"\naudience = "b"\n'
WRONG: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", ["issuer: is required"]),
    "no TOML": ("[[issuer", ["Expected ']]' at the end of an array declaration (at end of document)"]),
    "another table": (
        "[[isuer]]\n" + ONE,
        ["issuer: is required", "isuer: there is no such member; did you mean issuer?"],
    ),
    "a table alone": ("[issuer]\n" + ONE, ["issuer: Input should be a valid list"]),
    "a misspelled member": (
        "[[issuer]]\n" + ONE + 'audiance = "x"\n',
        ["issuer 1 audiance: there is no such member; did you mean audience?"],
    ),
    "no audience": (
        '[[issuer]]\nissuer = "https://a"\nkeys = "keys.json"\n',
        ["issuer 1: needs an audience, or an authorized_party where its tokens have no aud"],
    ),
    "an empty audience": (
        "[[issuer]]\n" + ONE.replace('"b"', '["b", ""]'),
        ["issuer 1 audience: must be a text, or a list of texts, none of them empty"],
    ),
    "an audience of numbers": (
        "[[issuer]]\n" + ONE.replace('"b"', "[1]"),
        ["issuer 1 audience: must be a text, or a list of texts, none of them empty"],
    ),
    "an algorithm in small letters": (
        "[[issuer]]\n" + ONE + 'algorithms = "rs256"\n',
        ["issuer 1 algorithms: 'rs256' is not one of HS256, RS256, ES256, EdDSA; did you mean RS256?"],
    ),
    "no algorithm": (
        "[[issuer]]\n" + ONE + 'algorithms = ["none"]\n',
        ["issuer 1 algorithms: 'none' is not one of HS256, RS256, ES256, EdDSA"],
    ),
    "a secret that is published": (
        "[[issuer]]\n" + ONE.replace("keys.json", "https://a/keys") + 'algorithms = "HS256"\n',
        ["issuer 1: HS256 needs a key file: a secret that is published is none"],
    ),
    "a life of nothing": (
        "[[issuer]]\n" + ONE + "max_seconds = 0\n",
        ["issuer 1 max_seconds: Input should be greater than or equal to 1"],
    ),
    "a required list": (
        "[[issuer]]\n" + ONE + "require = { a = [1] }\n",
        ["issuer 1 require: must be a table of claims, each with a text, a whole number, true or false"],
    ),
    "a required fraction": (
        "[[issuer]]\n" + ONE + "require = { a = 1.5 }\n",
        ["issuer 1 require: must be a table of claims, each with a text, a whole number, true or false"],
    ),
    "an issuer twice, and another fault": (
        f"[[issuer]]\n{ONE}[[issuer]]\n{ONE}max_seconds = -1\n",
        [
            "https://a has several entries: give an issuer one, with all of its keys",
            "issuer 2 max_seconds: Input should be greater than or equal to 1",
        ],
    ),
    "faults of several issuers": (
        '[[issuer]]\nkeys = "http://a"\naudience = "b"\n[[issuer]]\nissuer = "https://b"\nkeys = "keys.json"\n',
        [
            "issuer 1 issuer: is required",
            "issuer 1 keys: must be an https address: over http anybody on the way could give keys of their own",
            "issuer 2: needs an audience, or an authorized_party where its tokens have no aud",
        ],
    ),
}


@pytest.mark.parametrize(("text", "sentences"), WRONG.values(), ids=WRONG)
def test_every_fault_is_a_sentence(tmp_path: Path, text: str, sentences: list[str]) -> None:
    assert faults(tmp_path, text) == sentences


def test_a_key_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    (sentence,) = faults(tmp_path, "[[issuer]]\n" + ONE.replace("keys.json", "gone.json"))
    assert sentence == f"issuer 1 keys: there is no file {tmp_path / 'gone.json'}"


@pytest.mark.parametrize("raw", [b"\xff", None], ids=["no UTF-8", "no file"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, raw: bytes | None) -> None:
    file = tmp_path / "issuers.toml"
    if raw is not None:
        file.write_bytes(raw)
    with pytest.raises(IssuersFault, match=r"issuers\.toml: cannot be read \(\w+\)$"):
        issuers.read(file)


ADDRESSES = {
    "https://id.example/jwks": True,
    "https://id.example:8443/jwks?x=1": True,
    "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com": True,
    "http://localhost:1/x": True,
    "http://127.1.2.3/x": True,
    "http://[::1]:5/x": True,
    "http://id.example/jwks": False,
    "http://localhost.evil.example/x": False,
    "http://127.0.0.1.evil.example/x": False,
    "http://[::2]/x": False,
    "https://user:password@id.example/jwks": False,
    "https://id.example/jwks#x": False,
    "https:///jwks": False,
    "https://id.example:99999/x": False,
    "https://id.example/a b": False,
    "https://id.example/é": False,
    "ftp://id.example/jwks": False,
    "file:///etc/passwd": False,
    "HTTPS://id.example/jwks": False,
}


@pytest.mark.parametrize(("address", "fits"), ADDRESSES.items(), ids=ADDRESSES)
def test_keys_come_over_https_or_from_this_machine(address: str, fits: bool) -> None:
    if fits:
        assert source_of_keys(address) == address
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - the sentences are tested above
            source_of_keys(address)


# --- what an issuer's tokens must be


def verifier(*trusted: TrustedIssuer) -> Verifier:
    """A verifier that believes these issuers."""
    return Verifier(Trust.of(*trusted), TokenBounds())


def judged(issuer: Issuer, claims: dict[str, Any], **headers: object) -> Code | None:
    """How a token of this issuer ends."""
    believing = verifier(TrustedIssuer(issuer, KeyRing.parse(jwks(KEY.member()), issuer.algorithms)))
    try:
        believing.verify_token(KEY.sign(claims, **headers).encode())
    except Refusal as refusal:
        return refusal.code
    return None


PARTY = replace(PLAIN, audience=frozenset(), authorized_party=frozenset({"app", "web"}))
BOTH = replace(PLAIN, authorized_party=frozenset({"app"}))
REQUIRED = replace(PLAIN, required={"token_use": "access", "level": 1, "verified": True})
FITTING: dict[str, Any] = {"token_use": "access", "level": 1, "verified": True}
JUDGED: dict[str, tuple[Issuer, dict[str, Any], bool]] = {
    "azp": (PARTY, {"aud": None, "azp": "app"}, True),
    "client_id": (PARTY, {"aud": None, "client_id": "web"}, True),
    "azp and client_id": (PARTY, {"aud": None, "azp": "app", "client_id": "app"}, True),
    "azp, and a client_id of another": (PARTY, {"aud": None, "azp": "app", "client_id": "x"}, False),
    "another azp": (PARTY, {"aud": None, "azp": "x"}, False),
    "no party": (PARTY, {"aud": None}, False),
    "a party that is a list": (PARTY, {"aud": None, "azp": ["app"]}, False),
    "a party that is null": (PARTY, {"aud": None} | {"azp": {}}, False),
    "a party in capitals": (PARTY, {"aud": None, "azp": "APP"}, False),
    "a party, but for another audience": (PARTY, {"aud": "other", "azp": "app"}, False),
    "both": (BOTH, {"azp": "app"}, True),
    "the audience, of another party": (BOTH, {"azp": "x"}, False),
    "the audience, of no party": (BOTH, {}, False),
    "the party, without the audience": (BOTH, {"aud": None, "azp": "app"}, False),
    "what is required": (REQUIRED, FITTING, True),
    "another value": (REQUIRED, FITTING | {"token_use": "id"}, False),
    "one that is missing": (REQUIRED, FITTING | {"token_use": None}, False),
    "true where 1 is required": (REQUIRED, FITTING | {"level": True}, False),
    "1 where true is required": (REQUIRED, FITTING | {"verified": 1}, False),
    "a fraction that is equal": (REQUIRED, FITTING | {"level": 1.0}, False),
    "a list of it": (REQUIRED, FITTING | {"token_use": ["access"]}, False),
}


@pytest.mark.parametrize(("issuer", "changes", "fits"), JUDGED.values(), ids=JUDGED)
def test_a_token_is_for_us_and_has_what_its_issuer_says(issuer: Issuer, changes: dict[str, Any], fits: bool) -> None:
    assert judged(issuer, payload(**changes)) is (None if fits else Code.token_invalid)


def test_each_issuer_has_its_own_longest_life() -> None:
    claims = payload(exp=int(payload()["iat"]) + 3600)
    assert judged(PLAIN, claims) is Code.token_invalid
    assert judged(replace(PLAIN, max_seconds=3600), claims) is None


@pytest.mark.parametrize(
    ("typ", "fits"), [("at+jwt", True), ("AT+JWT", True), ("application/at+jwt", True), ("JWT", False), (None, False)]
)
def test_each_issuer_has_its_own_type(typ: str | None, fits: bool) -> None:
    only = replace(PLAIN, typs=frozenset({"at+jwt"}))
    headers = {"typ": typ} if typ else {}
    assert judged(only, payload(), **headers) is (None if fits else Code.token_invalid)


def test_a_key_for_an_algorithm_that_the_issuer_does_not_use_is_skipped() -> None:
    rsa = SigningKey("two", "RS256")
    ring = KeyRing.parse(jwks(KEY.member(), rsa.member()), frozenset({"RS256"}))
    assert [key.kid for key in ring.verifying] == ["two"]
    assert ring.skipped == ("key 1 (kid 'one'): it is for ES256, which this issuer does not use",)


# --- several issuers


OTHER = replace(PLAIN, name="https://other.example/")
SAME_KID = SigningKey("one")


def two() -> Verifier:
    """Two issuers whose keys have the same kid."""
    rings = [KeyRing.parse(jwks(key.member())) for key in (KEY, SAME_KID)]
    return verifier(TrustedIssuer(PLAIN, rings[0]), TrustedIssuer(OTHER, rings[1]))


def test_a_token_is_verified_by_the_keys_of_its_own_issuer() -> None:
    believing = two()
    assert believing.verify_token(KEY.sign(payload()).encode()).subject == "acc-ada"
    assert believing.verify_token(SAME_KID.sign(payload(iss=OTHER.name)).encode()).subject == "acc-ada"


def test_one_issuer_cannot_sign_for_another() -> None:
    for token in (SAME_KID.sign(payload()), KEY.sign(payload(iss=OTHER.name))):
        with refused(Code.token_invalid, reason="the signature is not of the issuer's key"):
            two().verify_token(token.encode())


@pytest.mark.parametrize("name", [None, "", "https://id.example", ISSUER + "x", ["https://id.example/"], 1, {}])
def test_a_token_of_nobody_that_is_trusted_is_refused_before_a_key_is_tried(name: Any) -> None:
    with refused(Code.token_invalid, reason="iss is not a trusted issuer"):
        two().verify_token(KEY.sign(payload(iss=name)).encode())


def test_a_minted_token_fits_its_issuer(tmp_path: Path) -> None:
    own = SigningKey("own")
    ring = KeyRing.parse(jwks(own.member(private=True)))
    for issuer in (PLAIN, PARTY, BOTH, REQUIRED, replace(PLAIN, typs=frozenset({"at+jwt"}))):
        token = mint(ring, issuer, "acc-ada", {}, 60)
        assert verifier(TrustedIssuer(issuer, ring)).verify_token(token.encode()).subject == "acc-ada"


# --- settings


def settings_of(tmp_path: Path, **variables: str) -> dict[str, str]:
    """An environment with a file of issuers."""
    written(tmp_path, "[[issuer]]\n" + ONE)
    return {"PROXY_ISSUERS": str(tmp_path / "issuers.toml"), "ELECTRIC_SECRET": "s" * 32} | variables


def test_a_file_of_issuers_stands_in_place_of_the_settings_of_one(tmp_path: Path) -> None:
    said = load(settings_of(tmp_path))
    assert [issuer.name for issuer in configuration.issuers(said)] == ["https://a"]


@pytest.mark.parametrize("name", ["KEYS", "ISSUER", "AUDIENCE", "MAX_SECONDS", "LEEWAY_SECONDS", "REQUIRE_TYP"])
def test_both_at_once_are_a_fault(tmp_path: Path, name: str) -> None:
    value = {"MAX_SECONDS": "60", "LEEWAY_SECONDS": "1", "REQUIRE_TYP": "true"}.get(name, "https://x")
    with pytest.raises(SettingsFault) as caught:
        load(settings_of(tmp_path, **{f"PROXY_TOKEN_{name}": value}))
    (line,) = str(caught.value).splitlines()
    assert line == f"PROXY_TOKEN_{name}: stands in PROXY_ISSUERS, for each issuer by itself; leave it out here"


def test_a_file_of_issuers_that_is_not_there_is_a_fault_of_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault, match=f"^PROXY_ISSUERS: there is no file {tmp_path}/x$"):
        load({"PROXY_ISSUERS": str(tmp_path / "x")})


def test_the_single_issuer_may_have_its_keys_at_an_address() -> None:
    single = {"PROXY_TOKEN_ISSUER": "i", "PROXY_TOKEN_AUDIENCE": "a"}
    issuer = configuration.own_issuer(load(single | {"PROXY_TOKEN_KEYS": "https://id.example/jwks"}))
    assert issuer == Issuer("i", "https://id.example/jwks", frozenset({"a"}))
    with pytest.raises(SettingsFault, match=r"^PROXY_TOKEN_KEYS: must be an https address"):
        configuration.own_issuer(load(single | {"PROXY_TOKEN_KEYS": "http://id.example/jwks"}))
