#!/bin/sh
# Build a release of the image; see --help.
set -eu
cd "$(dirname "$0")/../.."

usage() {
    cat <<'HELP'
Usage: release.sh IMAGE[:TAG] [docker build's options...]

Builds a release on a pinned base, writes its parts list (CycloneDX) to dist/, and asks whether a known weakness is in
it; a weakness, or a package that could not be asked about, fails. PYTHON_IMAGE must name the base with its digest:

  docker pull python:3.13-slim-trixie
  export PYTHON_IMAGE=$(docker image inspect --format '{{index .RepoDigests 0}}' python:3.13-slim-trixie)

Environment, with defaults:
  PYTHON_IMAGE                     (required) ...@sha256:...
  REQUIREMENTS=requirements.txt    requirements-voice.txt: with the local voice and ears (copyleft parts: docs/dependencies.md)
  BUILDER=docker                   or podman, or buildah

It needs pip-audit and cyclonedx-py (pip install '.[release]').
HELP
}

case ${1:-} in
    --help | -h) usage; exit 0 ;;
    '' | -*) usage >&2; exit 2 ;;
esac
image=$1
shift
: "${REQUIREMENTS:=requirements.txt}" "${BUILDER:=docker}"
case ${PYTHON_IMAGE:-} in
    *@sha256:*) ;;
    *) echo "release.sh: PYTHON_IMAGE must name the base by its digest; see --help." >&2; exit 1 ;;
esac
version=$(sed -n 's/^version = //p' setup.cfg)
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || { echo "release.sh: there are changes that no commit has." >&2; exit 1; }

python3 -m scripts.audit --strict "deploy/image/$REQUIREMENTS"
mkdir -p dist
cyclonedx-py requirements --output-reproducible \
    -o "dist/vocero-$version.cdx.json" "deploy/image/$REQUIREMENTS"
format=
[ "$BUILDER" = docker ] || format=--format=docker # an OCI image has no health check
"$BUILDER" build $format -t "$image" \
    --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" --build-arg "REQUIREMENTS=$REQUIREMENTS" --build-arg RELEASE=yes \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --build-arg "CREATED=$(git show -s --format=%cI HEAD)" "$@" .
echo "$image: Vocero $version ($revision), parts list in dist/vocero-$version.cdx.json"
