CREATE TABLE tenants (
  id uuid PRIMARY KEY,
  name text NOT NULL
);

CREATE TABLE users (
  id text PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES tenants,
  name text NOT NULL,
  email text NOT NULL,
  password_hash text NOT NULL
);

CREATE TABLE documents (
  id bigint PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES tenants,
  team_id integer,
  owner text NOT NULL,
  title text NOT NULL,
  body text NOT NULL
);

CREATE TABLE invoices (
  id bigint PRIMARY KEY,
  tenant_id uuid NOT NULL REFERENCES tenants,
  cents bigint NOT NULL,
  due date
);
