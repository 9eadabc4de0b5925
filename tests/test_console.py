"""The console's parts: what is recorded, how several workers' sections become one, who may see it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from proxy.auth import policy_loader
from proxy.auth.policy_loader import LoadedPolicies
from proxy.console.access import SESSION_SECONDS, Access, Denial, is_loopback
from proxy.console.explanation import FormFault, explained
from proxy.console.pages import Files, policy
from proxy.console.policy_list import Listing, listed, written
from proxy.console.proofs import NO_PROVER, RUNNING, Proof, Proofs
from proxy.console.recorder import LINES, REFUSALS, SAMPLES, Recorder
from proxy.console.sections import OpenStream, Process, Sections, merged
from proxy.core.filters import parse_policy
from proxy.core.rule_limits import DEFAULT_RULE_LIMITS
from proxy.telemetry import events as seen
from tests.harness.raw import until
from tests.harness.running import POLICIES


@pytest.fixture(scope="module")
def loaded() -> LoadedPolicies:
    """The policies of the repository."""
    return policy_loader.load(POLICIES)


def decision(number: int, *, allowed: bool = False) -> seen.DecisionMade:
    code = "ok" if allowed else "column_forbidden"
    rules = ("token: ok", f"columns: {code}")
    return seen.DecisionMade(str(number), allowed, code, "todos", "members", "d", "hash", "the column x", rules, "")


class Clocks:
    """A wall clock and a monotonic one that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def recorder(self) -> Recorder:
        return Recorder(lambda: self.now, lambda: self.now - 900)


# --- the recorder


def test_refusals_are_kept_with_their_trail_and_what_was_allowed_is_not() -> None:
    recorder = Clocks().recorder()
    recorder(decision(1))
    recorder(decision(2, allowed=True))
    (one,) = recorder.refusals
    assert (one["request_id"], one["code"], one["policy"], one["at"]) == ("1", "column_forbidden", "todos", 1000.0)
    assert one["rules"] == ("token: ok", "columns: column_forbidden")


def test_everything_that_is_kept_is_bounded() -> None:
    recorder = Clocks().recorder()
    for number in range(2000):
        recorder(decision(number))
        recorder(seen.ReloadRefused(f"reason {number}"))
        recorder.sample(number)
    assert len(recorder.refusals) == REFUSALS
    assert recorder.refusals[-1]["request_id"] == "1999"
    assert len(recorder.points) == SAMPLES
    assert len(recorder.faults["rejected"]) == LINES


def test_a_sample_has_the_highest_lag_since_the_last_one() -> None:
    recorder = Clocks().recorder()
    recorder(seen.DeliveryMeasured((0.1, 0.4, 0.2), None))
    recorder.sample(3)
    recorder.sample(4)
    assert [point[1:] for point in recorder.points] == [(3, 0.4, None), (4, None, None)]


def test_a_beat_that_does_not_come_back_is_a_lag_that_grows() -> None:
    clocks = Clocks()
    recorder = clocks.recorder()
    recorder(seen.DeliveryMeasured((), 100.0))  # by the monotonic clock, which is 900 behind
    for _ in range(2):
        clocks.now += 5
        recorder.sample(0)
    assert [point[2] for point in recorder.points] == [5.0, 10.0]


def test_a_replication_lag_that_is_not_known_any_more_is_not_shown() -> None:
    recorder = Clocks().recorder()
    recorder(seen.ReplicationMeasured(4096, 8192, True))
    recorder.sample(0)
    recorder(seen.LagKnown("replication", False, "the slot is lost"))
    recorder.sample(0)
    assert [point[3] for point in recorder.points] == [4096, None]


FORGOTTEN: dict[str, tuple[str, seen.Observation, seen.Observation]] = {
    "rejected policies": ("rejected", seen.ReloadRefused("x"), seen.PoliciesLoaded(("todos",), "d")),
    "warnings": ("warnings", seen.PolicyWarned("x"), seen.PoliciesLoaded(("todos",), "d")),
    "faulty revocations": ("revocations", seen.RevocationFaulty("x"), seen.RevocationsRead(1, 0)),
    "followers": ("followers", seen.FollowerFailed("f", "x"), seen.FollowerRestarted("f", "")),
}


@pytest.mark.parametrize(("kind", "fault", "cure"), FORGOTTEN.values(), ids=FORGOTTEN)
def test_a_fault_is_shown_once_until_it_is_over(kind: str, fault: seen.Observation, cure: seen.Observation) -> None:
    recorder = Clocks().recorder()
    recorder(fault)
    recorder(fault)
    assert len(recorder.faults[kind]) == 1
    recorder(cure)
    assert kind not in recorder.faults


# --- sections


def sections(loaded: LoadedPolicies, streams: Iterable[OpenStream] = (), **recorded: Any) -> Sections:
    recorder = Clocks().recorder()
    recorder.started_at = recorded.get("started_at", 1000.0)
    for observation in recorded.get("observations", ()):
        recorder(observation)
    recorder.points.extend(recorded.get("points", ()))
    process = Process(
        recorder, lambda: {"ready": True}, lambda: 2, 10, lambda: streams, lambda: loaded, Listing(Proofs())
    )
    return process.sections()


def test_streams_are_added_up_by_policy_and_kind(loaded: LoadedPolicies) -> None:
    streams = [
        OpenStream("todos", "sse", 3, 10),
        OpenStream("todos", "sse", 70, 5),
        OpenStream("sessions", "live", 1, 1),
    ]
    assert sections(loaded, streams)["streams"] == [
        {"policy": "todos", "kind": "sse", "requests": 2, "subscribers": 15, "oldest_seconds": 70},
        {"policy": "sessions", "kind": "live", "requests": 1, "subscribers": 1, "oldest_seconds": 1},
    ]


def test_workers_are_shown_as_one(loaded: LoadedPolicies) -> None:
    one = sections(loaded, [OpenStream("todos", "sse", 3, 10)], started_at=900.0, points=[(100.0, 5, 0.1, None)])
    other = sections(
        loaded,
        [OpenStream("todos", "sse", 9, 1)],
        observations=[decision(1), seen.ReloadRefused("why")],
        points=[(100.3, 7, 0.3, 64), (105.1, 8, None, 32)],
    )
    whole = merged([one, other], [])
    assert whole["status"]["started_at"] == 900.0
    assert len(whole["status"]["workers"]) == 2
    assert (whole["status"]["open_requests"], whole["status"]["max_open_requests"]) == (4, 20)
    assert whole["status"]["faults"] == {"rejected": ["why"]}
    assert whole["series"] == [[100.0, 12, 0.3, 64], [105.1, 8, None, 32]]
    assert [(row["requests"], row["subscribers"]) for row in whole["streams"]] == [(2, 11)]
    assert [refusal["code"] for refusal in whole["refusals"]] == ["column_forbidden"]
    assert whole["policies"] == one["policies"]


def test_a_worker_that_does_not_answer_is_shown_as_not_ready(loaded: LoadedPolicies) -> None:
    silent = {"ready": False, "why": {"answering": "a worker does not answer"}}
    assert merged([sections(loaded)], [silent])["status"]["workers"] == [{"ready": True}, silent]
    assert merged([], [silent])["status"]["workers"] == [silent]


def test_workers_with_different_policies_are_named(loaded: LoadedPolicies) -> None:
    one, other = sections(loaded), sections(loaded)
    other["policies"] = other["policies"] | {"digest": "another"}
    (fault,) = merged([one, other], [])["status"]["faults"]["policies"]
    assert "another" in fault


def test_policies_are_listed_with_what_they_grant_and_their_cases(loaded: LoadedPolicies) -> None:
    by_name = {one["name"]: one for one in listed(loaded, Proofs().of(loaded))["policies"]}
    assert by_name.keys() == loaded.policies.by_name.keys()
    uploads = by_name["session_uploads"]
    grant, *others = uploads["grants"]
    assert grant["facts"]["claims"] == "session_id"
    assert grant["facts"]["rows"] == '("session_id" = {session_id})'
    assert others[0]["facts"]["when"] == "access is account"
    assert uploads["facts"]["never leave"] == "content"
    assert {case["expect"] for case in uploads["cases"]} >= {"allow", "column_forbidden"}
    assert all(case["passed"] for case in uploads["cases"])
    assert uploads["types"]["known"] is True


# --- proofs


@asynccontextmanager
async def proving(proofs: Proofs) -> AsyncIterator[Proofs]:
    """What proves, at work."""
    task = asyncio.create_task(proofs.run())
    try:
        yield proofs
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def found(proofs: Proofs, loaded: LoadedPolicies) -> Mapping[str, Proof]:
    """What is known of the policies once the prover has ended."""
    await until(lambda: all(proof["why"] != RUNNING for proof in proofs.of(loaded).values()))
    return proofs.of(loaded)


async def test_the_policies_in_force_are_proved_by_a_process_of_its_own(loaded: LoadedPolicies) -> None:
    async with proving(Proofs()) as proofs:
        listing = Listing(proofs)
        before = listing.of(loaded)
        assert {one["proof"]["why"] for one in before["policies"]} == {RUNNING}
        known = await found(proofs, loaded)
        assert {proof["verdict"] for proof in known.values()} == {"proved"}
        assert known["ui_settings"]["why"] == "two tokens that differ in account_id share no row"
        after = listing.of(loaded)
        assert {one["name"]: one["proof"] for one in after["policies"]} == known
        assert listing.of(loaded) is after


async def test_a_row_that_two_tokens_share_is_no_proof(tmp_path: Path) -> None:
    text = (POLICIES / "ui_settings.toml").read_text()
    text = text.partition("[[case]]")[0].replace('where   = "account_id', """where   = "key = 'x' OR account_id""")
    (tmp_path / "ui_settings.toml").write_text(text)
    shared = policy_loader.load(tmp_path, checks=())
    async with proving(Proofs()) as proofs:
        assert {proof["verdict"] for proof in (await found(proofs, shared)).values()} == {"shared"}


async def test_without_the_prover_or_in_too_little_time_nothing_is_known(loaded: LoadedPolicies) -> None:
    async with proving(Proofs(installed=lambda: False)) as proofs:
        assert {proof["why"] for proof in (await found(proofs, loaded)).values()} == {NO_PROVER}
    async with proving(Proofs(seconds=0.001)) as proofs:
        reasons = {proof["why"] for proof in (await found(proofs, loaded)).values()}
        assert reasons == {"the prover did not end within 0.001 s"}


async def test_a_prover_ends_with_the_one_who_asked(loaded: LoadedPolicies) -> None:
    this = psutil.Process()
    before = set(this.children())
    async with proving(Proofs()) as proofs:
        proofs.of(loaded)
        await until(lambda: set(this.children()) != before)
        (prover,) = set(this.children()) - before
    assert not psutil.pid_exists(prover.pid)


async def test_a_prover_that_fails_says_nothing_of_the_policies(
    loaded: LoadedPolicies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with proving(Proofs()) as proofs:
        reasons = {proof["why"] for proof in (await found(proofs, loaded)).values()}
        assert reasons == {"the prover failed: run shape-proxy prove"}


# --- explain


def form(**members: object) -> dict[str, object]:
    return {"claims": '{"session_id": "s-ada"}', "url": "/v1/shape?table=chat_messages&offset=-1"} | members


URLS = [
    "/v1/shape?table=chat_messages&offset=-1&where=session_id = 's-ada' AND mode = 'a & b'",
    "/v1/shape?table=chat_messages&offset=-1",
    "https://shapes.example/v1/shape?table=chat_messages&offset=-1",
    "http://127.0.0.1:8080/v1/shapes/chat_messages?offset=-1",
    "  /prefix/v1/shapes/chat_messages?offset=-1\n",
    "table=chat_messages&offset=-1",
]


@pytest.mark.parametrize("url", URLS)
def test_a_pasted_url_is_explained(loaded: LoadedPolicies, url: str) -> None:
    answer = explained(form(url=url), loaded, DEFAULT_RULE_LIMITS)
    assert answer["allowed"] is True
    assert answer["upstream"]["parameters"]["params[1]"] == "s-ada"


def test_a_refusal_names_the_rule(loaded: LoadedPolicies) -> None:
    answer = explained(form(url="table=secrets&offset=-1"), loaded, DEFAULT_RULE_LIMITS)
    assert (answer["allowed"], answer["code"], answer["upstream"]) == (False, "shape_forbidden", None)


FAULTY = {
    "no object": [],
    "claims that are no JSON": form(claims="{"),
    "claims that are no object": form(claims="[]"),
    "no URL": form(url=None),
    "a path of something else": form(url="https://shapes.example/other?table=chat_messages"),
    "a body that is no text": form(body=1),
}


@pytest.mark.parametrize("given", FAULTY.values(), ids=FAULTY)
def test_a_form_that_cannot_be_read_says_why(loaded: LoadedPolicies, given: object) -> None:
    with pytest.raises(FormFault) as fault:
        explained(given, loaded, DEFAULT_RULE_LIMITS)
    assert str(fault.value).endswith(".") or "JSON" in str(fault.value)


# --- access

TOKEN = "a token of the operator, long enough"


def asking(host: str = "127.0.0.1:9090", **headers: str) -> Any:
    """A request with these headers and cookies."""
    cookie = headers.pop("cookie", "")
    cookies = dict([cookie.split("=", 1)]) if cookie else {}
    return SimpleNamespace(headers={"host": host} | headers, cookies=cookies)


@pytest.mark.parametrize("host", ["127.0.0.1:9090", "localhost:9090", "localhost", "[::1]:9090", "127.9.9.9"])
def test_on_loopback_the_console_is_open_by_a_loopback_name(host: str) -> None:
    assert Access("", loopback=True).denial(asking(host)) is None


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:9090", "", "[::", "localhost.attacker.example"])
def test_a_name_of_somebody_else_that_means_loopback_is_refused(host: str) -> None:
    assert Access("", loopback=True).denial(asking(host)) is Denial.not_by_loopback_name


def test_beyond_loopback_without_a_token_the_console_is_closed() -> None:
    assert Access("", loopback=False).denial(asking()) is Denial.no_token_is_set
    assert not Access("", loopback=False).accepts("")


@pytest.mark.parametrize("loopback", [True, False])
def test_with_a_token_everybody_needs_it(loopback: bool) -> None:
    access = Access(TOKEN, loopback)
    assert access.denial(asking()) is Denial.not_signed_in
    assert access.denial(asking(authorization=f"bearer {TOKEN}")) is None
    assert access.denial(asking(authorization=f"Bearer {TOKEN}x")) is Denial.not_signed_in
    assert access.denial(asking(authorization=f"Basic {TOKEN}")) is Denial.not_signed_in


def test_a_cookie_is_good_until_it_ends_and_for_this_token_alone() -> None:
    access = Access(TOKEN)
    good, over = access.session(), access.session(now=-SESSION_SECONDS)
    assert TOKEN not in good
    assert access.denial(asking(cookie=f"shape-proxy-console={good}")) is None
    for bad in (over, "", "9999999999", f"9999999999.{good.partition('.')[2]}", Access(TOKEN + "x").session()):
        assert access.denial(asking(cookie=f"shape-proxy-console={bad}")) is Denial.not_signed_in


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("proxy.example", False)],  # noqa: S104
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# --- files


def test_a_page_may_take_scripts_and_styles_from_its_server_alone() -> None:
    directives = dict(part.split(" ", 1) for part in policy("http://127.0.0.1:1").split("; "))
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self' http://127.0.0.1:1"
    assert "unsafe" not in policy()


def test_only_files_of_the_page_are_served() -> None:
    files = Files("proxy.console")
    assert files.response("style.css").headers["content-type"].startswith("text/css")
    assert files.response("../access.py").status_code == 404


PREDICATES = [
    ("session_id = {session_id}", '("session_id" = {session_id})'),
    ("session_id = {session_id} AND mode = 'it''s'", """(("session_id" = {session_id}) AND ("mode" = 'it''s'))"""),
    ("session_id = {session_id} AND severity > 3", '(("session_id" = {session_id}) AND ("severity" > 3))'),
    ("tags && ARRAY['a', {session_id}]", "(\"tags\" && ARRAY['a', {session_id}])"),
]


@pytest.mark.parametrize(("policy_text", "shown"), PREDICATES, ids=[text for text, _ in PREDICATES])
def test_a_predicate_is_shown_as_a_policy_has_it(policy_text: str, shown: str) -> None:
    assert written(parse_policy(policy_text, {"session_id"})) == shown
