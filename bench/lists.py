# SPDX-License-Identifier: Apache-2.0
"""What a long list costs from bytes to upstream bytes, in ms, over its elements: `python -m bench.lists [--json]`.

Each line is one way of saying a list; each column so many elements. GET ends where a URL does. CPU time of parse,
decide and build, the least of several runs. A line should be linear; the last column is how far it is from that, as
the cost of an element in the longest list by that in the list of three hundred: shorter texts are remembered.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import quote

from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.document import PolicyDocument
from proxy.core.errors import Refusal
from proxy.core.handles import TrustedPosition
from proxy.core.limits import Limits
from proxy.core.policy import Policy, PolicySet
from proxy.core.request import parse

COUNTS = (10, 100, 300, 1000, 3000, 10_000)
BASE = 300
RUNS = 7
LIMITS = Limits()
CLAIMS = Claims("ada", float("inf"), {"session_id": "s-ada"})
POSITION = b"offset=-1"
POLICY = {
    "table": "public.notes",
    "key": ["id"],
    "columns": ["id", "session_id", "seq"],
    "where": "session_id = {session_id}",
    "claims": {"session_id": "text"},
    "client": {"filter": ["id", "seq"], "subset": {"max_limit": 50}},
    "case": [
        {"name": "a", "claims": {"session_id": "s-ada"}, "request": "table=notes&offset=-1", "expect": "allow"},
        {"name": "b", "request": "table=notes&offset=-1", "expect": "claim_missing"},
    ],
}
POLICIES = PolicySet.of([Policy.of("notes", PolicyDocument.model_validate(POLICY))])

Members = dict[str, object]
Asked = tuple[bytes, bytes | None]


def keys(count: int) -> list[str]:
    """So many ids."""
    return [f"00000000-0000-4000-8000-{number:012}" for number in range(count)]


def array(count: int) -> Members:
    """What TanStack DB compiles `inArray` to."""
    return {"where": '"id" = ANY($1)', "params": {"1": "{" + ",".join(f'"{key}"' for key in keys(count)) + "}"}}


def as_list(count: int) -> Members:
    """The same with a list in JSON."""
    return {"where": '"id" = ANY($1)', "params": {"1": keys(count)}}


def texts(count: int) -> Members:
    """IN with text literals."""
    return {"where": "id IN (" + ", ".join(f"'{key}'" for key in keys(count)) + ")"}


def numbers(count: int) -> Members:
    """IN with numbers."""
    return {"where": "seq IN (" + ", ".join(map(str, range(count))) + ")"}


def parameters(count: int) -> Members:
    """IN with a parameter for each value."""
    where = "id IN (" + ", ".join(f"${number}" for number in range(1, count + 1)) + ")"
    return {"where": where, "params": {str(number): key for number, key in enumerate(keys(count), 1)}}


def refused(count: int) -> Members:
    """A list that is refused for what stands behind it."""
    return {"where": "seq IN (" + ", ".join(map(str, range(count))) + ") AND hidden = 1"}


FORMS: tuple[Callable[[int], Members], ...] = (array, as_list, texts, numbers, parameters, refused)


def posted(members: Members) -> Asked:
    """The query and the body of a POST."""
    return POSITION, json.dumps(members).encode()


def got(members: Members) -> Asked:
    """The query of a GET."""
    fields = {key: value if isinstance(value, str) else json.dumps(value) for key, value in members.items()}
    query = "&".join(f"subset__{key}={quote(value, safe='')}" for key, value in fields.items())
    return POSITION + b"&" + query.encode(), None


def cost(query: bytes, body: bytes | None) -> float:
    """Milliseconds of CPU time from bytes to bytes, refused or not."""
    least = float("inf")
    for _ in range(RUNS):
        before = time.process_time()
        with suppress(Refusal):
            request = parse("notes", query, body, LIMITS)
            position = TrustedPosition(request.position)
            upstream.build(decide(request, CLAIMS, POLICIES).authorized(), request, position, LIMITS.target_bytes)
        least = min(least, (time.process_time() - before) * 1000)
    return round(least, 3)


def lines() -> Iterator[tuple[str, dict[int, float]]]:
    """Each form by each method, with its cost by count, as far as a URL carries it."""
    for method, fields in (("GET", got), ("POST", posted)):
        for form in FORMS:
            requests = {count: fields(form(count)) for count in COUNTS}
            carried = {count: asked for count, asked in requests.items() if len(asked[0]) <= LIMITS.query_bytes}
            yield f"{method} {form.__name__}", {count: cost(*asked) for count, asked in carried.items()}


def linearity(found: dict[int, float]) -> float:
    """The cost of an element in the longest list by that in the list of three hundred; 1 is linear, less is better."""
    longest = max(found)
    return round(found[longest] / longest / (found[BASE] / BASE), 2)


def main() -> None:
    """Prints the table, or JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true")
    if options.parse_args().json:
        print(json.dumps({name: {"ms": found, "linear": linearity(found)} for name, found in lines()}))
        return
    print(" " * 16 + "".join(f"{count:>10}" for count in COUNTS) + "    linear")
    for name, found in lines():
        shown = "".join(f"{found[count]:10.3f}" if count in found else f"{'-':>10}" for count in COUNTS)
        print(f"{name:16}{shown}{linearity(found):10}")


if __name__ == "__main__":
    main()
