"""The attacks as data: each row's request in bytes, the policy file of each key, and where we differ on purpose."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

DATA = Path(__file__).parents[1] / "data" / "attacks"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in (DATA / "requests.jsonl").read_text().splitlines()]
POLICIES: dict[str, dict[str, Any]] = json.loads((DATA / "policies.json").read_text())

WHERE = {
    "P1": "session_id = {session_id}",
    "P2": "session_id = {session_id} AND tenant = {tenant}",
    "P3": "session_id = {session_id} OR shared_with = {session_id}",
}
"""Each `enforced` of policies.json in the words of a policy file."""

ENFORCED = {
    "P1": '"session_id" = $1',
    "P2": '("session_id" = $1) AND ("tenant" = $2)',
    "P3": '("session_id" = $1) OR ("shared_with" = $1)',
}
"""And as it must stand upstream, in front of everything that the client says."""

IDENTIFIER = '{ type = "text", pattern = "[A-Za-z0-9_.:-]{1,128}" }'
"""How the policies declare their claims: the rows about claims expect identifiers, not any text."""

TABLE = ("table", "chat_messages")

DIFFERENT = {
    "number-0835": "a decimal without a digit before its point is read, and sent as 0.5",
    "number-0836": "a decimal with an exponent is read, and sent in plain digits",
    "row-and-list-0325": "ANY over a column is read: it may be one of arrays, and Electric refuses it if it is not",
    "string-literal-0076": "a control character in a literal is text: it is sent as a parameter",
    "protocol-0533": "a handle of a foreign form is read and dropped here, as every handle is at offset -1",
    "headers-0766": "sent as it stands it is two whole headers, neither of which means anything to the proxy",
}
"""Rows that this proxy judges otherwise on purpose, by id, each with the reason."""


REFUSED_BY_THE_SERVER = {
    "headers-0759": "a blank before a header's colon is malformed",
    "headers-0760": "a transfer coding that is not known is malformed",
    "headers-0762": "two lengths are malformed",
    "headers-0767": "NUL in a header is malformed",
    "headers-0768": "a blank in a header's name is malformed",
    "headers-0770": "a line feed in a header's name is malformed",
    "method-0673": "a method in small letters is malformed",
    "path-0716": "a tab in the target is malformed",
    "path-0720": "a target with bytes beyond ASCII is malformed",
    "size-and-time-0735": "a head of 100 KB is too large",
    "unicode-bytes-0122": "a target with bytes beyond ASCII is malformed",
}
"""Rows that never reach an application behind ASGI: reading requests is the server's business there, and it answers
these in its own words."""

REFUSED_BY_THE_ROUTER = {
    "path-0715": "a target without a slash is below no path",
    "unicode-bytes-0131": "what is left of a target that was cut by a line's end is below no path",
}
"""Rows that never reach an application that is mounted, besides."""

READ_BY_THE_SERVER = {"method-0674": "two blanks behind the method are one to llhttp: the request is a GET"}
"""Rows that only our own listener can refuse, for an application does not see what is wrong with them."""


def policy_file(policy: dict[str, Any]) -> str:
    """The text of a policy file for one key of policies.json."""
    key = policy["name"]
    claims = "".join(f"{claim} = {IDENTIFIER}\n" for claim in policy["enforced_claims"])
    said = ", ".join(f'{claim} = "x-1"' for claim in policy["enforced_claims"])
    return f"""
table = "{policy["table"]}"
key = {json.dumps(policy["pk"])}
columns = {json.dumps(policy["columns"])}
never = {json.dumps(policy["hidden"])}
where = "{WHERE[key]}"

[types]
session_id = "text"
tenant = "text"
shared_with = "text"

[claims]
{claims}
[client]
filter = {json.dumps(policy["filter_columns"])}
log = ["full", "changes_only"]
subset = {{ max_limit = 1000 }}

[[case]]
name = "its own rows"
claims = {{ {said} }}
request = "table=chat_messages&offset=-1"
expect = "allow"

[[case]]
name = "nobody's rows"
request = "table=chat_messages&offset=-1"
expect = "claim_missing"
"""


def raw(row: dict[str, Any], bearer: str, *, named: bool = False) -> bytes:
    """The request of a row in bytes, as it stands; `named` asks for the shape by name and leaves the table out."""
    path = "/v1/shapes/chat_messages" if named else row.get("path", "/v1/shape")
    params = [(key, value) for key, value in row["params"] if not (named and (key, value) == TABLE)]
    query = row.get("raw_query") or urlencode(params, quote_via=quote, errors="surrogatepass")
    body = row.get("body", "").encode()
    lines = [f"{row.get('method', 'GET')} {path}?{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in _fields(row, bearer)]
    return b"\r\n".join([*map(_bytes, lines), b"", b""]) + body


def _fields(row: dict[str, Any], bearer: str) -> list[tuple[str, str]]:
    """The row's headers, where `Bearer t` stands for its token, and what a request has anyway."""
    given = [(name, bearer if value == "Bearer t" else value) for name, value in row.get("headers", [])]
    names = {name.lower() for name, _ in given}
    usual = [("Host", "proxy"), ("Authorization", bearer)]
    return [*(pair for pair in usual if pair[0].lower() not in names), *given]


def _bytes(line: str) -> bytes:
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode()
