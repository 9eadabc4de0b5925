"""Tokens that are taken back before their time: what the file may say, and what becomes of those who are connected."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy import revocation
from proxy.cli import main
from proxy.core.claims import Claims
from proxy.observe import Lifecycle
from proxy.revocation import RevocationFault, Revoked
from tests.harness.processes import serving_environment
from tests.harness.raw import Answered, Raw, connected, request, until
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
}


@pytest.mark.parametrize(("text", "subjects", "ids"), FILES.values(), ids=FILES)
def test_a_file_says_subjects_and_tokens(tmp_path: Path, text: str, subjects: set[str], ids: set[str]) -> None:
    (tmp_path / "revoked").write_bytes(text.encode())
    assert revocation.read(tmp_path / "revoked") == Revoked(frozenset(subjects), frozenset(ids))


NEITHER = "line {} is neither `sub <subject>` nor `jti <id>`"
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "another kind": (b"sub a\niss x\n", NEITHER.format(2)),
    "a kind alone": (b"sub\n", NEITHER.format(1)),
    "a kind and a space": (b"# x\n\njti \n", NEITHER.format(3)),
    "a value alone": (b"acc-ada\n", NEITHER.format(1)),
    "capitals": (b"SUB acc-ada\n", NEITHER.format(1)),
    "a colon": (b"sub: acc-ada\n", NEITHER.format(1)),
    "a tab": (b"sub\tacc-ada\n", NEITHER.format(1)),
    "a comment behind blanks": (b"  # acc-ada\n", NEITHER.format(1)),
    "no text": (b"sub a\nsub \xff\n", "'utf-8' codec can't decode byte 0xff in position 10: invalid start byte"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_says_anything_else_is_refused_in_one_line(tmp_path: Path, text: bytes, sentence: str) -> None:
    path = tmp_path / "revoked"
    path.write_bytes(text)
    with pytest.raises(RevocationFault) as fault:
        revocation.read(path)
    assert str(fault.value) == f"{path}: {sentence}"


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RevocationFault, match=r"^[^\n]*/none: cannot be read \(FileNotFoundError\)$"):
        revocation.read(tmp_path / "none")


@pytest.mark.parametrize("text", ["sub\n", "acc-ada\n"])
def test_a_start_with_a_bad_file_is_one_line_and_exit_1(tmp_path: Path, text: str) -> None:
    (tmp_path / "revoked").write_text(text)
    said = serving_environment(tmp_path, "http://127.0.0.1:9", PROXY_REVOCATIONS=str(tmp_path / "revoked"))
    cleared = {name: None for name in os.environ if name.startswith(("PROXY_", "ELECTRIC_"))}
    result = CliRunner().invoke(main, ["serve"], env=cleared | said)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{tmp_path}/revoked: {NEITHER.format(1)}\n"


def test_a_start_with_no_file_at_that_place_is_one_line_and_exit_1(tmp_path: Path) -> None:
    said = serving_environment(tmp_path, "http://127.0.0.1:9", PROXY_REVOCATIONS=str(tmp_path / "none"))
    result = CliRunner().invoke(main, ["serve"], env=said)
    assert (result.exit_code, result.stderr) == (1, f"PROXY_REVOCATIONS: there is no file {tmp_path}/none\n")


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
    revoked = Revoked(frozenset({"a"}), frozenset(ids))
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
    async with asyncio.timeout(10), connected(proxy.address) as raw:
        while (answered := await raw.ask(said)).status != status:  # noqa: ASYNC110 - the file is looked at each second
            await asyncio.sleep(0.02)
        return answered


def with_id(proxy: Proxy, jti: str) -> bytes:
    """A GET with a token of this id."""
    return request(TARGET, f"authorization: Bearer {proxy.token('acc-bob', jti=jti)}")


async def test_a_revoked_subject_or_token_is_refused_at_its_next_request_until_its_line_is_taken_out(
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
        say(path, "jti one\n")
        await becomes(proxy, ada, 200)
        assert_refused(await raw.ask(one), "token_revoked")


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
        say(path, "sub acc-bob\nacc-ada\n")
        await until(lambda: refused(proxy, NEITHER.format(2)))
        assert [(await raw.ask(said)).status for said in (ada, bob)] == [401, 200]
        say(path, "sub acc-bob\n")
        await becomes(proxy, bob, 401)
        assert (await raw.ask(ada)).status == 200


def refused(proxy: Proxy, sentence: str) -> bool:
    """Whether it was observed that the file cannot be used."""
    return any(
        isinstance(seen, Lifecycle) and seen.event == "revocations_refused" and seen.detail.endswith(sentence)
        for seen in proxy.seen
    )


@pytest.mark.parametrize("jti", [["x"], {}, 1, None], ids=["a list", "an object", "a number", "null"])
async def test_a_token_with_an_odd_id_is_no_fault(upstream: Upstream, path: Path, jti: object) -> None:
    async with watching(upstream, path) as proxy, connected(proxy.address) as raw:
        said = request(TARGET, f"authorization: Bearer {proxy.token(jti=jti)}")
        assert (await raw.ask(said)).status == 200
