# What Vocero may do in Vault: read the newest version of one entry, and nothing else. No list, no write, no older
# versions' metadata, no other path.
#
# Renewing its own token (auth/token/renew-self) and looking at it (auth/token/lookup-self) come with Vault's own policy
# `default`, which every token has unless its role says token_no_default_policy=true: do not say that.
#
# "data" belongs to the path of a KV engine of version 2. Another mount or path (VAULT_KV_MOUNT, VAULT_KV_PATH):
# MOUNT/data/PATH; setup-approle.sh puts those two variables in by itself. With a namespace nothing changes here, but
# the policy must be written in that namespace (VAULT_NAMESPACE), to which the path is relative.
path "secret/data/vocero" {
  capabilities = ["read"]
}
