"""docs/reference/issuers.md says what the code does."""

import re

from pydantic_core import PydanticUndefined

from proxy.auth.issuers import IssuerDocument
from proxy.auth.jwks import FETCH_SECONDS, MOST_BYTES, Pace
from proxy.core.errors import Code
from proxy.core.token_shape import _MEMBERS
from proxy.settings import Settings, variable
from tests.tree import ROOT

REFERENCE = (ROOT / "docs" / "reference" / "issuers.md").read_text("utf-8")


def row(name: str) -> str:
    """The row of one member of an issuer."""
    field = IssuerDocument.model_fields[name]
    if field.default is PydanticUndefined:
        default = "required"
    else:
        shown = ", ".join(field.default) if isinstance(field.default, list) else str(field.default or "")
        default = f"`{shown}`" if shown else ""
    return f"| `{name}` | {default} | {field.description} |"


def test_the_table_is_what_the_code_says() -> None:
    written = re.findall(r"^\| `\w+` \| .* \| .* \|$", REFERENCE, re.MULTILINE)
    assert written == [row(name) for name in IssuerDocument.model_fields]


def test_the_figures_are_the_codes() -> None:
    pace = Pace()
    assert (FETCH_SECONDS, MOST_BYTES) == (5, 65_536)
    assert "deadline of 5 s, at most 64 KiB" in REFERENCE
    assert (pace.least, pace.most, pace.usual, pace.keep) == (60, 3600, 300, 3600)
    assert "one minute at least and one hour at most; or of 5 minutes" in REFERENCE
    assert "the last set serves for one hour beyond its refresh" in REFERENCE
    assert (pace.unknown, pace.most_waiting) == (10, 1000)
    assert "once in 10 s at most" in REFERENCE
    assert "1,000\nrequests are held at most" in REFERENCE


def test_every_member_of_a_shape_is_there() -> None:
    (table,) = re.findall(r"\| Member \| Meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", REFERENCE)
    assert set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()))) == _MEMBERS


def test_settings_and_codes_that_it_names_exist() -> None:
    settings = {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"PROXY_[A-Z_]*[A-Z]", REFERENCE)) <= settings
    codes = set(re.findall(r"(?:401|403|503) `(\w+)`|(?:401|403|503)\n`(\w+)`", REFERENCE))
    assert {one or other for one, other in codes} <= {code.name for code in Code}
