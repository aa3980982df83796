#!/bin/sh
# Put the ElevenLabs key into a development Vault; see --help. Running it again writes it again.
set -eu

here=$(dirname "$0")
# shellcheck source=deploy/vault/vault-cli.sh
. "$here/vault-cli.sh"

usage() {
    cat <<'EOF'
Usage: bootstrap-development.sh [--key-file FILE] [--own-secrets]

Writes your ElevenLabs key to the Vault at VAULT_ADDR, which must run already and be one for development: on this
machine, or a plain service name (Compose); FORCE=1 allows any other. The key comes from a prompt, from FILE, or from
the standard input if that is no terminal; there is no argument and no variable for it, because others on this machine
could see those. Other fields of the entry stay as they are.

  --key-file FILE  the file that has the key, and nothing else
  --own-secrets    also make what of Vocero's own secrets is missing: ticket_signing_key
  --help           show this

Environment, with defaults:
  VAULT_CLI                 the command line to use; else `vault` or `bao` from the PATH
  VAULT_ADDR                (required), VAULT_TOKEN, VAULT_NAMESPACE, VAULT_CACERT: as for that command line
  VAULT_KV_MOUNT=secret     mount of the KV engine, which must be of version 2
  VAULT_KV_PATH=vocero      path in it
  VAULT_ELEVENLABS_KEY_FIELD=elevenlabs_api_key
  FORCE=                    1: write to any Vault
EOF
}

key_file=
wants_own_secrets=
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h)
            usage
            exit 0
            ;;
        --key-file)
            [ $# -ge 2 ] || die "--key-file needs the name of a file."
            key_file=$2
            shift
            ;;
        --own-secrets) wants_own_secrets=yes ;;
        # It is not shown: who tried to give the key as an argument would have it in a log as well.
        *) die "unknown argument; the key is never one. See --help" ;;
    esac
    shift
done

mount=${VAULT_KV_MOUNT:-secret}
path=${VAULT_KV_PATH:-vocero}
key_field=${VAULT_ELEVENLABS_KEY_FIELD:-elevenlabs_api_key}

check_names "$mount" "$path" "$key_field"
find_cli
case $VAULT_ADDR in
    http://* | https://*) host=${VAULT_ADDR#*://} ;;
    *) die "VAULT_ADDR must begin with http:// or https://" ;;
esac
host=${host%%/*}
case $host in
    *@*) die "VAULT_ADDR must not have a user in it." ;;
    '[::1]' | '[::1]':*) host=localhost ;;
esac
host=${host%%:*}
case $host in
    127.*[!0-9.]*) is_development= ;;
    localhost | 127.*.*.*) is_development=yes ;;
    *[!A-Za-z0-9_-]* | '') is_development= ;;
    *) is_development=yes ;; # one word: a service of Compose
esac
[ -n "$is_development" ] || [ "${FORCE:-}" = 1 ] ||
    die "$VAULT_ADDR does not look like a Vault for development; FORCE=1 writes to it all the same."
check_login
check_kv_mount "$mount"

# Set $key.
read_key() {
    if [ -n "$key_file" ]; then
        [ -f "$key_file" ] && [ -r "$key_file" ] || die "--key-file $key_file cannot be read."
        key=$(cat <"$key_file")
    elif [ -t 0 ]; then
        terminal=$(stty -g)
        trap 'trap "" HUP INT TERM; stty "$terminal"; exit 130' HUP INT TERM  # a second Ctrl-C must not end the stty
        stty -echo
        printf 'ElevenLabs key (it is not shown): ' >&2
        IFS= read -r key || key=
        stty "$terminal"
        trap - HUP INT TERM
        printf '\n' >&2
    else
        key=$(cat)
    fi
}

check_key() {
    [ -n "$key" ] || die "the key is empty; nothing was written."
    [ "${#key}" -le 4096 ] || die "the key has ${#key} characters, which makes no sense; nothing was written."
    (
        LC_ALL=C
        case $key in *[!!-~]*) exit 1 ;; esac
    ) || die "the key has a blank, a line break or another character that no key has; nothing was written."
}

# find_field FIELD: set $found to "yes", "no" (the entry has no such field), or "nothing" (there is no entry).
find_field() {
    if said=$("$VAULT_CLI" kv get "-mount=$mount" "-field=$1" "$path" 2>&1 >/dev/null); then
        found=yes
        return
    fi
    case $said in
        *"not present in"*) found=no ;;
        *"No value found"* | *"No data found"*) found=nothing ;; # never written, or its newest version was deleted
        *) die "cannot read $mount/$path: $(one_line "$said")" ;;
    esac
}

# write_field FIELD VALUE, after find_field: the value goes through a pipe, and printf is part of the shell, so no list
# of processes has it.
write_field() {
    how="patch" method="-method=rw" # the other fields stay; "rw", because not every policy allows "patch"
    [ "$found" != nothing ] || how="put" method=""
    said=$(printf '%s' "$2" | "$VAULT_CLI" kv "$how" ${method:+"$method"} "-mount=$mount" "$path" "$1=-" 2>&1) ||
        die "cannot write $1 to $mount/$path: $(one_line "$said")"
    note "$1 was written to $mount/$path."
}

read_key
check_key
find_field "$key_field"
write_field "$key_field" "$key"
unset key

if [ -n "$wants_own_secrets" ]; then
    field=ticket_signing_key
    find_field "$field"
    if [ "$found" = yes ]; then
        note "$field is there already, and stays."
    else
        value=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')
        [ "${#value}" -eq 43 ] || die "cannot get 32 random bytes."
        write_field "$field" "$value"
        unset value
    fi
    printf 'VAULT_TICKET_SIGNING_KEY_FIELD=%s\n' "$field"
fi
