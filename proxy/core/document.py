# SPDX-License-Identifier: Apache-2.0
"""The form of a policy file: its members and their types. An unknown member is a fault.

`docs/reference/policies.md` explains each member.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

ClaimTypeName = Literal["text", "integer", "uuid", "boolean", "text[]", "integer[]", "uuid[]", "boolean[]"]


MOST_PATTERN_CHARACTERS = 256
"""A claim's pattern is compiled while policies are loaded: its length bounds what that may cost."""


def _a_pattern(text: str) -> str:
    if len(text) > MOST_PATTERN_CHARACTERS:
        raise ValueError(f"a pattern has at most {MOST_PATTERN_CHARACTERS} characters, this one has {len(text)}")
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError, MemoryError) as fault:
        raise ValueError(f"{text!r} is not a regular expression: {fault or type(fault).__name__}") from None
    return text


Pattern = Annotated[str, AfterValidator(_a_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FormDocument(_Strict):
    """What a claim must be, and where it stands in the token: `from` are the steps of its path."""

    type: ClaimTypeName = "text"
    pattern: Pattern | None = None
    path: list[str] | None = Field(default=None, alias="from", min_length=1)


class ClaimDocument(FormDocument):
    """`[claims] name = { type, pattern, from, optional }`; an `optional` one may be missing in a token."""

    optional: bool = False


class NarrowDocument(FormDocument):
    """`[[narrow]]`: a claim that a token may carry, and what holds if it does."""

    claim: str
    where: str


Scalar = str | int | bool


class GrantDocument(_Strict):
    """`[[grant]]`: rows for the tokens whose claims have the values of `when`; the first that fits decides.

    `columns` are fewer than the policy's; `also_public` are rows that every token may read that gets this far.
    `isolation` are other claims than those of `[isolation]`, or false for a grant that is not isolated.
    """

    name: str = Field(min_length=1)
    when: dict[str, Scalar | list[Scalar]] = {}
    where: str | None = None
    columns: list[str] | None = Field(default=None, min_length=1)
    also_public: str | None = None
    isolation: str | list[str] | Literal[False] | None = None
    narrow: list[NarrowDocument] = []


class IsolationDocument(_Strict):
    """`[isolation]`: the claims `by` which tokens that differ share no row but a public one.

    `through` are tables of memberships: two tokens may share a row if each has a row of its own there.
    """

    by: str | list[str]
    through: list[str] = []


class SubsetDocument(_Strict):
    """`subset = { max_limit, require_limit }`: the largest limit of a page, and whether a page must have a limit."""

    max_limit: int = Field(ge=1, le=1_000_000)
    require_limit: bool = False


class ClientDocument(_Strict):
    """`[client]`: what the client may still choose. Without it: fewer columns, either log, nothing else."""

    columns: bool = True
    filter: list[str] = []
    filter_safe: list[str] = []
    large: list[str] = []
    replica: list[Literal["default", "full"]] = Field(default=["default"], min_length=1)
    log: list[Literal["full", "changes_only"]] = Field(default=["full", "changes_only"], min_length=1)
    subset: SubsetDocument | Literal[False] = False


class CaseDocument(_Strict):
    """`[[case]]`: a request by a token with these claims, and what must come of it: `allow` or a refusal's code.

    `where` and `columns`, where given, are what must be sent upstream.
    """

    name: str
    claims: dict[str, JsonValue] = {}
    request: str
    body: str | None = None
    expect: str
    where: str | None = None
    params: list[str] | None = None
    columns: list[str] | None = None


class PolicyDocument(_Strict):
    """A whole policy file."""

    table: str
    key: list[str] = Field(min_length=1)
    columns: list[str] = Field(min_length=1)
    never: list[str] = []
    where: str | None = None
    also_public: str | None = None
    public: bool = False
    types: dict[str, str] = {}
    claims: dict[str, ClaimTypeName | ClaimDocument] = {}
    narrow: list[NarrowDocument] = []
    grant: list[GrantDocument] = []
    isolation: IsolationDocument | None = None
    client: ClientDocument = ClientDocument()
    case: list[CaseDocument] = []


_FORMS: dict[str, type[BaseModel]] = {
    "claims": ClaimDocument,
    "narrow": NarrowDocument,
    "grant": GrantDocument,
    "isolation": IsolationDocument,
    "client": ClientDocument,
    "subset": SubsetDocument,
    "case": CaseDocument,
}
"""What stands under these members of a policy."""


def members_at(path: Iterable[str | int]) -> list[str]:
    """The members that may stand at this path of a document."""
    names = [step for step in path if isinstance(step, str)]
    form = next((_FORMS[name] for name in reversed(names) if name in _FORMS), PolicyDocument)
    return [field.alias or name for name, field in form.model_fields.items()]
