#!/bin/bash
# As the official PostgreSQL image's when it runs as `postgres`: a new cluster is made, set up by what lies in
# /docker-entrypoint-initdb.d over its socket alone, and only then served. The socket lies in /tmp and not in
# /run/postgresql: podman lays a /run of its own over that.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
export PATH PGHOST=/tmp
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA"
    # shellcheck disable=SC2086
    initdb -D "$PGDATA" --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" ${POSTGRES_INITDB_ARGS:-}
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses= -c unix_socket_directories=/tmp" -w start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        "$script"
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec postgres -D "$PGDATA" -c 'listen_addresses=*' -c unix_socket_directories=/tmp
