"""The one place that says which Electric the suites run against."""

import pytest

from proxy.sandbox import StandInSettings
from tests.harness.electric import VARIABLES, Real, RealElectric, Schemas, schema_of

DSN = "postgresql://u:p@127.0.0.1:1/app?sslmode=disable&options=-c%20search_path%3Dqwerty"


def test_a_real_electric_is_told_by_three_variables() -> None:
    assert Real.of({name: f"the {name}" for name in VARIABLES}) == Real(*(f"the {name}" for name in VARIABLES))


@pytest.mark.parametrize("missing", VARIABLES)
def test_a_missing_variable_is_an_error_that_names_it(missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        Real.of({name: "x" for name in VARIABLES if name != missing})


def test_every_database_of_a_test_is_a_schema_as_long_as_public() -> None:
    assert schema_of(DSN) == "qwerty"
    assert schema_of(Schemas("postgresql://h/app").dsn_of("abcdef")) == "abcdef"
    assert schema_of(Schemas("postgresql://h/app?sslmode=disable").dsn_of("abcdef")) == "abcdef"


CASES = [
    (b"table=todos&offset=-1", b"table=qwerty.todos&offset=-1"),
    (b"table=public.todos", b"table=qwerty.todos"),
    (b"table=%22public%22.%22todos%22", b"table=%22qwerty%22.%22todos%22"),
    (b"where=a%20IN%20(SELECT%20b%20FROM%20members)", b"where=a%20IN%20(SELECT%20b%20FROM%20qwerty.members)"),
    (b"where=SELECT+b+FROM+public.members", b"where=SELECT+b+FROM+qwerty.members"),
    (b"where=visibility%3D%27public%27", b"where=visibility%3D%27public%27"),
    (b"table=todos&table=accounts", b"table=qwerty.todos&table=qwerty.accounts"),
]


@pytest.mark.parametrize(("asked", "sent"), CASES)
def test_tables_are_asked_for_in_the_schema_and_under_the_real_secret(asked: bytes, sent: bytes) -> None:
    between = RealElectric(Real("http://127.0.0.1:1", "a b", DSN), DSN, StandInSettings())
    assert between._changed(b"/v1/shape?" + asked, b"") == (b"/v1/shape?" + sent + b"&secret=a%20b", b"")


def test_the_secret_of_a_test_stands_for_the_real_one() -> None:
    between = RealElectric(Real("http://127.0.0.1:1", "real", DSN), DSN, StandInSettings(secret="s/"))
    assert between._changed(b"/v1/shape?secret=wrong&secret=s%2F", b"")[0] == b"/v1/shape?secret=wrong&secret=real"
    body = b'{"table": "todos", "where": "\\"public\\".x"}'
    assert between._changed(b"/v1/shape", body)[1] == b'{"table": "qwerty.todos", "where": "\\"qwerty\\".x"}'
