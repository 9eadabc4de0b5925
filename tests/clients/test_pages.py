"""The demo's page and the console in Chromium: what a person sees, does and cannot do there.

`pytest tests/clients/test_pages.py --images docs/images` takes the screenshots of the documentation again.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.conftest import StartWorld
from tests.clients.peer import Browser, Tab
from tests.harness.processes import Running, command

LISTEN = {"PROXY_LISTEN": "127.0.0.1:0", "PROXY_ADMIN_LISTEN": "127.0.0.1:0"}
LOOKS: dict[str, dict[str, object]] = {
    "light": {"width": 1280, "height": 1250},
    "dark": {"width": 1280, "height": 1250, "scheme": "dark"},
    "phone": {"width": 390, "height": 1700},
}
TOKEN = "an admin token of 32 characters or more"
MOST_IMAGE_BYTES = 150_000
CONVERSATION = (("ada", "Is the coach live?"), ("bob", "Here is my question."), ("ada", "I can see it now."))
ADA, BOB = ".person.one", ".person.two"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A running demo, as a user starts it."""
    folder = tmp_path_factory.mktemp("demo")
    async with command("demo", "--port", "0", folder=folder, environment=LISTEN) as running:
        await running.until(lambda: "Ports:" in running.out, "the address")
        yield running


def address(demo: Running) -> str:
    """The one address that the demo prints."""
    (found,) = re.findall(r"http://\S+", demo.out)
    return str(found)


def console_address(demo: Running) -> str:
    found = re.search(r"console (\d+)", demo.out)
    assert found is not None
    return f"http://127.0.0.1:{found[1]}/"


@asynccontextmanager
async def looking(browser: Browser, url: str, **look: object) -> AsyncIterator[Tab]:
    """A page, on which nothing may go wrong: no exception, and nothing that its policy blocks."""
    async with browser.tab(url, axe=True, **look) as tab:
        await tab.next("opened")
        yield tab
        complaints = [one["text"] for one in tab.all("console", level="error")]
        assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
        assert tab.all("page_error") == []


@asynccontextmanager
async def shown(browser: Browser, demo: Running, **look: object) -> AsyncIterator[Tab]:
    """The demo's page with both people live."""
    async with looking(browser, address(demo), **look) as tab:
        for person in (ADA, BOB):
            await tab.do("wait", selector=f"{person} .chip", text="live")
            await tab.do("wait", selector=f"{person} .messages li")
        yield tab


async def said(tab: Tab, person: str) -> str:
    return "\n".join(await tab.read("text", selector=f"{person} .messages"))


# --- the demo


async def test_each_person_reads_the_own_session_live(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        assert "BOB PRIVATE" in await said(tab, BOB)
        assert "BOB PRIVATE" not in await said(tab, ADA)
        await tab.do("wait", selector=f"{ADA} .tick")


async def test_what_one_writes_arrives_in_the_own_chat_alone(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        await tab.do("write", selector="#write-ada", text="for Ada's eyes <b>only</b>")
        await tab.do("press", key="Enter")
        await tab.do("wait", selector=f"{ADA} .mine", text="arrived")
        await tab.do("wait", selector=f"{ADA} .mine", text="for Ada's eyes <b>only</b>")
        assert "eyes" not in await said(tab, BOB)


async def test_what_went_to_electric_stands_beside_what_was_asked(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        row = "#passes details.one:has(span:text-is('live stream')) >> nth=0 >>"
        await tab.do("wait", selector=f"{row} summary .chip", text="200")
        await tab.do("click", selector=f"{row} summary")
        await tab.do("wait", selector=f"{row} .sides > div", text="open since")
        token, asked, sent, answered = await tab.read("text", selector=f"{row} .sides > div")
        assert "acc-ada" in token
        assert "params[1]" not in asked
        assert re.search(r"params\[1\]\s+s-ada", sent)
        assert '("session_id" = $1)' in sent
        assert "electric-handle" in answered
        assert "secret" not in sent


REFUSALS = {
    "Bob's token, Ada's session": "403 predicate_mismatch",
    "A hidden column": "403 column_forbidden",
    "An unknown table": "403 shape_forbidden",
    "An expired token": "401 token_expired",
    "No token": "401 token_missing",
    "A forged handle": "409",
}


async def test_what_must_not_work_does_not(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        assert await tab.read("text", selector="#attempts button") == list(REFUSALS)
        for name, outcome in REFUSALS.items():
            await tab.do("click", selector=f'#attempts button:text-is("{name}")')
            await tab.do("wait", selector="#outcome strong", text=name)
            await tab.do("wait", selector="#outcome .chip", text=outcome)
        opened = await tab.read("text", selector="#passes details[open] .sides")
        assert sum("Nothing: it was refused here." in text for text in opened) == len(REFUSALS) - 1


async def test_a_forged_handle_goes_to_electric_as_none(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        await tab.do("click", selector='#attempts button:text-is("A forged handle")')
        await tab.do("wait", selector="#passes details[open] .sides > div", text="answered with 409")
        (sent,) = await tab.read("text", selector="#passes details[open] .sides > div:nth-child(3)")
        assert re.search(r"handle\s+0-0", sent)


async def test_a_revocation_ends_a_stream_before_ones_eyes(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        await tab.do("click", selector=f"{ADA} button.danger")
        await tab.do("wait", selector=f"{ADA} .chip", text="stream ended: token_revoked")
        await tab.do("wait", selector=f"{BOB} .chip", text="live")
        await tab.do("click", selector=f'{ADA} button:text-is("Let Ada sign in again")')
        await tab.do("wait", selector=f"{ADA} .chip", text="live")
        await tab.do("wait", selector=f"{ADA} .messages li", text="hello")


async def test_a_hundred_more_clients_share_one_request_to_electric(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        await tab.do("click", selector="#more")
        await tab.do("wait", selector="#clients", text="101")
        async with looking(browser, console_address(demo)) as console:
            await console.do("wait", selector="#streams tr", text="102")  # Bob's too
        await tab.do("wait", selector="#upstream", text="1")  # who was behind has caught up with the others
        assert await tab.read("text", selector="#upstream") == ["1"]
        assert await tab.read("text", selector="#clients") == ["101"]
        await tab.do("click", selector="#more")
        await tab.do("wait", selector="#more", text="100 more clients")


async def test_the_lag_is_a_line(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        await tab.do("wait", selector="#lag-now", text="s")
        await tab.do("exists", selector="#lag path.line")


async def test_a_token_is_renewed_before_it_ends_and_the_stream_goes_on(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo, clock=True) as tab:
        before = len(await tab.read("text", selector="#passes details.two"))
        await tab.do("later", seconds=101)  # of 120
        await tab.do("exists", selector=f"#passes details.two >> nth={before}")
        assert await tab.read("text", selector=f"{BOB} > .row .chip") == ["live"]
        await tab.do("write", selector="#write-bob", text="still here")
        await tab.do("press", key="Enter")
        await tab.do("wait", selector=f"{BOB} .mine", text="still here")


async def test_the_page_can_be_used_with_the_keyboard(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as tab:
        reached: list[str] = []
        while "100 more clients" not in reached:
            await tab.do("press", key="Tab")
            reached.append(await tab.read("focused"))
            assert len(reached) < 200, reached
        for name in ("To the content", "write-ada", "Revoke Ada", "write-bob", *REFUSALS):
            assert name in reached, name


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_the_page_is_for_everybody(
    browser: Browser, demo: Running, look: dict[str, object], images: Path | None, request: pytest.FixtureRequest
) -> None:
    async with shown(browser, demo, **look) as tab:
        await tab.do("write", selector="#write-bob", text="Only Bob reads this.")
        await tab.do("click", selector=f"{BOB} .write button")
        await tab.do("wait", selector=f"{BOB} .mine", text="arrived")
        await tab.do("click", selector="#attempts button:nth-child(1)")
        await tab.do("wait", selector="#outcome .chip", text="403")
        assert await tab.read("violations") == []
        assert await tab.read("overflow") == 0
        async with lively(tab, images):
            await taken(tab, images, f"demo-{request.node.callspec.id}")


# --- the console


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_the_console_is_for_everybody(
    browser: Browser, demo: Running, look: dict[str, object], images: Path | None, request: pytest.FixtureRequest
) -> None:
    async with shown(browser, demo) as page, looking(browser, console_address(demo), **look) as tab:
        await page.do("click", selector="#attempts button:nth-child(2)")
        await tab.do("wait", selector="#refusals summary", text="column_forbidden")
        await tab.do("wait", selector="#streams tr", text="chat_messages")
        await tab.do("click", selector="#refusals summary")
        await tab.do("wait", selector="#policies details:first-child summary", text="proved")
        await taken(tab, images, f"console-{request.node.callspec.id}")
        await tab.do("click", selector="#policies details:nth-child(2) summary")
        await tab.do("click", selector="#explain button")
        await tab.do("wait", selector="#explained", text="Sent to Electric")
        assert await tab.read("violations") == []
        assert await tab.read("overflow") == 0


async def test_the_console_shows_what_is_up_and_a_refusal_with_its_trail(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as page, looking(browser, console_address(demo)) as tab:
        await tab.do("wait", selector="#verdict", text="Ready")
        await tab.do("wait", selector="#connection", text="live")
        await page.do("click", selector="#attempts button:nth-child(1)")
        await tab.do("wait", selector="#refusals details:first-child summary", text="predicate_mismatch")
        await tab.do("click", selector="#refusals details:first-child summary")
        await tab.do("wait", selector="#refusals .trail .bad", text="predicate: predicate_mismatch")
        await tab.do("wait", selector="#policies details:first-child summary", text="proved")
        policies = "\n".join(await tab.read("text", selector="#policies summary"))
        assert re.search(r"chat_messages\s+(\d+)/\1 cases\s+types known\s+proved", policies)


async def test_an_open_refusal_stays_open_while_others_arrive(browser: Browser, demo: Running) -> None:
    async with shown(browser, demo) as page, looking(browser, console_address(demo)) as tab:
        await page.do("click", selector="#attempts button:nth-child(3)")
        await tab.do("wait", selector="#refusals details:first-child summary", text="shape_forbidden")
        await tab.do("click", selector="#refusals details:first-child summary")
        await page.do("click", selector="#attempts button:nth-child(2)")
        await tab.do("wait", selector="#refusals details:first-child summary", text="column_forbidden")
        assert len(await tab.read("text", selector="#refusals details[open]")) == 1


async def test_a_pasted_url_is_explained_on_the_page(browser: Browser, demo: Running) -> None:
    async with looking(browser, console_address(demo)) as tab:
        await tab.do(
            "write",
            selector="#url",
            text="http://127.0.0.1/v1/shape?table=session_uploads&offset=-1&columns=id,content",
        )
        await tab.do("click", selector="#explain button")
        await tab.do("wait", selector="#explained .chip", text="column_forbidden")
        await tab.do("write", selector="#claims", text="{")
        await tab.do("click", selector="#explain button")
        await tab.do("wait", selector="#explained .chip", text="The claims are not JSON")


async def test_the_console_opens_after_signing_in(browser: Browser, start: StartWorld) -> None:
    async with start(PROXY_ADMIN_TOKEN=TOKEN) as app, looking(browser, f"{app.proxy.admin_url}/") as tab:
        assert await tab.read("violations") == []
        for given, selector in (("wrong", "[role=alert]"), (TOKEN, "#verdict .good")):
            await tab.do("write", selector="#token", text=given)
            await tab.do("press", key="Enter")
            await tab.do("wait", selector=selector)
        assert await tab.read("url") == f"{app.proxy.admin_url}/"


@asynccontextmanager
async def lively(tab: Tab, images: Path | None) -> AsyncIterator[None]:
    """For a screenshot: a conversation, a hundred more clients, and a minute of the lag."""
    if images is None:
        yield
        return
    for name, text in CONVERSATION:
        await tab.do("write", selector=f"#write-{name}", text=text)
        await tab.do("press", key="Enter")
        await tab.do("wait", selector=".mine", text=text)
    await tab.do("click", selector="#more")
    await tab.do("wait", selector="#clients", text="101")
    await tab.do("press", key="Home")  # to the top
    await asyncio.sleep(60)
    yield
    await tab.do("click", selector="#more")
    await tab.do("wait", selector="#more", text="100 more clients")


async def taken(tab: Tab, images: Path | None, name: str) -> None:
    """Takes a screenshot for the documentation, if that was asked for."""
    if images is not None:
        await tab.do("screenshot", path=str(images / f"{name}.webp"))


@pytest.fixture
def images(request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """The folder of --images. What is taken must stay small."""
    folder: Path | None = request.config.getoption("--images")
    if folder is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    yield folder.absolute()
    assert {file.name for file in folder.iterdir() if file.stat().st_size > MOST_IMAGE_BYTES} == set()
