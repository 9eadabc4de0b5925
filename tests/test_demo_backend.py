"""The demo app's backend: what its page may ask of it, and that no other site's page may."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.harness.plain import plain
from tests.harness.processes import Running, command
from tests.harness.shared import ON_MODULE_LOOP

pytestmark = ON_MODULE_LOOP
LISTEN = {"PROXY_LISTEN": "127.0.0.1:0", "PROXY_ADMIN_LISTEN": "127.0.0.1:0"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A running demo."""
    async with command("demo", "--port", "0", folder=tmp_path_factory.mktemp("demo"), environment=LISTEN) as running:
        await running.until(lambda: "Ports:" in running.out, "the address")
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(demo: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the page's address."""
    (address,) = re.findall(r"http://\S+", demo.out)
    async with plain(base_url=address) as client:
        yield client


async def read(page: httpx.AsyncClient, token: str) -> httpx.Response:
    """The chat that a token gets."""
    proxy = (await page.get("/about")).json()["proxy"]
    async with plain() as client:
        url = f"{proxy}/v1/shape?table=chat_messages&offset=-1"
        return await client.get(url, headers={"authorization": f"Bearer {token}"})


async def token(page: httpx.AsyncClient, who: str = "ada", **form: object) -> str:
    return str((await page.post("/token", json={"who": who} | form)).json()["token"])


FORMS: dict[str, tuple[str, Any]] = {
    "nobody": ("/token", {"who": "eve"}),
    "no text": ("/message", {"who": "ada", "id": "1"}),
    "an empty text": ("/message", {"who": "ada", "id": "1", "body": ""}),
    "a long text": ("/message", {"who": "ada", "id": "1", "body": "x" * 2001}),
    "a NUL": ("/message", {"who": "ada", "id": "1", "body": "\0"}),
    "a long id": ("/message", {"who": "ada", "id": "1" * 65, "body": "x"}),
    "too many clients": ("/clients", {"clients": 1001}),
    "no count": ("/clients", {"clients": "1"}),
    "no object": ("/revoke", []),
}


@pytest.mark.parametrize(("path", "form"), FORMS.values(), ids=FORMS)
async def test_a_form_that_the_page_does_not_send_is_refused(page: httpx.AsyncClient, path: str, form: Any) -> None:
    answer = await page.post(path, json=form)
    assert answer.status_code == 400
    assert answer.json()["detail"]


async def test_no_page_of_another_site_can_write_or_read(page: httpx.AsyncClient) -> None:
    form = b'{"who": "ada", "body": "x", "id": "1"}'
    assert (await page.post("/message", content=form, headers={"content-type": "text/plain"})).status_code == 400
    for host in ("attacker.example", "127.0.0.1.attacker.example"):
        assert (await page.post("/token", json={"who": "ada"}, headers={"host": host})).status_code == 400
    answer = await page.get("/about", headers={"origin": "https://attacker.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_the_page_may_ask_the_proxy_and_nobody_else(page: httpx.AsyncClient) -> None:
    answer = await page.get("/")
    proxy = (await page.get("/about")).json()["proxy"]
    csp = answer.headers["content-security-policy"]
    assert f"connect-src 'self' {proxy};" in csp
    assert "unsafe" not in csp
    assert not re.search(r"\son\w+=|\sstyle=|<style|https?://", answer.text)


@pytest.mark.parametrize("path", ["/demo.js", "/people.js", "/passes.js", "/shapes.js", "/dom.js", "/chart.js"])
async def test_every_script_is_a_module_of_its_own(page: httpx.AsyncClient, path: str) -> None:
    answer = await page.get(path)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert not re.search(r"innerHTML|document\.write|\beval\(|https?://(?!www\.w3\.org/2000/svg)", answer.text)


async def test_a_token_is_for_one_session_and_an_expired_one_is_over(page: httpx.AsyncClient) -> None:
    assert "BOB PRIVATE" in (await read(page, await token(page, "bob"))).text
    assert "BOB PRIVATE" not in (await read(page, await token(page, "ada"))).text
    refused = await read(page, await token(page, "ada", expired=True))
    assert (refused.status_code, refused.json()["code"]) == (401, "token_expired")


async def test_somebody_who_is_revoked_gets_no_token_until_signed_in_again(page: httpx.AsyncClient) -> None:
    held = await token(page, "bob")
    assert (await read(page, held)).status_code == 200
    await page.post("/revoke", json={"who": "bob"})
    assert (await page.post("/token", json={"who": "bob"})).status_code == 403
    async with asyncio.timeout(30):
        while (answer := await read(page, held)).status_code == 200:  # noqa: ASYNC110 - the file is polled
            await asyncio.sleep(0.1)
    assert answer.json()["code"] == "token_revoked"
    await page.post("/sign-in", json={"who": "bob"})
    assert (await read(page, await token(page, "bob"))).status_code == 200
    assert (await read(page, held)).status_code == 401


async def test_what_went_to_electric_is_shown_without_its_secret(page: httpx.AsyncClient) -> None:
    await read(page, await token(page, "ada"))
    async with page.stream("GET", "/events") as answer:
        text = ""
        async with asyncio.timeout(30):
            async for piece in answer.aiter_text():
                text += piece
                if "s-ada" in text and "event: lag" in text and "event: counts" in text:
                    break
    assert "params[1]" in text
    assert '"secret"' not in text
    assert "shape_proxy_heartbeat" not in text
