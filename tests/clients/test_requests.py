"""What TanStack DB compiles is what the core allows; and what is recorded is what the installed version still sends."""

import time
from pathlib import Path

import pytest

from proxy.auth import policy_loader as policy_files
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.handles import TrustedPosition
from proxy.core.limits import Limits
from proxy.core.policy import PolicySet
from proxy.core.request import parse
from tests.clients.conftest import StartWorld, Visit
from tests.clients.record import REQUESTS, Sent, load, record, wide_policies

SENT = load()
ADA = Claims("acc-ada", time.time() + 300, {"session_id": "s-ada", "account_id": "acc-ada"})
LIMITS = Limits()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of policies whose filters cover the queries."""
    return wide_policies(tmp_path_factory.mktemp("policies"))


@pytest.fixture(scope="module")
def policies(wide: Path) -> PolicySet:
    """Those policies, loaded."""
    return policy_files.load(wide).policies


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: f"{sent.query}-{sent.mode}-{sent.method}")
def test_every_recorded_request_is_allowed(sent: Sent, policies: PolicySet) -> None:
    body = sent.body.encode() if sent.method == "POST" else None
    request = parse(sent.collection, sent.search.encode(), body, LIMITS)
    shape = decide(request, ADA, policies).authorized()
    built = upstream.build(shape, request, TrustedPosition(request.position), LIMITS.target_bytes)
    assert shape.predicate.params[0] == "s-ada"
    assert bool(sent.subset) == (shape.subset is not None)
    if shape.subset is not None:
        assert shape.subset.predicate.params[0] == "s-ada"
        assert built.method == "POST" or sent.method == "GET"


def test_the_recording_has_every_kind_of_request() -> None:
    assert {(one.mode, one.method) for one in SENT} == {
        ("eager", "GET"),
        ("on-demand", "GET"),
        ("on-demand", "POST"),
        ("progressive", "GET"),
    }
    said = REQUESTS.read_text()
    for part in ("= ANY(", "ILIKE", "NOT (", "IS NOT NULL", "LOWER(", " OR ", "true = true", "NULLS FIRST", "DESC"):
        assert part in said, part


@pytest.mark.parametrize("runtime", ["node"])
async def test_the_installed_version_sends_what_is_recorded(start: StartWorld, visit: Visit, wide: Path) -> None:
    async with start(PROXY_POLICIES=wide) as app, visit(app) as (user, _):
        now = {one.subset for one in await record(app, user)}
        stored = {one.subset for one in SENT}
        assert now == stored, f"run `python -m tests.clients.record` again: {now ^ stored}"
        rows = [one["value"] for one in user.all("change")]
        assert {row["session_id"] for row in rows} == {"s-ada"}
