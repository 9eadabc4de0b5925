"""The operator's listener: /live, /ready and /metrics, apart from what clients reach. test_console.py has the rest."""

import pytest

from proxy.telemetry.events import ElectricSeen, ReadinessChanged, ShapesChanged
from tests.harness.raw import connected, request, until
from tests.harness.shared import ON_MODULE_LOOP
from tests.harness.upstream import plain
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
        assert answered.json["checks"] == {"policies_loaded": True, "not_draining": True}
        assert answered.json["electric"] == "active"
        assert answered.json["electric_active"] is answered.json["shapes_available"] is True


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
@pytest.mark.parametrize("required", [False, True], ids=["told", "required"])
async def test_an_electric_that_is_not_active_is_told_and_decides_where_it_must(
    starting, upstream, status, body, state, required
):
    upstream.health = (status, body)
    said = QUICK | {"PROXY_PROBE_FAILURES": "1", "PROXY_READY_REQUIRES_ELECTRIC": str(required).lower()}
    async with starting(**said) as proxy:
        await seen_next(proxy, state)
        answered = await admin(proxy, "/ready")
        assert (answered.status, answered.json["electric"]) == (503 if required else 200, state)
        assert not answered.json["electric_active"]
        assert ("electric_active" in answered.json["checks"]) == required


@pytest.mark.parametrize(("status", "told"), [(503, 503), (500, 502), (401, 502), (429, 503)])
async def test_shapes_that_electric_cannot_serve_are_told_while_its_health_is_active(starting, upstream, status, told):
    async def busy(connection, _):
        await connection.reply(status, b'{"message":"PostgreSQL is away"}', {"content-type": "application/json"})

    upstream.script = busy
    async with starting(PROXY_PROBE_FAILURES="2", **QUICK) as proxy, connected(proxy.address) as raw:
        await seen_next(proxy, "active")
        assert [(await raw.ask(get(proxy, LIVE))).status for _ in range(2)] == [told, told]
        answered = await admin(proxy, "/ready")
        assert (answered.status, answered.json["electric"], answered.json["electric_active"]) == (200, "active", True)
        assert answered.json["shapes_available"] is False
        text = (await admin(proxy, "/metrics")).body.decode()
        assert "shape_proxy_shapes_available 0.0" in text
        counted = status if status in (500, 503) else "other"
        assert f'shape_proxy_upstream_answers_total{{kind="live",status="{counted}"}} 2.0' in text
        upstream.script = plain
        assert (await raw.ask(get(proxy))).status == 200
        assert (await admin(proxy, "/ready")).json["shapes_available"] is True
        assert [seen.available for seen in proxy.seen if isinstance(seen, ShapesChanged)] == [False, True]


async def test_it_takes_failures_in_a_row_to_become_unready_and_one_success_to_come_back(starting, upstream):
    active, down = (200, b'{"status":"active"}'), (500, b"")
    upstream.healths = iter([active, down, down, active, down, down, down])
    said = QUICK | {"PROXY_PROBE_FAILURES": "3", "PROXY_READY_REQUIRES_ELECTRIC": "true"}
    async with starting(**said) as proxy:
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
        assert "shape_proxy_open_request_places 1.0" in text
        assert 'shape_proxy_open_requests{kind="live",policy="chat_messages"} 1.0' in text
        held.go.set()
        await raw.answer()
        await raw.ask(request("/"))
        answered = await admin(proxy, "/metrics")
        text = answered.body.decode()
        assert answered.head["content-type"].startswith("text/plain; version=0.0.4")
        assert "shape_proxy_open_request_places 0.0" in text
        assert 'shape_proxy_requests_total{code="ok",kind="live",policy="chat_messages"} 1.0' in text
        assert 'shape_proxy_requests_total{code="not_found",kind="none",policy="none"} 1.0' in text
        for private in ("s-ada", "acc-ada", "s3cr3t"):
            assert private not in text


@pytest.mark.parametrize("path", ["/v1/shape", "/v1/shapes/chat_messages", "/metrics/x"])
async def test_the_admin_listener_serves_nothing_else(proxy, upstream, path):
    assert (await admin(proxy, path)).status == 404
