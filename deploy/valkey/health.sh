#!/bin/sh
# Is Valkey up, has it read its file, and does it let Vocero in? For a container's health check.
set -eu
set +x
REDISCLI_AUTH=$(head -n 1 "${VALKEY_SECRETS:-/run/secrets}/valkey_vocero_password")
export REDISCLI_AUTH
[ "$("${VALKEY_CLI:-valkey-cli}" --no-auth-warning --user vocero -p "${VALKEY_PORT:-6379}" ping)" = PONG ]
