"""Each protection of policies switched off in a copy of its modules: the check that must notice does.

The copies are built from the sources under another package name and imported from memory; the rest of proxy.core, the
filters among it, is the package under test itself.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import proxy.core
from proxy.core.document import PolicyDocument
from proxy.core.errors import Code, Refusal
from proxy.core.filters import parse_policy
from tests.copies import Sources
from tests.core.policy_mutants import MUTANTS, Mutant
from tests.core.samples import DOCUMENT, asked
from tests.core.test_agreement import CLAIMS, OPEN_TO_NULL, types
from tests.core.test_grants import CHOSEN, FAULTS, ISSUES, ORG, REFUSED, token

COPY = "copied_core"
MODULES = ("agreement", "checks", "claims", "decision", "draft", "grants", "policy", "type_guard")
SOURCES = {name: (Path(proxy.core.__file__).parent / f"{name}.py").read_text("utf-8") for name in MODULES}
OURS = re.compile(rf"proxy\.core\.({'|'.join(MODULES)})\b")

Core = Any
"""The copies, as attributes of a package."""


def renamed(text: str) -> str:
    return OURS.sub(rf"{COPY}.\1", text)


@contextmanager
def copied(mutant: Mutant | None) -> Iterator[Core]:
    """The copies, with the mutant's piece replaced."""
    with Sources(COPY, SOURCES | {"__init__": ""}, renamed).imported(mutant) as core:
        for name in MODULES:
            importlib.import_module(f"{COPY}.{name}")
        yield core


def issues(core: Core, **changes: Any) -> Any:
    return core.policy.Policy.of("notes", PolicyDocument.model_validate({**DOCUMENT, **ISSUES, **changes}))


def decided(core: Core, who: Any, made: Any, **params: object) -> Any:
    return core.decision.decide(asked(**params), who, core.policy.PolicySet.of([made]))


def chooses(core: Core) -> Iterator[str]:
    made = issues(core)
    for name, (who, grant, where, params) in CHOSEN.items():
        decision = decided(core, who, made)
        sent = decision.shape and decision.shape.predicate
        if decision.grant != grant or sent is None or (sent.text, sent.params) != (where, params):
            yield name


def refuses(core: Core) -> Iterator[str]:
    for name, (changes, who, code, reason) in REFUSED.items():
        made = issues(core, **changes, **({"isolation": None} if changes else {}))
        refusal = decided(core, who, made).refusal
        if refusal is None or refusal.code is not code or reason not in refusal.reason:
            yield name


def narrows(core: Core) -> Iterator[str]:
    made = issues(core)
    narrowed, plain = decided(core, token(label="x"), made).authorized(), decided(core, token(), made).authorized()
    if narrowed.bound != {"title": "x"} or not narrowed.predicate.text.endswith('AND ("title" = $4)) AND (TRUE)'):
        yield "a narrow"
    if plain.bound:
        yield "public rows"


def gives_no_more(core: Core) -> Iterator[str]:
    made = issues(core)
    if decided(core, token(), made).authorized().columns != ("id", "org_id", "title", "status"):
        yield "columns"
    for params, code in (
        ({"columns": "id,assignee"}, Code.column_forbidden),
        ({"subset__where": "true", "subset__order_by": "assignee"}, Code.column_forbidden),
        ({"where": "assignee = 'bob'"}, Code.filter_column_forbidden),
    ):
        refusal: Refusal | None = decided(core, token(), made, **params).refusal
        if refusal is None or refusal.code is not code:
            yield str(params)
    if decided(core, token("owner", org_ids=[ORG]), made).authorized().bound != {"org_id": (ORG,)}:
        yield "bound"


def loads_none(core: Core) -> Iterator[str]:
    for name, (changes, sentence) in FAULTS.items():
        try:
            issues(core, **changes)
            yield name
        except core.policy.PolicyFault as fault:
            if not any(sentence in said for said in fault.sentences):
                yield name


def agrees(core: Core) -> Iterator[str]:
    known = core.agreement.KnownTypes(types())
    more = ("na @> ARRAY[1]", "other && ARRAY['a']", "t && ARRAY['a']")
    for text in (*OPEN_TO_NULL, *more):
        if not core.agreement.disagreements(parse_policy(text, CLAIMS), known):
            yield text


CHECKS: dict[str, Callable[[Core], Iterator[str]]] = {
    check.__name__: check for check in (chooses, refuses, narrows, gives_no_more, loads_none, agrees)
}


def wrong(core: Core, check: str) -> bool:
    """Whether a check finds anything; a mutant may do anything, so an exception counts."""
    try:
        return any(True for _ in CHECKS[check](core))
    except Exception:
        return True


def test_the_checks_find_nothing_wrong_with_us() -> None:
    with copied(None) as core:
        assert [name for name, check in CHECKS.items() if list(check(core))] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.protection)
def test_a_protection_switched_off_is_noticed(mutant: Mutant) -> None:
    with copied(mutant) as core:
        assert wrong(core, mutant.noticed_by)
