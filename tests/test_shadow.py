"""PROXY_SHADOW_POLICIES: other policies judge what is decided, and no answer is another for it."""

import asyncio
import json
import shutil
from pathlib import Path

import httpx
import pytest

from proxy.audit import shadow as shadows
from proxy.audit.shadow import Shadow
from proxy.core.decision import decide
from proxy.core.errors import Code, Refusal
from proxy.core.rule_limits import RuleLimits
from proxy.core.trail import Trail
from proxy.telemetry.events import ShadowCompared, ShadowDiffered, ShadowLoaded, ShadowRejected
from proxy.telemetry.logs import members
from tests.core.samples import asked, claims, policy_set
from tests.harness.raw import until
from tests.harness.running import POLICIES, running
from tests.harness.shared import DIRECT

CASES = """
[[case]]
name = "yes"
claims = { CLAIM = "a" }
request = "offset=-1"
expect = "allow"
[[case]]
name = "no"
request = "offset=-1"
expect = "claim_missing"
"""
OTHER = """
table = "public.chat_messages"
key = ["id"]
columns = ["id", "session_id", "body"]
where = "{where}"
[types]
session_id = "text"
account_id = "text"
[claims]
CLAIM = "text"
"""


def policies(folder: Path, where: str = "session_id = {session_id}", claim: str = "session_id") -> Path:
    folder.mkdir(exist_ok=True)
    text = OTHER.replace("{where}", where) + CASES
    (folder / "chat_messages.toml").write_text(text.replace("CLAIM", claim))
    return folder


def seen(proxy, kind):
    return [event for event in proxy.seen if isinstance(event, kind)]


async def compared(proxy, count=1):
    await until(lambda: len(seen(proxy, ShadowCompared)) >= count)
    return [(event.policy, event.outcome) for event in seen(proxy, ShadowCompared)]


async def test_the_same_policies_say_the_same(upstream, client: httpx.AsyncClient, tmp_path):
    async with running(upstream.url, tmp_path, PROXY_SHADOW_POLICIES=str(POLICIES), **DIRECT) as proxy:
        assert (await client.get(proxy.shape(), headers=proxy.bearer())).status_code == 200
        assert (
            await client.get(proxy.shape(), headers={"authorization": f"Bearer {proxy.exact_token({})}"})
        ).status_code == 403
        assert await compared(proxy, 2) == [("chat_messages", "same"), ("none", "same")]
        assert seen(proxy, ShadowDiffered) == []


OUTCOMES = {
    "fewer columns": ("session_id = {session_id}", "session_id", "narrower", ("loses the columns",)),
    "another predicate": (
        "account_id = {session_id}",
        "session_id",
        "unclear",
        ("loses the columns", "a different predicate"),
    ),
    "a claim that the token lacks": (
        "session_id = {team}",
        "team",
        "narrower",
        ("refused with claim_missing, was allowed",),
    ),
}


@pytest.mark.parametrize(("where", "claim", "came", "changes"), OUTCOMES.values(), ids=OUTCOMES)
async def test_what_would_change_is_counted_and_logged_and_changes_nothing(
    upstream, client: httpx.AsyncClient, tmp_path, where, claim, came, changes
):
    folder = policies(tmp_path / "shadow", where, claim)
    async with running(upstream.url, tmp_path, PROXY_SHADOW_POLICIES=str(folder), **DIRECT) as proxy:
        answered = await client.get(proxy.shape(), headers=proxy.bearer())
        assert answered.status_code == 200
        assert await compared(proxy) == [("chat_messages", came)]
        (told,) = seen(proxy, ShadowDiffered)
        assert told.request_id == answered.headers["x-request-id"]
        assert all(line.startswith(start) for line, start in zip(told.changes, changes, strict=True)), told.changes
        assert "client_message_id" in dict(upstream.asked[0].query)["columns"], "by the policies in force"
        line = json.dumps(members(told))
        assert "s-ada" not in line
        assert "acc-ada" not in line


async def test_what_would_be_allowed_and_is_refused_is_wider(upstream, client: httpx.AsyncClient, tmp_path):
    folder = policies(tmp_path / "shadow", "account_id = {account_id}", "account_id")
    async with running(upstream.url, tmp_path, PROXY_SHADOW_POLICIES=str(folder), **DIRECT) as proxy:
        token = proxy.exact_token({"account_id": "acc-ada"})
        answered = await client.get(proxy.shape(), headers={"authorization": f"Bearer {token}"})
        assert answered.status_code == 403
        assert await compared(proxy) == [("chat_messages", "wider")]
        assert seen(proxy, ShadowDiffered)[0].changes == ("allowed, was refused with claim_missing",)


async def test_policies_that_do_not_load_are_reported_and_the_proxy_serves(upstream, client, tmp_path):
    async with running(upstream.url, tmp_path, PROXY_SHADOW_POLICIES=str(tmp_path / "none"), **DIRECT) as proxy:
        assert (await client.get(proxy.shape(), headers=proxy.bearer())).status_code == 200
        assert [event.reason for event in seen(proxy, ShadowRejected)] == [
            f"{tmp_path}/none: there are no policies here"
        ]
        assert seen(proxy, ShadowCompared) == []


async def test_they_are_read_again_with_the_others(upstream, client, tmp_path):
    folder = policies(tmp_path / "shadow")
    async with running(upstream.url, tmp_path, PROXY_SHADOW_POLICIES=str(folder), **DIRECT) as proxy:
        await client.get(proxy.shape(), headers=proxy.bearer())
        assert await compared(proxy) == [("chat_messages", "narrower")]
        shutil.copy(POLICIES / "chat_messages.toml", folder)
        proxy.hangup.set()
        await until(lambda: len(seen(proxy, ShadowLoaded)) == 2)
        await client.get(proxy.shape(), headers=proxy.bearer())
        assert await compared(proxy, 2) == [("chat_messages", "narrower"), ("chat_messages", "same")]


def trail(**changes):
    members = {"claims": claims(), "request": asked(), "decision": decide(asked(), claims(), policy_set())}
    return Trail(**(members | changes))


async def loaded(tmp_path, observed):
    made = Shadow(policies(tmp_path / "shadow"), RuleLimits(), observed.append)
    await made.reload()
    observed.clear()
    return made


async def test_a_fault_of_the_shadow_is_counted_and_the_next_is_judged(tmp_path):
    observed = []
    made = await loaded(tmp_path, observed)
    made.offer("1", trail(request=object()))
    made.offer("2", trail())
    await until(lambda: len(observed) == 4)
    assert observed[0] == ShadowCompared("none", "failed")
    assert observed[1] == ShadowDiffered("1", "none", "failed", ("AttributeError",))
    assert observed[2] == ShadowCompared("notes", "narrower")


async def test_what_waits_is_bounded(tmp_path):
    observed = []
    made = await loaded(tmp_path, observed)
    for _ in range(shadows.MOST_WAITING + 3):
        made.offer("1", trail())
    assert observed == [ShadowCompared("none", "skipped")] * 3
    await until(
        lambda: len([event for event in observed if isinstance(event, ShadowCompared)]) == shadows.MOST_WAITING + 3
    )
    logged = [event for event in observed if isinstance(event, ShadowDiffered)]
    assert len(logged) == shadows.LOGGED_A_MINUTE


NOT_JUDGED = {
    "a request that could not be read": trail(request=None, decision=None),
    "a caller that is not known": trail(claims=None, request=None, decision=None),
    "no decision": trail(decision=None),
}


@pytest.mark.parametrize("what", NOT_JUDGED.values(), ids=NOT_JUDGED)
async def test_what_no_rule_decided_is_not_judged(tmp_path, what):
    observed = []
    made = await loaded(tmp_path, observed)
    made.offer("1", what)
    made.offer("2", trail(decision=None), Refusal(Code.internal_error))
    await asyncio.sleep(0)
    assert observed == []


async def test_an_equal_decision_is_judged_once(tmp_path, monkeypatch):
    observed = []
    made = await loaded(tmp_path, observed)
    same = trail()
    made.offer("1", same)
    await until(lambda: len(observed) == 2)
    monkeypatch.setattr(shadows, "decide", None)  # it would fail
    made.offer("2", same)
    await until(lambda: len(observed) == 4)
    assert observed[2] == observed[0]


async def test_before_it_is_loaded_it_does_nothing(tmp_path):
    observed = []
    Shadow(tmp_path, RuleLimits(), observed.append).offer("1", trail())
    await asyncio.sleep(0)
    assert observed == []
