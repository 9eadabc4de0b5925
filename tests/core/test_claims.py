"""How a claim becomes the value of a parameter, or does not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.claims import MAX_INTEGER, ClaimSpec, ClaimType, bind
from proxy.core.errors import Code, Refusal
from tests.core.samples import claims, outcome, refused

UUID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
FITS = {
    "text": (ClaimType.text, "s-ada", "s-ada"),
    "text of every kind of sign": (ClaimType.text, "A.z_9:-", "A.z_9:-"),
    "text of 256": (ClaimType.text, "a" * 256, "a" * 256),
    "text of an identity provider": (ClaimType.text, "auth0|65a1", "auth0|65a1"),
    "text that is an address": (ClaimType.text, "ada+x@example.org", "ada+x@example.org"),
    "text with blanks inside": (ClaimType.text, "Ada King", "Ada King"),
    "text with quotes and signs": (ClaimType.text, "s' OR true -- {c} $1 %", "s' OR true -- {c} $1 %"),
    "text beyond ASCII": (ClaimType.text, "Zoë\u0301 😀", "Zoë\u0301 😀"),
    "text of digits": (ClaimType.text, "7", "7"),
    "integer": (ClaimType.integer, 7, "7"),
    "integer below 0": (ClaimType.integer, -7, "-7"),
    "integer 0": (ClaimType.integer, 0, "0"),
    "the largest integer": (ClaimType.integer, MAX_INTEGER, "9223372036854775807"),
    "the smallest integer": (ClaimType.integer, -MAX_INTEGER - 1, "-9223372036854775808"),
    "uuid": (ClaimType.uuid, UUID, UUID),
    "true": (ClaimType.boolean, True, "true"),
    "false": (ClaimType.boolean, False, "false"),
}
MALFORMED = {
    "text: a number": (ClaimType.text, 7),
    "text: true": (ClaimType.text, True),
    "text: a list": (ClaimType.text, ["s-ada"]),
    "text: an object": (ClaimType.text, {"id": "s-ada"}),
    "text: a blank before": (ClaimType.text, " s-ada"),
    "text: a blank behind": (ClaimType.text, "s-ada "),
    "text: a wide blank behind": (ClaimType.text, "s-ada\u3000"),
    "text: a line break behind": (ClaimType.text, "s-ada\n"),
    "text: NUL behind": (ClaimType.text, "s-ada\x00x"),
    "text: a tab inside": (ClaimType.text, "s\tada"),
    "text: DEL inside": (ClaimType.text, "s\x7fada"),
    "text: a line separator": (ClaimType.text, "s\u2028ada"),
    "text: half a surrogate pair": (ClaimType.text, "s\ud800ada"),
    "text: 257": (ClaimType.text, "a" * 257),
    "integer: text": (ClaimType.integer, "7"),
    "integer: true": (ClaimType.integer, True),
    "integer: a fraction": (ClaimType.integer, 7.0),
    "integer: not a number": (ClaimType.integer, float("nan")),
    "integer: one too large": (ClaimType.integer, MAX_INTEGER + 1),
    "integer: one too small": (ClaimType.integer, -MAX_INTEGER - 2),
    "integer: thousands of digits": (ClaimType.integer, 10**4299),
    "integer: a list": (ClaimType.integer, [7]),
    "uuid: capitals": (ClaimType.uuid, UUID.upper()),
    "uuid: braces": (ClaimType.uuid, "{" + UUID + "}"),
    "uuid: no hyphens": (ClaimType.uuid, UUID.replace("-", "")),
    "uuid: a number": (ClaimType.uuid, 7),
    "boolean: text": (ClaimType.boolean, "true"),
    "boolean: 1": (ClaimType.boolean, 1),
    "boolean: 0": (ClaimType.boolean, 0),
    "boolean: a list": (ClaimType.boolean, [True]),
}


def bound(type_: ClaimType, value: object, pattern: str | None = None) -> str:
    return bind([ClaimSpec.of("c", type_, pattern)], claims(c=value))["c"]


@pytest.mark.parametrize(("type_", "value", "text"), FITS.values(), ids=FITS)
def test_a_claim_of_its_type_becomes_this_text(type_: ClaimType, value: object, text: str) -> None:
    assert bound(type_, value) == text


@pytest.mark.parametrize(("type_", "value"), MALFORMED.values(), ids=MALFORMED)
def test_any_other_value_is_malformed(type_: ClaimType, value: object) -> None:
    with refused(Code.claim_malformed, "The claim c", f"claim c is not {ClaimSpec.of('c', type_).form}"):
        bound(type_, value)


@pytest.mark.parametrize("type_", ClaimType, ids=lambda type_: type_.name)
@pytest.mark.parametrize("value", [None, "", "  ", "\u3000"], ids=["null", "empty", "blanks", "a wide blank"])
def test_null_and_blank_are_no_claim(type_: ClaimType, value: object) -> None:
    with refused(Code.claim_missing):
        bound(type_, value)


def test_a_claim_that_is_not_there_is_missing() -> None:
    with refused(Code.claim_missing, "The token lacks the claim c.", "claim c is missing"):
        bind([ClaimSpec.of("c", ClaimType.text)], claims())


@pytest.mark.parametrize("value", ["s-ada", "A.z_9:-"])
@pytest.mark.parametrize("junk", [" ", "\n", "\x00", "\x9f", "\u2029", "\ud800"])
def test_a_claim_with_junk_before_or_behind_is_refused(value: str, junk: str) -> None:
    for text in (junk + value, value + junk):
        with refused(Code.claim_malformed):
            bound(ClaimType.text, text)


def test_the_reason_of_a_declared_pattern_names_the_pattern() -> None:
    with refused(Code.claim_malformed, "The claim c", "of the pattern that the policy declares"):
        bound(ClaimType.text, "s-ada", "[a-z]+")


def test_a_pattern_of_ones_own_replaces_the_types() -> None:
    assert bound(ClaimType.text, "a b", "[a-z ]+") == "a b"
    with refused(Code.claim_malformed):
        bound(ClaimType.text, "s-ada", "[a-z]+")


@pytest.mark.parametrize("value", ["xs-ada", "s-adax", "s-adas-ada", "S-ADA"])
def test_a_pattern_holds_from_end_to_end(value: str) -> None:
    with refused(Code.claim_malformed):
        bound(ClaimType.text, value, "s-[a-z]{3}")


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "a\u2028b", "a\ud800b"])
def test_no_pattern_lets_control_characters_through(value: str) -> None:
    with refused(Code.claim_malformed):
        bound(ClaimType.text, value, "(?s).*")


def test_a_pattern_holds_for_integers_and_booleans_too() -> None:
    assert bound(ClaimType.integer, 42, "4.") == "42"
    with refused(Code.claim_malformed):
        bound(ClaimType.boolean, False, "true")


def test_no_pattern_makes_a_truth_value_or_a_text_a_number() -> None:
    for value in (True, "7", 7.0):
        with refused(Code.claim_malformed):
            bound(ClaimType.integer, value, ".*")


def test_a_broken_pattern_is_an_error_of_the_policy() -> None:
    with pytest.raises(re.error):
        ClaimSpec.of("c", ClaimType.text, "(")


def test_the_first_fault_among_several_claims_is_told() -> None:
    specs = [ClaimSpec.of("a", ClaimType.text), ClaimSpec.of("b", ClaimType.text)]
    with refused(Code.claim_missing, "claim a"):
        bind(specs, claims())
    assert bind(specs, claims(a="1", b="2", c="3")) == {"a": "1", "b": "2"}


def test_the_values_of_a_token_do_not_show() -> None:
    assert "s-ada" not in repr(claims())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(ClaimType), json_values)
def test_any_value_becomes_text_of_the_pattern_or_a_refusal(type_: ClaimType, value: object) -> None:
    came = outcome(lambda: bound(type_, value))
    if isinstance(came, Refusal):
        assert came.code in (Code.claim_missing, Code.claim_malformed)
        assert str(value) not in came.reason or len(str(value)) < 8  # a short one may occur by chance
    else:
        assert re.fullmatch(type_.value, came)
