-- acc-ada has two sessions, acc-bob one, which nobody else may see.
INSERT INTO accounts VALUES
  ('acc-ada', 'Ada', '2026-01-01T00:00:00Z'),
  ('acc-bob', 'Bob', '2026-01-01T00:00:00Z');
INSERT INTO sessions VALUES
  ('s-ada', 'acc-ada', 'Ada one', '2026-01-01T00:00:00Z'),
  ('s-ada-2', 'acc-ada', 'Ada two', '2026-01-01T00:00:01Z'),
  ('s-bob', 'acc-bob', 'Bob private', '2026-01-01T00:00:02Z');
INSERT INTO session_members VALUES
  ('s-ada', 'acc-ada', 'owner'), ('s-ada-2', 'acc-ada', 'owner'), ('s-bob', 'acc-bob', 'owner');
INSERT INTO timeline_events VALUES
  ('00000000-0000-4000-8000-0000000000e1', 's-ada', 'acc-ada', 'opened', 'session opened', '2026-01-01T00:00:00Z'),
  ('00000000-0000-4000-8000-0000000000e9', 's-bob', 'acc-bob', 'opened', 'BOB OPENED', '2026-01-01T00:00:09Z');
INSERT INTO chat_threads VALUES
  ('t-1', 's-ada', 'acc-ada', 'general', 'Thread 1', '2026-01-01T00:00:00Z'),
  ('t-2', 's-ada', 'acc-ada', 'review', 'Thread 2', '2026-01-01T00:00:00Z'),
  ('t-9', 's-bob', 'acc-bob', 'general', 'Bob thread', '2026-01-01T00:00:00Z');
INSERT INTO chat_messages VALUES
  ('00000000-0000-4000-8000-000000000001', 's-ada', 't-1', 'acc-ada', 'general', 'user', 'hello', 'c-1', '2026-01-01T00:00:01Z'),
  ('00000000-0000-4000-8000-000000000002', 's-ada', 't-1', 'acc-ada', 'general', 'assistant',
    'a "quoted" \\ line' || chr(10) || 'two — ünïcødé', 'c-2', '2026-01-01T00:00:02Z'),
  ('00000000-0000-4000-8000-000000000003', 's-ada', 't-2', 'acc-ada', 'review', 'user', NULL, NULL, '2026-01-01T00:00:03Z'),
  ('00000000-0000-4000-8000-000000000009', 's-bob', 't-9', 'acc-bob', 'general', 'user', 'BOB PRIVATE', 'c-9', '2026-01-01T00:00:09Z');
INSERT INTO chat_tool_events VALUES
  ('00000000-0000-4000-8000-0000000000c1', 's-ada', 't-1', 'acc-ada', 'general',
    '00000000-0000-4000-8000-000000000002', 'search', 'done', 'found', '2026-01-01T00:00:02Z'),
  ('00000000-0000-4000-8000-0000000000c9', 's-bob', 't-9', 'acc-bob', 'general',
    '00000000-0000-4000-8000-000000000009', 'search', 'done', 'BOB TOOL', '2026-01-01T00:00:09Z');
INSERT INTO session_uploads VALUES
  ('00000000-0000-4000-8000-0000000000a1', 's-ada', 'acc-ada', 'log.txt', 'text/plain', 11, 'RAW CONTENT', '2026-01-01T00:00:01Z'),
  ('00000000-0000-4000-8000-0000000000a9', 's-bob', 'acc-bob', 'bob.txt', 'text/plain', 10, 'BOB SECRET', '2026-01-01T00:00:09Z');
INSERT INTO session_repo_bindings VALUES
  ('00000000-0000-4000-8000-0000000000b1', 's-ada', 'acc-ada', 'ada/app', 'main', '2026-01-01T00:00:01Z'),
  ('00000000-0000-4000-8000-0000000000b9', 's-bob', 'acc-bob', 'bob/private', 'main', '2026-01-01T00:00:09Z');
INSERT INTO misalignments VALUES
  ('00000000-0000-4000-8000-0000000000d1', 's-ada', 'acc-ada', 'scope', 'did more than asked', 2, false, '2026-01-01T00:00:01Z'),
  ('00000000-0000-4000-8000-0000000000d9', 's-bob', 'acc-bob', 'scope', 'BOB MISALIGNMENT', 3, true, '2026-01-01T00:00:09Z');
INSERT INTO hookify_decisions VALUES
  ('00000000-0000-4000-8000-0000000000f1', 's-ada', 'acc-ada', 'pre-commit', 'allow', 'clean', '2026-01-01T00:00:01Z'),
  ('00000000-0000-4000-8000-0000000000f9', 's-bob', 'acc-bob', 'pre-commit', 'deny', 'BOB REASON', '2026-01-01T00:00:09Z');
INSERT INTO todos (session_id, account_id, label) VALUES
  ('s-ada', 'acc-ada', 'one'), ('s-ada', 'acc-ada', 'two'), ('s-bob', 'acc-bob', 'bob todo');
INSERT INTO ui_settings VALUES
  ('acc-ada', 'theme', '{"dark": true}', '2026-01-01T00:00:00Z'),
  ('acc-ada', 'panes', '["chat", "files"]', '2026-01-01T00:00:00Z'),
  ('acc-bob', 'theme', '{"dark": false}', '2026-01-01T00:00:00Z');
INSERT INTO secrets VALUES (1, 'the secret of secrets');
