# ruff: noqa: E501 (a table: one protection a line)
"""The protections of the language, and how to switch each off: one piece of text in one module.

Not here are those that another one stands behind: a client's SELECT is refused by the grammar and, for the dot in
its table, by the lexer.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A protection, the piece of source that holds it, what takes its place, and the checks that must notice."""

    protection: str
    module: str
    piece: str
    instead: str
    noticed_by: tuple[str, ...]


TABLE = "sends_what_the_table_says"
REFUSALS = "refuses_what_the_table_says"
MEANING = "keeps_the_meaning_in_postgresql"
DEPARSER = "keeps_the_meaning_through_the_deparser"
ATTACKS = "judges_the_attacks"
BOUNDS = "keeps_its_bounds"
VALUES = "judges_values"
POLICIES = "sends_policies"
LOCK = "locks_a_second_time"

MUTANTS = (
    # the text
    Mutant("brackets round AND and OR", "writer", 'chain.parts, f" {chain.operator} ")', 'chain.parts, f" {chain.operator} ")[1:-1]', (TABLE, MEANING)),
    Mutant("brackets round IS and NOT", "writer", 'f"({before}{self.write(node)}{after})"', 'f"{before}{self.write(node)}{after}"', (TABLE, MEANING)),
    Mutant("brackets round BETWEEN", "writer", 'f"({self.write(test.value)} {test.operator} {self.write(test.low)} AND {self.write(test.high)})"', 'f"{self.write(test.value)} {test.operator} {self.write(test.low)} AND {self.write(test.high)}"', (TABLE,)),
    Mutant("brackets round a half", "condition", 'text if isinstance(root, TESTS) else f"({text})"', "text", (TABLE, MEANING)),
    Mutant("brackets round a negative number", "writer", 'f"({number.digits})" if number', 'number.digits if number', (TABLE,)),
    Mutant("brackets round a narrowed policy", "conjunction", "f\"({' AND '.join(halves)})\"", "' AND '.join(halves)", (POLICIES,)),
    Mutant("names in quotes", "writer", "quote(name).replace", "name.replace", (TABLE,)),
    Mutant("per cent signs in names", "writer", '.replace("%", "%%")', "", (POLICIES,)),
    Mutant("a type for what has none", "types", "if any(family(value) != UNTYPED for value in values):", "if True:", (TABLE,)),
    Mutant("one number for a parameter used twice", "writer", "None if isinstance(leaf, Text) else self._numbers.get(leaf)", "None", (TABLE,)),
    Mutant("a number of its own for each literal", "writer", "None if isinstance(leaf, Text) else self._numbers.get(leaf)", "self._numbers.get(leaf)", (TABLE,)),
    # the conjunction
    Mutant("the client's numbers behind the policy's", "conjunction", "first = len(values) + 1", "first = 1", (TABLE,)),
    Mutant("the policy first", "conjunction", '{enforced} AND {chosen}', '{chosen} AND {enforced}', (TABLE, MEANING)),
    Mutant("AND between the halves", "conjunction", '{enforced} AND {chosen}', '{enforced} OR {chosen}', (TABLE, MEANING)),
    Mutant("all parts of the policy", "conjunction", "in policy]\n    if", "in policy[:1]]\n    if", (POLICIES,)),
    Mutant("a claim's value once", "conjunction", "if source.name not in numbers:", "if True:", (POLICIES,)),
    Mutant("missing parameters", "conjunction", "params.get(number)", 'params.get(number, "")', (VALUES,)),
    Mutant("control characters in values", "conjunction", 'if is_unfit(value):\n        raise FilterFault', 'if not value and is_unfit(value):\n        raise FilterFault', (VALUES,)),
    Mutant("control characters in claims", "conjunction", 'if is_unfit(value):\n        raise SecondLock', 'if not value:\n        raise SecondLock', (VALUES,)),
    Mutant("patterns in parameters", "conjunction", "if number in client.patterns and", "if number in client.lists and", (VALUES,)),
    Mutant("arrays with our own quotes", "conjunction", "return array\n", "return value\n", (TABLE, "writes_arrays")),
    Mutant("elements of arrays as we write them", "arrays", "literal.count('\"') <= 2 * most", "literal", (VALUES,)),
    Mutant("elements of plain arrays", "arrays", 'literal.count(",") < most', "literal", (VALUES,)),
    Mutant("NULL in plain arrays", "arrays", 'and "NULL" not in literal.upper()', "", ("writes_arrays",)),
    Mutant("elements of arrays", "arrays", "len(elements) < most and", "", (VALUES,)),
    Mutant("the end of an array", "arrays", 'if at == len(literal) else None', "", ("writes_arrays",)),
    Mutant("escapes in arrays", "arrays", r"""text.replace("\\", "\\\\").replace""", "text.replace", ("writes_arrays",)),
    Mutant("the second lock on the door", "conjunction", "check(text, frozenset()", "str((text, frozenset())) if True else check(text, frozenset()", ("locks_all_that_leaves",)),
    # the characters
    Mutant("control characters", "lexer", "if unfit := _UNFIT.search(text):", 'if unfit := _UNFIT.search(""):', (REFUSALS, ATTACKS)),
    Mutant("NUL", "lexer", r"[\x00-\x1f\x7f", r"[\x01-\x1f\x7f", (REFUSALS, ATTACKS)),
    Mutant("surrogates", "lexer", r"\x9f\ud800-\udfff", r"\x9f", (REFUSALS,)),
    Mutant("backslashes in literals", "lexer", r"""'(?:[^'\\]|'')*+' {_JOINT}""", r"""'(?:[^']|'')*+' {_JOINT}""", (REFUSALS,)),
    Mutant("words that run into others", "lexer", r'''_JOINT = r"""(?![\w'"$])"""''', '_JOINT = ""', (REFUSALS, ATTACKS)),
    Mutant("numbers that run into words", "lexer", r"""(?![\w.'"$]) )""", ")", (REFUSALS,)),
    Mutant("!=-1", "lexer", "!=(?![-+])", "!=", (REFUSALS,)),
    Mutant("ASCII words", "lexer", "[A-Za-z_][A-Za-z0-9_]*+ {_JOINT} )", r"[^\W\d]\w*+ {_JOINT} )", (REFUSALS,)),
    Mutant("placeholders in quotes", "lexer", "if policy and _PLACEHOLDER.search(said):", "if not said:", ("refuses_policies",)),
    Mutant("folding of names", "lexer", "said = said.lower()", "said = str(said)", (TABLE, ATTACKS)),
    # the grammar
    Mutant("operands are values", "grammar", "self._truth(node, start) if isinstance(node, TESTS) else self.test(node)", "self.test(node)", (REFUSALS, DEPARSER, ATTACKS)),
    Mutant("operands on the right are values", "operands", "value = self.value()\n", "value = self._or() if hasattr(self, '_or') else self.value()\n", (REFUSALS,)),
    Mutant("IS TRUE and its like only over conditions", "grammar", "if operator not in TRUTH_TESTS:", "if not operator:", (REFUSALS, DEPARSER, ATTACKS)),
    Mutant("no IS over IS", "grammar", "isinstance(node, NullTest | TruthTest) or", "", (REFUSALS, ATTACKS)),
    Mutant("no IS over IS DISTINCT FROM", "grammar", "isinstance(node, Comparison) and node.operator in IS_TESTS", "False", (REFUSALS, ATTACKS)),
    Mutant("no chained comparisons", "grammar", "if self.kind in OPERATORS:\n            raise", "while self.kind in OPERATORS:\n            test = self._truth(test, start)\n        if not test:\n            raise", (REFUSALS,)),
    Mutant("values are no conditions", "grammar", "isinstance(node, _CONDITIONS) or node in TRUTHS", "node", (REFUSALS, ATTACKS)),
    Mutant("NULL is no condition", "comparisons", '(Constant("TRUE"), Constant("FALSE"))', '(Constant("TRUE"), Constant("FALSE"), NULL)', (REFUSALS, ATTACKS)),
    Mutant("nothing behind the filter", "grammar", 'if self.kind != "end":', 'if self.kind == "bad":', (REFUSALS, ATTACKS)),
    Mutant("closing brackets", "cursor", "if self.kind != kind:\n            raise self.fault(sentence)\n", "if self.kind != kind:\n            return ''\n", (REFUSALS, ATTACKS)),
    Mutant("the look-up of columns", "operands", "if self._columns is None or name in self._columns:", "if name:", (REFUSALS, ATTACKS)),
    Mutant("the list of functions", "operands", "if name not in _FUNCTIONS:", "if not name:", (REFUSALS, ATTACKS)),
    Mutant("the number of arguments", "operands", "if len(arguments) != 1:", "if not arguments:", (REFUSALS, ATTACKS)),
    Mutant("the list of types", "operands", "SPELLINGS.get(said)", "SPELLINGS.get(said, said)", (REFUSALS,)),
    Mutant("int4", "operands", "if int(digits) not in _INT4:", "if not digits:", (REFUSALS, ATTACKS)),
    Mutant("leading zeros", "operands", 'bare[0] == "0" and', 'bare[0] == "-" and', (REFUSALS, ATTACKS)),
    Mutant("digits", "operands", "if len(bare) > _DIGITS:", "if not bare:", (BOUNDS,)),
    Mutant("parameter zero", "operands", 'number[0] == "0" or', "", (REFUSALS,)),
    Mutant("no parameters in policies", "operands", "if self._claims is not None:", "if self._claims is None and not number:", ("refuses_policies",)),
    Mutant("declared claims", "operands", "self._claims is None or name not in self._claims", "self._claims is None", ("refuses_policies",)),
    Mutant("patterns are fixed", "comparisons", "if not isinstance(leaf, Text | Parameter):", "if not leaf:", (REFUSALS, "refuses_policies")),
    Mutant("ANY of a parameter", "comparisons", "if not isinstance(array, Parameter):", "if not array:", (REFUSALS,)),
    Mutant("ANY behind = only", "comparisons", 'if operator != "=":', "if not operator:", (REFUSALS, ATTACKS)),
    Mutant("a list is no value", "writer", "if leaf.number in self.lists and leaf.number in self.scalars:", "if not leaf.number:", (REFUSALS,)),
    Mutant("one type in a list", "comparisons", "if len(typed) > 1:", "if len(typed) > 2:", (REFUSALS,)),
    Mutant("types that have an operator", "types", "return (first, others[0]) if others else None", "return None", (REFUSALS,)),
    # the bounds
    Mutant("bytes", "lexer", "if end - listed > limits.bytes:", "if not limits.bytes:", (BOUNDS,)),
    Mutant("bytes of other scripts", "lexer", "len(text.encode()) - len(listed.encode()) > limits.bytes", "len(text) - len(listed) > limits.bytes", (BOUNDS,)),
    Mutant("tokens", "lexer", "if len(tokens) > limits.tokens and", "if not tokens and", (BOUNDS,)),
    Mutant("brackets", "cursor", "if self._depth > self._limits.depth:", "if not self._depth:", (BOUNDS,)),
    Mutant("brackets as sent", "writer", "if self._level > self._deepest:", "if not self._level:", (BOUNDS,)),
    Mutant("nodes", "cursor", "if self._nodes > self._limits.nodes:", "if not self._nodes:", (BOUNDS,)),
    Mutant("lists", "cursor", "if self._listed > self._limits.in_list:", "if not self._limits:", (BOUNDS,)),
    Mutant("all lists together", "cursor", "self._listed += more", "self._listed = more", (BOUNDS,)),
    Mutant("bytes of lists", "lexer", "if len(listed.encode()) > limits.list_bytes:", "if not limits:", (BOUNDS,)),
    Mutant("NOT before a long list", "comparisons", "return Not(test) if negation else test", "return test", (TABLE,)),
    Mutant("bytes of a pattern", "comparisons", "if len(pattern.encode()) > limits.like_bytes:", "if not limits:", (BOUNDS, VALUES)),
    Mutant("wildcards", "comparisons", 'pattern.count("%") + pattern.count("_") > limits.like_wildcards', "not limits", (BOUNDS, VALUES)),
    Mutant("escapes at the end of a pattern", "comparisons", r'if (len(pattern) - len(pattern.rstrip("\\"))) % 2:', "if not limits:", (VALUES,)),
    # what repeats the policy
    Mutant("only the token's own value repeats", "repeats", "if said == bound[column.name]:", "if said:", ("drops_repeats_only",)),
    Mutant("no other value", "repeats", "said is None or column.name in filterable", "True", ("drops_repeats_only",)),
    Mutant("no other use of the column", "repeats", "node.name not in filterable", "not node.name", ("drops_repeats_only",)),
    Mutant("repeats only by =", "repeats", 'part.operator == "="', "part.operator", ("drops_repeats_only", "knows_what_binds")),
    Mutant("bindings at the top only", "tree", 'node.operator == "AND" else (node,)', 'node.operator else (node,)', ("knows_what_binds",)),
    Mutant("every branch bounded", "repeats", "return all(map(_bounded, parts))", "return any(map(_bounded, parts))", ("knows_what_binds",)),
    Mutant("every item a claim", "repeats", "all(isinstance(item, Claim)", "any(isinstance(item, Claim)", ("knows_what_binds",)),
    # the order
    Mutant("the look-up of sort keys", "ordering", "if column not in columns:", "if not column:", ("orders_by_names_only", ATTACKS)),
    Mutant("nothing behind the sort keys", "ordering", 'if cursor.kind != "end":', "if not keys:", ("orders_by_names_only", ATTACKS)),
    Mutant("the number of sort keys", "ordering", "if len(keys) == MOST_KEYS:", "if not keys:", ("orders_by_names_only",)),
    # the second lock
    Mutant("the lock's names", "second_lock", "if not columns.issuperset(names):", "if not columns:", (LOCK,)),
    Mutant("the lock's alphabet", "second_lock", "if not _OUTSIDE_NAMES.fullmatch(bare):", "if not _OUTSIDE_NAMES:", (LOCK,)),
    Mutant("the lock's numbers", "second_lock", "!= set(range(1, params + 1))", "is None", (LOCK,)),
    Mutant("the lock's halves", "second_lock", "if depth or len(closed) != 2:", "if depth:", (LOCK,)),
    Mutant("the lock's depth", "second_lock", "if depth <= 0:", "if depth == 0 and number:", (LOCK,)),
    Mutant("the lock's AND", "second_lock", 'if not client[0].startswith(" AND ("):', "if not client:", (LOCK,)),
    Mutant("the lock's SELECT", "second_lock", 'any("SELECT" in piece for piece in client)', "not client", (LOCK,)),
)  # fmt: skip
