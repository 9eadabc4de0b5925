"""Reload: what is judged by is replaced as a whole or not at all, and open requests are judged again."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from proxy import settings
from proxy.auth import tokens
from proxy.auth.keys import KeyRing, new_keys
from proxy.runtime import server
from proxy.runtime.configuration import own_issuer
from proxy.telemetry.events import (
    DecisionMade,
    KeysLoaded,
    Observation,
    PoliciesLoaded,
    PoliciesRejected,
    ReloadRefused,
    RequestsJudged,
)
from proxy.telemetry.logs import members
from tests.harness.plain import plain
from tests.harness.raw import Broken, Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import POLICIES, Proxy, environment, running
from tests.harness.upstream import HEADERS, Asked, Connection, Upstream
from tests.relay.asking import EVENT, LIVE, SSE, TARGET, Held, get, half_a_body, one_event

CHAT = "chat_messages.toml"


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """Policies that a test may change: two of those that are shipped."""
    folder = tmp_path / "policies"
    folder.mkdir()
    for name in (CHAT, "todos.toml"):
        shutil.copy(POLICIES / name, folder)
    return folder


@pytest.fixture
async def proxy(upstream: Upstream, tmp_path: Path, policies: Path) -> AsyncIterator[Proxy]:
    said = {
        "PROXY_POLICIES": str(policies),
        "PROXY_SHARE": "off",
        "PROXY_DECISION_SAMPLE": "1",
        "PROXY_ROW_CHECK": "off",
    }
    async with running(upstream.url, tmp_path, **said) as proxy:
        yield proxy


@pytest.fixture
async def raw(proxy: Proxy) -> AsyncIterator[Raw]:
    async with connected(proxy.address) as raw:
        yield raw


def count(proxy: Proxy, kind: type) -> int:
    """How often something was observed."""
    return sum(isinstance(seen, kind) for seen in proxy.seen)


async def reloaded(proxy: Proxy, outcome: type = PoliciesLoaded) -> None:
    """Hangs up, and waits for what comes of it."""
    before = count(proxy, outcome)
    proxy.hangup.set()
    await until(lambda: count(proxy, outcome) > before)


async def metric(proxy: Proxy, name: str) -> str:
    """The samples of a metric, as they stand."""
    async with plain() as client:
        text = (await client.get(f"{proxy.admin_url}/metrics")).text
    return "\n".join(line for line in text.split("\n") if line.startswith(f"shape_proxy_{name}"))


async def counted_open(proxy: Proxy) -> list[str]:
    """The samples of open requests that are not zero."""
    return [line for line in (await metric(proxy, "open_requests{")).split("\n") if not line.endswith(" 0.0")]


def edit(path: Path, old: str, new: str) -> None:
    """Changes the text of a policy, which must hold the old text."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# Policies.


async def test_a_policy_that_is_gone_is_gone_at_the_next_request(proxy: Proxy, raw: Raw, policies: Path) -> None:
    assert (await raw.ask(get(proxy))).status == 200
    (policies / CHAT).unlink()
    assert (await raw.ask(get(proxy))).status == 200  # nothing has reported it yet
    await reloaded(proxy)
    assert_refused(await raw.ask(get(proxy)), "shape_forbidden")


async def test_a_new_policy_is_there_at_the_next_request(proxy: Proxy, raw: Raw, policies: Path) -> None:
    assert_refused(await raw.ask(get(proxy, "/v1/shape?table=runs&offset=-1")), "shape_forbidden")
    name = next(path.name for path in POLICIES.glob("*.toml") if not (policies / path.name).exists())
    shutil.copy(POLICIES / name, policies)
    await reloaded(proxy)
    loaded = [seen for seen in proxy.seen if isinstance(seen, PoliciesLoaded)]
    assert [len(seen.policies) for seen in loaded] == [2, 3]
    assert loaded[0].digest != loaded[1].digest
    assert await metric(proxy, "policies ") == "shape_proxy_policies 3.0"
    assert await metric(proxy, "policies_info") == (f'shape_proxy_policies_info{{digest="{loaded[1].digest}"}} 1.0')


async def test_what_was_decided_by_the_old_policies_is_decided_again(
    proxy: Proxy, raw: Raw, policies: Path, upstream: Upstream
) -> None:
    said = get(proxy)
    for _ in range(2):
        assert (await raw.ask(said)).status == 200
    assert '"body"' in upstream.asked[-1].params["columns"]
    edit(policies / CHAT, '"role", "body", ', '"role", ')
    await reloaded(proxy)
    assert (await raw.ask(said)).status == 200
    assert '"body"' not in upstream.asked[-1].params["columns"]
    assert '"role"' in upstream.asked[-1].params["columns"]


async def test_a_decision_names_the_policies_that_it_was_made_by(proxy: Proxy, raw: Raw, policies: Path) -> None:
    await raw.ask(get(proxy))
    (policies / "todos.toml").unlink()
    await reloaded(proxy)
    await raw.ask(get(proxy))
    await until(lambda: count(proxy, DecisionMade) == 2)
    policies = [seen.digest for seen in proxy.seen if isinstance(seen, PoliciesLoaded)]
    assert [seen.policies for seen in proxy.seen if isinstance(seen, DecisionMade)] == policies


# What is open is judged again.


class Open:
    """A poll or a stream that is open, and what the upstream holds of it."""

    def __init__(self, proxy: Proxy, raw: Raw, upstream: Upstream, target: str) -> None:
        self.proxy, self.raw, self.upstream, self.target = proxy, raw, upstream, target
        self.held = Held(upstream, one_event if "live_sse" in target else None)

    async def begin(self) -> None:
        """Opens it."""
        await self.raw.say(get(self.proxy, self.target))
        await self.upstream.wait_for(1)
        if "live_sse" in self.target:
            assert (await self.raw.head()).status == 200
            assert await self.raw.piece() == EVENT

    async def goes_on(self) -> None:
        """It is answered by what was asked for it in the first place."""
        assert len(self.upstream.asked) == 1
        if "live_sse" in self.target:
            await self.held.connections[0].chunk(EVENT)
            assert await self.raw.piece() == EVENT
        else:
            self.held.go.set()
            assert (await self.raw.answer()).status == 200

    async def ends(self, code: str) -> None:
        """It ends: a poll by a refusal, a stream cleanly behind its last event."""
        if "live_sse" in self.target:
            assert await self.raw.piece() == b""
        else:
            assert_refused(await self.raw.answer(), code)
        await until(lambda: [seen.code for seen in self.proxy.ended] == [code])
        await self.held.gone()


@pytest.fixture(params=[LIVE, SSE], ids=["a poll", "a stream"])
async def opened(request: pytest.FixtureRequest, proxy: Proxy, raw: Raw, upstream: Upstream) -> Open:
    opened = Open(proxy, raw, upstream, request.param)
    await opened.begin()
    return opened


def outcomes(proxy: Proxy) -> list[RequestsJudged]:
    return [seen for seen in proxy.seen if isinstance(seen, RequestsJudged)]


async def test_what_is_open_goes_on_under_policies_that_mean_the_same_for_it(
    opened: Open, proxy: Proxy, policies: Path
) -> None:
    edit(policies / CHAT, "[claims]", "# a comment\n[claims]")
    (policies / "todos.toml").unlink()
    keys = json.loads(proxy.settings.token_keys.read_text())["keys"]
    proxy.settings.token_keys.write_text(json.dumps({"keys": [*keys, {**new_keys()["keys"][0], "kid": "new"}]}))
    await reloaded(proxy)
    await until(lambda: outcomes(proxy) == [RequestsJudged(1, 0, 0)])
    await opened.goes_on()
    assert 'judged_again_total{outcome="kept"} 1.0' in await metric(proxy, "judged_again_total")


async def test_what_is_open_ends_when_its_policy_is_gone(opened: Open, proxy: Proxy, policies: Path) -> None:
    (policies / CHAT).unlink()
    await reloaded(proxy)
    await opened.ends("shape_forbidden")
    assert outcomes(proxy) == [RequestsJudged(0, 0, 1)]
    assert proxy.ended[0].policy == "chat_messages"
    assert await counted_open(proxy) == []


async def test_what_is_open_ends_when_its_key_is_gone(opened: Open, proxy: Proxy) -> None:
    proxy.settings.token_keys.write_text(json.dumps(new_keys()))
    await reloaded(proxy)
    await opened.ends("token_invalid")


async def test_a_poll_whose_shape_is_another_now_is_sent_to_the_new_one(
    proxy: Proxy, raw: Raw, policies: Path, upstream: Upstream
) -> None:
    """Electric answers 409 to a handle that is none of the shape's, and names the right one."""
    opened = Open(proxy, raw, upstream, LIVE)
    await opened.begin()

    async def must_refetch(connection: Connection, _: Asked) -> None:
        fields = HEADERS | {"electric-handle": "9-9"}
        await connection.reply(409, b'[{"headers":{"control":"must-refetch"}}]', fields)

    upstream.script = must_refetch
    edit(policies / CHAT, '"role", "body", ', '"role", ')
    await reloaded(proxy)
    answered = await raw.answer()
    assert (answered.status, answered.json) == (409, [{"headers": {"control": "must-refetch"}}])
    assert answered.head["electric-handle"] == proxy_handle(proxy, upstream.asked[-1], "9-9")
    assert [asked.params["handle"] for asked in upstream.asked] == ["1-2", "0-0"]
    assert '"body"' not in upstream.asked[-1].params["columns"]
    await opened.held.gone()
    assert outcomes(proxy) == [RequestsJudged(0, 1, 0)]


def proxy_handle(proxy: Proxy, asked: Asked, raw: str) -> str:
    """Electric's handle as the proxy gives it out for the shape that was asked for."""
    names = ("table", "where", "params[1]", "columns", "replica", "log")
    definition = "".join(f"&{quote(name, safe='')}={quote(asked.params[name], safe='')}" for name in names)
    return proxy.what.handles.sign(definition, raw)


async def test_a_stream_whose_shape_is_another_now_ends_behind_its_last_event(
    proxy: Proxy, raw: Raw, policies: Path, upstream: Upstream
) -> None:
    opened = Open(proxy, raw, upstream, SSE)
    await opened.begin()
    edit(policies / CHAT, '"role", "body", ', '"role", ')
    await reloaded(proxy)
    await opened.ends("policy_changed")
    assert outcomes(proxy) == [RequestsJudged(0, 1, 0)]
    assert len(upstream.asked) == 1


async def test_a_snapshot_in_transfer_is_cut_when_its_policy_gives_less(
    proxy: Proxy, raw: Raw, policies: Path, upstream: Upstream
) -> None:
    Held(upstream, half_a_body)
    await raw.say(get(proxy))
    assert (await raw.head()).status == 200
    assert await raw.piece() == b"[1,"
    edit(policies / CHAT, '"role", "body", ', '"role", ')
    await reloaded(proxy)
    with pytest.raises(Broken):
        await raw.piece()
    await until(lambda: [seen.code for seen in proxy.ended] == ["policy_changed"])


async def test_hundreds_of_open_requests_are_judged_each_by_its_own(
    proxy: Proxy, policies: Path, upstream: Upstream
) -> None:
    Held(upstream)
    async with AsyncExitStack() as stack:
        polls = [await stack.enter_async_context(connected(proxy.address)) for _ in range(300)]
        for number, raw in enumerate(polls):
            target = LIVE if number % 3 else LIVE.replace("chat_messages", "todos")
            await raw.say(get(proxy, target, subject=f"acc-{number % 10}"))
        await upstream.wait_for(300)
        (policies / CHAT).unlink()
        await reloaded(proxy)
        for number, raw in enumerate(polls):
            if number % 3:
                assert_refused(await raw.answer(), "shape_forbidden")
        assert outcomes(proxy) == [RequestsJudged(100, 0, 200)]
        assert len(upstream.asked) == 300


# Files that change by themselves.


@pytest.fixture
async def watching(upstream: Upstream, tmp_path: Path, policies: Path) -> AsyncIterator[Proxy]:
    said = {"PROXY_POLICIES": str(policies), "PROXY_RELOAD_ON_CHANGE": "true"}
    async with running(upstream.url, tmp_path, **said) as proxy:
        yield proxy


async def loads(proxy: Proxy, policies: int) -> None:
    """Waits until so many policies are in force."""
    await until(lambda: in_force(proxy.seen)[-1:] == [policies])


def in_force(seen: list[Observation]) -> list[int]:
    """How many policies each load has put in force."""
    return [len(one.policies) for one in seen if isinstance(one, PoliciesLoaded)]


async def test_a_file_that_changes_before_it_is_watched_is_read_again(
    upstream: Upstream, tmp_path: Path, policies: Path
) -> None:
    (keys := tmp_path / "keys.json").write_text(json.dumps(new_keys()))
    said = settings.load(
        environment(upstream.url, keys) | {"PROXY_POLICIES": str(policies), "PROXY_RELOAD_ON_CHANGE": "true"}
    )
    what = server.load(said)
    (policies / "todos.toml").unlink()
    sockets = server.listening(said.listen), server.listening(said.admin_listen)
    stop, seen = asyncio.Event(), list[Observation]()
    serving = asyncio.create_task(server.serve(said, what, sockets, stop, seen.append))
    await until(lambda: in_force(seen) == [2, 1])
    stop.set()
    await serving


async def test_a_policy_file_that_is_written_or_removed_is_read_without_a_signal(
    watching: Proxy, policies: Path
) -> None:
    (policies / "todos.toml").unlink()
    await loads(watching, 1)
    shutil.copy(POLICIES / "todos.toml", policies)
    await loads(watching, 2)


async def test_a_key_file_that_is_replaced_is_read_without_a_signal(watching: Proxy) -> None:
    new = watching.settings.token_keys.with_suffix(".new")
    new.write_text(json.dumps(keys("one", "two")))
    new.replace(watching.settings.token_keys)
    await until(lambda: KeysLoaded(2) in watching.seen)


async def test_what_does_not_change_the_files_loads_nothing(watching: Proxy, policies: Path, tmp_path: Path) -> None:
    (tmp_path / "unrelated").write_text("x")
    text = (policies / CHAT).read_text()
    (policies / CHAT).write_text(text)
    await asyncio.sleep(0.6)  # longer than changes are collected for
    assert count(watching, PoliciesLoaded) == 1
    (policies / "todos.toml").unlink()
    await loads(watching, 1)


async def test_a_bad_file_is_told_in_ready_until_it_is_mended(watching: Proxy, policies: Path) -> None:
    (policies / "x.toml").write_text("x = ")
    await until(lambda: count(watching, PoliciesRejected) == 1)
    [fault] = (await ready(watching))["reload_faults"]
    assert fault.startswith(f"{policies}/x.toml: ")
    assert (await ready(watching))["ready"] is True
    (policies / "x.toml").unlink()
    await until(lambda: count(watching, PoliciesLoaded) == 2)
    assert (await ready(watching))["reload_faults"] == []


async def ready(proxy: Proxy) -> dict[str, Any]:
    async with plain() as client:
        answered: dict[str, Any] = (await client.get(f"{proxy.admin_url}/ready")).json()
    return answered


async def test_a_folder_as_kubernetes_mounts_it_is_read_when_its_link_is_swapped(
    upstream: Upstream, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()

    def publish(number: int, *names: str) -> None:
        """As the kubelet does: a new folder, and a link to it that replaces the old one at once."""
        (folder := mount / f"..{number}").mkdir()
        for name in names:
            shutil.copy(POLICIES / name, folder)
            if not (mount / name).is_symlink():
                (mount / name).symlink_to(f"..data/{name}")
        (mount / "..tmp").symlink_to(folder.name)
        (mount / "..tmp").rename(mount / "..data")
        for link in mount.glob("*.toml"):
            if not link.exists():
                link.unlink()

    publish(1, CHAT, "todos.toml")
    said = {"PROXY_POLICIES": str(mount), "PROXY_RELOAD_ON_CHANGE": "true"}
    async with running(upstream.url, tmp_path, **said) as proxy:
        publish(2, CHAT)
        await loads(proxy, 1)
        publish(3, CHAT, "todos.toml")
        await loads(proxy, 2)


# Policies that must not load.

Break = Callable[[Path], object]
BROKEN: dict[str, tuple[Break, int, str]] = {
    "no TOML": (lambda folder: (folder / "x.toml").write_text("x = "), 1, "/x.toml: "),
    "an unknown member": (lambda folder: edit(folder / CHAT, "[claims]", "[clams]"), 1, f"/{CHAT}:"),
    "a case that comes out otherwise": (
        lambda folder: edit(folder / CHAT, '"predicate_mismatch"', '"allow"'),
        1,
        ": case ",
    ),
    "no text": (lambda folder: (folder / "x.toml").write_bytes(b"\xff"), 1, "/x.toml: 'utf-8' codec"),
    "a pattern that overflows": (
        lambda folder: (folder / "x.toml").write_text('claims = { s = { pattern = "a{99999999999}" } }'),
        1,
        "the repetition number is too large",
    ),
    "a folder in place of a file": (lambda folder: (folder / "x.toml").mkdir(), 1, "/x.toml: "),
    "a file that points nowhere": (lambda folder: (folder / "x.toml").symlink_to("none"), 1, "/x.toml: "),
    "no policies": (lambda folder: [path.unlink() for path in folder.iterdir()], 1, ": there are no policies here"),
    "no folder": (shutil.rmtree, 1, ": there are no policies here"),
}


@pytest.mark.parametrize(("broken", "faults", "sentence"), BROKEN.values(), ids=BROKEN)
async def test_policies_that_must_not_load_leave_the_old_ones_in_force(
    proxy: Proxy, raw: Raw, policies: Path, broken: Break, faults: int, sentence: str
) -> None:
    assert (await raw.ask(get(proxy))).status == 200
    broken(policies)
    await reloaded(proxy, PoliciesRejected)
    assert (await raw.ask(get(proxy))).status == 200
    assert next(seen for seen in proxy.seen if isinstance(seen, PoliciesRejected)).faults >= faults
    said = [seen.reason for seen in proxy.seen if isinstance(seen, ReloadRefused)]
    assert any(sentence in line for line in said)
    assert all("\n" not in line for line in said)
    assert await metric(proxy, "policies_rejected") == "shape_proxy_policies_rejected 1.0"
    assert await metric(proxy, "policies ") == "shape_proxy_policies 2.0"
    assert count(proxy, PoliciesLoaded) == 1


async def test_good_policies_after_bad_ones_are_put_in_force(proxy: Proxy, raw: Raw, policies: Path) -> None:
    (policies / "x.toml").write_text("x = ")
    await reloaded(proxy, PoliciesRejected)
    (policies / "x.toml").unlink()
    (policies / CHAT).unlink()
    await reloaded(proxy)
    assert await metric(proxy, "policies_rejected") == "shape_proxy_policies_rejected 0.0"
    assert_refused(await raw.ask(get(proxy)), "shape_forbidden")


async def test_hanging_up_again_and_again_is_no_fault(proxy: Proxy, raw: Raw) -> None:
    for _ in range(5):
        proxy.hangup.set()
        await asyncio.sleep(0)
    await until(lambda: count(proxy, PoliciesLoaded) >= 2)
    await reloaded(proxy)
    assert (await raw.ask(get(proxy))).status == 200


# Keys.


def keys(*kids: str) -> dict[str, list[dict[str, str]]]:
    """A JWKS with a fresh key for each kid."""
    return {"keys": [{**new_keys()["keys"][0], "kid": kid} for kid in kids]}


def token_by(proxy: Proxy, jwks: object, folder: Path) -> bytes:
    """A request whose token the first of these keys has signed."""
    path = folder / "signing.json"
    path.write_text(json.dumps(jwks))
    claims = {"session_id": "s-ada", "account_id": "acc-ada"}
    token = tokens.mint(KeyRing.read(path), own_issuer(proxy.settings), "acc-ada", claims, 300)
    return request(TARGET, f"authorization: Bearer {token}")


async def test_a_key_that_is_taken_out_makes_its_tokens_invalid_though_they_were_known(
    proxy: Proxy, raw: Raw, tmp_path: Path
) -> None:
    old, new = keys("old"), keys("new")
    both = {"keys": old["keys"] + new["keys"]}
    by_old, by_new = token_by(proxy, old, tmp_path), token_by(proxy, new, tmp_path)
    steps = [(both, [200, 200]), (new, [401, 200]), (both, [200, 200]), (old, [200, 401])]
    for jwks, statuses in steps:
        proxy.settings.token_keys.write_text(json.dumps(jwks))
        await reloaded(proxy)
        for _ in range(2):  # the second time they are known
            assert [(await raw.ask(said)).status for said in (by_old, by_new)] == statuses
    assert_refused(await raw.ask(by_new), "token_invalid")


async def test_a_key_of_the_same_name_is_another_key(proxy: Proxy, raw: Raw) -> None:
    said = get(proxy)
    assert (await raw.ask(said)).status == 200
    proxy.settings.token_keys.write_text(json.dumps(new_keys()))
    await reloaded(proxy)
    assert_refused(await raw.ask(said), "token_invalid")


KEY = new_keys()["keys"][0]
BAD_KEYS: dict[str, str] = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[]",
    "no keys": '{"keys":[]}',
    "a number": '{"keys":1}',
    "a key that is text": '{"keys":["x"]}',
    "a short key": json.dumps({"keys": [KEY | {"k": "AAAA"}]}),
    "a key of numbers": json.dumps({"keys": [KEY | {"k": 1}]}),
    "a name that is taken": json.dumps({"keys": [KEY, KEY]}),
    "another algorithm": json.dumps({"keys": [KEY | {"alg": "none"}]}),
    "a point on no curve": json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}]}),
    "a curve's number": json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": 1, "y": 1}]}),
    "half a curve": json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}),
    "a curve that is a list": json.dumps({"keys": [KEY | {"crv": []}]}),
    "no exponent": json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": ""}]}),
    "an exponent that is null": json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": None}]}),
    "a secret with a strange sign": json.dumps({"keys": [KEY | {"k": "é" * 50}]}),
}


@pytest.mark.parametrize("text", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_keys_that_cannot_be_used_leave_the_old_keys_and_policies(
    proxy: Proxy, raw: Raw, policies: Path, text: str
) -> None:
    (policies / CHAT).unlink()
    proxy.settings.token_keys.write_text(text)
    await reloaded(proxy, PoliciesRejected)
    assert (await raw.ask(get(proxy))).status == 200
    (said,) = [seen.reason for seen in proxy.seen if isinstance(seen, ReloadRefused)]
    assert said.startswith(f"{proxy.settings.token_keys}: ")
    assert count(proxy, PoliciesLoaded) == 1


async def test_keys_that_are_not_there_leave_the_old_ones(proxy: Proxy, raw: Raw) -> None:
    proxy.settings.token_keys.unlink()
    await reloaded(proxy, PoliciesRejected)
    assert (await raw.ask(get(proxy))).status == 200


async def test_keys_of_the_file_that_are_not_used_are_told_and_counted(proxy: Proxy, tmp_path: Path) -> None:
    assert KeysLoaded(1) in proxy.seen
    keys = new_keys()["keys"]
    foreign = {"kty": "RSA", "kid": "enc-1", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"}
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [foreign, *keys]}))
    await reloaded(proxy, KeysLoaded)
    told = [seen for seen in proxy.seen if isinstance(seen, KeysLoaded)][-1]
    assert told == KeysLoaded(1, ("key 1 (kid 'enc-1'): its use is not sig",))
    assert members(told) == {"usable": 1, "skipped": told.skipped}
    counted = await metric(proxy, "token_keys")
    assert 'state="usable"} 1.0' in counted
    assert 'state="skipped"} 1.0' in counted
