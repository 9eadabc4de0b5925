# ruff: noqa: E501 (a table: one protection a line)
"""The protections of the language, and how to switch each off: one piece of one function.

Not here are those that another one stands behind: a client's SELECT is refused by the grammar and, for the dot in
its table, by the lexer.
"""

from dataclasses import dataclass

from tests.copies import Replacement


@dataclass(frozen=True)
class Mutant(Replacement):
    """A protection switched off, and the checks that must notice."""

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
    Mutant("brackets round AND and OR", "sql.Writer._chain", 'chain.parts, f" {chain.operator} ")', 'chain.parts, f" {chain.operator} ")[1:-1]', (TABLE, MEANING)),
    Mutant("brackets round IS and NOT", "sql.Writer._operation", 'f"({before}{self.write(node)}{after})"', 'f"{before}{self.write(node)}{after}"', (TABLE, MEANING)),
    Mutant("brackets round BETWEEN", "sql.Writer._between", 'f"({self.write(test.value)} {test.operator} {self.write(test.low)} AND {self.write(test.high)})"', 'f"{self.write(test.value)} {test.operator} {self.write(test.low)} AND {self.write(test.high)}"', (TABLE,)),
    Mutant("brackets round a half", "predicate.Condition.of", 'text if isinstance(root, TESTS) else f"({text})"', "text", (TABLE, MEANING)),
    Mutant("brackets round a negative number", "sql.Writer._number", 'f"({number.digits})" if number', 'number.digits if number', (TABLE,)),
    Mutant("brackets round a narrowed policy", "conjunction._policy_half", "f\"({' AND '.join(halves)})\"", "' AND '.join(halves)", (POLICIES,)),
    Mutant("names in quotes", "sql.Writer.name", "quote(name).replace", "name.replace", (TABLE,)),
    Mutant("per cent signs in names", "sql.Writer.name", '.replace("%", "%%")', "", (POLICIES,)),
    Mutant("a type for what has none", "types.settled", "if any(family(value) != UNTYPED for value in values):", "if True:", (TABLE,)),
    Mutant("one number for a parameter used twice", "sql.Writer._leaf", "number = self._numbers.get((leaf, type_))", "number = None", (TABLE,)),
    Mutant("a number for each type of a parameter", "sql.Writer._leaf", 'if isinstance(leaf, Claim) else self._type_here()', 'if leaf else ""', (TABLE,)),
    Mutant("a number for each type of a claim", "sql.Writer._declared_here", "next((str(value.type)", "next((str(UNTYPED)", (POLICIES,)),
    Mutant("columns of an inner SELECT have no types", "parser.Parser._inner_where", "types, self._types = self._types, {}", "types = self._types", (POLICIES,)),
    Mutant("enums as texts", "sql.Writer._column", 'return f"{self.name(column.name)}::text" if column.type == ENUM else', 'return f"{self.name(column.name)}::text" if not column else', (TABLE,)),
    Mutant("operators as sent", "sql.Writer._open", "if self._most < 0:", "if self._most < -99_999:", (REFUSALS,)),
    Mutant("a number of its own for each literal", "sql.Writer._leaf", "if isinstance(leaf, Text):", "if not leaf:", (TABLE,)),
    # the conjunction
    Mutant("the client's numbers behind the policy's", "conjunction._client_half", "first = len(values) + 1", "first = 1", (TABLE,)),
    Mutant("the policy first", "conjunction.conjoin", '{enforced} AND {chosen}', '{chosen} AND {enforced}', (TABLE, MEANING)),
    Mutant("AND between the halves", "conjunction.conjoin", '{enforced} AND {chosen}', '{enforced} OR {chosen}', (TABLE, MEANING)),
    Mutant("all parts of the policy", "conjunction._policy_half", "in policy]\n    if", "in policy[:1]]\n    if", (POLICIES,)),
    Mutant("a claim's value once", "conjunction._numbered", "if read_as not in numbers:", "if True:", (POLICIES,)),
    Mutant("missing parameters", "conjunction._parameter", "params.get(number)", 'params.get(number, "")', (VALUES,)),
    Mutant("NUL in values", "conjunction._parameter", 'if is_unfit(value):\n        raise FilterFault', 'if not value and is_unfit(value):\n        raise FilterFault', (VALUES,)),
    Mutant("control characters in claims", "conjunction._claim", "is not None:", "== -1:", (VALUES,)),
    Mutant("control characters in lists of claims", "conjunction._claim", 'else "".join(value)', 'else ""', (VALUES,)),
    Mutant("claims in arrays are claims", "conjunction._constant", "_claim(claims[item.name]) if", "claims[item.name] if", (VALUES,)),
    Mutant("patterns in parameters", "conjunction._parameter", "if number in client.patterns and", "if number in client.lists and", (VALUES,)),
    Mutant("elements of arrays as we write them", "arrays.reread", "literal.count('\"') <= 2 * most", "literal", (VALUES,)),
    Mutant("elements of plain arrays", "arrays.reread", 'literal.count(",") < most', "literal", (VALUES,)),
    Mutant("NULL in plain arrays", "arrays.reread", 'and "NULL" not in literal.upper()', "", ("writes_arrays",)),
    Mutant("arrays with our own quotes", "conjunction._list", "array = reread(_parameter(source, client, params, limits), limits.in_list)", "array = reread(params[source.number], limits.in_list) and params[source.number]", (TABLE,)),
    Mutant("values in arrays are values", "conjunction._item", "return _parameter(item, client, *given)", "return given[0][item.number]", (VALUES,)),
    Mutant("empty lists", "conjunction._is_special", 'array == "{}" or has_null(array)', "has_null(array)", (TABLE,)),
    Mutant("NULL in lists", "conjunction._is_special", 'array == "{}" or has_null(array)', 'array == "{}"', (TABLE,)),
    Mutant("NULL in arrays", "conjunction._for_special", "if isinstance(side, Parameter) and has_null(", "if not side and has_null(", (VALUES,)),
    Mutant("the bytes of repeated values", "conjunction._check_size", "sum(map(len, values)) > _MOST_SENT", "not values", (VALUES,)),
    Mutant("elements of arrays", "arrays.reread", "len(elements) < most and", "", (VALUES,)),
    Mutant("the end of an array", "arrays.reread", 'if at == len(literal) else None', "", ("writes_arrays",)),
    Mutant("escapes in arrays", "arrays._quoted", r"""text.replace("\\", "\\\\").replace""", "text.replace", ("writes_arrays",)),
    Mutant("the second check on the door", "conjunction.conjoin", "check(text, frozenset()", "str((text, frozenset())) if True else check(text, frozenset()", ("locks_all_that_leaves",)),
    # the characters
    Mutant("control characters outside literals", "lexer", r'rf"""[ \t\n\r]*(?:', r'rf"""[\x01-\x20]*(?:', (REFUSALS,)),
    Mutant("NUL", "lexer._measure", "if never := _NEVER.search(text):", 'if never := _NEVER.search(""):', (REFUSALS, ATTACKS)),
    Mutant("surrogates", "lexer", r"""_NEVER = re.compile(r"[\x00\ud800-\udfff]")""", r"""_NEVER = re.compile(r"[\x00]")""", (REFUSALS,)),
    Mutant("backslashes in literals", "lexer", r"""'[^'\\]*(?:''[^'\\]*)*' {_JOINT}""", r"""'[^']*(?:''[^']*)*' {_JOINT}""", (REFUSALS,)),
    Mutant("words that run into others", "lexer", r'''_JOINT = r"""(?![\w'"$])"""''', '_JOINT = ""', (REFUSALS, ATTACKS)),
    Mutant("numbers that run into words", "lexer", r"""(?![\w.'"$]) )""", ")", (REFUSALS,)),
    Mutant("!=-1", "lexer", "!=(?![-+])", "!=", (REFUSALS,)),
    Mutant("ASCII words", "lexer", "[A-Za-z_][A-Za-z0-9_]* {_JOINT} )", r"[^\W\d]\w* {_JOINT} )", (REFUSALS,)),
    Mutant("lines in names", "lexer", r"""(?P<quoted>  "(?:[^"\x00-\x1f\x7f-\x9f]|"")+" {_JOINT} )""", r"""(?P<quoted>  "(?:[^"]|"")+" {_JOINT} )""", (POLICIES,)),
    Mutant("lines in orders", "order_by.order_by", "if (control := control_in(text)) is not None:", 'if (control := control_in("")) is not None:', ("orders_by_names_only",)),
    Mutant("placeholders in quotes", "lexer._read", "if policy and _PLACEHOLDER.search(word):", "if not word:", ("refuses_policies",)),
    Mutant("folding of names", "lexer.lex", "word = word.lower()", "word = str(word)", (TABLE, ATTACKS)),
    # the grammar
    Mutant("operands are values", "parser.Parser._test_of_condition", "if operator not in _TRUTH_TESTS:", "if not operator:", (REFUSALS, DEPARSER, ATTACKS)),
    Mutant("an equated condition is rewritten", "rewriting._comparison", "if isinstance(test.left, TESTS) or isinstance(test.right, TESTS):", "if not test:", (TABLE,)),
    Mutant("no IS over an IS that was no IS", "rewriting._truth_test", "if is_is(node) else", "if not node else", (TABLE,)),
    Mutant("a condition is not a text", "operands.equated", "word.value.lower() not in TRUTH_WORDS", "not word.value", (REFUSALS,)),
    Mutant("a condition is not NULL", "operands.equated", "if other == NULL or (", "if (", (REFUSALS,)),
    Mutant("conditions in policies stay as they are", "parser.Parser._test_of_condition", 'operator in _EQUALITIES and self._claims is None and', 'operator in _EQUALITIES and', ("refuses_policies",)),
    Mutant("conditions on the right in policies", "parser.Parser._operand", 'if self._claims is not None or self.kind != "(" else', 'if self.kind != "(" else', ("refuses_policies",)),
    Mutant("whether two conditions differ", "rewriting._equated", "other if equal else unlike", "other", (TABLE,)),
    Mutant("whether a condition is not true", "rewriting._equated", "(constant == TRUE) == equal", "constant == TRUE", (TABLE,)),
    Mutant("times are unlike by NOT", "rewriting._comparison", 'return Not(equal) if test.operator == "<>" else', 'return test if test.operator == "<>" else', (TABLE,)),
    Mutant("two NULLs are not distinct", "rewriting._distinct", "if not (_nullable(left) and _nullable(right)):", "if left:", (TABLE,)),
    Mutant("nothing is in an empty list", "rewriting._any_of", "return FALSE", "return TRUE", (TABLE,)),
    Mutant("decimals as ranges", "ranges.unlike_number", "return isinstance(value, Number) and", "return value is None and", (TABLE,)),
    Mutant("concat of texts alone", "rewriting._joined", "if isinstance(value, Number):\n        return Cast(Text(value.digits), \"text\")", "if not value:\n        return value", (TABLE,)),
    Mutant("times as PostgreSQL writes them", "times.plain", "if found is None:", "if found:", (TABLE,)),
    Mutant("NULL in a list is unknown", "rewriting._any_of", "if has_null(written):", "if not written:", (TABLE,)),
    Mutant("the least integer as a parameter", "rewriting._value", "if isinstance(value, Number) and value.digits == LOWEST:", "if not value:", (TABLE,)),
    Mutant("columns of arrays beside operators of arrays", "operands.array_test", "if not isinstance(left, Column) and not isinstance(right, Column):", "if not left:", (REFUSALS,)),
    Mutant("arrays hold constants", "values.Values._item", "if isinstance(item, Text | Parameter | Claim | Number | Constant):", "if item:", (REFUSALS,)),
    Mutant("arrays stand beside operators of arrays only", "parser.Parser._test_of", "if isinstance(left, Array) and self.kind not in _ARRAY_TESTS:", "if not left:", (REFUSALS,)),
    Mutant("enums have no order", "operands.require_order", "if any(map(is_enum, values)):", "if not values:", (REFUSALS,)),
    Mutant("operands on the right are values", "values.Values._enclosed_value", "value = self.value()\n", "value = self._chain() if hasattr(self, '_chain') else self.value()\n", (REFUSALS,)),
    Mutant("no IS over IS", "operands.is_is", "isinstance(node, NullTest | TruthTest) or", "", (REFUSALS, ATTACKS)),
    Mutant("no IS over IS DISTINCT FROM", "operands.is_is", "isinstance(node, Comparison) and node.operator in IS_TESTS", "False", (REFUSALS, ATTACKS)),
    Mutant("no chained comparisons", "parser.Parser._test", "if self.kind in _OPERATORS:\n            raise", "while self.kind in _OPERATORS:\n            test = self._test_of(test, start)\n        if not test:\n            raise", (REFUSALS,)),
    Mutant("values are no conditions", "parser.Parser._condition", "type(node) in _CONDITIONS or node in TRUTHS", "node", (REFUSALS, ATTACKS)),
    Mutant("NULL is no condition", "parser.Parser._condition", "node in TRUTHS or is_truth", "node in TRUTHS or getattr(node, 'word', '') == 'NULL' or is_truth", (REFUSALS, ATTACKS)),
    Mutant("only a coalesce of truth values is a condition", "types.is_truth", "and BOOL in map(family, value.arguments)", "", (REFUSALS,)),
    Mutant("nothing behind the filter", "parser.Parser.filter", 'if self.kind != "end":', 'if self.kind == "bad":', (REFUSALS, ATTACKS)),
    Mutant("closing brackets", "cursor.Cursor.expect", "if self.kind != kind:\n            raise self.fault(sentence)\n", "if self.kind != kind:\n            return ''\n", (REFUSALS, ATTACKS)),
    Mutant("the look-up of columns", "values.Values._name", "if name in self._columns.names:", "if name:", (REFUSALS, ATTACKS)),
    Mutant("the list of functions", "operands.require_function", "if name not in _FUNCTIONS:", "if not name:", (REFUSALS, ATTACKS)),
    Mutant("the number of arguments", "operands.call", "if len(arguments) != 1:", "if not arguments:", (REFUSALS, ATTACKS)),
    Mutant("the list of types", "values.Values._type", "SPELLINGS.get(spelling)", "SPELLINGS.get(spelling, spelling)", (REFUSALS,)),
    Mutant("int4", "numbers.number", "if len(bare) > _INT4_DIGITS or int(digits) not in _INT4:", "if not digits:", (REFUSALS, ATTACKS)),
    Mutant("leading zeros", "numbers.number", 'bare[0] == "0" and', 'bare[0] == "-" and', (REFUSALS, ATTACKS)),
    Mutant("a digit at either side of a point", "numbers.plain", """{whole or '0'}.{part or '0'}""", """{whole}.{part}""", (TABLE,)),
    Mutant("calls in calls", "operands.require_argument", "if not isinstance(value, Call):", "if value:", (REFUSALS,)),
    Mutant("arguments of calls", "operands.call", "if len(arguments) > _MOST_ARGUMENTS:", "if not arguments:", (BOUNDS,)),
    Mutant("calls of lower and upper", "values.Values._fold", "if self.folds > MOST_FOLDS:", "if not self.folds:", (REFUSALS, BOUNDS)),
    Mutant("calls of lower and upper that are sent", "predicate.read", "if parser.folds:", "if not parser.folds:", (REFUSALS,)),
    Mutant("lower and upper of large columns", "values.Values._fold", "value.name in self._columns.large:", "not value.name:", (BOUNDS,)),
    Mutant("digits", "numbers.plain", "return sign + number if len(number) <= _DIGITS else None", "return sign + number", (REFUSALS,)),
    Mutant("parameter zero", "values.Values._parameter", 'digits[0] == "0" or', "", (REFUSALS,)),
    Mutant("no parameters in policies", "values.Values._parameter", "if self._claims is not None:\n            raise self.fault(\"a policy names", "if self._claims is None and not digits:\n            raise self.fault(\"a policy names", ("refuses_policies",)),
    Mutant("the least integer in policies", "values.Values._number", "value.digits == LOWEST and self._claims is not None:", "not value:", ("refuses_policies",)),
    Mutant("declared claims", "values.Values._claim_name", "self._claims is None or name not in self._claims", "self._claims is None", ("refuses_policies",)),
    Mutant("patterns are fixed", "operands.like", "if not isinstance(leaf, Text | Parameter):", "if not leaf:", (REFUSALS, "refuses_policies")),
    Mutant("ANY of an array", "operands.array", "if isinstance(value, Array | Parameter) or (isinstance(value, Column) and family(value) in (ANY, ARRAY)):", "if value:", (REFUSALS,)),
    Mutant("no literal array in a policy", "values.Values.array", "if self._claims is None or not isinstance(value, Text):", "if value:", ("refuses_policies",)),
    Mutant("a list is no value of a claim", "values.Values._claim", "if name in self._lists:", "if not name:", ("refuses_policies",)),
    Mutant("a value of a claim is no list", "values.Values._list_claim", "if name not in self._lists:", "if not name:", ("refuses_policies",)),
    Mutant("as many columns as stand before a SELECT", "parser.Parser._wanted", 'if len(names) < most or self.kind == ",":', "if not names:", ("refuses_policies",)),
    Mutant("NULL is in no set", "parser.Parser._subselect", '(*(NullTest("IS NOT NULL", column) for column in columns), test)', "(test, test)", (POLICIES,)),
    Mutant("NOT before a SELECT", "sql.Writer._subselect", "{test.operator}", "IN", (POLICIES,)),
    Mutant("ANY of a readable array", "operands.array", "if written is None:", "if not value:", (REFUSALS,)),
    Mutant("ANY behind = only", "parser.Parser._any", 'if operator != "=":', "if not operator:", (REFUSALS, ATTACKS)),
    Mutant("a list is no value", "sql.Writer._one_use", "if leaf.number in self.lists and leaf.number in self.scalars:", "if not leaf.number:", (REFUSALS,)),
    Mutant("one type in a list", "operands.typed", "if len(kinds) > 1:", "if len(kinds) > 2:", (REFUSALS,)),
    Mutant("types that have an operator", "types.clash", "return (first, others[0]) if others else None", "return None", (REFUSALS,)),
    # the bounds
    Mutant("bytes", "lexer._count", "if end - listed > limits.bytes:", "if not limits.bytes:", (BOUNDS,)),
    Mutant("bytes of other scripts", "lexer._measure_bytes", "len(text.encode()) - len(listed.encode()) > limits.bytes", "len(text) - len(listed) > limits.bytes", (BOUNDS,)),
    Mutant("tokens", "lexer._count", "if len(tokens) > limits.tokens and", "if not tokens and", (BOUNDS,)),
    Mutant("brackets", "cursor.Cursor.deeper", "if self._depth > self._limits.depth:", "if not self._depth:", (BOUNDS,)),
    Mutant("brackets as sent", "sql.Writer._open", "if self._level > self._deepest:", "if not self._level:", (BOUNDS,)),
    Mutant("nodes", "cursor.Cursor.count", "if self._nodes > self._limits.nodes:", "if not self._nodes:", (BOUNDS,)),
    Mutant("lists", "cursor.Cursor.count_listed", "if self._listed > self._limits.in_list:", "if not self._limits:", (BOUNDS,)),
    Mutant("all lists together", "cursor.Cursor.count_listed", "self._listed += more", "self._listed = more", (BOUNDS,)),
    Mutant("bytes of lists", "lexer._measure_bytes", "if len(listed.encode()) > limits.list_bytes:", "if not limits:", (BOUNDS,)),
    Mutant("NOT before a long list", "parser.Parser._in_array", "return Not(test) if negation else test", "return test", (TABLE,)),
    Mutant("bytes of a pattern", "operands.pattern_fault", "if len(pattern.encode()) > limits.like_bytes:", "if not limits:", (BOUNDS, VALUES)),
    Mutant("wildcards", "operands.pattern_fault", 'pattern.count("%") + pattern.count("_") > limits.like_wildcards', "not limits", (BOUNDS, VALUES)),
    Mutant("escapes at the end of a pattern", "operands.pattern_fault", r'if (len(pattern) - len(pattern.rstrip("\\"))) % 2:', "if not limits:", (VALUES,)),
    # what repeats the policy
    Mutant("only the token's own value repeats", "analysis._repeats", "if text == own or (text,) == own:", "if text:", ("drops_repeats_only",)),
    Mutant("one of several values does not repeat them", "analysis._repeats", "(text,) == own", "text in own", ("drops_repeats_only",)),
    Mutant("no other value", "analysis._repeats", "text is None or column.name in filterable", "True", ("drops_repeats_only",)),
    Mutant("no value outside the list", "analysis._repeats", "isinstance(own, tuple) and text in own", "isinstance(own, tuple)", ("drops_repeats_only",)),
    Mutant("an array within others may be empty", "analysis._bounded_array", '("@>", Column(), Claim()) | ("&&", Column(), Claim())', '(_, Column(), Claim())', ("knows_what_binds",)),
    Mutant("every element of an overlap a claim", "analysis._bounded_array", "return all(isinstance(item, Claim)", "return any(isinstance(item, Claim)", ("knows_what_binds",)),
    Mutant("NOT IN bounds nothing", "analysis._bounded", 'case Subselect("IN", where=where)', "case Subselect(where=where)", ("knows_what_binds",)),
    Mutant("no other use of the column", "analysis._require", "node.name not in filterable", "not node.name", ("drops_repeats_only",)),
    Mutant("repeats only by =", "analysis._equality", 'part.operator == "="', "part.operator", ("drops_repeats_only", "knows_what_binds")),
    Mutant("bindings at the top only", "ast.parts_of", 'node.operator == "AND" else (node,)', 'node.operator else (node,)', ("knows_what_binds",)),
    Mutant("every branch bounded", "analysis._bounded", "return all(map(_bounded, parts))", "return any(map(_bounded, parts))", ("knows_what_binds",)),
    Mutant("every item a claim", "analysis._bounded", "all(isinstance(item, Claim)", "any(isinstance(item, Claim)", ("knows_what_binds",)),
    # the order
    Mutant("the look-up of sort keys", "order_by._key", "if column not in columns:", "if not column:", ("orders_by_names_only", ATTACKS)),
    Mutant("nothing behind the sort keys", "order_by.order_by", 'if cursor.kind != "end":', "if not keys:", ("orders_by_names_only", ATTACKS)),
    Mutant("the number of sort keys", "order_by.order_by", "if len(keys) == MOST_KEYS:", "if not keys:", ("orders_by_names_only",)),
    # the second check
    Mutant("the lock's names", "verify.check", "if not columns.issuperset(names):", "if not columns:", (LOCK,)),
    Mutant("the lock's alphabet", "verify.check", "if not _OUTSIDE_NAMES.fullmatch(bare):", "if not _OUTSIDE_NAMES:", (LOCK,)),
    Mutant("the lock's numbers", "verify.check", "!= set(range(1, params + 1))", "is None", (LOCK,)),
    Mutant("the lock's halves", "verify._check_halves", "if depth or len(closed) != 2:", "if depth:", (LOCK,)),
    Mutant("the lock's depth", "verify._check_halves", "if depth <= 0:", "if depth == 0 and number:", (LOCK,)),
    Mutant("the lock's AND", "verify._check_halves", 'if not client[0].startswith(" AND ("):', "if not client:", (LOCK,)),
    Mutant("the lock's SELECT", "verify._check_halves", 'any("SELECT" in piece for piece in client)', "not client", (LOCK,)),
)  # fmt: skip
