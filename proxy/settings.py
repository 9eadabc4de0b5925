# SPDX-License-Identifier: Apache-2.0
"""Every setting, its name in the environment, its type, default and meaning. The only module that reads the
environment; `.env.example` is generated from here (`shape-proxy env-example`)."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from proxy.core.filters import FilterLimits
from proxy.core.identifiers import Table
from proxy.core.limits import Limits
from proxy.core.rule_limits import RuleLimits

PREFIX = "PROXY_"
MAX_PORT = 65535
KEY_CHARACTERS = 32
_UNPREFIXED = frozenset({"electric_http_url", "electric_secret", "database_url"})  # the application's own names
_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_HTTP_URL = re.compile(rf"https?://{_HOST}(?::(?P<port>[0-9]{{1,5}}))?(?P<path>/[A-Za-z0-9._~/-]*)?")
_OWN_PATH = re.compile(r"/v1(?:/shape|/health)?/*\Z")  # the proxy adds these itself
_POSTGRES_URL = re.compile(r"postgres(?:ql)?://[^\s]+")
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST.replace('A-Za-z', 'a-z').replace('A-F', '')}(?::[0-9]{{1,5}})?")
_DEFAULT_PORT = re.compile(r"(?<=^http:)(.*):80\Z|(?<=^https:)(.*):443\Z")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_NEEDED = ("token_keys", "token_issuer", "token_audience")
_ONE_ISSUER = (*_NEEDED, "token_max_seconds", "token_leeway_seconds", "token_require_typ")
_LIMITS, _FILTER = Limits(), FilterLimits()


class SettingsFault(Exception):
    """Settings are missing, unknown or wrong; the text has one line for each, which names it."""


class Address(NamedTuple):
    """A host and a port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError("must be host:port, such as 127.0.0.1:8080 or [::]:8080")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - `:8080` means all interfaces


def _comma_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _origins(value: Any) -> Any:
    wrong = [_not_an_origin(origin) for origin in value if origin != "*" and not _is_origin(origin)]
    if wrong:
        raise ValueError("; ".join(wrong))
    return value


def _is_origin(text: str) -> bool:
    """Whether it is spelled as browsers send it (RFC 6454 6.2): anything else would match no request."""
    return _ORIGIN.fullmatch(text) is not None and _DEFAULT_PORT.search(text) is None


def _not_an_origin(text: str) -> str:
    given = text if "://" in text else f"http://{text}"
    scheme, _, rest = given.lower().partition("://")
    origin = f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"
    origin = _DEFAULT_PORT.sub(r"\1\2", origin)
    example = origin if _is_origin(origin) and text != "null" else "https://app.example"
    return f"{text!r} must be an origin as browsers send it, without a path or a slash at the end: {example}"


def _header_names(value: Any) -> Any:
    for name in value:
        if name == "*" or not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} must be the name of a header, such as tracestate")
    return tuple(name.lower() for name in value)


def _keys(value: Any) -> Any:
    return Path(value) if isinstance(value, str) and "://" not in value else value


def _http_url(value: str) -> str:
    found = _HTTP_URL.fullmatch(value)
    if found is None:
        raise ValueError("must be an http(s) address without a query, such as http://electric:3000")
    if found["port"] is not None and not 0 < int(found["port"]) <= MAX_PORT:
        raise ValueError(f"the port must be between 1 and {MAX_PORT}, such as http://electric:3000")
    if own := _OWN_PATH.search(found["path"] or ""):
        raise ValueError(f"must be Electric's address alone, {value[: -len(own[0])]}: the proxy adds /v1/shape")
    return value.rstrip("/")


def _postgres_url(value: Any) -> Any:
    """Says what is wrong without the value: there may be a password in it."""
    if isinstance(value, str) and not _POSTGRES_URL.fullmatch(value):
        raise ValueError("must be a URL, such as postgresql://user:password@host:5432/database")
    return value


def _long(value: SecretStr) -> SecretStr:
    if len(value) < KEY_CHARACTERS:
        raise ValueError(f"must have {KEY_CHARACTERS} characters or more")
    return value


Listen = Annotated[Address, BeforeValidator(_address)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Bound = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""A limit that 0 turns off."""
Bytes = Annotated[int, Field(ge=0, le=1_000_000_000_000)]
Elements = Annotated[int, Field(ge=1, le=10_000)]
Switch = bool
Depth = Annotated[int, Field(ge=1, le=64)]


def _table(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    table = Table.parse(value)
    if table is None:
        raise ValueError("must be schema.name, such as public.shape_proxy_heartbeat")
    return table


class Settings(BaseModel):
    """The settings of one process. Raises SettingsFault through `load` only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    electric_http_url: Annotated[str, AfterValidator(_http_url)] = Field(
        "http://127.0.0.1:3000", description="Where Electric listens."
    )
    electric_secret: SecretStr = Field(SecretStr(""), description="Electric's secret; empty if it runs without.")
    handle_key: Annotated[SecretStr, AfterValidator(_long)] | None = Field(
        None,
        description="Binds handles to shapes: 32 characters or more, one for all replicas; else ELECTRIC_SECRET does.",
    )
    database_url: Annotated[SecretStr | None, BeforeValidator(_postgres_url)] = Field(
        None, description="PostgreSQL, for the lag metrics, the check of policies and the demo; optional."
    )

    listen: Listen = Field(Address("127.0.0.1", 8080), description="Where clients connect.")
    admin_listen: Listen = Field(
        Address("127.0.0.1", 9090), description="Where the console, /live, /ready and /metrics are."
    )
    admin_token: Annotated[SecretStr, AfterValidator(_long)] | None = Field(
        None,
        description="Opens the console on PROXY_ADMIN_LISTEN: 32 characters or more; not needed on loopback.",
    )
    policies: Path = Field(Path("policies"), description="The folder of policy files.")
    shadow_policies: Path | None = Field(
        None, description="A folder of other policies that decisions are judged by as well: counted, logged, no effect."
    )
    allowed_origins: Annotated[tuple[str, ...], BeforeValidator(_comma_list), AfterValidator(_origins)] = Field(
        (), description="Web origins that may read answers, separated by commas; * for all."
    )
    allowed_headers: Annotated[tuple[str, ...], BeforeValidator(_comma_list), AfterValidator(_header_names)] = Field(
        (), description="More headers that web pages may send, such as tracestate,baggage; none of them goes upstream."
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Processes; each shares by itself.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The minimum level that is logged."
    )

    issuers: Path | None = Field(
        None, description="A TOML file of issuers, in place of the single one of PROXY_TOKEN_ISSUER."
    )
    token_keys: Annotated[Path | str | None, BeforeValidator(_keys)] = Field(
        None, description="A JWKS file, or its https address, with the keys that tokens are verified with."
    )
    token_issuer: str = Field("", description="What iss must be, exactly.")
    token_audience: str = Field("", description="What aud must be, or hold if it is a list.")
    token_max_seconds: Count = Field(900, description="The longest life of a token, exp - iat.")
    token_leeway_seconds: float = Field(10, ge=0, le=60, description="The clock difference that is tolerated.")
    token_require_typ: bool = Field(False, description="Whether typ must be electric-shape+jwt.")
    token_max_bytes: Count = Field(4096, description="The longest token that is read.")
    token_cookie: Annotated[str | None, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")] = Field(
        None, description="A cookie that may hold the token, such as __session, for pages of PROXY_ALLOWED_ORIGINS."
    )
    revocations: Path | None = Field(None, description="A file of revoked subjects and tokens, read when it changes.")
    revocations_table: Annotated[Table | None, BeforeValidator(_table)] = Field(
        None, description="The table of revocations, schema.name (deploy/postgres), followed through Electric."
    )
    revocations_required: Switch = Field(
        False, description="Whether requests are refused while Electric cannot be followed; else what was known holds."
    )
    token_cache: Count = Field(10_000, description="How many verified tokens are cached.")

    database_check: Literal["warn", "strict"] = Field(
        "warn", description="Whether a difference between policies and DATABASE_URL is logged, or refused."
    )
    decision_cache_bytes: Bytes = Field(33_554_432, description="Cached decisions, all together; 0 for none.")

    connect_seconds: Seconds = Field(3, description="To connect to Electric.")
    head_seconds: Seconds = Field(30, description="For the head of an answer that is not a live poll's.")
    live_head_seconds: Seconds = Field(35, description="For the head of a live poll, which Electric holds for 20 s.")
    sse_idle_seconds: Seconds = Field(45, description="Between two pieces of a stream; Electric sends one every 21 s.")
    write_seconds: Seconds = Field(25, description="For a client to take a piece; Electric itself waits 30.")
    drain_seconds: Seconds = Field(
        25, description="For open requests to end after SIGTERM; polls and streams are ended spread over it."
    )
    reload_on_change: Switch = Field(
        True, description="Whether policies and keys are read again when their files change; SIGHUP always does it."
    )

    header_bytes: Count = Field(32_768, description="The longest request head.")
    header_count: Count = Field(64, description="The most headers of a request.")
    header_seconds: Seconds = Field(10, description="For a request head to arrive.")
    max_open_requests: Bound = Field(20_000, description="Requests open at once, all clients.")
    max_open_requests_per_subject: Bound = Field(100, description="Requests open at once, one subject.")
    dropped_poll_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        20, description="How long a poll that its client dropped counts as open, as it does for Electric."
    )
    max_definitions_per_minute: Bound = Field(2_000, description="Shapes that Electric does not have yet, all clients.")
    max_definitions_per_minute_per_subject: Bound = Field(60, description="The same for one subject.")
    max_definitions_burst_per_subject: Count = Field(30, description="How many of them at once after a pause.")
    max_initial_requests: Bound = Field(
        200, description="Requests to Electric that begin a shape, at once; Electric itself takes 300."
    )
    max_initial_requests_per_subject: Bound = Field(10, description="The same for one subject.")
    max_subsets: Bound = Field(100, description="Requests to Electric for a subset, at once.")
    max_subsets_per_subject: Bound = Field(5, description="The same for one subject.")
    max_subsets_per_second_per_subject: Bound = Field(10, description="Requests for a subset in a second, one subject.")
    max_subsets_burst_per_subject: Count = Field(30, description="How many of them at once after a pause.")
    queue_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        2, description="How long a request that begins a shape, or for a subset, waits for a place at Electric."
    )
    max_cpu_ms_per_second_per_subject: Bound = Field(
        200, description="Time to read and judge requests of one subject, in milliseconds of each second."
    )
    cache_share: Bound = Field(8, description="One subject has this part of each cache: an eighth; 0: no bound.")

    keep_alive_seconds: Seconds = Field(
        75, description="For the next request on a connection; longer than load balancers wait, which is 60 s mostly."
    )
    max_connections: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        0, description="Client connections at once; 0: as many as the limit of open files leaves."
    )
    check_request_id: bool = Field(
        True, description="Whether an answer of Electric must bring the id of its request back; off behind a cache."
    )
    row_check: Literal["live", "all", "off"] = Field(
        "live",
        description="Which rows are compared with the policy: changes and 256 KiB of a snapshot, all, or none.",
    )
    share: Literal["on", "off"] = Field(
        "on", description="Whether identical authorized requests share one request to Electric."
    )
    cache_bytes: Bytes = Field(67_108_864, description="Cached answers, all together; 0 for none.")
    cache_entry_bytes: Bytes = Field(16_777_216, description="The largest cached answer; larger ones are only relayed.")
    cache_seconds: Seconds = Field(
        60, description="How long an answer is cached at most; Electric's max-age may be less."
    )
    cache_live_seconds: Seconds = Field(
        5, description="The same for answers to live polls, and for all that are up to date."
    )
    fetch_bytes: Bytes = Field(
        262_144,
        description="Buffer for a body that is not cached; slower readers get a request of their own.",
    )
    broadcast_bytes: Bytes = Field(
        262_144, description="Buffer for a shared stream, for readers that join late or read slowly."
    )

    limit_query_bytes: Count = Field(_LIMITS.query_bytes, description="The longest query string.")
    limit_query_pairs: Count = Field(_LIMITS.query_pairs, description="The most parameters of a query string.")
    limit_body_bytes: Count = Field(_LIMITS.body_bytes, description="The longest body.")
    limit_json_depth: Count = Field(_LIMITS.json_depth, description="The deepest JSON of a body.")
    limit_json_values: Count = Field(_LIMITS.json_values, description="The most values in the JSON of a body.")
    limit_params: Count = Field(_LIMITS.params, description="The most parameters of a filter.")
    limit_param_bytes: Count = Field(_LIMITS.param_bytes, description="The longest parameter.")
    limit_params_bytes: Count = Field(_LIMITS.params_bytes, description="All parameters together.")
    limit_subset_offset: Count = Field(_LIMITS.subset_offset, description="The highest offset of a subset.")
    limit_target_bytes: Count = Field(_LIMITS.target_bytes, description="The longest target sent to Electric.")
    limit_filter_bytes: Count = Field(_FILTER.bytes, description="The longest filter.")
    limit_filter_tokens: Count = Field(_FILTER.tokens, description="The most tokens (words and signs) of a filter.")
    limit_filter_depth: Depth = Field(_FILTER.depth, description="The deepest nesting of a filter.")
    limit_filter_nodes: Count = Field(_FILTER.nodes, description="The most operations of a filter.")
    limit_filter_in_list: Elements = Field(_FILTER.in_list, description="The longest list of a filter.")
    limit_filter_list_bytes: Count = Field(
        _FILTER.list_bytes, description="All lists of a filter together; they are not part of its bytes."
    )
    limit_filter_like_bytes: Count = Field(_FILTER.like_bytes, description="The longest LIKE pattern.")
    limit_filter_like_wildcards: Count = Field(
        _FILTER.like_wildcards, description="The most % and _ in a LIKE pattern."
    )

    probe_seconds: Seconds = Field(5, description="The polling interval of Electric's /v1/health.")
    probe_failures: Count = Field(3, description="Failures in a row until Electric, or its shapes, count as away.")
    ready_requires_electric: bool = Field(False, description="Whether /ready is false while Electric is away.")

    heartbeat_table: Annotated[Table | None, BeforeValidator(_table)] = Field(
        None,
        description="The table, schema.name, for measuring the delivery lag (deploy/postgres); empty: not measured.",
    )
    heartbeat_seconds: Seconds = Field(5, description="The interval of writes to the heartbeat table.")
    replication_slot: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,63}$")] = Field(
        "electric_slot_default", description="Electric's replication slot, whose lag is read if DATABASE_URL is set."
    )
    replication_seconds: Seconds = Field(15, description="The polling interval of the replication slot.")

    decision_sample: float = Field(0, ge=0, le=1, description="The share of allowed requests whose decision is logged.")
    decision_refusals: Count = Field(600, description="The most refusals of one code that are logged in a minute.")
    decision_file: Path | None = Field(
        None, description="A file, mode 0600, for logged decisions with claims and queries, for explain --decision."
    )
    decision_file_bytes: Count = Field(
        67_108_864, description="The size at which the decision file is renamed to file.1."
    )
    decision_files: Annotated[int, Field(ge=0, le=1000)] = Field(
        4, description="How many older decision files are kept: file.1, file.2, …."
    )

    @property
    def limits(self) -> Limits:
        """The bounds on one request."""
        return Limits(**_fields(self, "limit_", Limits))

    @property
    def filter_limits(self) -> FilterLimits:
        """The bounds on one filter."""
        return FilterLimits(**_fields(self, "limit_filter_", FilterLimits))

    @property
    def rule_limits(self) -> RuleLimits:
        """Every bound that the rules judge by."""
        return _rule_limits(self.limits, self.filter_limits, self.electric_secret)


def _fields(settings: Settings, prefix: str, limits: type[Limits | FilterLimits]) -> dict[str, int]:
    return {member.name: getattr(settings, prefix + member.name) for member in fields(limits)}


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that an environment gives. Raises SettingsFault, one line for each thing that is wrong."""
    known = {variable(name): name for name in Settings.model_fields}
    given = {field: environment[name] for name, field in known.items() if environment.get(name)}
    faults = [
        f"{name}: there is no such setting; .env.example lists them all"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(given)
    except ValidationError as fault:
        faults += _lines(fault)
    faults += _beyond_types(given)
    if settings is not None and settings.revocations_required and settings.revocations_table is None:
        faults.append(f"{variable('revocations_required')}: needs {variable('revocations_table')}")
    if settings is None or faults:
        raise SettingsFault("\n".join(faults))
    return settings


def _beyond_types(given: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with settings that are well-formed: files that are not there, and one that needs another."""
    for name in ("token_keys", "issuers", "revocations"):
        if name in given and not isinstance(_keys(given[name]), str) and not Path(given[name]).is_file():
            yield f"{variable(name)}: there is no file {given[name]}"
    yield from _of_issuers(given)
    if "token_cookie" in given and "*" in _comma_list(given.get("allowed_origins", "*")):
        yield f"{variable('token_cookie')}: needs PROXY_ALLOWED_ORIGINS with the origins of its pages, and no *"
    if "heartbeat_table" in given and "database_url" not in given:
        yield f"{variable('heartbeat_table')}: needs DATABASE_URL"


def _of_issuers(given: Mapping[str, str]) -> Iterator[str]:
    """Settings of a single issuer that are missing, or stand beside a file of issuers."""
    for name in _ONE_ISSUER:
        if "issuers" in given and name in given:
            yield f"{variable(name)}: stands in PROXY_ISSUERS, for each issuer by itself; leave it out here"
        elif "issuers" not in given and name not in given and name in _NEEDED:
            yield f"{variable(name)}: is required: {Settings.model_fields[name].description}"


def rule_limits(environment: Mapping[str, str] = os.environ) -> RuleLimits:
    """The bounds that `load` would give, for commands that need no other setting. Raises SettingsFault."""
    names = [name for name in Settings.model_fields if name.startswith("limit_") or name == "electric_secret"]
    given = {name: environment[variable(name)] for name in names if environment.get(variable(name))}
    needed = {name: "x" for name, field in Settings.model_fields.items() if field.is_required()}
    try:
        return Settings.model_validate(needed | given).rule_limits
    except ValidationError as fault:
        raise SettingsFault("\n".join(_lines(fault))) from None


def _rule_limits(limits: Limits, filter_limits: FilterLimits, secret: SecretStr) -> RuleLimits:
    parameter = f"&secret={quote(secret.get_secret_value(), safe='')}" if secret.get_secret_value() else ""
    return RuleLimits(limits, filter_limits, len(parameter))


def policies_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of policies, for commands that need no other setting."""
    return Path(environment.get(variable("policies")) or Settings.model_fields["policies"].default)


def database_dsn(environment: Mapping[str, str] = os.environ) -> str:
    """DATABASE_URL, empty if it is not set, for commands that need no other setting."""
    return environment.get(variable("database_url"), "")


def variable(field: str) -> str:
    """The name in the environment of a setting."""
    return field.upper() if field in _UNPREFIXED else PREFIX + field.upper()


def _lines(fault: ValidationError) -> Iterator[str]:
    for error in fault.errors(include_url=False, include_context=False, include_input=False):
        field = str(error["loc"][0])
        if error["type"] == "missing":
            yield f"{variable(field)}: is required: {Settings.model_fields[field].description}"
        else:
            yield f"{variable(field)}: {error['msg'].removeprefix('Value error, ')}"


def example() -> str:
    """The text of `.env.example`: every setting with its meaning and default; required ones have none."""
    lines = ["# Every setting of shape-proxy. Values shown are the defaults; those without one are required.", ""]
    for name, field in Settings.model_fields.items():
        required = field.is_required()
        value = "" if required or field.default is None else shown(field.default)
        lines += [f"# {field.description}{' Required.' if required else ''}", f"{variable(name)}={value}", ""]
    return "\n".join(lines)


def shown(value: object) -> str:
    if value is None or isinstance(value, SecretStr):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and not isinstance(value, Address):
        return ",".join(map(str, value))
    return str(value)
