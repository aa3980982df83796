"""Move a database between schemas from Python: what the command line, the launcher and the tests call.

The key decision: on SQLite the foreign keys are off while steps run. A batch step drops and remakes its table, and
with foreign keys on, dropping a parent deletes the children in silence (ON DELETE CASCADE). `env.py` checks all of
them before it commits.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from service.storage.database import Database, open_database

BUSY_SECONDS = 3.0
# PostgreSQL queues every new reader behind a waiting ALTER TABLE: wait briefly, step aside, try again.
LOCK_SECONDS = 1.0
STATEMENT_SECONDS = 600.0  # for one statement of a step: what takes longer must be done in parts, outside of a step
LOCK_ATTEMPTS = 8
LONGEST_PAUSE_SECONDS = 3.0

log = structlog.get_logger(__name__)


def upgrade(url: str, revision: str = "head", *, steps: Path | None = None) -> None:
    """Bring the database at `url` up to `revision`. `steps` is another folder of steps, for tests.

    Raises:
        ConfigurationError: the URL is of no use.
        sqlalchemy.exc.SQLAlchemyError, alembic.util.CommandError: it failed, and nothing was changed.
    """
    _run(url, lambda config: command.upgrade(config, revision), steps)


def downgrade(url: str, revision: str, *, steps: Path | None = None) -> None:
    """Bring the database down to `revision`; `base` is the empty database. Raises as `upgrade` does."""
    _run(url, lambda config: command.downgrade(config, revision), steps)


def upgrade_sql(start: str, end: str, *, dialect_name: str, steps: Path | None = None) -> str:
    """The SQL that takes a database of this kind up from `start` to `end`; `base` is the empty one, `head` the newest.

    Raises:
        alembic.util.CommandError: there is no such revision, or no way up from the one to the other.
    """
    return _written(lambda config: command.upgrade(config, f"{start}:{end}", sql=True), dialect_name, steps)


def downgrade_sql(start: str, end: str, *, dialect_name: str, steps: Path | None = None) -> str:
    """The SQL that takes it down from `start` to `end`. Raises as `upgrade_sql` does."""
    return _written(lambda config: command.downgrade(config, f"{start}:{end}", sql=True), dialect_name, steps)


def current_revision(url: str) -> str | None:
    """The revision that the database has; None if it has no schema."""
    with connection(url) as connected:
        return MigrationContext.configure(connected).get_current_revision()


@contextmanager
def connection(url: str) -> Iterator[Connection]:
    """A connection as the steps have it; what is done in the block is committed at its end."""
    database = _open(url)
    try:
        with database.engine.begin() as connected:
            yield connected
    finally:
        database.close()


def configuration(database: Database | None, steps: Path | None = None, *, output: TextIO | None = None) -> Config:
    """Alembic's configuration for `database`, without any file; `output` is where SQL is written to."""
    here = Path(__file__).parent
    config = Config(output_buffer=output)
    config.set_main_option("script_location", _literal(here))
    config.set_main_option("version_locations", _literal(steps or here / "versions"))
    config.set_main_option("path_separator", "newline")
    config.attributes["database"] = database
    return config


def _written(action: Callable[[Config], None], dialect_name: str, steps: Path | None) -> str:
    output = io.StringIO()
    config = configuration(None, steps, output=output)
    config.attributes["dialect_name"] = dialect_name
    action(config)
    return output.getvalue()


def _literal(path: Path) -> str:
    return str(path).replace("%", "%%")  # a configuration file's value: % starts an interpolation


def _open(url: str) -> Database:
    database = open_database(
        url, busy_seconds=BUSY_SECONDS, lock_seconds=LOCK_SECONDS, statement_seconds=STATEMENT_SECONDS
    )
    if database.is_sqlite:

        @event.listens_for(database.engine, "connect")
        def foreign_keys_off(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA foreign_keys = OFF")

    return database


def _run(url: str, action: Callable[[Config], None], steps: Path | None) -> None:
    database = _open(url)
    try:
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                action(configuration(database, steps))
                return
            except OperationalError as exc:
                if attempt == LOCK_ATTEMPTS or not _is_lock_wait(exc):
                    raise
                log.info("migration waits for a lock", attempt=attempt)
                time.sleep(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.25 * 2**attempt)))  # noqa: S311
    finally:
        database.close()


def _is_lock_wait(failure: OperationalError) -> bool:
    """Tell whether somebody else's lock was in the way.

    SQLite answers so at once, whatever its time-out, when two connections switch a new file to its write-ahead log.
    """
    return getattr(failure.orig, "sqlstate", None) == "55P03" or "database is locked" in str(failure.orig)
