"""Each thing that may be wrong with Electric, over a real socket: the check names it and says what to do."""

from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from time import time
from urllib.parse import quote

import pytest

from proxy.doctor.asking import Asker
from proxy.doctor.clock_checks import clock_finding
from proxy.doctor.electric_checks import electric_findings
from proxy.doctor.findings import Finding, Level
from tests.doctor.scripted import ACTIVE, SECRET, Asked, Script, Told, electric, serving


def findings(script: Script, secret: str = SECRET) -> dict[str, Finding]:
    with serving(script) as url, Asker(url, 10) as asker:
        return {found.check: found for found in electric_findings(asker, secret)}


def when(condition: Callable[[Asked], bool], told: Told) -> Script:
    """A healthy Electric but for some requests."""
    return lambda asked: told if condition(asked) else electric(asked)


def health(told: Told) -> Script:
    return when(lambda asked: asked.path == "/v1/health", told)


def shape(told: Told) -> Script:
    return when(lambda asked: asked.path == "/v1/shape" and asked.method == "GET" and "secret" in asked.query, told)


def test_a_healthy_electric_is_ok_everywhere() -> None:
    found = findings(electric)
    assert {one.level for one in found.values()} == {Level.ok}
    assert list(found) == [
        "electric_reachable",
        "electric_version",
        "electric_secret",
        "electric_closed",
        "electric_deletion",
    ]


SERVER = {"electric-server": "ElectricSQL/1.7.11"}
FAULTS = [
    ("starting", health(Told(202, b'{"status":"starting"}')), "electric_reachable", Level.error, "is not active"),
    ("no version", health(Told(200, ACTIVE)), "electric_version", Level.warning, "does not name"),
    ("an old one", health(Told(200, ACTIVE, SERVER)), "electric_version", Level.error, "1.7.11: before 1.7.12"),
    ("another secret", shape(Told(401)), "electric_secret", Level.error, "refuses ELECTRIC_SECRET"),
    ("a crash", shape(Told(500)), "electric_secret", Level.error, "answers 500"),
    ("no answer", shape(Told(0, dies=True)), "electric_secret", Level.error, "did not answer (RemoteProtocolError)"),
    (
        "open to all",
        when(lambda asked: "secret" not in asked.query and asked.path == "/v1/shape", Told(400)),
        "electric_closed",
        Level.error,
        "without a secret at /v1/shape, ",
    ),
    (
        "open at another spelling",
        when(lambda asked: asked.path == "/v1/%73hape", Told(400)),
        "electric_closed",
        Level.error,
        "at /v1/%73hape:",
    ),
    *(
        (
            f"deletion answers {status}",
            when(lambda asked: asked.method == "DELETE", Told(status)),
            "electric_deletion",
            level,
            sentence,
        )
        for status, level, sentence in [
            (202, Level.error, "deletes any shape"),
            (404, Level.error, "deletes any shape"),
            (401, Level.warning, "could not be seen: it answers 401"),
        ]
    ),
]


@pytest.mark.parametrize(
    ("script", "check", "level", "sentence"), [row[1:] for row in FAULTS], ids=[r[0] for r in FAULTS]
)
def test_each_fault_is_named(script: Script, check: str, level: Level, sentence: str) -> None:
    found = findings(script)[check]
    assert found.level is level
    assert sentence in found.message
    assert found.action
    assert SECRET not in found.line()
    assert quote(SECRET, safe="") not in found.line()


def test_without_a_secret_an_open_electric_is_a_warning() -> None:
    found = findings(lambda asked: electric(asked, asked.query.get("secret", "")) if asked.query else _open(asked), "")
    assert found["electric_secret"].level is found["electric_closed"].level is Level.warning


def _open(asked: Asked) -> Told:
    return electric(replace(asked, query={"secret": SECRET}))


def test_an_electric_that_is_not_there_is_the_only_finding() -> None:
    with serving(electric) as url:
        pass
    with Asker(url, 10) as asker:
        (found,) = electric_findings(asker, SECRET)
    assert (found.check, found.level) == ("electric_reachable", Level.error)
    assert f"does not answer at {url} (ConnectError)" in found.message


def test_an_answer_too_large_is_not_read() -> None:
    with serving(health(Told(200, b" " * 1_048_577))) as url, Asker(url, 10) as asker:
        (found,) = electric_findings(asker, SECRET)
    assert "(TooLarge)" in found.message


# --- clocks


@pytest.mark.parametrize(
    ("seconds", "level", "sentence"),
    [
        (0, Level.ok, "agrees with ours"),
        (6, Level.warning, "s ahead of ours"),
        (-6, Level.warning, "s behind ours"),
        (3600, Level.error, "more than the 10 s that are tolerated"),
        (-3600, Level.error, "s behind ours, more than"),
    ],
)
def test_a_clock_is_compared_by_the_date_of_an_answer(seconds: int, level: Level, sentence: str) -> None:
    date = formatdate(time() + seconds, usegmt=True)
    with serving(lambda _: Told(404, b"", {"date": date})) as url, Asker(url, 10) as asker:
        found = clock_finding(asker, "/jwks.json", leeway_seconds=10)
    assert found.level is level
    assert sentence in found.message


@pytest.mark.parametrize(("date", "dies"), [("", False), ("yesterday", False), ("", True)], ids=["none", "odd", "dead"])
def test_a_clock_that_cannot_be_read_is_a_warning(date: str, dies: bool) -> None:
    with serving(lambda _: Told(200, b"", {"date": date}, dies)) as url, Asker(url, 10) as asker:
        found = clock_finding(asker, "", leeway_seconds=10)
    assert found.level is Level.warning
