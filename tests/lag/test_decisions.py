"""Decision events of the whole proxy, and deciding again from them."""

import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from proxy import settings
from proxy.audit import decision_log as decisions
from proxy.audit.decision_file import DecisionFile
from proxy.audit.rate import PerMinute
from proxy.auth import policy_loader as policy_files
from proxy.cli import main
from proxy.core.errors import Code, Refusal
from proxy.core.inbound import Inbound
from proxy.core.trail import Trail
from proxy.settings import SettingsFault
from proxy.telemetry.events import DecisionMade, DecisionsDropped, Observation
from proxy.telemetry.logs import members
from tests.harness.running import POLICIES, Proxy, environment, running
from tests.harness.upstream import Connection, Upstream

PRIVATE = "PRIVATE-VALUE"
WHERE = f"mode = '{PRIVATE}'"
ALL = [
    f"{rule}: ok"
    for rule in (
        *("token", "request", "shape", "claims", "grant", "narrow"),
        *("columns", "queryable", "replica", "log", "predicate", "subset"),
    )
]


def made(proxy: Proxy) -> list[DecisionMade]:
    """The decisions that were reported."""
    return [seen for seen in proxy.seen if isinstance(seen, DecisionMade)]


async def test_a_refusal_is_told_under_the_id_that_its_body_says(proxy: Proxy, client: httpx.AsyncClient) -> None:
    answer = await client.get(proxy.shape(where="session_id = 's-bob'"), headers=proxy.bearer())
    [told] = made(proxy)
    assert told.request_id == answer.json()["request_id"]
    assert (told.allowed, told.code, told.policy) == (False, "predicate_mismatch", "chat_messages")
    assert list(told.rules) == [*ALL[:10], "predicate: predicate_mismatch"]
    assert re.fullmatch("[0-9a-f]{16}", told.subject)
    assert told.policies
    assert told.reason


async def test_allowed_requests_are_told_only_as_often_as_the_setting_says(
    proxy: Proxy, upstream: Upstream, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await client.get(proxy.shape(), headers=proxy.bearer())
    assert made(proxy) == []
    (tmp_path / "all").mkdir()
    async with running(upstream.url, tmp_path / "all", PROXY_DECISION_SAMPLE="1") as every:
        await client.get(every.shape(where=WHERE), headers=every.bearer())
    [told] = made(every)
    assert (told.allowed, told.code, list(told.rules)) == (True, "ok", ALL)
    assert told.predicate == '("session_id" = $1) AND ("mode" = $2)'


async def test_the_sample_is_a_share(upstream: Upstream, client: httpx.AsyncClient, tmp_path: Path) -> None:
    async with running(upstream.url, tmp_path, PROXY_DECISION_SAMPLE="0.5") as half:
        for _ in range(200):
            await client.get(half.shape(), headers=half.bearer())
    assert 60 < len(made(half)) < 140  # outside by chance: once in 10^8


@pytest.mark.parametrize(
    ("params", "headers", "rules"),
    [
        ({}, {}, ["token: token_missing"]),
        ({"table": "nothing"}, None, ["token: ok", "request: ok", "shape: shape_forbidden"]),
        ({"secret": PRIVATE}, None, ["token: ok", "request: unknown_parameter"]),
    ],
)
async def test_a_refusal_tells_how_far_the_request_came(
    proxy: Proxy, client: httpx.AsyncClient, params: dict[str, str], headers: dict[str, str] | None, rules: list[str]
) -> None:
    await client.get(proxy.shape(**params), headers=proxy.bearer() if headers is None else headers)
    assert [list(told.rules) for told in made(proxy)] == [rules]


async def test_a_refusal_after_all_rules_says_so(proxy: Proxy, upstream: Upstream, client: httpx.AsyncClient) -> None:
    async def die(connection: Connection, _: object) -> None:
        await connection.reply(500)

    upstream.script = die
    await client.get(proxy.shape(), headers=proxy.bearer())
    assert list(made(proxy)[0].rules) == [*ALL, "answer: upstream_failed"]


async def test_no_log_line_of_a_decision_holds_token_claim_or_query(
    upstream: Upstream, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with running(upstream.url, tmp_path, PROXY_DECISION_SAMPLE="1") as proxy:
        token = proxy.token(session_id="s-CLAIM", account_id="acc-CLAIM")
        for table in ("chat_messages", "nothing", PRIVATE):
            for more in (
                {"where": WHERE},
                {"where": f"{PRIVATE} = 1"},
                {"where": f"session_id = '{PRIVATE}'"},
                {PRIVATE: "1"},
            ):
                url = proxy.shape(table, **more)
                await client.get(url, headers={"authorization": f"Bearer {token}"})
                await client.get(url, headers={"authorization": f"Bearer {token}{PRIVATE}"})
    lines = json.dumps([members(told) for told in made(proxy)])
    assert len(made(proxy)) == 24
    assert PRIVATE not in lines
    assert "CLAIM" not in lines
    assert token.split(".")[1] not in lines


@pytest.fixture
async def recorded(upstream: Upstream, client: httpx.AsyncClient, tmp_path: Path) -> Path:
    """A decision file with an allowed GET, a refused POST, a refused token and a failure of Electric, in order."""
    file = tmp_path / "decisions.jsonl"
    file.touch(mode=0o644)
    settings = {"PROXY_DECISION_SAMPLE": "1", "PROXY_DECISION_FILE": str(file)}
    async with running(upstream.url, tmp_path, **settings) as proxy:
        await client.get(proxy.shape(where=WHERE), headers=proxy.bearer())
        page = {"where": "session_id = 's-bob'"}
        await client.post(proxy.shape(), headers=proxy.bearer(), json=page)
        await client.get(proxy.shape(), headers={"authorization": "Bearer x"})

        async def fail(connection: Connection, _: object) -> None:
            await connection.reply(500)

        upstream.script = fail
        await client.get(f"{proxy.url}/v1/shapes/todos?offset=-1", headers=proxy.bearer())
    return file


def lines(file: Path) -> list[dict[str, Any]]:
    """The records of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def explained(*arguments: str) -> Result:
    """`shape-proxy explain` with the shipped policies."""
    return CliRunner().invoke(main, ["explain", "--policies", str(POLICIES), *arguments])


def test_a_decision_file_is_for_its_owner_alone_and_has_no_token(recorded: Path) -> None:
    assert stat.S_IMODE(recorded.stat().st_mode) == 0o600
    codes = [line["code"] for line in lines(recorded)]
    assert codes == ["ok", "predicate_mismatch", "token_invalid", "upstream_failed"]
    assert "Bearer" not in recorded.read_text()
    assert lines(recorded)[0]["inputs"]["claims"]["session_id"] == "s-ada"


def test_each_decision_is_decided_again_from_its_file(recorded: Path) -> None:
    for line in lines(recorded):
        if line["code"] == "token_invalid":
            continue
        result = explained("--decision", str(recorded), "--request-id", line["request_id"])
        assert result.exit_code == 0, result.output
        assert f"decision {line['request_id']}: {line['code']} by the same policies" in result.output
        assert result.output.endswith("as before\n")


def test_the_last_decision_is_taken_without_an_id_and_json_says_the_same(recorded: Path) -> None:
    result = explained("--decision", str(recorded), "--json")
    said = json.loads(result.output)["decision"]
    assert said["recorded"]["request_id"] == lines(recorded)[-1]["request_id"]
    assert said["same"] is True


def test_a_decision_that_comes_out_differently_by_other_policies_says_so(recorded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "todos.toml").write_text((POLICIES / "todos.toml").read_text())
    arguments = [
        "--policies",
        str(folder),
        "--decision",
        str(recorded),
        "--request-id",
        lines(recorded)[0]["request_id"],
    ]
    result = CliRunner().invoke(main, ["explain", *arguments])
    assert result.exit_code == 1
    assert "now shape_forbidden: DIFFERENT" in result.output
    assert "by policies " in result.output


def test_a_refused_token_leaves_nothing_to_decide_again(recorded: Path) -> None:
    result = explained("--decision", str(recorded), "--request-id", lines(recorded)[2]["request_id"])
    assert result.exit_code == 2
    assert "refused before the rules, with token_invalid" in result.output


def test_from_a_log_line_it_is_decided_again_with_what_the_operator_says(recorded: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    event = {key: value for key, value in lines(recorded)[0].items() if key != "inputs"}
    log.write_text(f"no JSON\n{json.dumps({'event': 'request'})}\n{json.dumps(event)}\n")
    claims, query = '{"session_id":"s-ada"}', "table=chat_messages&offset=-1"
    assert explained("--decision", str(log), "--claims", claims, query).exit_code == 0
    assert explained("--decision", str(log), "--claims", "{}", query).exit_code == 1
    without = explained("--decision", str(log))
    assert without.exit_code == 2
    assert "a log does not hold what was asked" in without.output


def test_without_a_query_and_without_a_decision_there_is_nothing_to_explain() -> None:
    assert explained("--claims", "{}").exit_code == 2


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"event":"decision"}', '{"event":"decision","request_id":1,"code":"ok","policies":"","inputs":[]}'],
)
def test_a_file_without_a_decision_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    result = explained("--decision", str(tmp_path / "file"))
    assert result.exit_code == 2
    assert result.output.count("\n") == 1


def test_a_decision_file_is_no_link_and_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "link", tmp_path, Path("/dev/null")):
        with pytest.raises(OSError, match=str(path)):
            file_of(path)


def test_a_bug_in_a_rule_is_told_and_not_run_into_again() -> None:
    seen: list[Observation] = []
    told = decisions.Decisions(decisions.DecisionLogConfig(), seen.append)
    inbound = Inbound.of("GET", b"/v1/shape", "1.1", [])
    told.refused("0" * 24, inbound, Trail(), Refusal(Code.internal_error), policy_files.load(POLICIES), str)
    assert [made.rules for made in seen if isinstance(made, DecisionMade)] == [("answer: internal_error",)]


def file_of(path: Path, most_bytes: int = 100, kept: int = 2) -> DecisionFile:
    return DecisionFile(path, most_bytes, kept)


def numbers(path: Path) -> dict[str, list[int]]:
    """What stands in each file of a folder."""
    return {one.name: [line["number"] for line in lines(one)] for one in sorted(path.iterdir())}


def test_a_full_decision_file_is_moved_away_and_the_oldest_goes(tmp_path: Path) -> None:
    file = file_of(tmp_path / "log", most_bytes=len('{"number":10}\n') * 3)
    for number in range(10, 22):
        file.write({"number": number})
    assert numbers(tmp_path) == {"log": [19, 20, 21], "log.1": [16, 17, 18], "log.2": [13, 14, 15]}
    assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()} == {0o600}
    file.close()


def test_without_older_files_a_full_one_begins_anew(tmp_path: Path) -> None:
    file = file_of(tmp_path / "log", most_bytes=len('{"number":10}\n') * 2, kept=0)
    for number in range(10, 15):
        file.write({"number": number})
    file.close()
    assert numbers(tmp_path) == {"log": [14]}


def test_two_processes_that_find_a_file_full_move_it_away_once(tmp_path: Path) -> None:
    one, other = [file_of(tmp_path / "log", most_bytes=len('{"number":10}\n') * 3) for _ in range(2)]
    for number in range(10, 16):
        (one if number % 2 else other).write({"number": number})
    one.close()
    other.close()
    assert numbers(tmp_path) == {"log": [13, 14, 15], "log.1": [10, 11, 12]}


def test_a_file_that_the_operator_moved_away_is_made_anew_when_it_is_full(tmp_path: Path) -> None:
    file = file_of(tmp_path / "log", most_bytes=len('{"number":10}\n') * 2)
    for number in range(10, 14):
        if number == 12:
            (tmp_path / "log").rename(tmp_path / "moved")
        file.write({"number": number})
    file.close()
    assert numbers(tmp_path) == {"log": [12, 13], "moved": [10, 11]}


def test_a_line_that_is_longer_than_a_file_is_not_written(tmp_path: Path) -> None:
    file = file_of(tmp_path / "log")
    file.write({"text": "x" * 100})
    file.close()
    assert (tmp_path / "log").read_bytes() == b""


def test_refusals_are_told_code_by_code_up_to_their_rate() -> None:
    refusals = PerMinute(60)
    assert [refusals.takes("a", 10.0) for _ in range(61)] == [True] * 60 + [False]
    assert refusals.takes("b", 10.0)
    assert not refusals.takes("a", 10.5)
    assert refusals.takes("a", 11.0)
    assert not refusals.takes("a", 11.0)
    assert [refusals.takes("a", 999.0) for _ in range(61)] == [True] * 60 + [False]


async def test_refusals_beyond_the_rate_are_counted_and_leave_others_their_place(
    upstream: Upstream, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    file = tmp_path / "decisions.jsonl"
    settings = {"PROXY_DECISION_REFUSALS": "3", "PROXY_DECISION_FILE": str(file)}
    async with running(upstream.url, tmp_path, **settings) as proxy:
        for _ in range(9):
            await client.get(proxy.shape())
        await client.get(proxy.shape("nothing"), headers=proxy.bearer())
        metrics = (await client.get(f"{proxy.admin_url}/metrics")).text
    codes = [line["code"] for line in lines(file)]
    assert codes[-1] == "shape_forbidden"
    dropped = sum(isinstance(seen, DecisionsDropped) for seen in proxy.seen)
    assert dropped == 10 - len(codes) > 0
    assert f'shape_proxy_decisions_dropped_total{{code="token_missing"}} {dropped}.0' in metrics


async def test_a_body_that_is_too_long_to_be_recorded_is_not_decided_again(
    upstream: Upstream, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    file = tmp_path / "decisions.jsonl"
    async with running(upstream.url, tmp_path, PROXY_DECISION_FILE=str(file)) as proxy:
        page = {"where": "session_id = 's-bob'", "where_expr": "x" * 70_000}
        await client.post(proxy.shape(), headers=proxy.bearer(), json=page)
    result = explained("--decision", str(file))
    assert result.exit_code == 2
    assert "too long to be recorded" in result.output


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PROXY_DECISION_SAMPLE", "1.5", "less than or equal to 1"),
        ("PROXY_HEARTBEAT_TABLE", "beats", "must be schema.name"),
        ("PROXY_HEARTBEAT_TABLE", "public.beats", "needs DATABASE_URL"),
        ("PROXY_REPLICATION_SLOT", "Slot; DROP", "should match pattern"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path, name: str, value: str, says: str) -> None:
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(SettingsFault, match=f"^{name}: .*{says}"):
        settings.load(environment("http://127.0.0.1:1", tmp_path / "keys.json") | {name: value})


# Replaying a whole file by other policies.


def replayed(log: Path, folder: Path, *options: str) -> Result:
    """`shape-proxy replay` with these policies."""
    return CliRunner().invoke(main, ["replay", str(log), "--policies", str(folder), *options])


def changed(tmp_path: Path, name: str, *pairs: tuple[str, str]) -> Path:
    """The shipped policies with one file changed."""
    folder = tmp_path / "changed"
    shutil.copytree(POLICIES, folder)
    text = (folder / f"{name}.toml").read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.toml").write_text(text)
    return folder


def test_the_same_policies_change_nothing(recorded: Path) -> None:
    result = replayed(recorded, POLICIES)
    assert result.exit_code == 0, result.output
    assert result.output == "4 decisions, 0 changes, 1 cannot be decided again\n"


CHANGES: dict[str, tuple[tuple[tuple[str, str], ...], int, str]] = {
    "a column more": (
        (('"client_message_id", "created_at"]', '"client_message_id", "created_at", "extra"]'),),
        1,
        "wider    acc-ada: chat_messages: gains the columns extra",
    ),
    "a column less": (
        (('"client_message_id", ', ""),),
        0,
        "narrower acc-ada: chat_messages: loses the columns client_",
    ),
    "a conjunct more": (
        (('"session_id = {session_id}"', "\"session_id = {session_id} AND role <> 'system'\""),),
        0,
        "narrower acc-ada: chat_messages: fewer rows: where ((",
    ),
    "another predicate": (
        (('"session_id = {session_id}"', '"session_id = {session_id} OR account_id = {session_id}"'),),
        1,
        "unclear  acc-ada: chat_messages: a different predicate: where ((",
    ),
}


@pytest.mark.parametrize(("pairs", "code", "line"), CHANGES.values(), ids=CHANGES)
def test_who_would_gain_or_lose_what_is_a_line(
    recorded: Path, tmp_path: Path, pairs: tuple[tuple[str, str], ...], code: int, line: str
) -> None:
    folder = changed(tmp_path, "chat_messages", *pairs)
    text = (folder / "chat_messages.toml").read_text()
    head, cases = text.split("[[case]]", 1)[0], '[[case]]\nname = "{}"\nclaims = {{ {} }}\nrequest = "offset=-1"\n'
    yes, no = cases.format("yes", 'session_id = "a"'), cases.format("no", "")
    (folder / "chat_messages.toml").write_text(f'{head}{yes}expect = "allow"\n{no}expect = "claim_missing"\n')
    result = replayed(recorded, folder)
    assert result.exit_code == code, result.output
    assert any(told.startswith(line) for told in result.output.splitlines()), result.output
    told = json.loads(replayed(recorded, folder, "--json").output)
    assert told["widens"] is (code == 1)
    assert told["changes"][0]["subject"] == "acc-ada"


def test_a_refusal_that_becomes_an_allowance_widens(recorded: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    refused = dict(lines(recorded)[0]) | {"code": "claim_missing", "sent": None, "rules": ["shape: claim_missing"]}
    log.write_text(json.dumps(refused) + "\n")
    result = replayed(log, POLICIES)
    assert result.exit_code == 1
    assert result.output.startswith("wider    acc-ada: chat_messages: allowed, was refused with claim_missing: id, ")


def test_an_allowance_that_becomes_a_refusal_does_not(recorded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    shutil.copy(POLICIES / "todos.toml", folder)
    result = replayed(recorded, folder)
    assert result.exit_code == 0
    assert "narrower acc-ada: chat_messages: refused with shape_forbidden, was allowed" in result.output


def test_a_file_without_inputs_is_one_line(recorded: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(json.dumps({key: value for key, value in lines(recorded)[0].items() if key != "inputs"}))
    result = replayed(log, POLICIES)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
