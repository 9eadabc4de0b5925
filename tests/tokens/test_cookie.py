"""A token in a cookie: for pages of listed origins alone, never beside an Authorization header, read strictly."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.auth.bearer import CookieConfig, token_of
from proxy.core.errors import Code, Refusal
from proxy.core.headers import Origins
from proxy.core.inbound import Inbound
from proxy.settings import SettingsFault, load
from tests.harness.raw import Raw, connected, request
from tests.harness.refusals import assert_refused
from tests.harness.running import ORIGIN, Proxy, running
from tests.harness.upstream import Upstream
from tests.relay.asking import TARGET

COOKIE = CookieConfig(b"__session", frozenset({ORIGIN.encode()}))
PAGE = ("origin", ORIGIN)


def found(*fields: tuple[str, str], cookie: CookieConfig | None = COOKIE) -> bytes | Code:
    """The token of a request with these headers, or why it has none."""
    inbound = Inbound.of("GET", TARGET.encode(), "1.1", [(name.encode(), value.encode()) for name, value in fields])
    try:
        return token_of(inbound, cookie)
    except Refusal as refusal:
        return refusal.code


READ: dict[str, tuple[str, bytes | Code]] = {
    "alone": ("__session=a.b.c", b"a.b.c"),
    "first": ("__session=a.b.c; theme=dark", b"a.b.c"),
    "last": ("theme=dark; __session=a.b.c", b"a.b.c"),
    "without blanks": ("theme=dark;__session=a.b.c;x=1", b"a.b.c"),
    "beside odd cookies": ('_ga=GA1.2; prefs={"a":[1,2]}; flag; empty=; __session=a.b.c', b"a.b.c"),
    "beside one whose name ends alike": ("x__session=x.y.z; __session=a.b.c; __session2=u", b"a.b.c"),
    "twice": ("__session=a.b.c; __session=x.y.z", Code.malformed_request),
    "twice the same": ("__session=a.b.c; __session=a.b.c", Code.malformed_request),
    "twice, once empty": ("__session=; __session=a.b.c", Code.malformed_request),
    "hidden in quotes": ('x="1; __session=x.y.z"; __session=a.b.c', Code.malformed_request),
    "after a quote that does not end": ('x="1; __session=a.b.c', Code.malformed_request),
    "of another case": ("__Session=a.b.c", Code.token_missing),
    "with a blank before the sign": ("__session =a.b.c", Code.token_missing),
    "without a value": ("__session=", Code.token_missing),
    "without a sign": ("__session", Code.token_missing),
    "of another name": ("session=a.b.c", Code.token_missing),
    "nothing": ("", Code.token_missing),
}


@pytest.mark.parametrize(("cookies", "token"), READ.values(), ids=READ)
def test_the_cookie_is_read_strictly(cookies: str, token: bytes | Code) -> None:
    assert found(PAGE, ("cookie", cookies)) == token


def test_two_cookie_headers_are_refused() -> None:
    assert found(PAGE, ("cookie", "__session=a.b.c"), ("cookie", "x=1")) is Code.malformed_request


ORIGINS: dict[str, tuple[tuple[str, str], ...]] = {
    "no origin": (),
    "another": (("origin", "https://evil.example"),),
    "null": (("origin", "null"),),
    "another scheme": (("origin", ORIGIN.replace("https", "http")),),
    "another port": (("origin", f"{ORIGIN}:444"),),
    "one that begins alike": (("origin", f"{ORIGIN}.evil.example"),),
    "in capitals": (("origin", ORIGIN.upper()),),
    "two": (PAGE, ("origin", "https://evil.example")),
    "a star": (("origin", "*"),),
}


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
def test_for_any_other_page_the_cookie_is_not_read(origin: tuple[tuple[str, str], ...]) -> None:
    assert found(*origin, ("cookie", "__session=a.b.c")) is Code.token_missing


def test_beside_an_authorization_header_the_cookie_is_not_read() -> None:
    assert found(PAGE, ("cookie", "__session=a.b.c"), ("authorization", "Bearer d.e.f")) == b"d.e.f"
    assert found(PAGE, ("cookie", "__session=a.b.c"), ("authorization", "Basic x")) is Code.token_missing
    assert found(PAGE, ("cookie", "__session=a.b.c"), ("authorization", "")) is Code.token_missing


def test_without_the_setting_no_cookie_is_read() -> None:
    assert found(PAGE, ("cookie", "__session=a.b.c"), cookie=None) is Code.token_missing


# --- CORS


def names(origins: Origins, origin: str) -> dict[bytes, bytes]:
    return dict(origins.cors(origin.encode()))


def test_pages_may_send_credentials_only_from_listed_origins_and_never_with_a_star() -> None:
    listed = Origins.of([ORIGIN], credentials=True)
    assert names(listed, ORIGIN)[b"access-control-allow-credentials"] == b"true"
    assert names(listed, ORIGIN)[b"access-control-allow-origin"] == ORIGIN.encode()
    assert names(listed, ORIGIN)[b"vary"] == b"cookie"
    assert names(listed, "https://evil.example") == {}
    for star in (Origins.of(["*"], credentials=True), Origins.of(["*", ORIGIN], credentials=True)):
        for origin in (ORIGIN, "*"):
            assert b"access-control-allow-credentials" not in names(star, origin)
            assert names(star, origin)[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in names(Origins.of([ORIGIN]), ORIGIN)


@pytest.mark.parametrize("origins", [{}, {"PROXY_ALLOWED_ORIGINS": "*"}, {"PROXY_ALLOWED_ORIGINS": f"{ORIGIN},*"}])
def test_the_setting_needs_a_list_of_origins(tmp_path: Path, origins: dict[str, str]) -> None:
    (tmp_path / "keys.json").write_text("{}")
    single = {"PROXY_TOKEN_KEYS": str(tmp_path / "keys.json"), "PROXY_TOKEN_ISSUER": "i", "PROXY_TOKEN_AUDIENCE": "a"}
    with pytest.raises(SettingsFault) as caught:
        load(single | origins | {"PROXY_TOKEN_COOKIE": "__session"})
    sentence = "needs PROXY_ALLOWED_ORIGINS with the origins of its pages, and no *"
    assert str(caught.value) == f"PROXY_TOKEN_COOKIE: {sentence}"


@pytest.mark.parametrize("name", ["a b", "a=b", "a;b", 'a"', "ä", "a,b"])
def test_the_setting_is_the_name_of_a_cookie(name: str) -> None:
    with pytest.raises(SettingsFault, match="PROXY_TOKEN_COOKIE: "):
        load({"PROXY_TOKEN_COOKIE": name, "PROXY_ALLOWED_ORIGINS": ORIGIN})


# --- through the whole proxy


@pytest.fixture
async def proxy(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A proxy that takes tokens from a cookie too."""
    async with running(upstream.url, tmp_path, PROXY_TOKEN_COOKIE="__session") as proxy:
        yield proxy


@pytest.fixture
async def raw(proxy: Proxy) -> AsyncIterator[Raw]:
    async with connected(proxy.address) as raw:
        yield raw


async def test_a_page_reads_its_shape_by_its_cookie_and_nothing_of_it_goes_upstream(
    proxy: Proxy, raw: Raw, upstream: Upstream
) -> None:
    answered = await raw.ask(request(TARGET, f"origin: {ORIGIN}", f"cookie: a=1; __session={proxy.token()}"))
    assert answered.status == 200
    assert answered.head["access-control-allow-origin"] == ORIGIN
    assert answered.head["access-control-allow-credentials"] == "true"
    assert answered.head.all("vary") == ["authorization, origin", "cookie"]
    assert "set-cookie" not in answered.head.names
    assert "cookie" not in dict(upstream.asked[-1].headers)


async def test_a_foreign_page_that_makes_the_browser_send_the_cookie_gets_nothing(
    proxy: Proxy, raw: Raw, upstream: Upstream
) -> None:
    for origin in ([], ["origin: https://evil.example"]):
        answered = await raw.ask(request(TARGET, *origin, f"cookie: __session={proxy.token()}"))
        assert_refused(answered, "token_missing")
        assert "access-control-allow-credentials" not in answered.head.names
    assert upstream.asked == []


async def test_a_refusal_of_a_cookie_can_be_read_by_its_page(proxy: Proxy, raw: Raw) -> None:
    answered = await raw.ask(request(TARGET, f"origin: {ORIGIN}", "cookie: __session=x"))
    assert (answered.status, answered.json["code"]) == (401, "token_invalid")
    assert answered.head["access-control-allow-credentials"] == "true"


async def test_a_preflight_permits_credentials(proxy: Proxy, raw: Raw) -> None:
    fields = (f"origin: {ORIGIN}", "access-control-request-method: GET")
    answered = await raw.ask(request(TARGET, *fields, method="OPTIONS"))
    assert answered.head["access-control-allow-credentials"] == "true"
    foreign = await raw.ask(request(TARGET, "origin: https://evil.example", method="OPTIONS"))
    assert "access-control-allow-credentials" not in foreign.head.names


async def test_without_the_setting_a_cookie_is_nothing(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream.url, tmp_path) as proxy, connected(proxy.address) as raw:
        answered = await raw.ask(request(TARGET, f"origin: {ORIGIN}", f"cookie: __session={proxy.token()}"))
        assert_refused(answered, "token_missing", origin=ORIGIN)
        assert "access-control-allow-credentials" not in answered.head.names
