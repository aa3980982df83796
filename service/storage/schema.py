"""The schemas this code runs on, and the check that the database has one of them.

The key decision: the revisions are constants here, so that starting a worker needs neither Alembic nor the migration
files; a test holds the newest equal to the newest file in `migrations/versions`. There are several of them after steps
that the code can do without: so a step can be undone, or come later, while this code runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from service.errors import ConfigurationError, SchemaError
from service.storage.database import Database

SCHEMA_REVISION = "0008"
API_KEY_LIMITS_REVISION = "0007"
WITHOUT_CONVERSATION_COSTS = ("0005",)
WITHOUT_API_KEY_LIMITS = ("0006", *WITHOUT_CONVERSATION_COSTS)
WITHOUT_JUDGED_ANSWERS = (API_KEY_LIMITS_REVISION, *WITHOUT_API_KEY_LIMITS)
KNOWN_REVISIONS = (SCHEMA_REVISION, *WITHOUT_JUDGED_ANSWERS)
UPGRADE_COMMAND = "python -m migrations upgrade"

_REVISIONS = text("SELECT version_num FROM alembic_version")


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


def keeps_api_key_limits(database: Database) -> bool:
    """Tell whether there is a table of keys' limits, or may be one as nobody has asked yet.

    A schema without it is asked for again each time: after an upgrade under a running worker no key may go on without
    its limits. Whoever finds no table calls `look_again`.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    if database.revision in WITHOUT_API_KEY_LIMITS:
        look_again(database)
    return database.revision not in WITHOUT_API_KEY_LIMITS


def keeps_judged_answers(database: Database) -> bool:
    """Tell whether there is a table of verdicts on answers.

    A schema that has none, or that nobody knows yet, is asked for again each time: so a running worker finds the table
    after an upgrade. Whoever finds no table forgets the revision.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    if database.revision is None or database.revision in WITHOUT_JUDGED_ANSWERS:
        look_again(database)
    return database.revision not in WITHOUT_JUDGED_ANSWERS


def look_again(database: Database) -> None:
    """Note the schema that the database has now, without judging it.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    with database.reading() as session:
        database.revision = _named(session.execute(_REVISIONS).scalars().all())


def is_missing_table(failure: DBAPIError) -> bool:
    """Tell whether a statement failed because a table of it is not there."""
    return getattr(failure.orig, "sqlstate", None) == "42P01" or "no such table" in str(failure.orig)


def is_forbidden(failure: DBAPIError) -> bool:
    """Tell whether a statement failed because our role may not do that (PostgreSQL)."""
    return getattr(failure.orig, "sqlstate", None) == "42501"


def _found_revision(database: Database) -> str | None:
    try:
        with database.engine.connect() as connection:  # not `reading`: here the driver's own words decide
            found = connection.execute(_REVISIONS).scalars().all()
    except (OperationalError, ProgrammingError) as exc:
        if is_missing_table(exc):
            return None
        # The driver's message may show host, user and file, never the password; the cause is cut off all the same.
        first_line = str(exc.orig).strip().partition("\n")[0]
        raise ConfigurationError(f"VOCERO_DATABASE_URL: the database cannot be reached ({first_line})") from None
    return _named(found)


def _named(found: Sequence[str]) -> str | None:
    return "+".join(sorted(found)) or None
