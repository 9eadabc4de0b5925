#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For the container image of PostgreSQL, which runs what lies in /docker-entrypoint-initdb.d when the database is new:
# gives the two roles of roles.sql their passwords.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
  -v electric="$ELECTRIC_DB_PASSWORD" -v proxy="$PROXY_DB_PASSWORD" <<'SQL'
ALTER ROLE electric PASSWORD :'electric';
ALTER ROLE shape_proxy PASSWORD :'proxy';
SQL
