# SPDX-License-Identifier: Apache-2.0
"""explain: why a request is allowed or refused."""

import asyncio
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from proxy import settings
from proxy.audit import explain as explanation
from proxy.audit import pasted, replay
from proxy.audit.replay import Inputs, Recorded, Replay
from proxy.auth import jwks, tokens
from proxy.auth import policy_loader as policy_files
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.trust import Trust
from proxy.cli.exits import faults_are_lines
from proxy.cli.options import folder, json_object, raw
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from proxy.core.rule_limits import RuleLimits
from proxy.runtime import configuration


@click.command()
@folder
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
    """Show what every rule decides about a request, and what would be sent upstream. Exit 1 if it is refused.

    QUERY is a URL, a path with a query or a query alone, percent-encoded or plain. It is judged by the limits that
    serve judges by. With --decision, exit 1 if it does not come out as it did.
    """
    asked = None if query is None else partial(_inputs, token, claims, shape, body, query)
    with faults_are_lines():
        limits = settings.rule_limits()
        loaded = policy_files.load(policies or settings.policies_folder(), limits)
        if decision is not None:
            _explain_again(replay.read(decision, request_id), asked, loaded, limits, as_json)
        if asked is None:
            raise click.UsageError("give a QUERY, or a --decision")
        try:
            explained = asked().explained(loaded.policies, limits)
        except Refusal as refusal:
            explained = explanation.Explanation.of_refusal(_stage(refusal), refusal)
    click.echo(json.dumps(explained.members(), indent=2) if as_json else "\n".join(explained.lines()))
    sys.exit(0 if explained.allowed else 1)


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
        raise click.UsageError(f"the {_stage(refusal)} is refused: {refusal.reason}") from None
    if inputs is None:
        raise click.UsageError("a log does not hold what was asked: give --claims or --token, and the QUERY")
    again = Replay(recorded, loaded.digest, inputs.explained(loaded.policies, limits))
    if as_json:
        click.echo(json.dumps(again.now.members() | {"decision": again.members()}, indent=2))
    else:
        click.echo("\n".join((*again.now.lines(), again.line())))
    sys.exit(0 if again.same else 1)


def _inputs(token: str | None, claims: str | None, shape: str | None, body: str | None, query: str) -> Inputs:
    given = _claims(token, claims)
    asked = pasted.parse(query, shape)
    if shape is not None and asked.name != shape:
        raise click.UsageError(f"--shape {shape} is not the shape of the URL")
    return Inputs(given, asked.name, asked.query, None if body is None else raw(body))


def _stage(refusal: Refusal) -> str:
    """What is refused before the rules begin: the path of a URL, or the token."""
    return "path" if refusal.code is Code.not_found else "token"


def _claims(token: str | None, claims: str | None) -> Claims:
    if (token is None) == (claims is None):
        raise click.UsageError("give either --token or --claims")
    if claims is not None:
        return Claims("explain", float("inf"), json_object("--claims", claims))
    loaded = settings.load()
    trust = asyncio.run(jwks.fetched(Trust.read(configuration.issuers(loaded))))
    return tokens.Verifier(trust, configuration.token_bounds(loaded)).verify([raw(f"Bearer {token}")])
