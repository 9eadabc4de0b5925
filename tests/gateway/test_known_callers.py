"""A caller whose header block is known gets the answers that it would get if nobody knew it."""

from collections.abc import Iterator

import pytest

from proxy.auth.revoked import Revoked
from tests.gateway.test_gateway_machine import GatewayMachine

PATH = "/v1/shape?table=notes&offset=-1"
REVOKED = Revoked.of([("subject", "ada-1")])


@pytest.fixture
def machine() -> Iterator[GatewayMachine]:
    machine = GatewayMachine()
    machine.start()
    yield machine
    machine.teardown()


def asked(machine: GatewayMachine, target: str, more: bytes = b"") -> bytes:
    """What is written to a request that needs no upstream, or nothing while it waits."""
    machine.connect()
    client = machine.clients.pop()
    said = f"GET {target} HTTP/1.1\r\n".encode() + b"host: x\r\n" + more
    said += b"authorization: Bearer " + machine.tokens["ada-1"][0].encode() + b"\r\n\r\n"
    machine.run(lambda: client.connection.data_received(said))
    machine.run(client.transport.lose)
    return bytes(client.transport.written)


ASKED: dict[str, tuple[str, bool, bool, str]] = {
    "nothing is wrong": (PATH, False, False, ""),
    "another path": ("/v1/shapez", False, False, "not_found"),
    "another path, and the token has ended": ("/v1/shapez", True, False, "not_found"),
    "another path, and it is revoked": ("/v1/shape/", False, True, "not_found"),
    "a query that is too long, and the token has ended": (PATH + "x" * 25_000, True, False, "target_too_long"),
    "the token has ended": (PATH, True, False, "token_expired"),
    "the token is revoked": (PATH, False, True, "token_revoked"),
    "the token has ended and is revoked": (PATH, True, True, "token_expired"),
    "an unknown parameter, and the token is revoked": (f"{PATH}&x=1", False, True, "token_revoked"),
    "an unknown parameter": (f"{PATH}&x=1", False, False, "unknown_parameter"),
    "a name that there is not": ("/v1/shapes/others?offset=-1", False, False, "shape_forbidden"),
    "a name that there is": ("/v1/shapes/notes?offset=-1", False, False, ""),
}


@pytest.mark.parametrize(("target", "over", "revoked", "code"), ASKED.values(), ids=ASKED)
def test_a_known_caller_is_answered_like_an_unknown_one(
    machine: GatewayMachine, target: str, over: bool, revoked: bool, code: str
) -> None:
    machine.token("ada-1")
    assert asked(machine, PATH) == b""
    callers = machine.authorizer.authority.callers
    assert len(callers) == 1
    if over:
        machine.time_passes(400.0)
    if revoked:
        machine.run(lambda: machine.authorizer.revoke(REVOKED))
    known = asked(machine, target)
    unknown = asked(machine, target, b"x-other: 1\r\n")
    assert callers.hits == 1
    for said in (known, unknown):
        assert (code.encode() in said) if code else said == b""
    assert known.partition(b"\r\n")[0] == unknown.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "more", [b"connection: close\r\n", b"content-length: 0\r\nexpect: 100-continue\r\n", b"traceparent: 00-0-0-01\r\n"]
)
def test_a_block_that_is_more_than_that_of_a_plain_get_is_not_remembered(machine: GatewayMachine, more: bytes) -> None:
    machine.token("ada-1")
    asked(machine, PATH, more)
    assert len(machine.authorizer.authority.callers) == 0


def test_a_caller_of_a_token_that_was_refused_is_not_remembered(machine: GatewayMachine) -> None:
    machine.token("ada-1")
    machine.time_passes(400.0)
    assert b"token_expired" in asked(machine, PATH)
    assert len(machine.authorizer.authority.callers) == 0
