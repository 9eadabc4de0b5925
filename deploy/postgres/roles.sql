-- Two roles with what they need and no more. Passwords are not in files: ALTER ROLE … PASSWORD, or psql's \password.
-- Run as a superuser, or as a role with CREATEROLE that owns the tables. Running it again changes nothing.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'electric') THEN
    CREATE ROLE electric LOGIN REPLICATION NOINHERIT;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shape_proxy') THEN
    CREATE ROLE shape_proxy LOGIN NOINHERIT CONNECTION LIMIT 64;
  END IF;
END
$$;

-- The proxy writes its own rows of the heartbeat table. The replication slot it sees without a grant:
-- pg_replication_slots and pg_current_wal_lsn() are open to everybody.
GRANT USAGE ON SCHEMA public TO shape_proxy, electric;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.shape_proxy_heartbeat TO shape_proxy;
ALTER ROLE shape_proxy SET statement_timeout = '5s';

-- Electric reads what the policies name. Column grants are a lock of their own: a snapshot that asks for
-- session_uploads.content fails in PostgreSQL, whatever the proxy would have let through.
GRANT SELECT ON
  public.shape_proxy_heartbeat,
  public.accounts, public.sessions, public.session_members, public.timeline_events, public.chat_threads,
  public.chat_messages, public.chat_tool_events, public.session_repo_bindings, public.misalignments, public.todos,
  public.hookify_decisions, public.ui_settings
TO electric;
GRANT SELECT (id, session_id, account_id, filename, media_type, byte_size, created_at)
  ON public.session_uploads TO electric;
