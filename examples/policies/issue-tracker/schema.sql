CREATE TABLE organisations (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  billing_email text
);

CREATE TABLE projects (
  id bigint PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organisations,
  name text NOT NULL,
  archived boolean NOT NULL DEFAULT false
);

CREATE TYPE status AS ENUM ('open', 'closed');

CREATE TABLE issues (
  id bigint PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organisations,
  project_id bigint NOT NULL REFERENCES projects,
  title text NOT NULL,
  status status NOT NULL DEFAULT 'open',
  assignee text,
  visibility text NOT NULL DEFAULT 'internal',
  internal_notes text,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE comments (
  id bigint PRIMARY KEY,
  issue_id bigint NOT NULL REFERENCES issues,
  author text NOT NULL,
  body text NOT NULL
);
