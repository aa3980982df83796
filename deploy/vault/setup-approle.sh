#!/bin/sh
# Make what Vocero logs in to Vault with: a policy and an AppRole; see --help. Running it again is safe.
set -eu

here=$(dirname "$0")
# shellcheck source=deploy/vault/vault-cli.sh
. "$here/vault-cli.sh"

usage() {
    cat <<'EOF'
Usage: setup-approle.sh [--secret-id-file FILE | --no-secret-id]

Makes (or brings up to date) the policy and the AppRole of Vocero in the Vault at VAULT_ADDR, where you are logged in as
somebody who may. Prints the role id and a new secret id as settings of Vocero's, what else there is to say goes to the
standard error. The secret id is response-wrapped: what you see opens once, and not after APPROLE_WRAP_TTL.

  --secret-id-file FILE  put the wrapped secret id there (mode 0600) and not on the standard output
  --no-secret-id         only policy and role; the secret ids that exist stay good
  --help                 show this

Environment, with defaults:
  VAULT_CLI                       the command line to use; else `vault` or `bao` from the PATH
  VAULT_ADDR                      (required), VAULT_TOKEN, VAULT_NAMESPACE, VAULT_CACERT: as for that command line
  VAULT_KV_MOUNT=secret           mount of the KV engine, which must be of version 2
  VAULT_KV_PATH=vocero            the one path in it that the policy allows reading
  VAULT_APPROLE_MOUNT=approle     where the AppRole method is; it is enabled there if it is not
  APPROLE_NAME=vocero             name of the role and of the policy
  APPROLE_TOKEN_TTL=20m           life of a token; it is renewed at two thirds of it
  APPROLE_TOKEN_MAX_TTL=4h        then Vocero logs in anew
  APPROLE_SECRET_ID_TTL=0         life of a secret id; 0: until it is destroyed. It must outlive the service (see below)
  APPROLE_BOUND_CIDRS=            networks, by commas, from which secret id and tokens are taken; empty: from anywhere
  APPROLE_WRAP_TTL=10m            time in which the wrapped secret id must be opened, once

The secret id may be used any number of times (secret_id_num_uses=0): every worker logs in itself, and again each time
its token has reached APPROLE_TOKEN_MAX_TTL. For the same reason it must not end before the service does. What protects
it is that it travels wrapped, lies in memory only, and is bound to your network by APPROLE_BOUND_CIDRS.
EOF
}

secret_id_file=
wants_secret_id=yes
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h)
            usage
            exit 0
            ;;
        --secret-id-file)
            [ $# -ge 2 ] || die "--secret-id-file needs the name of a file."
            secret_id_file=$2
            shift
            ;;
        --no-secret-id) wants_secret_id= ;;
        *) die "unknown argument; see --help" ;;
    esac
    shift
done

mount=${VAULT_KV_MOUNT:-secret}
path=${VAULT_KV_PATH:-vocero}
approle=${VAULT_APPROLE_MOUNT:-approle}
role_name=${APPROLE_NAME:-vocero}
cidrs=${APPROLE_BOUND_CIDRS:-}

check_names "$mount" "$path" "$approle" "$role_name"
if [ -n "$secret_id_file" ]; then
    [ -d "$(dirname -- "$secret_id_file")" ] || die "there is no folder for --secret-id-file $secret_id_file"
    [ ! -d "$secret_id_file" ] || die "--secret-id-file $secret_id_file is a folder."
fi

find_cli
check_login
check_kv_mount "$mount"

# do_or_die WHAT COMMAND...: run it; the result is in $said.
do_or_die() {
    what=$1
    shift
    said=$("$@" 2>&1) || die "cannot $what: $(one_line "$said")"
}

policy=$(sed "s|\"secret/data/vocero\"|\"$mount/data/$path\"|" "$here/vocero.hcl")
said=$(printf '%s\n' "$policy" | "$VAULT_CLI" policy write "$role_name" - 2>&1) ||
    die "cannot write the policy $role_name: $(one_line "$said")"

do_or_die "list the ways to log in" "$VAULT_CLI" auth list -format=json
case $said in
    *"\"$approle/\":"*) ;;
    *) do_or_die "enable AppRole at $approle/" "$VAULT_CLI" auth enable "-path=$approle" approle ;;
esac

role=auth/$approle/role/$role_name
do_or_die "write the role $role_name" "$VAULT_CLI" write "$role" \
    "token_policies=$role_name" \
    "token_ttl=${APPROLE_TOKEN_TTL:-20m}" \
    "token_max_ttl=${APPROLE_TOKEN_MAX_TTL:-4h}" \
    "token_bound_cidrs=$cidrs" \
    token_num_uses=0 \
    token_no_default_policy=false \
    bind_secret_id=true \
    "secret_id_ttl=${APPROLE_SECRET_ID_TTL:-0}" \
    secret_id_num_uses=0 \
    "secret_id_bound_cidrs=$cidrs"
note "The policy and the AppRole \"$role_name\" allow reading $mount/data/$path and nothing else."
[ -n "$cidrs" ] || note "They are taken from any network; APPROLE_BOUND_CIDRS=10.1.2.0/24 binds them to yours."

do_or_die "read the role id" "$VAULT_CLI" read -field=role_id "$role/role-id"
printf 'VAULT_ROLE_ID=%s\n' "$said"
[ "$approle" = approle ] || printf 'VAULT_APPROLE_MOUNT=%s\n' "$approle"
[ -n "$wants_secret_id" ] || exit 0

wrap_ttl=${APPROLE_WRAP_TTL:-10m}
do_or_die "make a secret id" "$VAULT_CLI" write -f "-wrap-ttl=$wrap_ttl" -field=wrapping_token "$role/secret-id"
printf 'VAULT_SECRET_ID_WRAPPED=true\n'
if [ -z "$secret_id_file" ]; then
    printf 'VAULT_SECRET_ID=%s\n' "$said"
else
    # A file of its own that takes the place of the old one in one step: Vocero may be reading it.
    umask 077
    new=$(mktemp "$secret_id_file.XXXXXX") || die "cannot write beside $secret_id_file"
    trap 'rm -f -- "$new"' EXIT
    printf '%s\n' "$said" >"$new"
    mv -f -- "$new" "$secret_id_file"
    trap - EXIT
    printf 'VAULT_SECRET_ID_FILE=%s\n' "$secret_id_file"
fi
note "The secret id is wrapped: it opens once, within $wrap_ttl. Hand it over by another way than the role id, and make"
note "a new one for each start of each node. If Vocero finds it used already, see docs/secrets.md."
