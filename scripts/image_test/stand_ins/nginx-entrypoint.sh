#!/bin/sh
# As the official nginx image's: this machine's name servers, then each template filled in, then nginx. Docker has one
# name server; podman lists one for each network and then the machine's own, which knows no container: that one is left
# out, or every third question would go there.
set -eu
if [ -n "${NGINX_ENTRYPOINT_LOCAL_RESOLVERS:-}" ]; then
    NGINX_LOCAL_RESOLVERS=
    for server in $(awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf); do
        case " $(hostname -I)" in
            *" ${server%.*}."*) NGINX_LOCAL_RESOLVERS="$NGINX_LOCAL_RESOLVERS $server" ;;
        esac
    done
    export NGINX_LOCAL_RESOLVERS
fi
# shellcheck disable=SC2016
names=$(awk -v filter="${NGINX_ENVSUBST_FILTER:-}" 'END {
    for (name in ENVIRON) if (name ~ filter) printf "${%s} ", name }' </dev/null)
mkdir -p "$NGINX_ENVSUBST_OUTPUT_DIR"
for template in /etc/nginx/templates/*.template; do
    name=${template##*/}
    envsubst "$names" <"$template" >"$NGINX_ENVSUBST_OUTPUT_DIR/${name%.template}"
done
exec nginx -g 'daemon off;'
