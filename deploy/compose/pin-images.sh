#!/bin/sh
# Print the images that Compose would use as variables with digests, for `.env`: deploy/compose/pin-images.sh >> .env
#
# The key decision: a digest is what was pulled and looked at here, so it is read from the images on this machine. Run it
# where the registries can be reached, after `docker compose pull`; deploy from the same `.env` everywhere.
set -eu
cd "$(dirname "$0")/../.."

docker compose config --format json | python3 -c '
import json, subprocess, sys

VARIABLES = {
    "front": "VOCERO_NGINX_IMAGE", "valkey": "VOCERO_VALKEY_IMAGE", "postgres": "VOCERO_POSTGRES_IMAGE",
    "vault": "VOCERO_VAULT_IMAGE", "prometheus": "VOCERO_PROMETHEUS_IMAGE",
    "alertmanager": "VOCERO_ALERTMANAGER_IMAGE", "grafana": "VOCERO_GRAFANA_IMAGE",
}
services = json.load(sys.stdin)["services"]
for service, variable in VARIABLES.items():
    image = services[service]["image"]
    if "@sha256:" in image:
        print(f"{variable}={image}")
        continue
    asked = ["docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", image]
    found = subprocess.run(asked, capture_output=True, text=True)
    if found.returncode != 0 or "@sha256:" not in found.stdout:
        sys.exit(f"pin-images.sh: {image} is not here: docker compose pull {service}")
    print(f"{variable}={image}@{found.stdout.strip().partition(chr(64))[2]}")
'
