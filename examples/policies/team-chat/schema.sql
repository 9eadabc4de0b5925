CREATE TABLE channels (
  id text PRIMARY KEY,
  name text NOT NULL,
  listed boolean NOT NULL DEFAULT false
);

CREATE TABLE channel_members (
  channel_id text NOT NULL REFERENCES channels,
  user_id text NOT NULL,
  PRIMARY KEY (channel_id, user_id)
);

CREATE TABLE messages (
  id bigint PRIMARY KEY,
  channel_id text NOT NULL REFERENCES channels,
  author text NOT NULL,
  body text NOT NULL,
  deleted boolean NOT NULL DEFAULT false
);

CREATE TABLE drafts (
  id bigint PRIMARY KEY,
  author text NOT NULL,
  channel_id text,
  body text NOT NULL
);
