#!/bin/sh
# Start Valkey with Vocero's configuration and users. The passwords come from files and lie nowhere else as they are:
#
#   valkey_vocero_password   of the user `vocero`: service, dashboard (redis://vocero:PASSWORD@valkey:6379/0)
#   valkey_ops_password      of the user `vocero_ops`: scripts/rollback.py, people
#
# in VALKEY_SECRETS (/run/secrets). Several lines in a file are several good passwords: to change one without a gap, put
# the new one below the old one and start again, give it to Vocero, take the old one out.
# VALKEY_SERVER (valkey-server) is what to run, VALKEY_DATA (/data) where it keeps its data, VALKEY_ACL
# (/tmp/valkey-users.acl) where the users' file goes; arguments go on to the server (`--port 7000`).
set -eu
set +x # whoever traces a script would have the passwords in the terminal
umask 077

secrets=${VALKEY_SECRETS:-/run/secrets}
here=$(cd "$(dirname "$0")" && pwd)
acl=${VALKEY_ACL:-/tmp/valkey-users.acl}
fewest=16

die() {
    printf 'start.sh: %s\n' "$1" >&2
    exit 1
}

# hashes FILE: "#<SHA-256>" of each line that is not empty.
hashes() {
    [ -r "$secrets/$1" ] || die "$secrets/$1 cannot be read: it must have a password, $fewest characters or more."
    found=
    while IFS= read -r password || [ -n "$password" ]; do
        [ -n "$password" ] || continue
        [ "${#password}" -ge "$fewest" ] || die "a password in $secrets/$1 has less than $fewest characters."
        digest=$(printf '%s' "$password" | sha256sum) # printf is part of the shell: no list of processes has it
        found="$found #${digest%% *}"
    done <"$secrets/$1"
    unset password
    [ -n "$found" ] || die "$secrets/$1 is empty: it must have a password, $fewest characters or more."
    printf '%s' "${found# }"
}

vocero=$(hashes valkey_vocero_password)
ops=$(hashes valkey_ops_password)
[ "$vocero" != "$ops" ] || die "both users have the same password; they are two for a reason."

awk '
    /^#/ || /^$/ { next }
    /^user / { if (line != "") print line; line = $0; next }
    { sub(/^ +/, " "); line = line $0 }
    END { print line }
' "$here/users.acl.template" | sed "s|@VOCERO_PASSWORDS@|$vocero|; s|@OPS_PASSWORDS@|$ops|" >"$acl"

exec "${VALKEY_SERVER:-valkey-server}" "$here/valkey.conf" --dir "${VALKEY_DATA:-/data}" --aclfile "$acl" "$@"
