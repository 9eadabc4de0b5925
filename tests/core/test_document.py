"""The form of a policy file: every member by its name and type."""

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.core.document import CaseDocument, ClientDocument, PolicyDocument
from tests.core.samples import DOCUMENT

LEAST = {"table": "public.notes", "key": ["id"], "columns": ["id"], "where": "TRUE"}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown member": ({"tabel": "x"}, "tabel"),
    "table: a number": ({"table": 1}, "table"),
    "key: text": ({"key": "id"}, "key"),
    "key: none": ({"key": []}, "key"),
    "columns: none": ({"columns": []}, "columns"),
    "columns: a star": ({"columns": "*"}, "columns"),
    "columns: a number": ({"columns": [1]}, "columns.0"),
    "public: text": ({"public": "yes"}, "public"),
    "public: 1": ({"public": 1}, "public"),
    "where: a number": ({"where": 1}, "where"),
    "claims: an empty path": ({"claims": {"s": {"from": []}}}, "claims.s"),
    "claims: a path in one text": ({"claims": {"s": {"from": "a.b"}}}, "claims.s"),
    "claims: optional is a boolean": ({"claims": {"s": {"optional": 1}}}, "claims.s"),
    "claims: a list of lists": ({"claims": {"s": "text[][]"}}, "claims.s"),
    "narrow: optional": ({"narrow": [{"claim": "s", "where": "a = {s}", "optional": True}]}, "narrow.0.optional"),
    "grant: no name": ({"grant": [{"where": "a = 1"}]}, "grant.0.name"),
    "grant: an empty name": ({"grant": [{"name": ""}]}, "grant.0.name"),
    "grant: an unknown member": ({"grant": [{"name": "a", "wher": "a = 1"}]}, "grant.0.wher"),
    "grant: no column": ({"grant": [{"name": "a", "columns": []}]}, "grant.0.columns"),
    "grant: a fraction in when": ({"grant": [{"name": "a", "when": {"r": 1.5}}]}, "grant.0.when"),
    "isolation: nothing": ({"isolation": {}}, "isolation.by"),
    "isolation: an unknown member": ({"isolation": {"by": "a", "on": "b"}}, "isolation.on"),
    "claims: an unknown type": ({"claims": {"s": "string"}}, "claims.s"),
    "claims: an unknown member": ({"claims": {"s": {"typ": "text"}}}, "claims.s"),
    "claims: a broken pattern": ({"claims": {"s": {"pattern": "("}}}, "claims.s"),
    "claims: a pattern that overflows": ({"claims": {"s": {"pattern": "a{99999999999}"}}}, "claims.s"),
    "claims: a pattern that is too long": ({"claims": {"s": {"pattern": "a" * 257}}}, "claims.s"),
    "types: a number": ({"types": {"a": 1}}, "types.a"),
    "subset: a word for a limit": ({"client": {"subset": {"max_limit": 1, "require_limit": "yes"}}}, "client.subset"),
    "client: filter_safe is a list": ({"client": {"filter_safe": "a"}}, "client.filter_safe"),
    "narrow: no claim": ({"narrow": [{"where": "TRUE"}]}, "narrow.0.claim"),
    "narrow: no where": ({"narrow": [{"claim": "s"}]}, "narrow.0.where"),
    "narrow: a broken pattern": ({"narrow": [{"claim": "s", "where": "a = {s}", "pattern": "["}]}, "narrow.0.pattern"),
    "client: an unknown member": ({"client": {"where": True}}, "client.where"),
    "client: filter is a list": ({"client": {"filter": "mode"}}, "client.filter"),
    "client: an unknown replica": ({"client": {"replica": ["all"]}}, "client.replica"),
    "client: no replica": ({"client": {"replica": []}}, "client.replica"),
    "client: an unknown log": ({"client": {"log": ["none"]}}, "client.log"),
    "client: no log": ({"client": {"log": []}}, "client.log"),
    "subset: true is no limit": ({"client": {"subset": True}}, "client.subset"),
    "subset: no limit": ({"client": {"subset": {}}}, "client.subset"),
    "subset: 0": ({"client": {"subset": {"max_limit": 0}}}, "client.subset"),
    "subset: too many": ({"client": {"subset": {"max_limit": 1_000_001}}}, "client.subset"),
    "subset: a fraction": ({"client": {"subset": {"max_limit": 1.5}}}, "client.subset"),
    "case: no name": ({"case": [{"request": "", "expect": "allow"}]}, "case.0.name"),
    "case: an unknown member": ({"case": [{"name": "", "request": "", "expect": "", "token": ""}]}, "case.0.token"),
}


@pytest.mark.parametrize(("changes", "place"), FAULTS.values(), ids=FAULTS)
def test_a_document_of_another_form_is_a_fault_with_its_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PolicyDocument.model_validate(LEAST | changes)
    places = [".".join(map(str, error["loc"])) for error in caught.value.errors()]
    assert all(found.startswith(place) for found in places), places


def test_the_least_document_leaves_little_to_the_client() -> None:
    document = PolicyDocument.model_validate(LEAST)
    assert document.client == ClientDocument(
        columns=True, filter=[], replica=["default"], log=["full", "changes_only"], subset=False
    )
    assert not document.public
    assert document.never == document.narrow == document.case == []
    assert document.claims == {}
    assert (document.grant, document.isolation, document.also_public) == ([], None, None)


def test_a_claim_may_stand_at_a_path() -> None:
    document = PolicyDocument.model_validate(LEAST | {"claims": {"s": {"type": "uuid[]", "from": ["a.b", "c"]}}})
    claim = document.claims["s"]
    assert not isinstance(claim, str)
    assert (claim.type, claim.path, claim.optional) == ("uuid[]", ["a.b", "c"], False)


def test_a_whole_document_is_taken() -> None:
    document = PolicyDocument.model_validate(DOCUMENT)
    assert document.model_dump(exclude_unset=True) == DOCUMENT


def test_a_broken_pattern_is_quoted() -> None:
    with pytest.raises(ValidationError, match=r"'\[a' is not a regular expression"):
        PolicyDocument.model_validate(LEAST | {"claims": {"s": {"pattern": "[a"}}})


def test_a_good_pattern_is_taken_as_it_is() -> None:
    document = PolicyDocument.model_validate(LEAST | {"claims": {"s": {"pattern": "[a-z]+"}}})
    assert document.model_dump(exclude_defaults=True)["claims"] == {"s": {"pattern": "[a-z]+"}}


def test_a_case_may_leave_out_what_it_does_not_look_at() -> None:
    case = CaseDocument(name="n", request="offset=-1", expect="allow")
    assert (case.claims, case.body, case.where, case.params, case.columns) == ({}, None, None, None, None)
