# SPDX-License-Identifier: Apache-2.0
"""Characters to tokens. What is not in the table below is refused where it stands.

Section numbers are those of the PostgreSQL manual, chapter 4.1 (lexical structure).
"""

import re
from typing import TypeAlias

from proxy.core.filters.constants import IN_BRACKETS
from proxy.core.filters.errors import FilterFault, FilterLimits

_NEVER = re.compile(r"[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# NUL cuts the text in Electric's parser binding; surrogates have no UTF-8 (RFC 3629, section 3).

_JOINT = r"""(?![\w'"$])"""
# What may not follow directly: PostgreSQL reads E'…', N'…', 1x, $1OR and 'a'b as something else than they seem.

_TOKEN = re.compile(
    rf"""[ \t\n\r]*(?:
      (?P<word>    [A-Za-z_][A-Za-z0-9_]* {_JOINT} )
    | (?P<quoted>  "(?:[^"\x00-\x1f\x7f-\x9f]|"")+" {_JOINT} )
    | (?P<string>  '[^'\\]*(?:''[^'\\]*)*' {_JOINT} )               # 4.1.2.1; a backslash depends on a server setting
    | (?P<number>  [-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)? (?![\w.'"$]) )  # 4.1.2.6, decimal only
    | (?P<param>   \$[0-9]+ {_JOINT} )
    | (?P<sign>    <=|>=|<>|!=(?![-+])|@>|<@|&&|[=<>]              # 4.1.3: '!=-' is one operator, '<>-' is two
                 | :: | [(),\[\]] )
    | (?P<policy>  \{{[A-Za-z_][A-Za-z0-9_]*\}} | \. )               # a policy's placeholder, and its schema.table
    | (?P<bad>     [^ \t\n\r] )
    | (?P<end>     \Z )
    )""",
    re.VERBOSE,
)
# Some group takes whatever comes, and a token that is "bad" ends the scan. Where a group gives back what it took, the
# character behind is refused by what has to follow, so that going back is one pass over one token. (Possessive
# quantifiers would express this, but they are broken before Python 3.11.5.)

KEYWORDS = frozenset(
    ("and", "or", "not", "in", "between", "like", "ilike", "is", "null", "true", "false", "any", "array", "select")
)
"""Words that are never columns unless quoted. Other words of the language are known by where they stand."""

_AS_WRITTEN = frozenset(("number", "param", "end"))
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")

_FAULTS = (
    (re.compile(r"--|/\*"), "comments are not part of the filter language"),
    (re.compile(r";"), "a filter is one condition, without a semicolon"),
    (re.compile(r"\$\$|\$[A-Za-z_]"), "dollar quoting is not part of the filter language"),
    (re.compile(r"'[^'\\]*\\"), "a backslash cannot stand in a literal; send the text as a parameter"),
    (re.compile(r"'[^'\\]*(?:''[^'\\]*)*'"), "a literal runs into what follows it"),
    (re.compile(r"'"), "the literal does not end"),
    (re.compile(r'""'), "a quoted name cannot be empty"),
    (re.compile(r'"(?:[^"\x00-\x1f\x7f-\x9f]|"")+"'), "a quoted name runs into what follows it"),
    (re.compile(r'"[^"\x00-\x1f\x7f-\x9f]*[\x00-\x1f\x7f-\x9f]'), "a name holds no control characters"),
    (re.compile(r'"'), "the quoted name does not end"),
    (re.compile(r"[A-Za-z_][A-Za-z0-9_]*['\"]"), "a word runs into a quote"),
    (re.compile(r"[A-Za-z_]"), "a word runs into what follows it"),
    (re.compile(r"\$[0-9]"), "a parameter runs into what follows it"),
    (re.compile(r"[-+]?\.?[0-9]"), "this is not a plain number: digits, one point at most, and an exponent at most"),
    (re.compile(r"[-+]"), "a sign stands directly before a number; arithmetic is not part of the filter language"),
    (re.compile(r"\."), "names are not qualified"),
    (re.compile(r"[{}]"), "placeholders are not part of the filter language"),
    (re.compile(r"[\x01-\x1f\x7f-\x9f]"), "control characters stand in literals only"),
    (re.compile(r"[^\x00-\x7f]"), "outside literals and quoted names a filter is ASCII"),
)


Token: TypeAlias = tuple[str, str, int]
"""Kind, text, and the character where it starts.

The kind is the keyword or the sign itself, or word, quoted, string, number, param, list, claim, end. The text of words
is in lower case, that of names and literals without quotes, that of a list as it was written.
"""


def lex(text: str, limits: FilterLimits, *, policy: bool = False) -> list[Token]:
    """The tokens of the text, closed by one of kind "end"; a policy may also hold `{claim}` and `.`.

    The constants of a client's IN list are one token, and take no part in the bounds on bytes and tokens.
    Raises FilterFault.
    """
    _measure(text, limits)
    tokens: list[Token] = []
    listed = 0
    matches = _TOKEN.finditer(text)
    while found := next(matches, None):
        kind = found.lastgroup or "bad"
        word = found[kind]
        at = found.end() - len(word)
        if kind == "sign":
            kind = word
        elif kind == "word":
            word = word.lower()
            if word in KEYWORDS:
                kind = word
        elif kind not in _AS_WRITTEN:
            kind, word = _read(kind, word, at, text, policy)
        tokens.append((kind, word, at))
        _count(tokens, found.end(), listed, limits)
        if kind == "in" and not policy and (constants := IN_BRACKETS.match(text, found.end())):
            start, end = constants.span(1)
            tokens += (("(", "(", start - 1), ("list", constants[1], start))
            listed += end - start
            matches = _TOKEN.finditer(text, end)
    _measure_bytes(text, tokens, limits)
    return tokens


def _read(kind: str, word: str, at: int, text: str, policy: bool) -> tuple[str, str]:
    """Kind and text of what stands in quotes, of what only a policy may hold."""
    if kind == "quoted" or kind == "string":
        if policy and _PLACEHOLDER.search(word):
            raise FilterFault(at, "a placeholder cannot stand inside quotes")
        mark = word[0]
        return kind, word[1:-1].replace(mark + mark, mark)
    if kind == "policy" and policy:
        return ("." if word == "." else "claim"), word
    raise FilterFault(at, _sentence(text, at))


def is_unfit(text: str) -> bool:
    """Whether the text holds NUL or a surrogate, which PostgreSQL cannot store and which never go upstream."""
    return _NEVER.search(text) is not None


def control_in(text: str) -> int | None:
    """Where the first control character or surrogate stands, for what must be on one line."""
    found = _CONTROL.search(text)
    return found and found.start()


def _measure(text: str, limits: FilterLimits) -> None:
    # Characters first: a text that is far too long is not looked at.
    if len(text) > limits.bytes + limits.list_bytes:
        raise FilterFault(limits.bytes, f"a filter has at most {limits.bytes} bytes besides its lists")
    if never := _NEVER.search(text):
        raise FilterFault(never.start(), "NUL and lone surrogates are not allowed")


def _count(tokens: list[Token], end: int, listed: int, limits: FilterLimits) -> None:
    """Before the next token is looked for: what is too long is not read to its end."""
    if end - listed > limits.bytes:
        raise FilterFault(limits.bytes + listed, f"a filter has at most {limits.bytes} bytes besides its lists")
    if len(tokens) > limits.tokens and tokens[-1][0] != "end":
        raise FilterFault(tokens[-1][2], f"a filter has at most {limits.tokens} words and signs besides its lists")


def _measure_bytes(text: str, tokens: list[Token], limits: FilterLimits) -> None:
    listed = "".join([word for kind, word, _ in tokens if kind == "list"])
    if len(listed.encode()) > limits.list_bytes:
        raise FilterFault(limits.bytes, f"the lists of a filter have at most {limits.list_bytes} bytes")
    if not text.isascii() and len(text.encode()) - len(listed.encode()) > limits.bytes:
        raise FilterFault(len(text), f"a filter has at most {limits.bytes} bytes besides its lists")


def _sentence(text: str, at: int) -> str:
    for pattern, sentence in _FAULTS:
        if pattern.match(text, at):
            return sentence
    return "this sign is not part of the filter language"
