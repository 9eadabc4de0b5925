"""The command line: serve, check, explain, mint, demo. Whatever is wrong is one line, and exit 1."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from proxy import settings
from proxy.audit import explain as explanation
from proxy.audit import replay
from proxy.audit.replay import Inputs, Recorded, Replay, ReplayFault
from proxy.auth import policy_loader as policy_files
from proxy.auth import tokens
from proxy.auth.database_check import DatabaseFault
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.auth.revocation import RevocationFault
from proxy.core.claims import Claims
from proxy.core.errors import Refusal
from proxy.core.rule_limits import RuleLimits
from proxy.runtime import configuration
from proxy.settings import SettingsFault


@contextmanager
def _faults_are_lines() -> Iterator[None]:
    try:
        yield
    except (SettingsFault, PoliciesFault, KeysFault, RevocationFault, ReplayFault, DatabaseFault, OSError) as fault:
        click.echo(str(fault), err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shape-proxy")
def main() -> None:
    """The authorizing reverse proxy for Electric shapes. Settings come from the environment: see .env.example."""


@main.command()
def serve() -> None:
    """Serve clients on PROXY_LISTEN, and /live, /ready, /metrics on PROXY_ADMIN_LISTEN."""
    from proxy.runtime import server  # the event loop is not needed to check or mint

    with _faults_are_lines():
        sys.exit(server.run(settings.load()))


_folder = click.option(
    "--policies", type=click.Path(path_type=Path), help="The folder of policies; PROXY_POLICIES if left out."
)


@main.command()
@_folder
@click.option(
    "--database",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Hold them against this database, DATABASE_URL without a value: columns, keys, types, collations.",
)
def check(policies: Path | None, database: str | None) -> None:
    """Load the policies exactly as serve does, and print each of their cases."""
    folder = policies or settings.policies_folder()
    with _faults_are_lines():
        loaded = policy_files.load(folder, settings.rule_limits())
        lines = _differences(loaded, folder, database)
    for result in loaded.results:
        click.echo(f"{result.policy}: {result.expect}: {result.case}")
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    for line in lines:
        click.echo(line, err=True)
    click.echo(f"{len(loaded.policies.by_name)} policies, {len(loaded.results)} cases, digest {loaded.digest}")
    sys.exit(1 if lines else 0)


def _differences(loaded: LoadedPolicies, folder: Path, database: str | None) -> tuple[str, ...]:
    if database is None:
        return ()
    dsn = database or settings.database_dsn()
    if not dsn:
        raise click.UsageError("--database needs a URL, here or in DATABASE_URL")
    return policy_files.differences(loaded, folder, dsn)[1]


@main.command()
@_folder
@click.option("--token", help="A token, verified as serve does.")
@click.option("--claims", help="The claims as JSON, or @FILE that holds them, instead of a token.")
@click.option("--shape", help="The name of /v1/shapes/NAME; without it the query names the table.")
@click.option("--body", help="The JSON body of a POST.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option(
    "--decision",
    type=click.Path(path_type=Path),
    help="A decision file or a log: decide its last decision again. A log holds no claims and no query: give them.",
)
@click.option("--request-id", help="Of the decisions in that file, the one with this id.")
@click.argument("query", required=False)
def explain(
    policies: Path | None,
    token: str | None,
    claims: str | None,
    shape: str | None,
    body: str | None,
    as_json: bool,
    decision: Path | None,
    request_id: str | None,
    query: str | None,
) -> None:
    """Say what every rule thinks of QUERY, and what would be sent upstream. Exit 1 if it is refused.

    With --decision, exit 1 if it does not come out as it did.
    """
    asked = None if query is None else partial(_inputs, token, claims, shape, body, query)
    with _faults_are_lines():
        limits = settings.rule_limits()
        loaded = policy_files.load(policies or settings.policies_folder(), limits)
        if decision is not None:
            _explain_again(replay.read(decision, request_id), asked, loaded, limits, as_json)
        if asked is None:
            raise click.UsageError("give a QUERY, or a --decision")
        try:
            told = asked().explained(loaded.policies, limits)
        except Refusal as refusal:
            told = explanation.Explanation.of_refusal("token", refusal)
    click.echo(json.dumps(told.members(), indent=2) if as_json else "\n".join(told.lines()))
    sys.exit(0 if told.allowed else 1)


def _explain_again(
    recorded: Recorded,
    asked: Callable[[], Inputs] | None,
    loaded: LoadedPolicies,
    limits: RuleLimits,
    as_json: bool,
) -> NoReturn:
    try:
        inputs = recorded.inputs if asked is None else asked()
    except Refusal as refusal:
        raise click.UsageError(f"the token is refused: {refusal.reason}") from None
    if inputs is None:
        raise click.UsageError("a log does not hold what was asked: give --claims or --token, and the QUERY")
    again = Replay(recorded, loaded.digest, inputs.explained(loaded.policies, limits))
    if as_json:
        click.echo(json.dumps(again.now.members() | {"decision": again.members()}, indent=2))
    else:
        click.echo("\n".join((*again.now.lines(), again.line())))
    sys.exit(0 if again.same else 1)


def _inputs(token: str | None, claims: str | None, shape: str | None, body: str | None, query: str) -> Inputs:
    return Inputs(_claims(token, claims), shape, _bytes(query), None if body is None else _bytes(body))


def _claims(token: str | None, claims: str | None) -> Claims:
    if (token is None) == (claims is None):
        raise click.UsageError("give either --token or --claims")
    if claims is not None:
        text = Path(claims[1:]).read_text("utf-8") if claims.startswith("@") else claims
        return Claims("explain", float("inf"), _object("--claims", text))
    said = settings.load()
    verifier = tokens.Verifier(KeyRing.read(said.token_keys), configuration.token_rules(said))
    return verifier.verify([_bytes(f"Bearer {token}")])


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise click.UsageError(f"{option} must be a JSON object")
    return members


def _bytes(argument: str) -> bytes:
    """An argument as it was typed, also where it is no UTF-8."""
    return argument.encode("utf-8", "surrogateescape")


@main.command()
@click.option("--subject", "--sub", required=True, help="Who the token is for.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A text claim; may be repeated.")
@click.option("--json-claims", default="{}", help="More claims, as a JSON object.")
@click.option("--seconds", type=int, help="How long it lives; the longest permitted if left out.")
def mint(subject: str, claims: tuple[str, ...], json_claims: str, seconds: int | None) -> None:
    """Print a token signed with the first private key of PROXY_TOKEN_KEYS: for development and tests."""
    if not all("=" in claim for claim in claims):
        raise click.UsageError("--claim must be NAME=VALUE")
    said = dict(claim.partition("=")[::2] for claim in claims) | _object("--json-claims", json_claims)
    with _faults_are_lines():
        used = settings.load()
        ring = KeyRing.read(used.token_keys)
        wanted = used.token_max_seconds if seconds is None else seconds
        if wanted > used.token_max_seconds:
            most = f"{settings.variable('token_max_seconds')} permits {used.token_max_seconds}"
            raise click.UsageError(f"--seconds {wanted} would make a token that is refused: {most}")
        click.echo(tokens.mint(ring, configuration.token_rules(used), subject, said, wanted))


@main.command()
@click.option("--clients", type=click.IntRange(0, 10_000), default=0, help="Live clients that share, to watch.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, help="The port of the page; 0 for any.")
@click.option("--lines", is_flag=True, help="Print lines to paste into another terminal as well, and the log.")
def demo(clients: int, port: int, lines: bool) -> None:
    """Start PostgreSQL, a stand-in for Electric, the proxy and a page to watch them on. Ctrl-C ends everything."""
    click.echo("shape-proxy demo: starting …")
    try:
        from proxy.demo.demo import DemoFault, run
        from proxy.demo.environment import Options
    except ModuleNotFoundError as missing:
        raise click.ClickException(f"{missing}: pip install 'shape-proxy[sandbox]'") from None
    try:
        run(Options(clients, port, lines))
    except DemoFault as fault:
        click.echo(str(fault), err=True)
        sys.exit(1)


@main.command(hidden=True)
def env_example() -> None:
    """Print .env.example, which a test compares with the file."""
    click.echo(settings.example(), nl=False)
