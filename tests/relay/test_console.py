"""The console on the admin listener: who gets it, what is in it, and what is never in it."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from http.cookies import SimpleCookie
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from proxy.console.access import Access
from proxy.console.app import MOST_WATCHERS, Console, Data
from tests.harness.plain import plain
from tests.harness.raw import connected, request, until
from tests.harness.running import running
from tests.harness.shared import ON_MODULE_LOOP
from tests.harness.ways import Way
from tests.relay.asking import LIVE, Held, get

pytestmark = ON_MODULE_LOOP

TOKEN = "an admin token & 32 characters or more"
FORM = {"claims": '{"session_id": "s-ada"}', "url": "/v1/shape?table=chat_messages&offset=-1"}
GUARDED = ["/console/sections", "/console/events"]


@pytest.mark.parametrize("path", ["/", "/console/style.css", "/console/console.js", "/console/mark.svg"])
async def test_the_page_and_its_files_forbid_inline_scripts_and_caches(proxy, path):
    async with plain() as client:
        answer = await client.get(f"{proxy.admin_url}{path}")
    assert answer.status_code == 200
    csp = answer.headers["content-security-policy"]
    assert "script-src 'self'" in csp
    assert "unsafe" not in csp
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_has_no_inline_script_or_style(proxy):
    async with plain() as client:
        page = (await client.get(f"{proxy.admin_url}/")).text
    assert "<style" not in page
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", page)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]


@pytest.mark.parametrize("path", ["/console/index.html", "/console/none.js", "/console/..%2Faccess.py"])
async def test_there_are_no_other_files(proxy, path):
    async with plain() as client:
        assert (await client.get(f"{proxy.admin_url}{path}")).status_code == 404


@pytest.mark.parametrize("path", ["/", *GUARDED])
async def test_another_sites_name_for_this_address_opens_nothing(proxy, path):
    async with plain() as client:
        answer = await client.get(f"{proxy.admin_url}{path}", headers={"host": "attacker.example"})
        assert answer.status_code == 403
        assert answer.json()["code"] == "not_by_loopback_name"
        assert (await client.get(f"{proxy.admin_url}/ready", headers={"host": "proxy.internal"})).status_code == 200


async def test_with_a_token_all_but_the_probes_and_metrics_need_it(starting):
    async with starting(PROXY_ADMIN_TOKEN=TOKEN) as proxy, plain() as client:
        for path in GUARDED:
            answer = await client.get(f"{proxy.admin_url}{path}")
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert (await client.post(f"{proxy.admin_url}/console/explain", json=FORM)).status_code == 401
        for path in ("/live", "/ready", "/metrics"):
            assert (await client.get(f"{proxy.admin_url}{path}")).status_code == 200
        allowed = {"authorization": f"Bearer {TOKEN}"}
        assert (await client.get(f"{proxy.admin_url}/console/sections", headers=allowed)).status_code == 200


async def test_signing_in_leaves_a_cookie_that_scripts_and_other_sites_cannot_use(starting):
    async with starting(PROXY_ADMIN_TOKEN=TOKEN) as proxy, plain() as client:
        page = await client.get(f"{proxy.admin_url}/")
        assert page.status_code == 401
        assert 'type="password"' in page.text
        answer = await client.post(f"{proxy.admin_url}/console/sign-in", data={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
        assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (True, "strict", "/")
        assert TOKEN not in cookie.value
        assert quote(TOKEN) not in cookie.value
        answer = await client.get(f"{proxy.admin_url}/", headers={"cookie": f"{cookie.key}={cookie.value}"})
        assert (answer.status_code, "Explain a request" in answer.text) == (200, True)


@pytest.mark.parametrize("given", [{}, {"token": "wrong"}, {"token": TOKEN * 10_000}], ids=["none", "wrong", "huge"])
async def test_a_wrong_token_signs_nobody_in(starting, given):
    async with starting(PROXY_ADMIN_TOKEN=TOKEN) as proxy, plain() as client:
        answer = await client.post(f"{proxy.admin_url}/console/sign-in", data=given)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "That is not the token." in answer.text


async def test_without_a_token_the_console_is_closed_where_others_can_reach_it(starting):
    async with starting(PROXY_ADMIN_LISTEN="0.0.0.0:0") as proxy, plain() as client:
        admin = proxy.admin_url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        for path in ("/", *GUARDED):
            answer = await client.get(f"{admin}{path}")
            assert (answer.status_code, answer.json()["code"]) == (403, "no_token_is_set")
        assert (await client.get(f"{admin}/metrics")).status_code == 200


async def test_a_refusal_stands_there_with_its_trail_and_nothing_private(proxy, upstream):
    token = proxy.token(session_id="s-private-session")
    async with plain() as client:
        url = proxy.shape("session_uploads", columns="id,content")
        answer = await client.get(url, headers={"authorization": f"Bearer {token}"})
        text = (await client.get(f"{proxy.admin_url}/console/sections")).text
    newest = json.loads(text)["refusals"][0]
    assert (newest["request_id"], newest["code"]) == (answer.json()["request_id"], "column_forbidden")
    assert newest["rules"][-1] == "columns: column_forbidden"
    assert newest["rules"][:2] == ["token: ok", "request: ok"]
    for private in (token, token.split(".")[1], "s-private-session", "acc-ada"):
        assert private not in json.dumps(json.loads(text)["refusals"])
    assert token not in text


async def test_open_streams_are_counted_with_their_subscribers(starting, upstream, mode):
    held = Held(upstream)
    async with starting() as proxy, plain() as client, connected(proxy.address) as one, connected(proxy.address) as two:
        await one.say(get(proxy, LIVE))
        await upstream.wait_for(1)
        await two.say(get(proxy, LIVE))
        shared = mode["PROXY_SHARE"] == "on"
        await upstream.wait_for(1 if shared else 2)
        await until(lambda: len(proxy.opened) == 2)
        sections = (await client.get(f"{proxy.admin_url}/console/sections")).json()
        (stream,) = sections["streams"]
        assert (stream["policy"], stream["kind"], stream["subscribers"]) == ("chat_messages", "live", 2)
        assert stream["requests"] == (1 if shared else 2)
        assert stream["oldest_seconds"] >= 0
        assert sections["status"]["open_requests"] == 2
        held.go.set()


async def test_sections_come_as_events_when_they_change(proxy, upstream):
    async with plain() as client, client.stream("GET", f"{proxy.admin_url}/console/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        names: list[str] = []
        async with asyncio.timeout(30):
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
                if len(names) == 5:
                    assert set(names) == {"status", "series", "streams", "refusals", "policies"}
                    async with plain() as other:
                        await other.get(proxy.shape("secrets"), headers=proxy.bearer())
                if len(names) > 5 and names[-1] == "refusals":
                    break
        assert names[5:].count("policies") == 0


async def test_a_form_is_explained_by_the_rules_in_force(proxy):
    async with plain() as client:
        answer = await client.post(f"{proxy.admin_url}/console/explain", json=FORM)
        assert answer.status_code == 200
        assert answer.json()["upstream"]["parameters"]["params[1]"] == "s-ada"
        assert "secret" not in answer.text
        wrong = await client.post(f"{proxy.admin_url}/console/explain", json=FORM | {"claims": "{"})
        assert (wrong.status_code, wrong.json()["detail"][:23]) == (400, "The claims are not JSON")


BODIES = {
    "a form of another site": ("text/plain", b"{}", 400),
    "no JSON": ("application/json", b"{", 400),
    "too long": ("application/json", b" " * 300_000, 413),
}


@pytest.mark.parametrize(("kind", "body", "status"), BODIES.values(), ids=BODIES)
async def test_what_is_no_form_is_refused(proxy, kind, body, status):
    async with plain() as client:
        url = f"{proxy.admin_url}/console/explain"
        answer = await client.post(url, content=body, headers={"content-type": kind})
        assert answer.status_code == status


@pytest.mark.parametrize("path", ["/", "/console/sections", "/console/events"])
async def test_the_console_changes_nothing(proxy, path):
    async with plain() as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await client.request(method, f"{proxy.admin_url}{path}")).status_code == 405


@pytest.mark.parametrize("served", [Way.asgi, Way.mounted])
async def test_on_a_listener_of_another_server_the_console_needs_the_token(upstream, tmp_path, served):
    async with running(upstream.url, tmp_path, way=served) as proxy, plain() as client:
        answer = await client.get(f"{proxy.admin_url}/", headers={"host": "localhost"})
        assert (answer.status_code, answer.json()["code"]) == (403, "no_token_is_set")
    async with running(upstream.url, tmp_path, way=served, PROXY_ADMIN_TOKEN=TOKEN) as proxy, plain() as client:
        allowed = {"authorization": f"Bearer {TOKEN}"}
        assert (await client.get(f"{proxy.admin_url}/console/sections", headers=allowed)).status_code == 200


async def test_below_a_path_of_an_application_the_console_stays_there():
    async def nothing(*_):
        return {}

    console = Console(Access(TOKEN), Data(nothing, nothing))
    mounted = Starlette(routes=[Mount("/internal", routes=console.routes())])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(mounted), base_url="http://app") as client:
        answer = await client.post("/internal/console/sign-in", data={"token": TOKEN})
        assert answer.headers["location"] == "/internal/"
        assert "Path=/internal/" in answer.headers["set-cookie"]
        page = await client.get("/internal/")
        assert not re.findall(r'(?:src|href|action)="/', page.text)


async def test_only_so_many_pages_are_sent_events(proxy):
    host, port = proxy.admin_url.removeprefix("http://").split(":")
    asked = request("/console/events").replace(b"host: proxy", b"host: localhost")
    async with AsyncExitStack() as stack:
        for _ in range(MOST_WATCHERS):
            raw = await stack.enter_async_context(connected((host, int(port))))
            await raw.say(asked)
            assert (await raw.head()).status == 200
            await raw.reader.readuntil(b"event: status")
        raw = await stack.enter_async_context(connected((host, int(port))))
        assert (await raw.ask(asked)).status == 503
