"""The schemas this code runs on, and the check that the database has one of them.

The key decision: the revisions are constants here, so that starting a worker needs neither Alembic nor the migration
files; a test holds the newest equal to the newest file in `migrations/versions`. There are two of them after a step
that the code can do without: so the step can be undone, or come later, while this code runs.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from service.errors import ConfigurationError, SchemaError
from service.storage.database import Database

SCHEMA_REVISION = "0006"
WITHOUT_CONVERSATION_COSTS = ("0005",)
KNOWN_REVISIONS = (SCHEMA_REVISION, *WITHOUT_CONVERSATION_COSTS)
UPGRADE_COMMAND = "python -m migrations upgrade"


def check_schema(database: Database) -> None:
    """Make sure that the database has a schema of this code, and note which (`Database.revision`).

    Raises:
        SchemaError: it has another, or none; the message says what to run.
        ConfigurationError: it cannot be reached.
    """
    found = _found_revision(database)
    database.revision = found
    if found in KNOWN_REVISIONS:
        return
    if found is None:
        raise SchemaError(f"VOCERO_DATABASE_URL: the database has no schema yet; run: {UPGRADE_COMMAND}")
    raise SchemaError(
        f"VOCERO_DATABASE_URL: the database has schema {found}, this version needs {SCHEMA_REVISION};"
        f" run: {UPGRADE_COMMAND} {SCHEMA_REVISION} (or `downgrade`, with the newer version, if {found} is newer)"
    )


def has_conversation_costs(database: Database) -> bool:
    """Tell whether the schema that was found last (by `check_schema`, or now if it was never asked) keeps costs."""
    if database.revision is None:
        database.revision = _found_revision(database)
    return database.revision not in WITHOUT_CONVERSATION_COSTS


def is_missing_table(failure: DBAPIError) -> bool:
    """Tell whether a statement failed because a table of it is not there."""
    return getattr(failure.orig, "sqlstate", None) == "42P01" or "no such table" in str(failure.orig)


def _found_revision(database: Database) -> str | None:
    try:
        with database.engine.connect() as connection:  # not `reading`: here the driver's own words decide
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    except (OperationalError, ProgrammingError) as exc:
        if is_missing_table(exc):
            return None
        # The driver's message may show host, user and file, never the password; the cause is cut off all the same.
        first_line = str(exc.orig).strip().partition("\n")[0]
        raise ConfigurationError(f"VOCERO_DATABASE_URL: the database cannot be reached ({first_line})") from None
    return "+".join(sorted(found)) or None
