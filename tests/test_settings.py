"""The settings: each by its name in the environment, each wrong value in one line, no secret ever shown."""

from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from proxy import settings
from proxy.core.filters import FilterLimits
from proxy.core.identifiers import Table
from proxy.core.limits import Limits
from proxy.settings import Address, Settings, SettingsFault, load, variable
from tests.tree import ROOT


@pytest.fixture
def least(tmp_path: Path) -> dict[str, str]:
    """The environment with what has no default."""
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    return {"PROXY_TOKEN_KEYS": str(keys), "PROXY_TOKEN_ISSUER": "issuer", "PROXY_TOKEN_AUDIENCE": "audience"}


def fault(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsFault) as caught:
        load(environment)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_the_least_environment_gives_the_defaults(least: dict[str, str]) -> None:
    said = load(least)
    assert said.listen == Address("127.0.0.1", 8080)
    assert said.admin_listen == Address("127.0.0.1", 9090)
    assert said.electric_http_url == "http://127.0.0.1:3000"
    assert said.policies == Path("policies")
    assert said.allowed_origins == ()
    assert said.database_url is None
    assert said.limits == Limits()
    assert said.filter_limits == FilterLimits()


def test_other_peoples_variables_are_left_alone(least: dict[str, str]) -> None:
    assert load(least | {"PATH": "/bin", "HTTP_PROXY": "http://x", "proxy_listen": "x", "MY_PROXY_X": "x"}) == load(
        least
    )


@pytest.mark.parametrize("name", ["PROXY_", "PROXY_LISTENS", "PROXY_listen", "PROXY_LISTEN ", "PROXY_ELECTRIC_SECRET"])
@pytest.mark.parametrize("value", ["", "x"])
def test_an_unknown_setting_is_refused(least: dict[str, str], name: str, value: str) -> None:
    assert fault(least | {name: value}) == f"{name}: there is no such setting; .env.example lists them all"


@pytest.mark.parametrize("name", ["PROXY_TOKEN_KEYS", "PROXY_TOKEN_ISSUER", "PROXY_TOKEN_AUDIENCE"])
def test_what_has_no_default_is_required(least: dict[str, str], name: str) -> None:
    assert fault({key: value for key, value in least.items() if key != name}).startswith(f"{name}: is required: ")
    assert fault(least | {name: ""}).startswith(f"{name}: is required: ")


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    wrong = {
        "PROXY_LISTENS": "x",
        "PROXY_LISTEN": "x",
        "PROXY_WORKERS": "0",
        "PROXY_REVOCATIONS": str(tmp_path / "none"),
        "PROXY_HEARTBEAT_TABLE": "public.beats",
        "PROXY_TOKEN_AUDIENCE": "audience",
    }
    with pytest.raises(SettingsFault) as caught:
        load(wrong)
    lines = str(caught.value).splitlines()
    required = ["PROXY_TOKEN_KEYS", "PROXY_TOKEN_ISSUER"]
    assert sorted(line.partition(": ")[0] for line in lines) == sorted(
        [*(wrong.keys() - {"PROXY_TOKEN_AUDIENCE"}), *required]
    )


def test_a_blank_value_is_the_default(least: dict[str, str]) -> None:
    blank = {variable(name): "" for name in Settings.model_fields if variable(name) not in least}
    assert load(least | blank) == load(least)


WRONG = {
    "ELECTRIC_HTTP_URL": [
        *["electric:3000", "ftp://electric", "http://", "https:///x", "http://a b", "http://e:3000?x=1", "http://e#x"],
        *["http://user:pass@e", " http://e", "http://e ", "http://e\n", "HTTP://e", "http://e:x", "//e"],
        *["http://e:0", "http://e:65536", "http://e:99999/base"],
        *["http://e/v1/shape", "http://e/v1/shape/", "http://e/base/v1/shape", "http://e/v1", "http://e/v1/health"],
    ],
    "DATABASE_URL": ["foo", "mysql://x/y", "postgresql://", "postgresql:/x", "host=x dbname=y", "postgresql://x y"],
    "PROXY_ALLOWED_ORIGINS": [
        *["localhost:5173", "app.example", "https://app.example/", "https://app.example/app", "https://app.example?x"],
        *["https://App.example", "HTTPS://app.example", "https://app.example:443", "http://app.example:80", "null"],
        *[
            "https://",
            "https://*.example",
            "https://user@app.example",
            "https://app.example,x",
            "https://bücher.example",
        ],
    ],
    "PROXY_ALLOWED_HEADERS": ["*", "a b", "a:b", "a\r\nb", "tracestate,é", 'a"'],
    "PROXY_LISTEN": [
        "8080",
        "localhost",
        "localhost:",
        "localhost:x",
        "localhost:65536",
        "localhost:-1",
        "h:²",
        "h:8 ",
    ],
    "PROXY_ADMIN_LISTEN": ["9090"],
    "PROXY_LOG_LEVEL": ["INFO", "warn", "trace", "0"],
    "PROXY_TOKEN_MAX_SECONDS": ["0", "-1", "1.5", "x", "1e3", "NaN", "9" * 20],
    "PROXY_TOKEN_LEEWAY_SECONDS": ["-1", "61", "nan", "inf", "x"],
    "PROXY_TOKEN_REQUIRE_TYP": ["maybe", "2"],
    "PROXY_TOKEN_MAX_BYTES": ["0"],
    "PROXY_TOKEN_CACHE": ["0"],
    "PROXY_HEAD_SECONDS": ["0", "-1", "nan", "inf", "86401", "x"],
    "PROXY_MAX_OPEN_REQUESTS": ["-1", "x"],
    "PROXY_LIMIT_FILTER_DEPTH": ["0", "65", "x"],
    "PROXY_LIMIT_QUERY_BYTES": ["0", "-1", "x"],
}
CASES = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_wrong_value_is_one_line_that_names_the_variable(least: dict[str, str], name: str, value: str) -> None:
    assert fault(least | {name: value}).startswith(f"{name}: ")


NUMBERS = [name for name, field in Settings.model_fields.items() if isinstance(field.default, int | float)]


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_a_word(least: dict[str, str], name: str) -> None:
    assert fault(least | {variable(name): "many"}).startswith(f"{variable(name)}: Input should be a valid ")


@pytest.mark.parametrize("name", ["ELECTRIC_SECRET", "DATABASE_URL", "PROXY_HANDLE_KEY"])
def test_a_secret_does_not_show(least: dict[str, str], name: str) -> None:
    secret = "postgresql://user:s3cr3t@host/database" if name == "DATABASE_URL" else "s3cr3t" * 6
    said = load(least | {name: secret})
    for text in (repr(said), str(said), f"{said!r}", str(said.model_dump()), said.model_dump_json()):
        assert "s3cr3t" not in text
    assert "s3cr3t" not in fault(least | {name: secret, "PROXY_LISTEN": "x"})


@pytest.mark.parametrize("key", ["x", "s3cr3t" * 5, "ü" * 31])
def test_a_key_for_handles_is_long(least: dict[str, str], key: str) -> None:
    assert fault(least | {"PROXY_HANDLE_KEY": key}) == "PROXY_HANDLE_KEY: must have 32 characters or more"


def test_a_key_file_that_is_not_there_is_told(least: dict[str, str], tmp_path: Path) -> None:
    missing = tmp_path / "none.json"
    assert fault(least | {"PROXY_TOKEN_KEYS": str(missing)}) == f"PROXY_TOKEN_KEYS: there is no file {missing}"
    assert "there is no file" in fault(least | {"PROXY_TOKEN_KEYS": str(tmp_path)})


ADDRESSES = {
    "127.0.0.1:8080": (Address("127.0.0.1", 8080), "127.0.0.1:8080"),
    ":80": (Address("0.0.0.0", 80), "0.0.0.0:80"),  # noqa: S104 - all interfaces is what it says
    "[::]:80": (Address("::", 80), "[::]:80"),
    "[::1]:0": (Address("::1", 0), "[::1]:0"),
    "proxy.internal:65535": (Address("proxy.internal", 65535), "proxy.internal:65535"),
}


@pytest.mark.parametrize(("value", "address", "shown"), [(key, *pair) for key, pair in ADDRESSES.items()])
def test_an_address_is_a_host_and_a_port(least: dict[str, str], value: str, address: Address, shown: str) -> None:
    said = load(least | {"PROXY_LISTEN": value}).listen
    assert said == address
    assert str(said) == shown


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("https://app.example", ("https://app.example",)),
        (" https://a.example , https://b.example ,", ("https://a.example", "https://b.example")),
        ("*", ("*",)),
        (",", ()),
        ("http://localhost:5173,http://[::1]:5173", ("http://localhost:5173", "http://[::1]:5173")),
        ("https://app.example:80,http://app.example:443", ("https://app.example:80", "http://app.example:443")),
        ("capacitor://localhost,chrome-extension://abc", ("capacitor://localhost", "chrome-extension://abc")),
    ],
)
def test_origins_stand_between_commas(least: dict[str, str], value: str, origins: tuple[str, ...]) -> None:
    assert load(least | {"PROXY_ALLOWED_ORIGINS": value}).allowed_origins == origins


RIGHT = {
    "localhost:5173": "http://localhost:5173",
    "https://app.example/": "https://app.example",
    "https://App.example/app?x=1#y": "https://app.example",
    "https://user@app.example:443/": "https://app.example",
    "http://app.example:80": "http://app.example",
    "null": "https://app.example",
    "https://*.example": "https://app.example",
}


@pytest.mark.parametrize(("value", "right"), RIGHT.items(), ids=RIGHT)
def test_a_wrong_origin_is_told_with_the_right_form(least: dict[str, str], value: str, right: str) -> None:
    line = fault(least | {"PROXY_ALLOWED_ORIGINS": f"https://right.example,{value}"})
    assert line.startswith(f"PROXY_ALLOWED_ORIGINS: {value!r} must be an origin as browsers send it, ")
    assert line.endswith(f": {right}")
    assert load(least | {"PROXY_ALLOWED_ORIGINS": right}).allowed_origins == (right,)


def test_electrics_address_is_told_in_the_right_form(least: dict[str, str]) -> None:
    line = fault(least | {"ELECTRIC_HTTP_URL": "http://electric:3000/v1/shape"})
    assert line == "ELECTRIC_HTTP_URL: must be Electric's address alone, http://electric:3000: the proxy adds /v1/shape"


def test_a_wrong_database_is_not_repeated_for_it_may_hold_a_password(least: dict[str, str]) -> None:
    line = fault(least | {"DATABASE_URL": "user:s3cr3t@host"})
    assert line == "DATABASE_URL: must be a URL, such as postgresql://user:password@host:5432/database"


def test_header_names_stand_between_commas_and_have_no_case(least: dict[str, str]) -> None:
    said = load(least | {"PROXY_ALLOWED_HEADERS": "tracestate, Baggage,sentry-trace,"})
    assert said.allowed_headers == ("tracestate", "baggage", "sentry-trace")


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://electric:3000/", "http://electric:3000"),
        ("https://electric.example/base/", "https://electric.example/base"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_electrics_address_has_no_slash_at_its_end(least: dict[str, str], value: str, url: str) -> None:
    assert load(least | {"ELECTRIC_HTTP_URL": value}).electric_http_url == url


@pytest.mark.parametrize("value", ["beats", "public.", "public.beats; --", "a.b.c"])
def test_a_table_is_a_schema_and_a_name(least: dict[str, str], value: str) -> None:
    line = fault(least | {"DATABASE_URL": "postgres://x", "PROXY_HEARTBEAT_TABLE": value})
    assert line == "PROXY_HEARTBEAT_TABLE: must be schema.name, such as public.shape_proxy_heartbeat"


def test_a_heartbeat_needs_a_database(least: dict[str, str]) -> None:
    beats = {"PROXY_HEARTBEAT_TABLE": "public.beats"}
    assert fault(least | beats) == "PROXY_HEARTBEAT_TABLE: needs DATABASE_URL"
    assert load(least | beats | {"DATABASE_URL": "postgres://x"}).heartbeat_table == Table("public", "beats")


def test_values_may_be_given_as_values(least: dict[str, str]) -> None:
    said = load(least).model_copy(update={"listen": Address("::", 1)})
    again = Settings.model_validate(dict(said) | {"heartbeat_table": Table("public", "beats")})
    assert (again.listen, again.heartbeat_table) == (Address("::", 1), Table("public", "beats"))


def test_limits_are_settings(least: dict[str, str]) -> None:
    said = load(least | {"PROXY_LIMIT_QUERY_BYTES": "100", "PROXY_LIMIT_FILTER_DEPTH": "64", "PROXY_LIMIT_PARAMS": "7"})
    assert said.limits == Limits(query_bytes=100, params=7)
    assert said.filter_limits == FilterLimits(depth=64)


def test_the_policies_folder_needs_no_other_setting() -> None:
    assert settings.policies_folder({}) == settings.policies_folder({"PROXY_POLICIES": ""}) == Path("policies")
    assert settings.policies_folder({"PROXY_POLICIES": "other"}) == Path("other")


def test_names_have_the_prefix_but_for_the_applications_own() -> None:
    names = {variable(name) for name in Settings.model_fields}
    assert {name for name in names if not name.startswith("PROXY_")} == {
        "ELECTRIC_HTTP_URL",
        "ELECTRIC_SECRET",
        "DATABASE_URL",
    }


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name: str) -> None:
    description = Settings.model_fields[name].description or ""
    assert description.endswith(".")
    assert description[0].isupper() or description.startswith(("iss", "aud"))


def test_the_example_is_the_file_in_the_repository() -> None:
    assert (ROOT / ".env.example").read_text("utf-8") == settings.example(), "shape-proxy env-example > .env.example"


def test_the_example_loads_once_the_required_values_are_there(least: dict[str, str]) -> None:
    pairs = [line.split("=", 1) for line in settings.example().splitlines() if line and not line.startswith("#")]
    assert {name for name, _ in pairs} == {variable(name) for name in Settings.model_fields}
    assert load(dict(pairs) | least) == load(least)


def test_the_example_shows_every_default_and_no_secret() -> None:
    lines = dict(line.split("=", 1) for line in settings.example().splitlines() if "=" in line and line[0] != "#")
    for name, field in Settings.model_fields.items():
        assert (lines[variable(name)] == "") == (field.default in (PydanticUndefined, None, (), "") or "secret" in name)
    assert lines["PROXY_TOKEN_REQUIRE_TYP"] == "false"
