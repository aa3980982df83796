#!/bin/sh
# A Vault for development: in memory, unsealed, filled at each start with what setup keeps. For production there is
# docker-compose.production.yml.
#
# The key decision: server and filling are one container, so that a restart of it, which forgets everything, needs nobody.
set -eu
set +x # whoever traces a script would have the tokens in the log
umask 077

secrets=${VAULT_SECRETS:-/run/secrets}
ready=${VAULT_FILLED:-/tmp/vault-is-filled}
listen=${VAULT_LISTEN:-0.0.0.0:8200}
BAO_ADDR=http://127.0.0.1:${listen##*:}
VAULT_ADDR=$BAO_ADDR
BAO_DEV_ROOT_TOKEN_ID=$(cat "$secrets/root_token")
VAULT_DEV_ROOT_TOKEN_ID=$BAO_DEV_ROOT_TOKEN_ID
BAO_TOKEN=$BAO_DEV_ROOT_TOKEN_ID
VAULT_TOKEN=$BAO_TOKEN
export BAO_ADDR VAULT_ADDR BAO_DEV_ROOT_TOKEN_ID VAULT_DEV_ROOT_TOKEN_ID BAO_TOKEN VAULT_TOKEN
cli=$(command -v bao || command -v vault)
rm -f "$ready"

# Its first lines show the root token and the unseal key, so only what is wrong is kept.
"$cli" server -dev -dev-no-store-token "-dev-listen-address=$listen" -log-level=warn 2>&1 >/dev/null &
server=$!
trap 'kill -TERM "$server" 2>/dev/null' TERM INT

fill() {
    tries=0
    until "$cli" status >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || { echo "development.sh: the server does not answer." >&2; return 1; }
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.2
    done
    # `@` reads the file, and what begins with `-` comes through a pipe: no list of processes has a secret.
    "$cli" policy write vocero "${VAULT_POLICY:-/opt/vocero/vault/vocero.hcl}"
    "$cli" kv put -mount=secret vocero \
        "elevenlabs_api_key=@$secrets/elevenlabs_api_key" "ticket_signing_key=@$secrets/ticket_signing_key"
    printf '{"id": "%s", "policies": ["vocero"], "period": "768h"}' "$(cat "$secrets/vocero_token")" |
        "$cli" write -format=json auth/token/create-orphan -
}

if fill >/dev/null; then
    : >"$ready"
    echo "Vault for development: filled, with a token that may read one entry."
else
    echo "development.sh: Vault could not be filled." >&2
    kill -TERM "$server" 2>/dev/null || true
fi
# Twice: the first one is interrupted by the signal that the trap passes on.
wait "$server" || wait "$server" || true
[ -e "$ready" ]
