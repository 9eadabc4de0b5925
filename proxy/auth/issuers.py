# SPDX-License-Identifier: Apache-2.0
"""Who may issue tokens, and what their tokens must be: one `[[issuer]]` each in a TOML file, or a single one made of
settings. A token is matched to its issuer by `iss`; nothing of one issuer is ever used for another's tokens."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from proxy.auth.compact import ALGORITHMS
from proxy.auth.keys import KeysFault
from proxy.core.suggestions import did_you_mean

TYP = "electric-shape+jwt"
TYPS = frozenset({"jwt", "at+jwt", TYP})
"""The types of tokens that are taken unless an issuer names its own."""

MAX_SECONDS = 900
LEEWAY_SECONDS = 10.0
_URL = re.compile(r"https?://[!-~]+")  # visible ASCII


class IssuersFault(KeysFault):
    """The issuers cannot be used; `lines` are one `file: sentence` each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer: where its keys are, a file or an address, and what a token must be beyond signed.

    A token must be for one of `audience`, and of one of `authorized_party`, as far as these name any; one of them does.
    `required` are claims and the values that they must have.
    """

    name: str
    keys: Path | str
    audience: frozenset[str] = frozenset()
    authorized_party: frozenset[str] = frozenset()
    max_seconds: int = MAX_SECONDS
    leeway_seconds: float = LEEWAY_SECONDS
    typs: frozenset[str] = TYPS
    required: Mapping[str, str | int | bool] = field(default_factory=dict)
    algorithms: frozenset[str] = frozenset(ALGORITHMS)

    @property
    def longest_seconds(self) -> float:
        """How long a token can be valid that is issued by now, clocks that differ included."""
        return self.max_seconds + 2 * self.leeway_seconds


def is_url(keys: Path | str) -> bool:
    """Whether keys are fetched from an address, not read from a file."""
    return isinstance(keys, str)


def source_of_keys(text: str) -> Path | str:
    """The file or the address that a text names. Raises ValueError for an address that must not be used."""
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text) if _URL.fullmatch(text) else None
    if parts is None or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("must be a file, or an address such as https://id.example/.well-known/jwks.json")
    if parts.scheme != "https" and not _is_loopback(parts.hostname):
        raise ValueError("must be an https address: over http anybody on the way could give keys of their own")
    _ = parts.port  # raises ValueError for one that is none
    return text


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _texts(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("must be a text, or a list of texts, none of them empty")
    return texts


def _algorithms(value: list[str]) -> list[str]:
    for name in value:
        if name not in ALGORITHMS:
            near = f"; did you mean {name.upper()}?" if name.upper() in ALGORITHMS else did_you_mean(name, ALGORITHMS)
            raise ValueError(f"{name!r} is not one of {', '.join(ALGORITHMS)}{near}")
    return value


def _values(value: Any) -> Any:
    if not isinstance(value, dict) or not all(isinstance(each, str | int) for each in value.values()):
        raise ValueError("must be a table of claims, each with a text, a whole number, true or false")
    return value


def _keys(text: str, info: ValidationInfo) -> str:
    source, folder = source_of_keys(text), info.context
    if isinstance(source, Path) and isinstance(folder, Path) and not (folder / source).is_file():
        raise ValueError(f"there is no file {folder / source}")
    return text


Texts = Annotated[list[str], BeforeValidator(_texts)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class IssuerDocument(_Strict):
    """`[[issuer]]`: one issuer of the file."""

    issuer: str = Field(min_length=1, description="What `iss` must be, exactly.")
    keys: Annotated[str, AfterValidator(_keys)] = Field(
        min_length=1,
        description="A JWKS file, by its path from the folder of this file, or an https address (http for loopback).",
    )
    audience: Texts = Field([], description="One or several: `aud` must be one of them, or a list with one of them.")
    authorized_party: Texts = Field(
        [], description="One or several: `azp` or `client_id` must be one of them. Alone, for tokens without `aud`."
    )
    max_seconds: int = Field(MAX_SECONDS, ge=1, le=31_536_000, description="The longest life of a token, `exp - iat`.")
    leeway_seconds: float = Field(
        LEEWAY_SECONDS, ge=0, le=60, strict=False, description="The clock difference that is tolerated."
    )
    typ: Texts = Field(
        ["JWT", "at+jwt", TYP], description="One or several: the header's `typ` must be one of them; none means JWT."
    )
    require: Annotated[dict[str, str | int | bool], BeforeValidator(_values)] = Field(
        {}, description='Claims with the value that each must have, such as `{ token_use = "access" }`.'
    )
    algorithms: Annotated[Texts, AfterValidator(_algorithms)] = Field(
        list(ALGORITHMS), description="What its keys may be for. HS256 keys come from files alone."
    )

    @model_validator(mode="after")
    def _whole(self) -> "IssuerDocument":
        if not self.audience and not self.authorized_party:
            raise ValueError("needs an audience, or an authorized_party where its tokens have no aud")
        if is_url(source_of_keys(self.keys)) and set(self.algorithms) == {"HS256"}:
            raise ValueError("HS256 needs a key file: a secret that is published is none")
        return self


class IssuersDocument(_Strict):
    """A whole file of issuers."""

    issuer: list[IssuerDocument] = Field(min_length=1, max_length=64)


def read(path: Path) -> tuple[Issuer, ...]:
    """The issuers of a file. Raises IssuersFault with every reason against it."""
    try:
        members = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        why = str(fault) if isinstance(fault, tomllib.TOMLDecodeError) else f"cannot be read ({type(fault).__name__})"
        raise IssuersFault([f"{path}: {why}"]) from None
    faults = list(_repeated(members))
    try:
        document = IssuersDocument.model_validate(members, context=path.parent)
    except ValidationError as fault:
        faults += _sentences(fault)
    if faults:
        raise IssuersFault(f"{path}: {sentence}" for sentence in faults)
    return tuple(_issuer(each, path.parent) for each in document.issuer)


def _repeated(members: Mapping[str, Any]) -> Iterator[str]:
    entries = members.get("issuer")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    names = [entry.get("issuer") for entry in entries]
    for name in dict.fromkeys(name for name in names if isinstance(name, str) and names.count(name) > 1):
        yield f"{name} has several entries: give an issuer one, with all of its keys"


def _issuer(document: IssuerDocument, folder: Path) -> Issuer:
    keys = source_of_keys(document.keys)
    return Issuer(
        name=document.issuer,
        keys=keys if isinstance(keys, str) else folder / keys,
        audience=frozenset(document.audience),
        authorized_party=frozenset(document.authorized_party),
        max_seconds=document.max_seconds,
        leeway_seconds=document.leeway_seconds,
        typs=frozenset(typ.lower().removeprefix("application/") for typ in document.typ),
        required=dict(document.require),
        algorithms=frozenset(document.algorithms),
    )


def _sentences(fault: ValidationError) -> Iterator[str]:
    for error in fault.errors(include_url=False, include_context=False, include_input=False):
        place = " ".join(str(part + 1) if isinstance(part, int) else part for part in error["loc"])
        yield f"{place}: {_sentence(error['type'], error['msg'], error['loc'])}"


def _sentence(kind: str, message: str, loc: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden":
        known = IssuersDocument.model_fields if len(loc) == 1 else IssuerDocument.model_fields
        return f"there is no such member{did_you_mean(str(loc[-1]), known)}"
    return "is required" if kind == "missing" else message.removeprefix("Value error, ")
