"""The schema this code was written for, and the check that the database has it.

The key decision: the revision is a constant here, so that starting a worker needs neither Alembic nor the migration
files; a test holds it equal to the newest file in `migrations/versions`.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from service.errors import ConfigurationError, SchemaError
from service.storage.database import Database

SCHEMA_REVISION = "0001"
UPGRADE_COMMAND = "python -m migrations upgrade"


def check_schema(database: Database) -> None:
    """Make sure that the database has the schema of this code.

    Raises:
        SchemaError: it has another, or none; the message says what to run.
        ConfigurationError: it cannot be reached.
    """
    found = _found_revision(database)
    if found == SCHEMA_REVISION:
        return
    if found is None:
        raise SchemaError(f"VOCERO_DATABASE_URL: the database has no schema yet; run: {UPGRADE_COMMAND}")
    raise SchemaError(
        f"VOCERO_DATABASE_URL: the database has schema {found}, this version needs {SCHEMA_REVISION};"
        f" run: {UPGRADE_COMMAND} {SCHEMA_REVISION} (or `downgrade`, with the newer version, if {found} is newer)"
    )


def _found_revision(database: Database) -> str | None:
    try:
        with database.engine.connect() as connection:  # not `reading`: here the driver's own words decide
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    except ProgrammingError:  # PostgreSQL: no such table
        return None
    except OperationalError as exc:
        if "no such table" in str(exc.orig):
            return None
        # The driver's message may show host, user and file, never the password; the cause is cut off all the same.
        first_line = str(exc.orig).strip().partition("\n")[0]
        raise ConfigurationError(f"VOCERO_DATABASE_URL: the database cannot be reached ({first_line})") from None
    return "+".join(sorted(found)) or None
