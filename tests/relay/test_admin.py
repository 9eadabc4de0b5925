"""The operator's listener: /live, /ready and /metrics, apart from what clients reach."""

import pytest

from proxy.observe import ElectricSeen, ReadinessChanged
from tests.harness.raw import connected, request, until
from tests.harness.shared import ON_MODULE_LOOP
from tests.relay.asking import LIVE, Held, get

pytestmark = ON_MODULE_LOOP

QUICK = {"PROXY_PROBE_SECONDS": "0.02"}


async def admin(proxy, path):
    """The answer of the admin listener."""
    host, port = proxy.admin_url.removeprefix("http://").split(":")
    async with connected((host, int(port))) as raw:
        return await raw.ask(request(path))


async def seen_next(proxy, state):
    """Waits for a probe that starts from now on to see this state."""
    before = proxy.seen.count(ElectricSeen(state))
    await until(lambda: proxy.seen.count(ElectricSeen(state)) > before + 1)


async def test_a_running_process_is_alive_whatever_electric_does(starting, upstream):
    upstream.health = (503, b"")
    async with starting(**QUICK) as proxy:
        await seen_next(proxy, "unreachable")
        assert (await admin(proxy, "/live")).status == 200


async def test_ready_says_why(starting, upstream):
    async with starting(**QUICK) as proxy:
        await seen_next(proxy, "active")
        answered = await admin(proxy, "/ready")
        assert answered.status == 200
        assert answered.json["ready"] is True
        assert answered.json["checks"] == {"policies_loaded": True, "electric_active": True, "not_draining": True}
        assert answered.json["electric"] == "active"


STATES = {
    "starting": (202, b'{"status":"starting"}', "starting"),
    "waiting": (202, b'{"status":"waiting"}', "waiting"),
    "an error": (500, b"", "unreachable"),
    "no JSON": (200, b"active", "unreachable"),
    "another word": (200, b'{"status":"fine"}', "unreachable"),
    "no object": (200, b'["active"]', "unreachable"),
    "null": (200, b'{"status":null}', "unreachable"),
}


@pytest.mark.parametrize(("status", "body", "state"), STATES.values(), ids=STATES.keys())
async def test_an_electric_that_is_not_active_is_not_ready(starting, upstream, status, body, state):
    upstream.health = (status, body)
    async with starting(PROXY_PROBE_FAILURES="1", **QUICK) as proxy:
        await seen_next(proxy, state)
        answered = await admin(proxy, "/ready")
        assert (answered.status, answered.json["electric"]) == (503, state)
        assert not answered.json["checks"]["electric_active"]


async def test_it_takes_failures_in_a_row_to_become_unready_and_one_success_to_come_back(starting, upstream):
    active, down = (200, b'{"status":"active"}'), (500, b"")
    upstream.healths = iter([active, down, down, active, down, down, down])
    async with starting(PROXY_PROBE_FAILURES="3", **QUICK) as proxy:
        await until(lambda: proxy.seen.count(ElectricSeen("active")) >= 3)
        at_last = [ReadinessChanged(ready=False, why="electric_active"), ReadinessChanged(ready=True, why="")]
        assert [seen for seen in proxy.seen if isinstance(seen, ReadinessChanged)][-2:] == at_last
        probes = [seen.state for seen in proxy.seen if isinstance(seen, ElectricSeen)]
        assert probes[:7] == ["active"] + ["unreachable"] * 2 + ["active"] + ["unreachable"] * 3


async def test_an_unready_proxy_still_serves_what_it_can(starting, upstream):
    upstream.health = (202, b'{"status":"starting"}')
    async with starting(PROXY_PROBE_FAILURES="1", **QUICK) as proxy, connected(proxy.address) as raw:
        await seen_next(proxy, "starting")
        assert (await raw.ask(get(proxy))).status == 200


async def test_metrics_count_requests_and_say_what_is_open(starting, upstream):
    held = Held(upstream)
    async with starting(**QUICK) as proxy, connected(proxy.address) as raw:
        await raw.say(get(proxy, LIVE))
        await upstream.wait_for(1)
        text = (await admin(proxy, "/metrics")).body.decode()
        assert "shape_proxy_open_streams 1.0" in text
        assert 'shape_proxy_open_requests{kind="live"} 1.0' in text
        held.go.set()
        await raw.answer()
        await raw.ask(request("/"))
        answered = await admin(proxy, "/metrics")
        text = answered.body.decode()
        assert answered.head["content-type"].startswith("text/plain; version=0.0.4")
        assert "shape_proxy_open_streams 0.0" in text
        assert 'shape_proxy_requests_total{code="ok",kind="live",policy="chat_messages"} 1.0' in text
        assert 'shape_proxy_requests_total{code="not_found",kind="none",policy="none"} 1.0' in text
        for private in ("s-ada", "acc-ada", "s3cr3t"):
            assert private not in text


@pytest.mark.parametrize("path", ["/", "/v1/shape", "/v1/shapes/chat_messages", "/metrics/x"])
async def test_the_admin_listener_serves_nothing_else(proxy, upstream, path):
    assert (await admin(proxy, path)).status == 404
