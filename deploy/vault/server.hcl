# A production server of OpenBao (2.2 or later) or HashiCorp's Vault for Vocero: one node with raft storage over TLS.
#
#   bao server -config=server.hcl        (vault server -config=server.hcl)
#   bao operator init -key-shares=5 -key-threshold=3      once; the shares go to five people, the root token is revoked
#   bao operator unseal                  by three of them after each start, or an automatic seal of your platform's
#   sh setup-approle.sh                  then, as somebody who may (docs/secrets.md)
#
# The key decision: sealed after a restart is what is wanted. Vocero goes on for an hour with what it has in memory
# (SECRETS_GRACE_SECONDS), and reads again by itself when it is unsealed. Backups: `bao operator raft snapshot save`.
#
# Three nodes are what a cluster needs to lose one: give each a node_id, its own addresses below, and
# `retry_join { leader_api_addr = "https://vault-1:8200" }`.
storage "raft" {
  path    = "/vault/file"
  node_id = "vault-1"
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  tls_cert_file   = "/run/secrets/vault_certificate"
  tls_key_file    = "/run/secrets/vault_certificate_key"
  tls_min_version = "tls12"
  # Bounds: requests of Vocero's are below 1 kB.
  max_request_size     = 1048576
  max_request_duration = "30s"
}

api_addr     = "https://vault:8200"
cluster_addr = "https://vault:8201"

# A memory lock needs a right (IPC_LOCK) that a container should not have: turn swap off on the machine, or encrypt it.
disable_mlock = true
ui            = false

# Who read what and when, values hashed. OpenBao takes this block; with HashiCorp's Vault leave it out and run
# `vault audit enable file file_path=/vault/logs/audit.log`.
audit "file" "log" {
  options {
    file_path = "/vault/logs/audit.log"
  }
}
