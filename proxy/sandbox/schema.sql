-- The first user's app. Every table but `secrets` may be served; each row belongs to a session or to an account.
CREATE TABLE accounts (
  id text PRIMARY KEY,
  display_name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sessions (
  id text PRIMARY KEY,
  owner_account_id text NOT NULL REFERENCES accounts (id),
  title text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE session_members (
  session_id text NOT NULL REFERENCES sessions (id),
  account_id text NOT NULL REFERENCES accounts (id),
  role text NOT NULL DEFAULT 'viewer',
  PRIMARY KEY (session_id, account_id)
);
CREATE TABLE timeline_events (
  id uuid PRIMARY KEY,
  session_id text NOT NULL,
  account_id text,
  kind text NOT NULL,
  body text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE chat_threads (
  id text PRIMARY KEY,
  session_id text NOT NULL REFERENCES sessions (id),
  account_id text NOT NULL,
  mode text NOT NULL DEFAULT 'general',
  title text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE chat_messages (
  id uuid PRIMARY KEY,
  session_id text NOT NULL,
  thread_id text,
  account_id text,
  mode text,
  role text NOT NULL,
  body text,
  client_message_id text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE chat_tool_events (
  id uuid PRIMARY KEY,
  session_id text NOT NULL,
  thread_id text,
  account_id text,
  mode text,
  message_id uuid,
  tool text NOT NULL,
  status text NOT NULL,
  body text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE session_uploads (
  id uuid PRIMARY KEY,
  session_id text NOT NULL,
  account_id text,
  filename text NOT NULL,
  media_type text,
  byte_size bigint,
  content text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE session_repo_bindings (
  id uuid PRIMARY KEY,
  session_id text NOT NULL,
  account_id text,
  repo text NOT NULL,
  branch text NOT NULL DEFAULT 'main',
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE misalignments (
  id uuid PRIMARY KEY,
  session_id text NOT NULL,
  account_id text,
  kind text NOT NULL,
  body text,
  severity int NOT NULL DEFAULT 1,
  resolved boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE hookify_decisions (
  id uuid PRIMARY KEY,
  session_id text NOT NULL,
  account_id text,
  hook text NOT NULL,
  decision text NOT NULL,
  reason text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE todos (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  session_id text NOT NULL,
  account_id text,
  label text NOT NULL,
  done boolean NOT NULL DEFAULT false
);
CREATE TABLE ui_settings (
  account_id text NOT NULL,
  key text NOT NULL,
  value jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (account_id, key)
);
-- In no policy and in no shape: what a hole would bring to light.
CREATE TABLE secrets (
  id int PRIMARY KEY,
  secret text NOT NULL
);
