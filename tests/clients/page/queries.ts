// Live queries as an app would write them, each over collections by their names.
import type { Row } from "@electric-sql/client";
import {
  and,
  createLiveQueryCollection,
  eq,
  gt,
  gte,
  ilike,
  inArray,
  isNull,
  like,
  lower,
  lt,
  not,
  or,
  type Collection,
} from "@tanstack/db";

export interface Message extends Row {
  id: string;
  session_id: string;
  thread_id: string | null;
  mode: string | null;
  role: string;
  body: string | null;
  created_at: string;
}
export interface Thread extends Row {
  id: string;
  session_id: string;
  mode: string;
  title: string | null;
}
export interface Todo extends Row {
  id: bigint;
  session_id: string;
  label: string;
  done: boolean;
}
export interface Collections {
  chat_messages: Collection<Message>;
  chat_threads: Collection<Thread>;
  todos: Collection<Todo>;
}

const EARLY = "2026-01-01T00:00:01Z";
const LATE = "2026-01-01T00:00:04Z";

const key = (n: number, group = "8000") => `00000000-0000-4000-${group}-${String(n).padStart(12, "0")}`;

/** Ids as a list in the app's state: a hundred of them in a recorded request. */
export const MANY = Array.from({ length: 100 }, (_, n) => key(n));

/** The messages with one of so many ids, as a query over keys that the app has from elsewhere. */
export const ofKeys = (c: Collections, count: number) =>
  createLiveQueryCollection((q) =>
    q.from({ m: c.chat_messages }).where(({ m }) => inArray(m.id, Array.from({ length: count }, (_, n) => key(n, "9000")))),
  );

const where = (filter: (m: any) => any) => (c: Collections) =>
  createLiveQueryCollection((q) => q.from({ m: c.chat_messages }).where(({ m }) => filter(m)));

export const queries: Record<string, (c: Collections) => any> = {
  everything: (c) => createLiveQueryCollection((q) => q.from({ m: c.chat_messages })),
  eq: where((m) => eq(m.mode, "general")),
  eq_a_quote: where((m) => eq(m.mode, "it's \\ \"so\"")),
  eq_a_date: where((m) => eq(m.created_at, new Date(EARLY))),
  gt: where((m) => gt(m.created_at, EARLY)),
  between: where((m) => and(gte(m.created_at, EARLY), lt(m.created_at, LATE))),
  in_array: where((m) => inArray(m.role, ["user", "tool", "a, \"b\""])),
  in_an_empty_array: where((m) => inArray(m.role, [])),
  in_many: where((m) => inArray(m.id, MANY)),
  not_in_array: where((m) => not(inArray(m.role, ["assistant"]))),
  like: where((m) => like(m.mode, "gen%")),
  ilike: where((m) => ilike(m.mode, "GEN%")),
  lower: where((m) => eq(lower(m.mode), "general")),
  is_null: where((m) => isNull(m.thread_id)),
  is_not_null: where((m) => not(isNull(m.thread_id))),
  or_in_and: where((m) => and(eq(m.mode, "general"), or(eq(m.role, "user"), eq(m.role, "assistant")))),
  and_of_three: where((m) => and(eq(m.mode, "general"), eq(m.role, "user"), not(isNull(m.thread_id)))),
  not_or: where((m) => not(or(eq(m.role, "assistant"), eq(m.mode, "review")))),
  a_session_of_its_own: where((m) => and(eq(m.session_id, "s-ada"), eq(m.role, "user"))),
  a_boolean: (c) => createLiveQueryCollection((q) => q.from({ t: c.todos }).where(({ t }) => eq(t.done, false))),
  a_boolean_greater: (c) => createLiveQueryCollection((q) => q.from({ t: c.todos }).where(({ t }) => lt(t.done, true))),
  a_number: (c) => createLiveQueryCollection((q) => q.from({ t: c.todos }).where(({ t }) => gt(t.id, 1 as any))),
  newest_two: (c) =>
    createLiveQueryCollection((q) =>
      q
        .from({ m: c.chat_messages })
        .orderBy(({ m }) => m.created_at, "desc")
        .limit(2),
    ),
  by_number: (c) =>
    createLiveQueryCollection((q) =>
      q
        .from({ t: c.todos })
        .orderBy(({ t }) => t.id)
        .limit(1),
    ),
  by_number_filtered: (c) =>
    createLiveQueryCollection((q) =>
      q
        .from({ t: c.todos })
        .where(({ t }) => eq(t.done, false))
        .orderBy(({ t }) => t.id, "desc")
        .limit(1),
    ),
  by_time: (c) =>
    createLiveQueryCollection((q) =>
      q
        .from({ m: c.chat_messages })
        .orderBy(({ m }) => m.created_at, { stringSort: "lexical", nulls: "last" })
        .limit(1),
    ),
  filtered_page: (c) =>
    createLiveQueryCollection((q) =>
      q
        .from({ m: c.chat_messages })
        .where(({ m }) => eq(m.role, "user"))
        .orderBy(({ m }) => m.created_at, { direction: "asc", nulls: "last" })
        .orderBy(({ m }) => m.mode, "desc")
        .limit(1),
    ),
  joined: (c) =>
    createLiveQueryCollection((q) =>
      q
        .from({ m: c.chat_messages })
        .join({ t: c.chat_threads }, ({ m, t }) => eq(m.thread_id, t.id), "left")
        .where(({ m }) => eq(m.role, "user"))
        .select(({ m, t }) => ({ id: m.id, session_id: m.session_id, body: m.body, title: t?.title })),
    ),
  inner_joined: (c) =>
    createLiveQueryCollection((q) =>
      q
        .from({ t: c.chat_threads })
        .innerJoin({ m: c.chat_messages }, ({ m, t }) => eq(m.thread_id, t.id))
        .where(({ t }) => eq(t.mode, "general"))
        .orderBy(({ m }) => m.created_at)
        .limit(5)
        .select(({ m, t }) => ({ id: m.id, session_id: m.session_id, title: t.title })),
    ),
};
