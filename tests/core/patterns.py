# ruff: noqa: E501 (a table: one pattern a line where it fits)
"""Ordinary permission patterns of published apps and guides: how each is written, or what to do instead.

The page docs/how-to/policy-patterns.md is made of this table; the tests load every policy and run it on the rows below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

A, B = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"

SCHEMA = f"""
CREATE TYPE state AS ENUM ('open', 'closed');
CREATE TABLE docs (
  id int8 PRIMARY KEY, owner text NOT NULL, org uuid NOT NULL, team int8, title text, status state NOT NULL,
  visibility text NOT NULL, archived bool NOT NULL, priority int4 NOT NULL, assignee text, recipient text, parent int8,
  shared_with text[], labels text[], country text, deleted_at timestamptz
);
CREATE TABLE members (org uuid, account text, role text);
CREATE TABLE shares (doc int8, account text);
CREATE TABLE teams (id int8, org uuid);
CREATE TABLE team_members (org uuid, team int8, account text);
CREATE TABLE blocks (blocker text, blocked text);
CREATE TABLE friends (account text, friend text);
INSERT INTO docs VALUES
 (1, 'ada', '{A}', 1, 'a', 'open', 'public', false, 1, 'bob', 'bob', null, '{{bob,cy}}', '{{red,blue}}', 'SE', null),
 (2, 'ada', '{A}', 1, 'b', 'closed', 'private', true, 5, null, null, 1, '{{}}', '{{red}}', 'DE', '2026-01-01'),
 (3, 'ada', '{B}', 2, 'c', 'open', 'private', false, 3, 'ada', 'cy', null, null, null, null, null),
 (4, 'bob', '{A}', 2, 'a', 'open', 'public', false, 2, 'ada', 'ada', 1, '{{ada,NULL}}', '{{blue}}', 'SE', null),
 (5, 'bob', '{B}', 3, 'd', 'closed', 'private', false, 4, null, null, 4, '{{NULL}}', '{{red,green}}', 'FR', null),
 (6, 'cy', '{A}', null, 'e', 'open', 'private', true, 9, 'cy', 'ada', 5, '{{ada}}', '{{}}', 'FR', null),
 (7, 'cy', '{B}', 3, null, 'open', 'public', false, 1, null, null, null, '{{ADA}}', '{{blue,red}}', 'DE', null);
INSERT INTO members VALUES ('{A}', 'ada', 'admin'), ('{B}', 'bob', 'viewer'), ('{B}', 'cy', 'owner'), (null, 'ada', 'admin');
INSERT INTO shares VALUES (5, 'ada'), (6, 'ada'), (7, 'bob'), (null, 'ada');
INSERT INTO teams VALUES (1, '{A}'), (2, '{A}'), (3, '{B}'), (null, '{A}');
INSERT INTO team_members VALUES ('{A}', 1, 'ada'), ('{B}', 3, 'ada'), ('{A}', 3, 'ada'), ('{A}', 2, 'bob'), ('{A}', null, 'ada');
INSERT INTO blocks VALUES ('ada', 'bob'), ('bob', 'cy'), ('ada', null);
INSERT INTO friends VALUES ('ada', 'cy'), ('bob', 'ada'), ('ada', null);
"""

TYPES = {
    "id": "int8",
    "owner": "text",
    "org": "uuid",
    "team": "int8",
    "title": "text",
    "status": "enum",
    "visibility": "text",
    "archived": "bool",
    "priority": "int4",
    "assignee": "text",
    "recipient": "text",
    "parent": "int8",
    "shared_with": "text[]",
    "labels": "text[]",
    "country": "text",
    "deleted_at": "timestamptz",
}


@dataclass(frozen=True)
class Pattern:
    """One pattern. `policy` is what its file says beside table, key, columns and types; a token that says `token` reads
    the rows that `rows` says in PostgreSQL's own words. `instead` stands for a pattern that cannot be written."""

    name: str
    known_from: str
    policy: Mapping[str, Any] = field(default_factory=dict)
    token: Mapping[str, Any] = field(default_factory=dict)
    rows: str = ""
    columns: tuple[str, ...] | None = None
    why: str = ""
    instead: str = ""


def own(where: str, **claims: Any) -> dict[str, Any]:
    """A policy with one predicate, by the subject unless other claims are named."""
    return {"claims": claims or {"sub": "text"}, "where": where}


ADA = {"sub": "ada"}
MEMBER = "SELECT org FROM public.members WHERE account = {sub}"

PATTERNS = (
    # everybody
    Pattern("Everything is public", "PowerSync (global data), Zero (ANYONE_CAN)", {"public": True, "where": "TRUE"}, {}, "true"),
    Pattern("Some rows are public", "PowerSync (global data)", {"public": True, "where": "NOT archived"}, {}, "NOT archived"),
    Pattern(
        "Published rows only, the same for everybody",
        "a shop's catalogue",
        {"public": True, "where": "visibility = 'public' AND status = 'open'"},
        {},
        "visibility = 'public' AND status = 'open'",
    ),
    # a person
    Pattern("My own rows", "Hasura, Nhost, PowerSync", own("owner = {sub}"), ADA, "owner = 'ada'"),
    Pattern(
        "My own rows, and the public ones",
        "Hasura, Zero",
        own("owner = {sub}") | {"also_public": "visibility = 'public'"},
        ADA,
        "owner = 'ada' OR visibility = 'public'",
        why="`also_public` declares the rows that every token may read.",
    ),
    Pattern("Created by me or assigned to me", "an issue tracker", own("owner = {sub} OR assignee = {sub}"), ADA, "owner = 'ada' OR assignee = 'ada'"),
    Pattern("Messages that I sent or received", "a chat", own("owner = {sub} OR recipient = {sub}"), ADA, "owner = 'ada' OR recipient = 'ada'"),
    Pattern("My rows that are not archived", "an issue tracker", own("owner = {sub} AND NOT archived"), ADA, "owner = 'ada' AND NOT archived"),
    Pattern("Without rows that are marked as deleted", "PowerSync, Supabase", own("owner = {sub} AND deleted_at IS NULL"), ADA, "owner = 'ada' AND deleted_at IS NULL"),
    # a tenant
    Pattern("The rows of my organisation", "Electric's guides, Hasura", own("org = {org}", org="uuid"), {"org": A}, f"org = '{A}'"),
    Pattern(
        "The organisation is nested in the token",
        "Supabase (app_metadata), Keycloak",
        own("org = {tenant}", tenant={"type": "uuid", "from": ["app_metadata", "tenant_id"]}),
        {"app_metadata": {"tenant_id": A}},
        f"org = '{A}'",
        why="Each step of `from` may hold any character: `from = [\"https://app.example/org\"]` is one step.",
    ),
    Pattern(
        "The token lists my organisations",
        "Clerk, Auth0, a gatekeeper",
        own("org = ANY({org_ids})", org_ids="uuid[]"),
        {"org_ids": [B, A, B]},
        f"org IN ('{A}', '{B}')",
        why="1 to 100 values; equal sets share one shape.",
    ),
    Pattern("The open issues of my organisation", "an issue tracker", own("org = {org} AND status = 'open'", org="uuid"), {"org": A}, f"org = '{A}' AND status = 'open'", why='With `status = "enum"` in `[types]`, and clients write the same.'),
    Pattern("The countries that I am responsible for", "a sales app", own("country = ANY({countries})", countries="text[]"), {"countries": ["SE", "FR"]}, "country IN ('SE', 'FR')"),
    Pattern("What my clearance allows", "a document store", own("org = {org} AND priority <= {clearance}", org="uuid", clearance="integer"), {"org": A, "clearance": 2}, f"org = '{A}' AND priority <= 2", why="Integers only: other types are ordered differently in snapshots and live."),
    # arrays
    Pattern("Shared with me, in an array column", "PowerSync (json_each), Hasura (_contains)", own("{sub} = ANY(shared_with)"), ADA, "'ada' = ANY(shared_with)"),
    Pattern("My own, or shared with me", "a document store", own("owner = {sub} OR {sub} = ANY(shared_with)"), ADA, "owner = 'ada' OR 'ada' = ANY(shared_with)"),
    Pattern("With one of my topics", "a news feed", own("labels && {topics}", topics="text[]"), {"topics": ["blue", "green"]}, "labels && '{blue,green}'"),
    Pattern("With a label that my token names", "a support desk", own("labels @> ARRAY['red', {topic}]", topic="text"), {"topic": "blue"}, "labels @> '{red,blue}'"),
    # another table
    Pattern("Shared with me, in a table", "Zero, PowerSync", own("id IN (SELECT doc FROM public.shares WHERE account = {sub})"), ADA, "id IN (SELECT doc FROM shares WHERE account = 'ada')", why="`subset = false`; filters on columns of `filter_safe` only."),
    Pattern("Rows of the organisations that I am a member of", "PowerSync, Zero, TanStack", own(f"org IN ({MEMBER})"), ADA, "org IN (SELECT org FROM members WHERE account = 'ada')", why="A member who is removed loses the rows at once, without a new token."),
    Pattern("Where I am an owner or an admin", "Zero", own(f"org IN ({MEMBER} AND role IN ('owner', 'admin'))"), ADA, "org IN (SELECT org FROM members WHERE account = 'ada' AND role IN ('owner', 'admin'))"),
    Pattern("Rows of the teams of my organisations", "PowerSync (nested)", own(f"team IN (SELECT id FROM public.teams WHERE org IN ({MEMBER}))"), ADA, "team IN (SELECT id FROM teams WHERE org IN (SELECT org FROM members WHERE account = 'ada'))"),
    Pattern("Rows of a team whose number is unique within its organisation", "a SaaS", own("(org, team) IN (SELECT org, team FROM public.team_members WHERE account = {sub})"), ADA, "(org, team) IN (SELECT org, team FROM team_members WHERE account = 'ada')"),
    Pattern("Comments on my rows", "Hasura (relationships), Zero", own("parent IN (SELECT id FROM public.docs WHERE owner = {sub})"), ADA, "parent IN (SELECT id FROM docs WHERE owner = 'ada')", why="A copy of the owner in each comment is faster, and takes pages."),
    Pattern(
        "Without rows of people whom I blocked",
        "a chat",
        own("org = {org} AND owner NOT IN (SELECT blocked FROM public.blocks WHERE blocked IS NOT NULL AND blocker = {sub})", org="uuid", sub="text"),
        {"org": A, "sub": "ada"},
        f"org = '{A}' AND owner <> 'bob'",
        why="NULL in the set would be read differently in snapshots and live: leave it out.",
    ),
    Pattern("My friends' rows, and mine", "a social app", own("owner = {sub} OR owner IN (SELECT friend FROM public.friends WHERE account = {sub})"), ADA, "owner IN ('ada', 'cy')", why="Loads with a warning: beside OR, rows with NULL in a tested column can arrive late."),
    # roles
    Pattern(
        "Admins read all of the organisation, members their own",
        "Hasura (roles), Zero",
        {
            "claims": {"sub": "text", "org": "uuid", "role": {"optional": True}},
            "grant": [
                {"name": "admins", "when": {"role": ["owner", "admin"]}, "where": "org = {org}"},
                {"name": "members", "where": "org = {org} AND owner = {sub}"},
            ],
        },
        {"sub": "ada", "org": A, "role": "admin"},
        f"org = '{A}'",
        why="The role is compared in the proxy, and is in no SQL.",
    ),
    Pattern(
        "Staff reads everything",
        "Hasura (admin), Supabase (service role)",
        {
            "claims": {"sub": "text", "groups": {"type": "text[]", "from": ["cognito:groups"], "optional": True}},
            "grant": [
                {"name": "staff", "when": {"groups": "staff"}, "also_public": "TRUE"},
                {"name": "users", "where": "owner = {sub}"},
            ],
        },
        {"sub": "ada", "cognito:groups": ["x", "staff"]},
        "true",
        why="`also_public` declares it, for the tokens of this grant only.",
    ),
    Pattern(
        "Some columns are for some roles",
        "Hasura (column permissions)",
        {
            "claims": {"org": "uuid", "role": {"optional": True}},
            "grant": [
                {"name": "managers", "when": {"role": "manager"}, "where": "org = {org}"},
                {"name": "others", "where": "org = {org}", "columns": ["id", "title", "status"]},
            ],
        },
        {"org": A, "role": "clerk"},
        f"org = '{A}'",
        columns=("id", "title", "status"),
    ),
    Pattern(
        "Visitors read published rows, users also their own",
        "Hasura (anonymous role), Zero",
        {
            "claims": {"account": {"optional": True}},
            "grant": [
                {"name": "users", "where": "owner = {account}", "also_public": "visibility = 'public'"},
                {"name": "visitors", "also_public": "visibility = 'public'"},
            ],
        },
        {},
        "visibility = 'public'",
        why="A visitor has a token as well, without the claim.",
    ),
    Pattern(
        "Only paying users read the archive",
        "a SaaS with plans",
        {
            "claims": {"sub": "text", "plan": {"optional": True}},
            "grant": [
                {"name": "paying", "when": {"plan": ["pro", "team"]}, "where": "owner = {sub}"},
                {"name": "free", "where": "owner = {sub} AND NOT archived"},
            ],
        },
        {"sub": "ada", "plan": "free"},
        "owner = 'ada' AND NOT archived",
    ),
    # narrow tokens
    Pattern(
        "A token for one document, or one folder of mine",
        "a link that is shared, Electric's gatekeeper",
        own("owner = {sub}") | {"narrow": [{"claim": "doc", "type": "integer", "where": "id = {doc}"}]},
        {"sub": "ada", "doc": 3},
        "owner = 'ada' AND id = 3",
        why="In force if the token carries the claim.",
    ),
    Pattern(
        "Support acts for a customer",
        "RFC 8693 (act), Auth0",
        own("owner = {sub} AND visibility <> 'private'", sub="text"),
        ADA,
        "owner = 'ada' AND visibility <> 'private'",
        why='A claim of the person who acts is read with `from = ["act", "sub"]`, and `when` can require it.',
    ),
    # not to be written
    Pattern(
        "The rows of the last thirty days",
        "PowerSync, an issue tracker",
        instead="Electric has no clock: a predicate with a time in it would need a new shape every day. Keep a column "
        "(`recent`) that a job of the database sets, or let the client filter by a date: it narrows its own rows only. "
        "That a person's access ends is the token's life, or a revocation.",
    ),
    Pattern(
        "A schema for each tenant",
        "a SaaS",
        instead="A policy names one table, and an Electric follows one database. Give each tenant's rows a column, or "
        "run an Electric and a proxy for each tenant.",
    ),
)  # fmt: skip
