"""A folder of policies loads whole or not at all, and says every reason in one `file: sentence` each."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.auth import policy_loader as policy_files
from proxy.auth.policy_loader import CaseResult, PoliciesFault
from tests.tree import ROOT

GOOD = """
table = "public.notes"
key = ["id"]
columns = ["id", "session_id", "mode"]
where = "session_id = {session_id}"
claims = { session_id = "text" }
client = { filter = ["mode"] }
"""
CASES = """
[[case]]
name = "one's own"
claims = { session_id = "s-ada" }
request = "table=notes&offset=-1"
expect = "allow"
[[case]]
name = "nobody's"
request = "table=notes&offset=-1"
expect = "claim_missing"
"""
WITHOUT_WHERE = "\n".join(line for line in GOOD.splitlines() if not line.startswith("where"))


def folder(path: Path, files: Mapping[str, str]) -> Path:
    """A folder with these files."""
    for name, text in files.items():
        (path / name).write_text(text, "utf-8")
    return path


def lines(path: Path) -> tuple[str, ...]:
    """The faults of the policies of a folder, without the numbers of lines."""
    return tuple(re.sub(r"(\.toml):\d+: ", r"\1: ", line) for line in numbered(path))


def numbered(path: Path) -> tuple[str, ...]:
    with pytest.raises(PoliciesFault) as caught:
        policy_files.load(path)
    assert all("\n" not in line for line in caught.value.lines)
    assert str(caught.value) == "\n".join(caught.value.lines)
    return caught.value.lines


def changed(line: str, *more: str) -> str:
    """The good policy with one member changed or added, by its name."""
    name = line.partition(" ")[0]
    kept = "\n".join(old for old in GOOD.splitlines() if old.partition(" ")[0] != name)
    return "\n".join([kept, line, *more, CASES])


def case(request: str, expect: str, *more: str) -> str:
    """The good policy with a third case."""
    return "\n".join(
        [GOOD, CASES, "[[case]]", 'name = "third"', f"request = '{request}'", f'expect = "{expect}"', *more]
    )


ADA = 'claims = { session_id = "s-ada" }'
MINE = "table=notes&offset=-1"

REASONS: dict[str, tuple[str, str]] = {
    # every reason of the list in the README, in its order
    "an unknown member": (changed("colums = []"), "colums: there is no such member"),
    "an unknown member of client": (changed("client = { filters = [] }"), "client.filters: there is no such member"),
    "an unknown member of a case": (GOOD + CASES + 'token = "x"', "case.1.token: there is no such member"),
    "a member that is missing": (
        WITHOUT_WHERE + CASES,
        "there is no where: state which rows leave, at the top or in a [[grant]]",
    ),
    "a member of a wrong type": (changed('key = "id"'), "key: Input should be a valid list"),
    "a table without a schema": (
        changed('table = "notes"'),
        "table 'notes' must be schema.name, each part one identifier",
    ),
    "never overlaps columns": (
        changed('never = ["session_id"]'),
        "the column session_id stands in never and in columns",
    ),
    "never overlaps the key": (changed('never = ["id"]'), "the column id stands in never and in key"),
    "never overlaps the filter": (changed('never = ["mode"]'), "the column mode stands in never and in filter"),
    "a key outside columns": (changed('key = ["nr"]'), "the key column nr is not in columns"),
    "a claim that is not declared": (changed("claims = { }"), "where: at 13: the claim is not declared"),
    "a claim that is not used": (
        changed('claims = { session_id = "text", owner = "text" }'),
        "the claim owner is declared and never used",
    ),
    "a placeholder inside quotes": (
        changed("where = \"session_id = '{session_id}'\""),
        "where: at 13: a placeholder cannot stand inside quotes",
    ),
    "a literal parameter": (
        changed('where = "session_id = $1"'),
        "where: at 13: a policy names claims, not parameters",
    ),
    "a predicate that no claim bounds": (
        changed('where = "session_id <> {session_id}"'),
        "where does not bound the rows by a claim; write public = true if everybody may read them all",
    ),
    "no case": (GOOD, "there is no case of an allowed request"),
    "no refused case": (GOOD + CASES.split('[[case]]\nname = "nobody\'s"')[0], "there is no case of a refused request"),
    "a case that is refused": (
        case("table=notes&offset=0_0", "allow", ADA),
        "case 'third': expected allow, came malformed_request (The parameter handle is required at this offset.)",
    ),
    "a case that is allowed": (
        case(MINE, "shape_forbidden", ADA),
        "case 'third': expected shape_forbidden, came allow",
    ),
    "a case that is refused otherwise": (
        case(MINE, "shape_forbidden"),
        "case 'third': expected shape_forbidden, came claim_missing (claim session_id is missing)",
    ),
    "a case with another predicate": (
        case(MINE, "allow", ADA, "where = 'TRUE'"),
        """case 'third': expected where 'TRUE', came '("session_id" = $1) AND (TRUE)'""",
    ),
    "a case with other values": (
        case(MINE, "allow", ADA, 'params = ["s-bob"]'),
        "case 'third': expected params ['s-bob'], came ['s-ada']",
    ),
    "a case with other columns": (
        case(MINE, "allow", ADA, 'columns = ["id"]'),
        "case 'third': expected columns ['id'], came ['id', 'session_id', 'mode']",
    ),
    # and what TOML itself refuses
    "a repeated member": (GOOD + 'table = "public.other"', "Cannot overwrite a value"),
    "no TOML": ("table = ", "Invalid value"),
    "a broken pattern": (
        changed('claims = { session_id = { type = "text", pattern = "(" } }'),
        "claims.session_id.ClaimDocument.pattern: Value error, '(' is not a regular expression",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), REASONS.values(), ids=REASONS)
def test_a_set_of_policies_does_not_load_for_this_reason(tmp_path: Path, text: str, sentence: str) -> None:
    told = lines(folder(tmp_path, {"notes.toml": text}))
    assert all(line.startswith(f"{tmp_path}/notes.toml: ") for line in told)
    assert any(line.startswith(f"{tmp_path}/notes.toml: {sentence}") for line in told), told


def test_a_name_that_cannot_stand_in_urls_is_a_reason(tmp_path: Path) -> None:
    (told,) = lines(folder(tmp_path, {"My Notes.toml": GOOD + CASES}))
    assert told.endswith("the file's name 'My Notes' must be lower-case letters, digits, _ and -")


def test_several_faults_of_several_files_are_told_at_once(tmp_path: Path) -> None:
    files = {
        "a.toml": "table = ",
        "b.toml": changed('table = "notes"', 'never = ["id"]'),
        "notes.toml": case(MINE, "shape_forbidden", ADA),
        "z.toml": GOOD + CASES,
    }
    told = lines(folder(tmp_path, files))
    assert [line.removeprefix(f"{tmp_path}/").partition(":")[0] for line in told] == [
        *["a.toml", "b.toml", "b.toml", "b.toml", "notes.toml"],
    ]


def test_a_folder_without_policies_is_a_fault(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", folder(tmp_path, {"notes.txt": GOOD})):
        assert lines(path) == (f"{path}: there are no policies here",)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "notes.toml").mkdir()
    (told,) = lines(tmp_path)
    assert told.startswith(f"{tmp_path}/notes.toml: ")
    (tmp_path / "other.toml").write_bytes(b"\xff")
    assert len(lines(tmp_path)) == 2


def test_of_several_policies_over_one_table_one_must_have_its_name(tmp_path: Path) -> None:
    named = (GOOD + CASES).replace("table=notes&", "")
    assert lines(folder(tmp_path, {"a.toml": named, "b.toml": named})) == (
        f'{tmp_path}: a, b are all over "public"."notes"; call one of them notes',
    )
    folder(tmp_path, {"notes.toml": GOOD + CASES})
    loaded = policy_files.load(tmp_path)
    assert loaded.policies.by_table["notes"] is loaded.policies.by_name["notes"]


def test_a_case_without_a_table_asks_for_its_own_shape_by_name(tmp_path: Path) -> None:
    folder(tmp_path, {"mine.toml": (GOOD + CASES).replace("table=notes&", "")})
    assert [result.wrong for result in policy_files.load(tmp_path).results] == [None, None]


def test_a_case_may_post(tmp_path: Path) -> None:
    text = case(MINE, "subset_forbidden", ADA, """body = '{"where":"true"}'""")
    assert policy_files.load(folder(tmp_path, {"notes.toml": text})).results[-1].expect == "subset_forbidden"


def test_every_case_has_a_result(tmp_path: Path) -> None:
    loaded = policy_files.load(folder(tmp_path, {"notes.toml": GOOD + CASES}))
    assert loaded.results == (
        CaseResult("notes", "one's own", "allow", None),
        CaseResult("notes", "nobody's", "claim_missing", None, 1),
    )


def test_the_digest_changes_with_the_content_and_with_nothing_else(tmp_path: Path) -> None:
    folder(tmp_path, {"notes.toml": GOOD + CASES})
    first = policy_files.load(tmp_path).digest
    assert len(first) == 12
    assert set(first) <= set("0123456789abcdef")
    folder(tmp_path, {"notes.toml": GOOD + CASES, "README.txt": "x"})
    assert policy_files.load(tmp_path).digest == first
    folder(tmp_path, {"notes.toml": GOOD + CASES + "# a comment"})
    second = policy_files.load(tmp_path).digest
    (tmp_path / "notes.toml").rename(tmp_path / "others.toml")
    third = policy_files.load(tmp_path).digest
    assert len({first, second, third}) == 3


PLACED = {
    "a member": ('table = "public.notes"\nkey = "id"', "2: key: "),
    "a member of a table": (
        "[client]\nfilters = []",
        "2: client.filters: there is no such member; did you",
    ),
    "a member of an inline table": ("a = 1\nclient = { filters = [] }", "2: client.filters"),
    "a misspelt table": ("[cleint]", "1: cleint: there is no such member; did you mean client?"),
    "the second of its name": (
        "[[case]]\n[[case]]\nexpct = 1",
        "3: case.1.expct: there is no such member",
    ),
    "a table in a grant": (
        '[[grant]]\n[[grant]]\n[[grant.narrow]]\n[[grant.narrow]]\nclam = "x"',
        "5: grant.1.narrow.1.clam: there is no such member; did you mean claim?",
    ),
    "a quoted name": ('[types]\n"a b" = 1', "2: types.a b: "),
    "a key behind a text of many lines": ('where = """\nkey = 1\n"""\nkye = 1', "4: kye: "),
    "a missing member": ("[[case]]", "1: case.0.name: Field required"),
}


@pytest.mark.parametrize(("text", "place"), PLACED.values(), ids=PLACED)
def test_a_fault_of_form_names_its_line(tmp_path: Path, text: str, place: str) -> None:
    told = numbered(folder(tmp_path, {"notes.toml": text}))
    assert any(line.startswith(f"{tmp_path}/notes.toml:{place}") for line in told), told


JUDGED = {
    "a where": (changed("where = 'session_id = {other}'"), "where = ", "where: at 13"),
    "a where of many lines": (
        changed('where = """\nsession_id = {session_id}\n  AND body LIKE \'x\'\n"""'),
        "  AND body",
        "where: at 32: LIKE",
    ),
    "a where of many lines that starts at once": (
        changed('where = """session_id = {session_id}\n  AND body LIKE \'x\'"""'),
        "  AND body",
        "where: at 32: LIKE",
    ),
    "a type": (changed("types = { id = 'uid' }"), "types = ", "types: id has the unknown type"),
    "a claim": (
        changed("claims = { session_id = 'text', x = 'text' }"),
        "claims = { session_id = 'text'",
        "the claim x is",
    ),
    "a filter": (changed("client = { filter = ['x'] }"), "client = ", "the filter column x"),
    "a key": (changed("key = ['x']"), "key = ", "the key column x"),
    "a case": (case(MINE, "shape_forbidden", ADA), "[[case]]", "case 'third': expected shape_forbidden, came allow"),
    "an expectation": (case(MINE, "alow", ADA), 'expect = "alow"', "case 'third': expect 'alow'"),
}


@pytest.mark.parametrize(("text", "member", "sentence"), JUDGED.values(), ids=JUDGED)
def test_a_reason_against_a_policy_names_its_line(tmp_path: Path, text: str, member: str, sentence: str) -> None:
    told = numbered(folder(tmp_path, {"notes.toml": text}))
    written = text.splitlines()
    line = max(number for number, found in enumerate(written, start=1) if found.startswith(member))
    assert any(said.startswith(f"{tmp_path}/notes.toml:{line}: {sentence}") for said in told), told


SHIPPED = (
    *["accounts", "chat_messages", "chat_threads", "chat_tool_events", "hookify_decisions", "misalignments"],
    *["session_members", "session_repo_bindings", "session_uploads", "sessions", "timeline_events", "todos"],
    "ui_settings",
)
NAMED = "sessions_by_membership"


def test_the_shipped_policies_load_and_cover_the_applications_tables() -> None:
    loaded = policy_files.load(ROOT / "policies")
    assert set(loaded.policies.by_name) == {*SHIPPED, NAMED}
    assert all(policy.types.keys() >= set(policy.columns) for policy in loaded.policies.by_name.values())
    assert all(policy.isolation for policy in loaded.policies.by_name.values())
    assert all(loaded.policies.by_table[name].name == name for name in SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_keeps_tenants_apart_and_shows_it(name: str) -> None:
    loaded = policy_files.load(ROOT / "policies")
    expected = {result.expect for result in loaded.results if result.policy == name}
    assert {"allow", "predicate_mismatch", "claim_missing"} <= expected
    assert tomllib.loads((ROOT / "policies" / f"{name}.toml").read_text("utf-8")).get("public", False) is False


def test_the_content_of_uploads_never_leaves() -> None:
    uploads = policy_files.load(ROOT / "policies").policies.by_name["session_uploads"]
    assert "content" not in {*uploads.columns, *uploads.client.filter, *uploads.key, *uploads.predicate_columns}
