"""Raw bytes to pairs, each key once; whatever Electric could read in another way is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Code, Refusal
from proxy.core.query import pairs, printable
from tests.core.samples import outcome, refused

READ = {
    "nothing": (b"", {}),
    "one": (b"a=1", {"a": "1"}),
    "two": (b"a=1&b=2", {"a": "1", "b": "2"}),
    "a blank value": (b"a=", {"a": ""}),
    "a blank name": (b"=1", {"": "1"}),
    "an equals sign in the value": (b"a=b=c", {"a": "b=c"}),
    "plus is a blank": (b"a=b+c", {"a": "b c"}),
    "an escaped plus is a plus": (b"a=b%2Bc", {"a": "b+c"}),
    "escapes in the name": (b"%77here=1", {"where": "1"}),
    "brackets as they are": (b"params[1]=x", {"params[1]": "x"}),
    "brackets escaped": (b"params%5B1%5D=x", {"params[1]": "x"}),
    "small hexadecimals": (b"a=%c3%b6", {"a": "ö"}),
    "decoded once only": (b"a=%2577", {"a": "%77"}),
    "a semicolon separates nothing": (b"a=1;b=2", {"a": "1;b=2"}),
    "an escaped ampersand separates nothing": (b"a=1%26b=2", {"a": "1&b=2"}),
    "an escaped equals sign belongs to the name": (b"a%3D1=2", {"a=1": "2"}),
    "every other sign": (b"a=-._~!$'()*,:@/?", {"a": "-._~!$'()*,:@/?"}),
    "beyond the basic plane": (b"a=%F0%9F%99%82", {"a": "🙂"}),
    "a filter on two lines": (b"where=a%0D%0A%09=1", {"where": "a\r\n\t=1"}),
    "a parameter with a line break": (b"params%5B1%5D=x%0Ay%C2%85%E2%80%A8", {"params[1]": "x\ny\x85\u2028"}),
    "a subset's filter on two lines": (b"subset__where=a%0A=1", {"subset__where": "a\n=1"}),
    "a subset's parameters on two lines": (b"subset__params=%7B%0A%7D", {"subset__params": "{\n}"}),
}
REFUSED = {
    "the same twice": (b"a=1&a=1", Code.repeated_parameter),
    "twice with other values": (b"a=1&b=2&a=3", Code.repeated_parameter),
    "twice, once escaped": (b"where=1&%77here=2", Code.repeated_parameter),
    "params[1] twice, once escaped": (b"params[1]=a&params%5B1%5D=b", Code.repeated_parameter),
    "no equals sign": (b"a", Code.malformed_request),
    "no equals sign among others": (b"a=1&b", Code.malformed_request),
    "an empty pair": (b"a=1&&b=2", Code.malformed_request),
    "an ampersand first": (b"&a=1", Code.malformed_request),
    "an ampersand last": (b"a=1&", Code.malformed_request),
    "a percent sign alone": (b"a=%", Code.malformed_request),
    "half an escape": (b"a=%4", Code.malformed_request),
    "no hexadecimals": (b"a=%zz", Code.malformed_request),
    "a unicode escape": (b"a=%u0041", Code.malformed_request),
    "a raw blank": (b"a=b c", Code.malformed_request),
    "a raw quote": (b'a="b"', Code.malformed_request),
    "a raw bracket": (b"a=<b>", Code.malformed_request),
    "a fragment": (b"a=1#b", Code.malformed_request),
    "a backslash": (b"a=\\", Code.malformed_request),
    "raw bytes beyond ASCII": ("a=ö".encode(), Code.malformed_request),
    "raw NUL": (b"a=\x00", Code.malformed_request),
    "a raw line break behind": (b"a=1\n", Code.malformed_request),
    "no UTF-8": (b"a=%FF", Code.malformed_request),
    "half a letter": (b"a=%C3", Code.malformed_request),
    "an overlong slash": (b"a=%C0%AF", Code.malformed_request),
    "an encoded surrogate": (b"a=%ED%A0%80", Code.malformed_request),
    "NUL": (b"a=1%00", Code.malformed_request),
    "NUL in the name": (b"a%00=1", Code.malformed_request),
    "a line break": (b"a=1%0D%0Ab", Code.malformed_request),
    "a tabulator": (b"a=%09", Code.malformed_request),
    "NUL in a filter": (b"where=1%00", Code.malformed_request),
    "NUL in a parameter": (b"params[1]=1%00", Code.malformed_request),
    "an encoded surrogate in a parameter": (b"params[1]=%ED%A0%80", Code.malformed_request),
    "a line break in the name of a parameter": (b"params[1%0A]=1", Code.malformed_request),
    "a line break in a name like a filter's": (b"where%0A=1", Code.malformed_request),
    "a line break in a table": (b"table=a%0A", Code.malformed_request),
    "a line break in an order": (b"subset__order_by=id%0A", Code.malformed_request),
    "DEL": (b"a=%7F", Code.malformed_request),
    "a C1 control": (b"a=%C2%85", Code.malformed_request),
    "a line separator": (b"a=%E2%80%A8", Code.malformed_request),
}


@pytest.mark.parametrize(("raw", "found"), READ.values(), ids=READ)
def test_a_query_is_read_like_this(raw: bytes, found: dict[str, str]) -> None:
    assert pairs(raw, 100) == found


@pytest.mark.parametrize(("raw", "code"), REFUSED.values(), ids=REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes, code: Code) -> None:
    with refused(code):
        pairs(raw, 100)


@pytest.mark.parametrize("raw", [raw for raw, _ in READ.values() if raw], ids=list(READ)[1:])
def test_a_query_doubled_is_refused(raw: bytes) -> None:
    with refused(Code.repeated_parameter):
        pairs(raw + b"&" + raw, 200)


@pytest.mark.parametrize("junk", [b"%", b" ", b"#", b"\x00", b"\xff", b'"', b"%0", b"%00", b"\n", b"&", b"<"])
@pytest.mark.parametrize("raw", [b"a=1", b"a=1&b=2"])
def test_a_query_with_junk_before_or_behind_is_refused(raw: bytes, junk: bytes) -> None:
    for whole in (junk + raw, raw + junk):
        with refused(Code.malformed_request):
            pairs(whole, 100)


def test_names_keep_their_case() -> None:
    assert pairs(b"A=1&a=2", 100) == {"A": "1", "a": "2"}


def test_a_query_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert pairs(b"a=" + b"x" * 98, 100)
    with refused(Code.target_too_long, "longer than 100 bytes"):
        pairs(b"a=" + b"x" * 99, 100)


def test_a_query_has_only_so_many_parameters() -> None:
    assert len(pairs(b"a=1&b=2", 99, 2)) == 2
    for more in (b"a=1&b=2&c=3", b"&&", b"a=1&b=2&"):
        with refused(Code.malformed_request, "more than 2 parameters"):
            pairs(more, 99, 2)


def test_the_reason_of_a_repeat_does_not_repeat_it() -> None:
    with refused(Code.repeated_parameter, reason="repeated parameter of 6 characters"):
        pairs(b"s3cr3t=1&s3cr3t=2", 100)


@pytest.mark.parametrize("text", ["", "a b", "ö", "🙂", "\u200b", "'\\\""])
def test_printable_text_is_itself(text: str) -> None:
    assert printable(text) == text


@given(st.binary(max_size=60) | st.text("a=&%[]01+CFf\x00", max_size=60).map(str.encode))
def test_any_bytes_are_pairs_or_a_refusal(raw: bytes) -> None:
    found = outcome(lambda: pairs(raw, 50))
    if isinstance(found, Refusal):
        assert found.code.value.status in (400, 414)
    else:
        assert len(found) == (raw.count(b"&") + 1 if raw else 0)
        assert all(printable(text) == text for pair in found.items() for text in pair)
