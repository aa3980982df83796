#!/bin/sh
# Runs once, when PostgreSQL's folder is new: the database, the role that owns its tables, and the service's role, which
# does not and gets its rights by `python -m migrations grant`.
set -eu
set +x # whoever traces a script would have the passwords in the log

POSTGRES_SECRETS=${POSTGRES_SECRETS:-/run/secrets}
export POSTGRES_SECRETS

# psql reads the passwords from the files itself: no list of processes has them.
psql --set=ON_ERROR_STOP=1 --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set owner_password `cat "$POSTGRES_SECRETS/owner_password"`
\set service_password `cat "$POSTGRES_SECRETS/service_password"`
CREATE ROLE vocero_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE vocero LOGIN PASSWORD :'service_password';
CREATE DATABASE vocero OWNER vocero_owner;
REVOKE ALL ON DATABASE vocero FROM PUBLIC;
GRANT CONNECT ON DATABASE vocero TO vocero;
\connect vocero
ALTER SCHEMA public OWNER TO vocero_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SQL
