-- The publication that Electric reads with ELECTRIC_MANUAL_TABLE_PUBLISHING=true: these tables and no others, and of
-- session_uploads every column but content, which so never enters the replication stream.
-- Run as a superuser, once.
CREATE PUBLICATION electric_publication_default FOR TABLE
  public.shape_proxy_heartbeat,
  public.accounts, public.sessions, public.session_members, public.timeline_events, public.chat_threads,
  public.chat_messages, public.chat_tool_events, public.session_repo_bindings, public.misalignments, public.todos,
  public.hookify_decisions, public.ui_settings,
  public.session_uploads (id, session_id, account_id, filename, media_type, byte_size, created_at);

-- Electric wants whole old rows of every table that it serves.
ALTER TABLE public.accounts REPLICA IDENTITY FULL;
ALTER TABLE public.sessions REPLICA IDENTITY FULL;
ALTER TABLE public.session_members REPLICA IDENTITY FULL;
ALTER TABLE public.timeline_events REPLICA IDENTITY FULL;
ALTER TABLE public.chat_threads REPLICA IDENTITY FULL;
ALTER TABLE public.chat_messages REPLICA IDENTITY FULL;
ALTER TABLE public.chat_tool_events REPLICA IDENTITY FULL;
ALTER TABLE public.session_repo_bindings REPLICA IDENTITY FULL;
ALTER TABLE public.misalignments REPLICA IDENTITY FULL;
ALTER TABLE public.todos REPLICA IDENTITY FULL;
ALTER TABLE public.hookify_decisions REPLICA IDENTITY FULL;
ALTER TABLE public.ui_settings REPLICA IDENTITY FULL;

-- Whole old rows and a column list exclude each other: PostgreSQL then refuses UPDATE and DELETE on the table (INSERT
-- goes on). Uploads are written once, so that is the choice here. An application that changes or deletes uploads
-- moves the content to a table of its own (README.md says how) and leaves the column list out.
ALTER TABLE public.session_uploads REPLICA IDENTITY FULL;
