"""Writes down which release brought which schema, for a rollback that is asked for by a release's name."""

from __future__ import annotations

import socket

import structlog
from sqlalchemy import inspect

from service import __version__
from service.errors import ServiceUnavailableError
from service.storage import Deployments
from service.storage.database import open_database

BUSY_SECONDS = 3.0

log = structlog.get_logger(__name__)


def record(url: str, revision: str | None) -> bool:
    """Note that this release has `revision` now. False: that was known, or there is no table for it (before 0002)."""
    database = open_database(url, busy_seconds=BUSY_SECONDS)
    try:
        with database.engine.connect() as connection:
            if revision is None or not inspect(connection).has_table("deployments"):
                return False
        return Deployments(database).record(release=__version__, revision=revision, node=socket.gethostname())
    except ServiceUnavailableError:  # the schema is what matters, and that is done
        log.warning("the deployment was not written down", release=__version__, revision=revision)
        return False
    finally:
        database.close()
