"""The database: can it be reached, has it our schema, and may we write what we write."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from service.checks.finding import Finding, failed, ok, warning
from service.config import Settings
from service.errors import ConfigurationError, SchemaError
from service.storage import Database, check_schema, database_url, open_database
from service.storage.schema import SCHEMA_REVISION

WHAT = "database"
SECONDS = 4.0
READ_ONLY = frozenset({"alembic_version", "deployments"})
APPEND_ONLY = frozenset({"audit_entries"})
"""As `migrations.grants` gives them; a test holds the two together."""

_GRANT = "as the owner of the tables: python -m migrations grant ROLE"


def check_database(settings: Settings) -> Iterator[Finding]:
    """Try everything; nothing is changed."""
    try:
        database = open_database(database_url(settings), busy_seconds=SECONDS, statement_seconds=SECONDS)
    except ConfigurationError as exc:
        yield failed(WHAT, _plain(exc))
        return
    try:
        yield from _look(database)
    except SQLAlchemyError as exc:
        yield failed(WHAT, f"it refuses us ({_reason(exc)})")
    finally:
        database.close()


def _look(database: Database) -> Iterator[Finding]:
    try:
        check_schema(database)
    except SchemaError as exc:
        said, _, remedy = _plain(exc).partition("; run: ")
        yield failed(WHAT, said, f"run: {remedy}")
        return
    except ConfigurationError as exc:
        yield failed(WHAT, _plain(exc), "see VOCERO_DATABASE_URL, and whether the server runs")
        return
    with database.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        refused = list(_sqlite(connection) if is_sqlite else _postgresql(connection))
        version = ".".join(str(part) for part in connection.dialect.server_version_info or ())
    yield from refused
    if not any(finding.state == "failed" for finding in refused):
        kind = "SQLite" if is_sqlite else "PostgreSQL"
        yield ok(WHAT, f"{kind} {version} with schema {database.revision}, which may be written")
    if database.revision != SCHEMA_REVISION:
        yield warning(
            WHAT, f"schema {database.revision} will do, but the newest is {SCHEMA_REVISION}",
            "run: python -m migrations upgrade",
        )  # fmt: skip


def _sqlite(connection: Connection) -> Iterator[Finding]:
    try:
        connection.exec_driver_sql("CREATE TABLE vocero_check (number INTEGER)")
        connection.rollback()
    except SQLAlchemyError as exc:
        yield failed(WHAT, f"it cannot be written ({_reason(exc)})", "see the file's and its folder's owner and room")


def _postgresql(connection: Connection) -> Iterator[Finding]:
    if connection.scalar(text("SELECT pg_is_in_recovery()")):
        yield failed(WHAT, "it is a replica, which takes no writes", "set VOCERO_DATABASE_URL to the primary")
        return
    if connection.scalar(text("SELECT current_setting('default_transaction_read_only')")) == "on":
        yield failed(WHAT, "it takes no writes (default_transaction_read_only)", "ALTER ROLE ... RESET that setting")
        return
    lacking = [
        f"{right} on {table}"
        for table in sorted(inspect(connection).get_table_names())
        for right in _rights(table)
        if not connection.scalar(
            text("SELECT has_table_privilege(quote_ident(:table), :right)"), {"table": table, "right": right}
        )
    ]
    if lacking:
        shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        yield failed(WHAT, f"our role has no right to {shown}", _GRANT)
    if connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        yield warning(WHAT, "our role is a superuser, whom nothing binds", f"make a role of its own; {_GRANT}")


def _rights(table: str) -> tuple[str, ...]:
    if table in READ_ONLY:
        return ("SELECT",)
    return ("SELECT", "INSERT") if table in APPEND_ONLY else ("SELECT", "INSERT", "UPDATE", "DELETE")


def _plain(exc: ConfigurationError) -> str:
    return str(exc).removeprefix("VOCERO_DATABASE_URL: ").rstrip(".")


def _reason(exc: SQLAlchemyError) -> str:
    return str(getattr(exc, "orig", None) or type(exc).__name__).strip().partition("\n")[0]
