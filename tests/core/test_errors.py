"""The table of refusals: what each code's status makes a client do, and what a refusal says to whom."""

import json

import pytest

from proxy.core.errors import Code, Refusal, body

STATUSES = {
    400: "malformed_request unknown_parameter repeated_parameter filter_malformed subset_malformed",
    401: "token_missing token_invalid token_expired token_revoked",
    403: "shape_forbidden claim_missing claim_malformed column_forbidden filter_forbidden filter_column_forbidden "
    "predicate_mismatch replica_forbidden log_forbidden subset_forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    414: "target_too_long",
    415: "media_type_unsupported",
    429: "too_many_streams rate_limited",
    431: "headers_too_large",
    500: "internal_error",
    502: "upstream_unreachable upstream_failed upstream_refused_secret upstream_schema_leak upstream_row_leak"
    " policy_type_unsafe",
    503: "draining keys_unavailable overloaded revocations_unknown",
    504: "upstream_timeout",
}


def named(code: Code) -> str:
    return code.name


def test_every_code_has_the_status_that_makes_clients_do_the_right_thing() -> None:
    expected = {name: status for status, names in STATUSES.items() for name in names.split()}
    assert {code.name: code.value.status for code in Code} == expected


@pytest.mark.parametrize("code", Code, ids=named)
def test_clients_retry_429_and_5xx_only_and_are_told_when(code: Code) -> None:
    retried = code.value.status == 429 or code.value.status >= 500
    assert (code.value.retry_after is not None) is retried
    assert code.value.retry_after is None or 1 <= code.value.retry_after <= 3600


def test_no_two_codes_say_the_same() -> None:
    assert len({code.value for code in Code}) == len(list(Code))
    assert len({code.value.title for code in Code}) == len(list(Code))


@pytest.mark.parametrize("code", Code, ids=named)
def test_titles_and_actions_are_sentences(code: Code) -> None:
    for text in (code.value.title, code.value.action):
        assert text.endswith(".")
        assert text[0].isupper()
        assert text.isascii()


@pytest.mark.parametrize("code", Code, ids=named)
def test_a_body_has_the_members_of_a_problem_and_two_of_ours(code: Code) -> None:
    members = json.loads(body(Refusal(code), "r-1"))
    assert members == {
        "type": "about:blank",
        "title": code.value.title,
        "status": code.value.status,
        "detail": code.value.title,
        "code": code.name,
        "action": code.value.action,
        "request_id": "r-1",
    }


def test_the_reason_is_for_the_log_and_the_detail_for_the_client() -> None:
    refusal = Refusal(Code.shape_forbidden, "Not this one.", reason="private")
    sent = body(refusal, "r-1")
    assert b"private" not in sent
    assert b"Not this one." in sent
    assert (refusal.detail, refusal.reason) == ("Not this one.", "private")


def test_without_words_of_its_own_a_refusal_says_the_title() -> None:
    refusal = Refusal(Code.not_found)
    assert refusal.detail == refusal.reason == "There is nothing here."
    assert str(refusal) == "not_found"
    assert Refusal(Code.not_found, "Gone.").reason == "Gone."


def test_a_body_is_ascii_on_one_line_whatever_it_says() -> None:
    sent = body(Refusal(Code.not_found, 'ö\n"\x00\u2028<script>'), "r-1")
    assert sent.isascii()
    assert b"\n" not in sent
    assert json.loads(sent)["detail"] == 'ö\n"\x00\u2028<script>'
