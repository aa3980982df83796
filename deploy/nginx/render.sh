#!/bin/sh
# Fill in the front's template where there is no official nginx image to do so: render.sh FOLDER; see --help.
set -eu

usage() {
    cat <<'EOF'
Usage: render.sh FOLDER [ENV-FILE]

Writes nginx.conf and conf.d/vocero.conf into FOLDER, from the files beside this script. Settings come from the
environment, what is not there from ENV-FILE (default: front.env beside this script). Then:

  nginx -t -c FOLDER/nginx.conf && nginx -g 'daemon off;' -c FOLDER/nginx.conf

nginx' process id and temporary files are in FOLDER too. A setting that is nowhere is an error.
EOF
}

case ${1:-} in
    --help | -h) usage; exit 0 ;;
    '') usage >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/conf.d"
folder=$(cd "$1" && pwd)
settings=${2:-$here/front.env}

while IFS= read -r line || [ -n "$line" ]; do
    case $line in
        '' | '#'*) continue ;;
        [A-Z]*=*) name=${line%%=*} ;;
        *) printf 'render.sh: %s: not NAME=VALUE: %s\n' "$settings" "$line" >&2; exit 1 ;;
    esac
    case $name in *[!A-Z0-9_]*) printf 'render.sh: %s: no name: %s\n' "$settings" "$name" >&2; exit 1 ;; esac
    eval "is_set=\${$name+yes}"
    [ -n "${is_set:-}" ] || export "$name=${line#*=}"
done <"$settings"

# As envsubst does, but that a variable nobody has set is named and not left standing.
awk '{
    rest = $0; done = ""
    while (match(rest, /\$\{[A-Z][A-Z0-9_]*\}/)) {
        name = substr(rest, RSTART + 2, RLENGTH - 3)
        if (!(name in ENVIRON)) { print "render.sh: " name " is not set" > "/dev/stderr"; exit 1 }
        done = done substr(rest, 1, RSTART - 1) ENVIRON[name]
        rest = substr(rest, RSTART + RLENGTH)
    }
    print done rest
}' "$here/templates/vocero.conf.template" >"$folder/conf.d/vocero.conf.new"
mv "$folder/conf.d/vocero.conf.new" "$folder/conf.d/vocero.conf"
sed "s| /tmp/| $folder/|" "$here/nginx.conf" >"$folder/nginx.conf.new"
mv "$folder/nginx.conf.new" "$folder/nginx.conf"
