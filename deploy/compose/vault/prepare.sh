#!/bin/sh
# In production, once Vault is unsealed and somebody who may is logged in: the engine, the policy and the AppRole, and
# Vocero's role id and secret id in a volume that only Vault and Vocero have. Running it again makes a new secret id.
#
#   docker compose exec vault bao login
#   docker compose exec vault sh /opt/vocero/compose-vault/prepare.sh
#
# The key decision: the secret id is not wrapped, because containers start again by themselves and a wrapped one opens
# once. It never leaves the machine, and is good from the network of Vault alone (APPROLE_BOUND_CIDRS).
set -eu
set +x # whoever traces a script would have the secret id in the terminal

folder=${APPROLE_FOLDER:-/approle}
cli=$(command -v bao || command -v vault)

if ! "$cli" secrets list -format=json | grep -q '"secret/"'; then
    "$cli" secrets enable -path=secret -version=2 kv
fi
sh "${SETUP_APPROLE:-/opt/vocero/vault/setup-approle.sh}" --no-secret-id >/dev/null

umask 027 # the folder's group is Vocero's
"$cli" read -field=role_id auth/approle/role/vocero/role-id >"$folder/role_id.new"
"$cli" write -f -field=secret_id auth/approle/role/vocero/secret-id >"$folder/secret_id.new"
mv "$folder/role_id.new" "$folder/role_id"
mv "$folder/secret_id.new" "$folder/secret_id"
echo "Vocero logs in within a minute. Its key is missing until: docker compose exec vault" \
    "sh /opt/vocero/vault/bootstrap-development.sh --own-secrets"
