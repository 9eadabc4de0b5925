# SPDX-License-Identifier: Apache-2.0
"""The second check: what goes out is looked at once more, by rules that know nothing of the grammar.

It takes the text as characters: are there only words, names, numbers and signs of a closed list, do both halves
stay in their brackets, are the parameters 1…n, are all names the policy's? A no here is a bug of the proxy's own,
never something that a client can repair.
"""

import re
from typing import Final

_NAME: Final = re.compile(r'"([^"]*(?:""[^"]*)*)"(?!")')
_PARAMETER: Final = re.compile(r"\$([1-9][0-9]*)")
_OUTSIDE_NAMES: Final = re.compile(
    r"""(?:
      [()] | \ (?=[^ ),]) | "(?=[ ),.]|::text[ ),]) | ,(?=\ ) | (?<=")\.(?=")
    | \$[1-9][0-9]* (?=[ ),:])
    | (?:=|<>|<=|>=|<|>|@>|<@|&&) (?=\ )
    | (?:AND|OR|N(?:OT|ULL)|I(?:N|S|LIKE)|BETWEEN|LIKE|TRUE|FALSE|UNKNOWN|DISTINCT|FROM|SELECT|WHERE) (?=[ ),])
    | (?:ANY|lower|upper|coalesce|concat) (?=\()
    | ::(?:text|int2|int4|int8|float8|bool|uuid|date|timestamptz|timestamp) (?=[ ),])
    | (?:(?<=\()-)? (?:0|[1-9][0-9]*) (?:\.[0-9]+)? (?=[ ),])
    )+""",
    re.VERBOSE,
)


class Unverified(Exception):
    """Text that must not leave. A bug of the proxy: the request is refused with a 5xx, and nothing is sent."""


def check(text: str, columns: frozenset[str], params: int) -> None:
    """Raises Unverified unless the text is `(…) AND (…)` by the rules above.

    `columns` are the names that may occur, `params` how many parameters go with the text.
    """
    between = _NAME.split(text)
    names = between[1::2]
    if '""' in text:
        names = [name.replace('""', '"') for name in names]
    if not columns.issuperset(names):
        raise Unverified("a name is not the policy's")
    bare = '"'.join(between[::2])
    if not _OUTSIDE_NAMES.fullmatch(bare):
        raise Unverified("something is outside the alphabet")
    if {*map(int, _PARAMETER.findall(bare))} != set(range(1, params + 1)):
        raise Unverified("the parameters are not 1…n")
    _check_halves(bare)


def _check_halves(bare: str) -> None:
    """Two outermost pairs of brackets, ` AND ` between them, nothing before or behind, no SELECT in the second."""
    pieces = bare.split(")")
    if pieces.pop() or not bare.startswith("("):
        raise Unverified("the text does not start and end with a bracket")
    depth = 0
    closed = []
    for number, piece in enumerate(pieces):
        depth += piece.count("(") - 1
        if depth <= 0:
            closed.append(number)
    if depth or len(closed) != 2:
        raise Unverified("there are not two halves in brackets")
    client = pieces[closed[0] + 1 :]
    if not client[0].startswith(" AND ("):
        raise Unverified("the halves are not joined by AND")
    if any("SELECT" in piece for piece in client):
        raise Unverified("there is a SELECT in the client's half")
