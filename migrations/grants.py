"""The least rights that the service's own role needs on PostgreSQL, given by the role that owns the tables.

The key decision: the service does not own its tables. Then neither a mistake nor somebody inside the service can change
the schema, or the audit: it may add entries and read them, and prune old ones through the one function that keeps the
chain whole (`versions/0003_audit_and_overrides.py`). To be given again after each upgrade, since a new table begins
without rights.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, inspect, text

from migrations import runner
from service.errors import ConfigurationError

READ_ONLY = ("alembic_version", "deployments")
APPEND_ONLY = ("audit_entries",)
PRUNE = "prune_audit_entries(bigint, integer)"


def grant(url: str, role: str) -> None:
    """Give `role` its rights, all or none of them.

    Raises:
        ConfigurationError: that is impossible there or of no use: no PostgreSQL, no schema, no such role, or one that
            no rights bind.
        sqlalchemy.exc.SQLAlchemyError: the database refused, and nothing was changed.
    """
    with runner.connection(url) as connection:
        for statement in _statements(connection, role):
            connection.execute(text(statement.replace(":", "\\:")))  # a role may be called anything


def grant_statements(url: str, role: str) -> list[str]:
    """The SQL that `grant` executes. Raises as `grant` does; nothing is changed."""
    with runner.connection(url) as connection:
        return _statements(connection, role)


def _statements(connection: Connection, role: str) -> list[str]:
    _check(connection, role)
    tables = inspect(connection).get_table_names()
    to, schema = '"{}"'.format(role.replace('"', '""')), "public"
    ordinary = [table for table in tables if table not in (*READ_ONLY, *APPEND_ONLY)]
    statements = [
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",  # before PostgreSQL 15 everybody could
        f"REVOKE ALL ON SCHEMA {schema} FROM {to}",
        f"GRANT USAGE ON SCHEMA {schema} TO {to}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {to}",
    ]
    for rights, these in (
        ("SELECT", [table for table in tables if table in READ_ONLY]),
        ("SELECT, INSERT", [table for table in tables if table in APPEND_ONLY]),
        ("SELECT, INSERT, UPDATE, DELETE", ordinary),
    ):
        if these:
            statements.append(f"GRANT {rights} ON {_listed(schema, these)} TO {to}")
    if set(APPEND_ONLY) <= set(tables):
        statements.append(f"GRANT EXECUTE ON FUNCTION {schema}.{PRUNE} TO {to}")
    return statements


def _listed(schema: str, tables: Sequence[str]) -> str:
    return ", ".join(f"{schema}.{table}" for table in sorted(tables))


def _check(connection: Connection, role: str) -> None:
    if connection.dialect.name != "postgresql":
        raise ConfigurationError("SQLite has no roles: whoever can write its file may do everything.")
    found = connection.execute(
        text("SELECT rolsuper, pg_has_role(oid, current_user, 'MEMBER') FROM pg_roles WHERE rolname = :role"),
        {"role": role},
    ).one_or_none()
    if found is None:
        raise ConfigurationError(f"There is no role {role}; make it first: CREATE ROLE {role} LOGIN PASSWORD '...'")
    if found[0]:
        raise ConfigurationError(f"The role {role} is a superuser, whom no rights bind: make another for the service.")
    if found[1]:
        raise ConfigurationError(
            f"The role {role} is the one that is connected, or a member of it, and so owns the tables: make another for"
            " the service."
        )
    if not inspect(connection).has_table("alembic_version"):
        raise ConfigurationError("The database has no schema yet; run: python -m migrations upgrade")
