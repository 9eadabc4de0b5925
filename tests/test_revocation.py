"""Tokens that are taken back before their time: what the file may say, and what becomes of those who are connected."""

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.auth import revocation
from proxy.auth.revocation import RevocationFault, Revocations
from proxy.auth.revoked import Mark, Revoked
from proxy.cli import main
from proxy.core.claims import Claims
from proxy.telemetry.events import RevocationFaulty, RevocationsRead
from tests.harness.plain import plain
from tests.harness.processes import serving_environment
from tests.harness.raw import SECONDS, Answered, Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.harness.upstream import Asked, Connection, Upstream
from tests.relay.asking import EVENT, LIVE, SSE, STREAM, TARGET, Held, get, one_event

# The file.

FILES: dict[str, tuple[str, set[str], set[str]]] = {
    "nothing": ("", set(), set()),
    "a subject": ("sub acc-ada\n", {"acc-ada"}, set()),
    "a token": ("jti 4f1c\n", set(), {"4f1c"}),
    "several of both": ("sub a\njti 1\nsub b\njti 2\n", {"a", "b"}, {"1", "2"}),
    "the same twice": ("sub a\nsub a\n", {"a"}, set()),
    "no end of the last line": ("sub a\nsub b", {"a", "b"}, set()),
    "lines of Windows": ("sub a\r\njti 1\r\n", {"a"}, {"1"}),
    "a comment": ("# acc-ada left\nsub a\n#sub b\n", {"a"}, set()),
    "blank lines": ("\n  \n\t\nsub a\n\n", {"a"}, set()),
    "space around": ("  sub   acc-ada  \n", {"acc-ada"}, set()),
    "a value with a space": ("sub Ada Lovelace\n", {"Ada Lovelace"}, set()),
    "a value with a number sign": ("sub acc#1\n", {"acc#1"}, set()),
    "a value in another script": ("sub адa\n", {"адa"}, set()),
    "a value that is a kind": ("sub jti\njti sub\n", {"jti"}, {"sub"}),
    "a string": ('sub " acc ada "\njti "1"\n', {" acc ada "}, {"1"}),
    "a string with escapes": (r'sub "a\nb\u00e9\""' + "\n", {'a\nbé"'}, set()),
    "an object": ('{"sub": " acc-ada"}\n{"jti":"1"}\n', {" acc-ada"}, {"1"}),
    "a value with a line separator": ("sub a\u2028b\x0bc\x85d\n", {"a\u2028b\x0bc\x85d"}, set()),
}


def marks(subjects: set[str], ids: set[str] = frozenset()) -> set[Mark]:  # type: ignore[assignment]
    """What names tokens of these subjects and with these ids."""
    return {("subject", subject) for subject in subjects} | {("jti", each) for each in ids}


@pytest.mark.parametrize(("text", "subjects", "ids"), FILES.values(), ids=FILES)
def test_a_file_says_subjects_and_tokens(tmp_path: Path, text: str, subjects: set[str], ids: set[str]) -> None:
    (tmp_path / "revoked").write_bytes(text.encode())
    reading = revocation.read(tmp_path / "revoked")
    assert reading.entries == marks(subjects, ids)
    assert reading.faults == ()


NEITHER = "line {} is neither `sub <subject>` nor `jti <id>`"
FAULTS: dict[str, tuple[bytes, str]] = {
    "another kind": (b"iss x", NEITHER),
    "a kind alone": (b"sub", NEITHER),
    "a kind and a space": (b"jti ", NEITHER),
    "a value alone": (b"acc-ada", NEITHER),
    "capitals": (b"SUB acc-ada", NEITHER),
    "a colon": (b"sub: acc-ada", NEITHER),
    "a tab": (b"sub\tacc-ada", NEITHER),
    "a comment behind blanks": (b"  # acc-ada", NEITHER),
    "an empty string": (b'sub ""', NEITHER),
    "a string that does not end": (b'sub "acc-ada', "line {} is no JSON"),
    "text behind a string": (b'sub "acc" ada', "line {} is no JSON"),
    "an object that does not end": (b'{"sub":', "line {} is no JSON"),
    "an object nested without end": (b'{"sub":' * 9999, "line {} is no JSON"),
    "an empty object": (b"{}", "line {} is no JSON object with one member, sub or jti"),
    "an object with more": (b'{"sub":"a","jti":"b"}', "line {} is no JSON object with one member, sub or jti"),
    "an object of another kind": (b'{"iss":"a"}', NEITHER),
    "a subject that is no text": (b'{"sub":1}', NEITHER),
    "no text": (b"sub \xff", "line {} is not UTF-8"),
}


@pytest.mark.parametrize(("line", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_line_is_told_and_the_others_hold(tmp_path: Path, line: bytes, sentence: str) -> None:
    path = tmp_path / "revoked"
    path.write_bytes(b"sub a\n\n" + line + b"\nsub b\n" + line + b"\njti 1")
    reading = revocation.read(path)
    assert reading.entries == marks({"a", "b"}, {"1"})
    assert reading.faults == (f"{path}: {sentence.format(3)}", f"{path}: {sentence.format(5)}")


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RevocationFault, match=r"^[^\n]*/none: cannot be read \(FileNotFoundError\)$"):
        revocation.read(tmp_path / "none")


def test_a_start_with_no_file_at_that_place_is_one_line_and_exit_1(tmp_path: Path) -> None:
    said = serving_environment(tmp_path, "http://127.0.0.1:9", PROXY_REVOCATIONS=str(tmp_path / "none"))
    result = CliRunner().invoke(main, ["serve"], env=said)
    assert (result.exit_code, result.stderr) == (2, f"PROXY_REVOCATIONS: there is no file {tmp_path}/none\n")


# How long it holds.


def entries(*subjects: str) -> frozenset[Mark]:
    return frozenset(marks(set(subjects)))


def subjects(revoked: Revoked) -> set[str]:
    """The subjects all of whose tokens are revoked."""
    assert set(revoked.before.values()) <= {math.inf}
    return {value for _, value in revoked.before}


def test_what_the_file_no_longer_says_holds_until_the_longest_token_of_then_is_over() -> None:
    kept = Revocations(lambda: 920)
    assert subjects(kept.read(entries("a"), 100)) == {"a"}
    assert subjects(kept.read(entries("a", "b"), 500)) == {"a", "b"}
    assert subjects(kept.read(entries(), 600)) == {"a", "b"}
    assert subjects(kept.in_force(1019.9)) == {"a", "b"}
    assert subjects(kept.in_force(1020)) == {"b"}
    assert subjects(kept.in_force(1420)) == set()


def test_what_the_file_says_holds_for_as_long_as_it_says_so() -> None:
    kept = Revocations(lambda: 920)
    kept.read(entries("a"), 0)
    assert subjects(kept.in_force(1e9)) == {"a"}
    assert subjects(kept.read(entries(), 1e9)) == set()


def test_what_the_file_says_again_is_revoked_anew() -> None:
    kept = Revocations(lambda: 920)
    kept.read(entries("a"), 0)
    kept.read(entries(), 100)
    kept.read(entries("a"), 800)
    kept.read(entries(), 900)
    assert subjects(kept.in_force(1719)) == {"a"}
    assert subjects(kept.in_force(1720)) == set()


def test_what_the_file_no_longer_says_holds_as_long_as_the_issuers_of_now_let_a_token_be_valid() -> None:
    longest = 920.0
    kept = Revocations(lambda: longest)
    kept.read(entries("a"), 0)
    kept.read(entries(), 100)
    longest = 2000.0
    assert subjects(kept.in_force(1999)) == {"a"}
    assert subjects(kept.in_force(2000)) == set()


# What is in it.

HELD: dict[str, tuple[str, dict[str, object], bool]] = {
    "its subject": ("a", {}, True),
    "another subject": ("b", {}, False),
    "its subject in capitals": ("A", {}, False),
    "a subject that begins so": ("ab", {}, False),
    "its id": ("b", {"jti": "1"}, True),
    "another id": ("b", {"jti": "2"}, False),
    "an id that is a revoked subject": ("b", {"jti": "a"}, False),
    "a subject that is a revoked id": ("1", {}, False),
    "an id that is a number": ("b", {"jti": 1}, True),
    "an id that is a list": ("b", {"jti": ["1"]}, False),
    "an id that is an object": ("b", {"jti": {}}, False),
    "an id that is null": ("b", {"jti": None}, False),
    "no id, where None is one": ("b", {}, False),
}


@pytest.mark.parametrize(("subject", "values", "held"), HELD.values(), ids=HELD)
def test_a_token_is_revoked_by_its_subject_or_its_id(subject: str, values: dict[str, object], held: bool) -> None:
    ids = {"1"} | ({"None"} if "jti" not in values else set())
    revoked = Revoked.of(marks({"a"}, ids))
    assert (Claims(subject, 0.0, values) in revoked) is held


# What becomes of those who are there.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty file of revocations."""
    path = tmp_path / "revoked"
    path.touch()
    return path


@asynccontextmanager
async def watching(upstream: Upstream, path: Path) -> AsyncIterator[Proxy]:
    async with running(upstream.url, path.parent, PROXY_REVOCATIONS=str(path), PROXY_SHARE="off") as proxy:
        yield proxy


def say(path: Path, text: str) -> None:
    """Replaces the file as an operator's tool does: at once."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def becomes(proxy: Proxy, said: bytes, status: int) -> Answered:
    """Asks until the answer has this status, bounded."""
    async with asyncio.timeout(SECONDS), connected(proxy.address) as raw:
        while (answered := await raw.ask(said)).status != status:  # noqa: ASYNC110 - the file is looked at each second
            await asyncio.sleep(0.02)
        return answered


def with_id(proxy: Proxy, jti: str) -> bytes:
    """A GET with a token of this id."""
    return request(TARGET, f"authorization: Bearer {proxy.token('acc-bob', jti=jti)}")


async def test_a_revoked_subject_or_token_is_refused_at_its_next_request_and_stays_so_without_its_line(
    upstream: Upstream, path: Path
) -> None:
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        ada, one, two = get(proxy, subject="acc-ada"), with_id(proxy, "one"), with_id(proxy, "two")
        assert [(await raw.ask(said)).status for said in (ada, one, two)] == [200, 200, 200]
        say(path, "# gone\nsub acc-ada\njti one\n")
        asked = len(upstream.asked)
        assert_refused(await becomes(proxy, ada, 401), "token_revoked")
        seen = len(upstream.asked)
        assert seen >= asked
        assert_refused(await raw.ask(one), "token_revoked")
        assert len(upstream.asked) == seen
        assert (await raw.ask(two)).status == 200
        say(path, "jti two\n")
        assert_refused(await becomes(proxy, two, 401), "token_revoked")
        for said in (ada, one):  # the file does not say so any more, but their tokens are not over
            assert_refused(await raw.ask(said), "token_revoked")


async def test_a_revocation_ends_when_its_line_and_the_longest_token_are_gone(upstream: Upstream, path: Path) -> None:
    short = {"PROXY_TOKEN_MAX_SECONDS": "1", "PROXY_TOKEN_LEEWAY_SECONDS": "0"}
    async with running(upstream.url, path.parent, PROXY_REVOCATIONS=str(path), **short) as proxy:
        say(path, "sub acc-ada\n")
        await until(lambda: in_force(proxy) == 1)
        say(path, "")
        await until(lambda: in_force(proxy) == 0)
        async with connected(proxy.address) as raw:
            async with asyncio.timeout(SECONDS):  # a token of a second may be over when it comes
                while (await raw.ask(get(proxy, subject="acc-ada", seconds=1))).status != 200:
                    pass


def in_force(proxy: Proxy) -> int:
    """How much is revoked, as it was last reported."""
    return next((seen.entries for seen in reversed(proxy.seen) if isinstance(seen, RevocationsRead)), 0)


async def test_the_refusal_tells_the_client_to_get_a_new_token(upstream: Upstream, path: Path) -> None:
    say(path, "sub acc-ada\n")
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy, subject="acc-ada"))
        assert_refused(answered, "token_revoked")
        assert 'error="invalid_token"' in answered.head["www-authenticate"]
        assert upstream.asked == []


async def begun(raw: Raw, said: bytes) -> None:
    """Starts a stream and reads its first event."""
    await raw.say(said)
    assert (await raw.head()).status == 200
    assert await raw.piece() == EVENT


class PollsAndStreams(Held):
    """Holds polls before their head, and streams behind their first event."""

    async def _script(self, connection: Connection, asked: Asked) -> None:
        self.connections.append(connection)
        if streaming := "live_sse" in asked.params:
            await one_event(connection, asked)
        await self.go.wait()
        if streaming:
            await connection.closed.wait()
        await connection.reply()


async def test_what_is_open_by_a_revoked_token_ends_and_others_go_on(upstream: Upstream, path: Path) -> None:
    held = PollsAndStreams(upstream)
    async with (
        watching(upstream, path) as proxy,
        connected(proxy.address) as poll,
        connected(proxy.address) as stream,
        connected(proxy.address) as other_poll,
        connected(proxy.address) as other_stream,
    ):
        await poll.say(get(proxy, LIVE, subject="acc-ada"))
        await upstream.wait_for(1)
        await begun(stream, get(proxy, SSE, subject="acc-ada"))
        of_ada = list(held.connections)
        await other_poll.say(get(proxy, LIVE, subject="acc-bob"))
        await upstream.wait_for(3)
        await begun(other_stream, get(proxy, SSE, subject="acc-bob"))
        say(path, "sub acc-ada\n")
        assert_refused(await poll.answer(), "token_revoked")
        assert await stream.piece() == b""  # a clean end, between two events
        await until(lambda: len(proxy.ended) == 2)
        assert [seen.code for seen in proxy.ended] == ["token_revoked", "token_revoked"]
        assert sorted(seen.status for seen in proxy.ended) == [200, 401]
        await until(lambda: all(connection.closed.is_set() for connection in of_ada))
        of_bob = [connection for connection in held.connections if connection not in of_ada]
        assert not any(connection.closed.is_set() for connection in of_bob)
        held.go.set()
        await of_bob[1].chunk(EVENT)
        assert await other_stream.piece() == EVENT
        assert (await other_poll.answer()).status == 200


async def test_a_stream_that_is_in_the_middle_of_an_event_ends_at_the_last_whole_one(
    upstream: Upstream, path: Path
) -> None:
    async def one_and_a_half(connection: Connection, _: Asked) -> None:
        await connection.head(headers=STREAM)
        await connection.chunk(EVENT + EVENT[:7])

    Held(upstream, one_and_a_half)
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        await begun(raw, get(proxy, SSE))
        say(path, "sub acc-ada\n")
        assert await raw.piece() == b""


async def test_a_file_that_goes_away_or_breaks_keeps_what_it_said_last(upstream: Upstream, path: Path) -> None:
    say(path, "sub acc-ada\n")
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        ada, bob = get(proxy, subject="acc-ada"), get(proxy, subject="acc-bob")
        assert_refused(await raw.ask(ada), "token_revoked")
        os.unlink(path)
        await until(lambda: refused(proxy, "cannot be read (FileNotFoundError)"))
        assert [(await raw.ask(said)).status for said in (ada, bob)] == [401, 200]
        say(path, "acc-ada\nsub acc-bob\n")
        await until(lambda: refused(proxy, NEITHER.format(1)))
        assert [(await raw.ask(said)).status for said in (ada, bob)] == [401, 401]
        async with plain() as client:
            metrics = (await client.get(f"{proxy.admin_url}/metrics")).text
        assert "\nshape_proxy_revocations 2.0\n" in metrics
        assert "\nshape_proxy_revocation_faults 1.0\n" in metrics


async def test_a_start_with_a_faulty_line_revokes_what_the_others_say(upstream: Upstream, path: Path) -> None:
    say(path, "acc-bob\nsub acc-ada\n")
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy, subject="acc-ada")), "token_revoked")
        assert refused(proxy, NEITHER.format(1))


async def test_of_many_faults_some_are_told_and_all_are_counted(upstream: Upstream, path: Path) -> None:
    say(path, "x\n" * 1000)
    async with watching(upstream, path) as proxy:
        await until(lambda: any(isinstance(seen, RevocationsRead) and seen.faults == 1000 for seen in proxy.seen))
        assert sum(isinstance(seen, RevocationFaulty) for seen in proxy.seen) == 20


async def test_a_subject_with_blanks_around_is_revoked(upstream: Upstream, path: Path) -> None:
    say(path, 'sub " ada "\n')
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy, subject=" ada ")), "token_revoked")
        assert (await raw.ask(get(proxy, subject="ada"))).status == 200


def refused(proxy: Proxy, sentence: str) -> bool:
    """Whether it was observed that the file cannot be used."""
    return any(isinstance(seen, RevocationFaulty) and seen.detail.endswith(sentence) for seen in proxy.seen)


@pytest.mark.parametrize("jti", [["x"], {}, 1, None], ids=["a list", "an object", "a number", "null"])
async def test_a_token_with_an_odd_id_is_no_fault(upstream: Upstream, path: Path, jti: object) -> None:
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        said = request(TARGET, f"authorization: Bearer {proxy.token(jti=jti)}")
        assert (await raw.ask(said)).status == 200
