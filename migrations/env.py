"""Run by Alembic for every command: one connection, one transaction, all steps or none.

The key decision: nothing is executed between connecting and `context.configure`, because a statement there opens a
transaction that Alembic takes for the caller's and never commits: `upgrade` would end with success and no change.
Whatever must be set for the connection is therefore set by the pool (`migrations.runner`).
"""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text

from migrations.runner import LOCK_SECONDS, STATEMENT_SECONDS
from service.storage.database import Database
from service.storage.models import Base

# Any number that nothing else in the database uses: two nodes that start together migrate one after the other.
MIGRATION_LOCK = 8_463_001


def run() -> None:
    """Do what the command asks for in one transaction, or write down the SQL of it."""
    if context.is_offline_mode():
        _write_down(context.config.attributes["dialect_name"])
    else:
        _carry_out()


def _write_down(dialect_name: str) -> None:
    context.configure(
        dialect_name=dialect_name,
        target_metadata=Base.metadata,
        literal_binds=True,
        transactional_ddl=True,
        output_buffer=context.config.output_buffer,
    )
    with context.begin_transaction():
        if dialect_name == "postgresql":
            context.execute(f"SET LOCAL lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
            context.execute(f"SET LOCAL statement_timeout = '{int(STATEMENT_SECONDS * 1000)}ms'")
            context.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        context.run_migrations()


def _carry_out() -> None:
    database: Database = context.config.attributes["database"]
    with database.writer.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            # SQLite has transactional DDL; Alembic assumes not, since the driver's own mode prevents it. Ours does not.
            transactional_ddl=True,
            render_as_batch=database.is_sqlite,
            compare_type=True,
        )
        with context.begin_transaction():
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATION_LOCK})
            context.run_migrations()
            if database.is_sqlite:
                _check_foreign_keys(connection)


def _check_foreign_keys(connection: Connection) -> None:
    """Refuse to commit rows that point nowhere: the foreign keys were off while the steps ran."""
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        tables = ", ".join(sorted({f"{row[0]} -> {row[2]}" for row in broken}))
        raise CommandError(f"{len(broken)} rows would point nowhere ({tables}); nothing was changed")


run()
