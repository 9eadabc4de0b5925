"""The protections of policies, and how to switch each off: one piece of one function of proxy/core."""

from dataclasses import dataclass

from tests.copies import Replacement


@dataclass(frozen=True)
class Mutant(Replacement):
    """A protection switched off, and the check that must notice."""

    noticed_by: str


MUTANTS = (
    # claims
    Mutant("a claim that is not optional", "claims.value_of", "if spec.optional:", "if spec:", "refuses"),
    Mutant(
        "blank claims",
        "claims.value_of",
        "if isinstance(value, str) and not value.strip():",
        "if value is spec:",
        "refuses",
    ),
    Mutant("only lists are lists", "claims._list", "if not isinstance(value, list) or", "if", "refuses"),
    Mutant("the length of a list as it comes", "claims._list", "or len(value) > _MOST_ELEMENTS", "", "refuses"),
    Mutant("the values of a list", "claims._list", "len(texts) > MAX_LIST or", "", "refuses"),
    Mutant("every element fits", "claims._list", "None in texts or", "", "refuses"),
    Mutant("no backslash in a list", "claims._list", 'any("\\\\" in text', 'any("\\\\\\\\" in text', "refuses"),
    Mutant(
        "repeats are one",
        "claims._list",
        "{spec.text_of(item) for item in value}",
        "[spec.text_of(item) for item in value]",
        "chooses",
    ),
    Mutant("lists in their order", "claims._list", "sorted(text for", "list(text for", "chooses"),
    Mutant(
        "values of exactly their type",
        "claims.ClaimSpec.text_of",
        "if isinstance(value, str) and value.strip()",
        "if (value := str(value)) and value.strip()",
        "refuses",
    ),
    Mutant(
        "paths lead through objects",
        "claims.ClaimSpec._walked",
        "if not isinstance(value, Mapping):",
        "if not isinstance(value, Mapping):\n                return None\n            if not self:",
        "refuses",
    ),
    # grants
    Mutant("when", "grants.When.holds", "not self.values.isdisjoint(value)", "bool(value)", "chooses"),
    Mutant("a value of when", "grants.When.holds", "value in self.values if", "bool(value) if", "chooses"),
    Mutant(
        "the claims of when are there",
        "grants.Grant.refusal",
        "*(when.claim for when in self.when), ",
        "*(), ",
        "chooses",
    ),
    Mutant("the claims of where are there", "grants.Grant.refusal", ", *self.claims)", ",)", "chooses"),
    Mutant(
        "the first grant that fits",
        "grants.choose",
        "for grant in grants:",
        "for grant in reversed(tuple(grants)):",
        "chooses",
    ),
    Mutant("narrows of the token", "decision.considered", "if part.claim.is_in(claims)]", "if not part]", "narrows"),
    Mutant(
        "null narrows nothing away",
        "claims.ClaimSpec.is_in",
        "last in holder",
        "holder.get(last) is not None",
        "refuses",
    ),
    Mutant(
        "public rows are narrowed too",
        "decision.considered",
        "enforced = (choice.grant.rows, *(part.where for part in narrow),",
        "enforced = (choice.grant.rows, *(part.where for part in narrow if not choice.grant.also_public),",
        "narrows",
    ),
    Mutant(
        "public rows bind nothing",
        "decision.Evaluation.bound",
        "for part in reversed(self.enforced)",
        "for part in (*reversed(self.enforced), self.grant.where)",
        "narrows",
    ),
    Mutant(
        "columns of the grant",
        "decision.columns",
        "if asked is None:\n        return granted",
        "if asked is None:\n        return policy.columns",
        "gives_no_more",
    ),
    Mutant(
        "columns that are asked for",
        "decision.columns",
        "if name not in granted]",
        "if name not in policy.columns]",
        "gives_no_more",
    ),
    Mutant(
        "orders of the grant",
        "decision._order",
        "evaluation.columns",
        "evaluation.policy.columns",
        "gives_no_more",
    ),
    # what loads
    Mutant(
        "every grant is bounded",
        "checks.bounded",
        "not filters.is_bounded(grant.where):",
        "not grant:",
        "loads_none",
    ),
    Mutant("public in part", "checks._partly_public", "if draft.claims or", "if not draft or", "loads_none"),
    Mutant(
        "public rows without a claim",
        "draft._also_public",
        "if public is not None and filters.claims_of(public):",
        "if not public:",
        "loads_none",
    ),
    Mutant(
        "declared claims of when",
        "draft._whens",
        "if spec is None:",
        "if spec is None:\n            continue\n        if not spec:",
        "loads_none",
    ),
    Mutant("values of when that can be", "draft._value", "if text is None:", "if not spec:", "loads_none"),
    Mutant(
        "grants that can be reached", "checks._unreachable", "if not grant.when and", "if not grant and", "loads_none"
    ),
    Mutant(
        "the columns of a grant are the policy's",
        "checks.granted",
        "set(columns) - set(document.columns)",
        "set()",
        "loads_none",
    ),
    Mutant("the key in every grant", "checks.granted", "set(document.key) - set(columns)", "set()", "loads_none"),
    Mutant(
        "subsets beside a SELECT",
        "checks.without_subsets_of_memberships",
        "if draft.document.client.subset and",
        "if not draft and",
        "loads_none",
    ),
    Mutant("below NOT", "agreement._operations", "positive=False", "positive=positive", "agrees"),
    Mutant(
        "what agrees only where no NOT is",
        "agreement._judged",
        "if not operation.positive and operator in _POSITIVE:",
        "if not operation:",
        "agrees",
    ),
    Mutant(
        "NULL in the set of a NOT IN",
        "agreement._open_to_null",
        'if select.operator == "NOT IN" and',
        'if select.operator == "NOT" and',
        "agrees",
    ),
    Mutant(
        "NULL left out by IS NOT NULL",
        "agreement._open_to_null",
        'part.operator == "IS NOT NULL"',
        "part.operator",
        "agrees",
    ),
    Mutant(
        "arrays of known types",
        "agreement._arrays",
        "if type_ is None:",
        "if type_ is None:\n            continue\n        if not type_:",
        "agrees",
    ),
    Mutant(
        "arrays of types that agree",
        "agreement._arrays",
        "type_.name not in ARRAYS[operator]",
        "type_.name == operator",
        "agrees",
    ),
)
