# shellcheck shell=sh
# What the scripts beside this one need of the `vault` or `bao` command line; it is read with `.`, not run.

set +x # whoever traces a script would have its secrets in the terminal

# What these hold must not go on to the programs that we start, which a variable does that came to us from outside.
unset said key value

die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

note() {
    printf '%s\n' "$1" >&2
}

# The last words of a failed command as one line.
one_line() {
    printf '%s' "$1" | tr -s '\n\t ' '   ' | cut -c 1-400
}

# Set VAULT_CLI, and make sure that it and its environment are ones to work with.
find_cli() {
    if [ -n "${VAULT_CLI:-}" ]; then
        command -v "$VAULT_CLI" >/dev/null || die "VAULT_CLI=$VAULT_CLI is not a program."
    elif command -v vault >/dev/null; then
        VAULT_CLI=vault
    elif command -v bao >/dev/null; then
        VAULT_CLI=bao
    else
        die "there is neither \`vault\` nor \`bao\` on the PATH; install one, or name it: VAULT_CLI=/path/to/vault"
    fi
    [ -n "${VAULT_ADDR:-}" ] || die "VAULT_ADDR is not set; for example https://vault.example.com:8200"
    # One Vault for both command lines: `bao` prefers variables of its own, and both prefer an agent.
    BAO_ADDR=$VAULT_ADDR
    BAO_NAMESPACE=${VAULT_NAMESPACE:-}
    export VAULT_ADDR BAO_ADDR BAO_NAMESPACE
    unset VAULT_AGENT_ADDR BAO_AGENT_ADDR
}

# check_names NAME...: each can be part of a path, and is neither an option nor a pattern.
check_names() {
    for name in "$@"; do
        case $name in
            *[!A-Za-z0-9_./-]* | [./-]* | */ | '')
                die "\"$name\" is no name or path: letters, digits, _ and, not at the ends, . - /"
                ;;
        esac
    done
}

check_login() {
    said=$("$VAULT_CLI" token lookup 2>&1 >/dev/null) && return
    case $said in
        *"Code: 503"*) die "Vault at $VAULT_ADDR is sealed or not initialised; unseal it first (docs/secrets.md)." ;;
        *"Code: 403"* | *"missing client token"*)
            die "not logged in at $VAULT_ADDR: run \`$VAULT_CLI login\`, or set VAULT_TOKEN to a token that is good."
            ;;
        *) die "Vault at $VAULT_ADDR does not answer: $(one_line "$said")" ;;
    esac
}

# check_kv_mount MOUNT: it is a KV engine of version 2.
check_kv_mount() {
    about=sys/internal/ui/mounts/$1
    case $("$VAULT_CLI" read -field=options "$about" 2>/dev/null) in *version:2*) return ;; esac
    type=$("$VAULT_CLI" read -field=type "$about" 2>/dev/null) ||
        die "nothing is mounted at $1/, or you may not see it: $VAULT_CLI secrets enable -path=$1 -version=2 kv"
    [ "$type" = kv ] || die "the engine at $1/ is \"$type\", not a KV engine: set VAULT_KV_MOUNT."
    die "the KV engine at $1/ is of version 1, and Vocero needs 2: $VAULT_CLI kv enable-versioning $1/"
}
