"""The form of a policy file: its members and their types. An unknown member is a fault."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

ClaimTypeName = Literal["text", "integer", "uuid", "boolean"]


MOST_PATTERN_CHARACTERS = 256
"""A claim's pattern is compiled while policies are loaded: its length bounds what that may cost."""


def _a_pattern(text: str) -> str:
    if len(text) > MOST_PATTERN_CHARACTERS:
        raise ValueError(f"a pattern has at most {MOST_PATTERN_CHARACTERS} characters, this one has {len(text)}")
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError, MemoryError) as fault:
        raise ValueError(f"{text!r} is no regular expression: {fault or type(fault).__name__}") from None
    return text


Pattern = Annotated[str, AfterValidator(_a_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClaimDocument(_Strict):
    """`[claims] name = { type, pattern }`."""

    type: ClaimTypeName = "text"
    pattern: Pattern | None = None


class NarrowDocument(ClaimDocument):
    """`[[narrow]]`: a claim that a token may carry, and what holds if it does."""

    claim: str
    where: str


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
    claims: dict[str, str | int | float | bool | list[str]] = {}
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
    where: str
    public: bool = False
    types: dict[str, str] = {}
    claims: dict[str, ClaimTypeName | ClaimDocument] = {}
    narrow: list[NarrowDocument] = []
    client: ClientDocument = ClientDocument()
    case: list[CaseDocument] = []
