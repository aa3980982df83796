"""A PostgreSQL database as a rollback needs it.

The key decisions: writers are not only looked for but kept out, by a SHARE lock on every table that lets readers go on,
so what was backed up is what is there when the downgrade begins; whoever waits for a lock waits a second at a time, so
that no reader queues behind us; and the advisory lock has a session of its own, because the others come and go.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url, text

from scripts.reversal.contents import VERSION_TABLE, Contents, Rows, schema_lines
from scripts.reversal.databases import pg_catalog
from scripts.reversal.databases.keeper import Blocker, Facts, Tell
from scripts.reversal.databases.pg_programs import PgPrograms
from scripts.reversal.failures import LockHeldError, RefusedError, StepError, one_line
from scripts.reversal.journal import flush_folder
from service.storage import open_database
from service.storage.bounded_connection import bounded

LOCK = 8_463_003  # any number that nothing else in the database uses (migrations/env.py and audit_log.py have two)
CONNECT_SECONDS = 5
ANSWER_SECONDS = 120.0
"""A server that is stopped still acknowledges what it is sent, so no time-out of TCP's ever strikes: ours does."""

LONGEST_SECONDS = 3600.0
"""For what reads every row of a table."""

LOCK_SECONDS = 1.0
RESTORE_ATTEMPTS = 8
SCRATCH_ATTEMPTS, SCRATCH_PAUSE_SECONDS = 20, 0.25
_APPLICATION = "vocero rollback"


class PostgresqlKeeper:
    """The database of `url`; see `Keeper`. `programs` are PostgreSQL's own."""

    def __init__(self, url: URL, *, programs: PgPrograms) -> None:
        self.url = url.render_as_string(hide_password=False)
        self.place = url.set(password=None, query={}).render_as_string()
        self._programs = programs
        self._lock: psycopg.Connection[Any] | None = None
        self._hold: psycopg.Connection[Any] | None = None

    # --- Looking ---------------------------------------------------------------------------------------------------

    def look(self) -> Facts:
        try:
            with self._connect(self.url) as connection:
                version, size = connection.execute(pg_catalog.VERSION_AND_SIZE).fetchone() or ("", 0)
                rows = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall()  # noqa: S608
        except psycopg.errors.UndefinedTable:
            raise RefusedError(f"VOCERO_DATABASE_URL: {self.place} has no schema of Vocero's.") from None
        except psycopg.Error as exc:
            raise RefusedError(f"VOCERO_DATABASE_URL: {self.place}: {one_line(exc)}") from None
        if len(rows) != 1:
            raise RefusedError(f"{self.place} is marked with {len(rows)} revisions; there has to be one.")
        return Facts("PostgreSQL", version, self.place, size, rows[0][0])

    def count_rows(self) -> dict[str, int]:
        with self._connect(self.url, answer_seconds=LONGEST_SECONDS) as connection:
            return {table: self._count(connection, sql.SQL("*"), table) for table in _tables(connection)}

    def count_values(self, table: str, column: str) -> int:
        with self._connect(self.url, answer_seconds=LONGEST_SECONDS) as connection:
            return self._count(connection, sql.Identifier(column), table)

    def _count(self, connection: psycopg.Connection[Any], what: sql.Composable, table: str) -> int:
        statement = sql.SQL("SELECT count({}) FROM {}").format(what, sql.Identifier(table))
        found: int = connection.execute(statement).fetchone()[0]  # type: ignore[index]  # a count is one row
        return found

    def refusals(self, *, needs: int, folder: Path) -> list[str]:
        found = self._programs.refusals(self._server())
        with self._connect(self.url) as connection:
            may_create, is_standby, owned_by_others = connection.execute(pg_catalog.RIGHTS).fetchone() or (0, 0, "")
        if is_standby:
            found.append(f"{self.place} is a standby, which cannot be written: use the primary's address.")
        if not may_create:
            found.append("This role may not create databases, as the backup's check must: ALTER ROLE ... CREATEDB.")
        if owned_by_others:
            found.append(f"This role does not own {owned_by_others}: use the role that runs the migrations.")
        free = pg_catalog.free_bytes(folder)
        if free < needs:
            found.append(f"{folder} has {free:,} bytes free; the backup may need {needs:,}.")
        return found

    def blockers(self) -> list[Blocker]:
        with self._connect(self.url) as connection:
            return _blockers(connection)

    def _server(self) -> int:
        with self._connect(self.url) as connection:
            return connection.info.server_version // 10_000

    # --- Keeping others out ----------------------------------------------------------------------------------------

    def lock(self) -> None:
        if self._lock is not None and not self._lock.broken:
            return
        connection = self._connect(self.url)
        if connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() == (True,):
            self._lock = connection
            return
        with connection:
            holder = connection.execute(pg_catalog.LOCK_HOLDER, (LOCK,)).fetchone()
        who = f" (session {holder[0]} from {holder[1]}, since {holder[2]:%H:%M:%S} UTC)" if holder else ""
        raise LockHeldError(f"Another rollback of {self.place} is running{who}.")

    def hold_writers(self, seconds: float, tell: Tell) -> None:
        self.let_writers()
        end = time.monotonic() + seconds
        self._hold = connection = self._connect(self.url, autocommit=False, lock_seconds=LOCK_SECONDS)
        tables = sql.SQL(", ").join(sql.Identifier(table) for table in _tables(connection))
        connection.rollback()
        while True:
            try:
                connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(tables))
                found = _blockers(connection)  # a long reader would hold up the downgrade: better to know it now
            except psycopg.errors.LockNotAvailable:
                connection.rollback()
                found = _blockers(connection)
                connection.rollback()
            else:
                if not found:
                    return
                connection.rollback()  # while we wait, others may write
            if time.monotonic() > end:
                raise StepError(_still_there(found, seconds))
            tell(found[0].what if found else "waiting for the tables' lock")
            time.sleep(random.uniform(0.05, 0.25))  # noqa: S311 (not for secrets)

    def check_hold(self) -> None:
        for connection in (self._lock, self._hold):
            if connection is not None:
                try:
                    connection.execute("SELECT 1")
                except psycopg.Error as exc:
                    raise StepError(f"The session that kept others out was lost: {one_line(exc)}") from None

    def let_writers(self) -> None:
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    # --- Copies ----------------------------------------------------------------------------------------------------

    def read_schema(self, url: str) -> tuple[str, ...]:
        database = open_database(url, statement_seconds=LONGEST_SECONDS)
        try:
            with database.engine.connect() as connection:
                return schema_lines(connection)
        finally:
            database.close()

    def read_contents(self, url: str) -> Contents:
        database = open_database(url, statement_seconds=LONGEST_SECONDS)
        try:
            with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
                for setting in pg_catalog.ONE_WAY_TO_WRITE:
                    connection.execute(text(setting))
                lines = schema_lines(connection)
                names = connection.execute(text(pg_catalog.TABLES)).scalars().all()
                tables = {name: Rows(*connection.execute(text(pg_catalog.sum_of(name))).one()) for name in names}
                revision = connection.execute(text(f"SELECT max(version_num) FROM {VERSION_TABLE}")).scalar()  # noqa: S608
                return Contents(revision, lines, tables)
        finally:
            database.close()

    def back_up(self, path: Path, tell: Tell) -> None:
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        self._programs.dump(_arguments(self.url), self._schema(self.url), partial, tell)
        partial.chmod(0o600)
        flush_folder(path.parent)
        partial.replace(path)
        flush_folder(path.parent)

    def make_scratch(self, name: str) -> str:
        for attempt in range(1, SCRATCH_ATTEMPTS + 1):
            self.drop_scratch(name)
            try:
                self._create(name)
                break
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                # One that was killed had it made, and the server was still at it when we looked.
                if attempt == SCRATCH_ATTEMPTS:
                    raise
                time.sleep(SCRATCH_PAUSE_SECONDS)
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def _create(self, name: str) -> None:
        with self._connect(self.url) as connection:
            encoding = connection.info.parameter_status("server_encoding") or "UTF8"
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {}").format(
                    sql.Identifier(name), sql.Literal(encoding)
                )
            )

    def drop_scratch(self, name: str) -> None:
        with self._connect(self.url) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def restore(self, path: Path, url: str, tell: Tell) -> None:
        for attempt in range(1, RESTORE_ATTEMPTS + 1):
            with self._connect(url) as connection:
                first = [row[0] for row in connection.execute(pg_catalog.DROPS).fetchall()]
            try:
                self._programs.restore(
                    path,
                    self._schema(self.url),
                    _arguments(url),
                    first=[f"SET LOCAL lock_timeout = '{LOCK_SECONDS:g}s'", *first],
                    server=self._server(),
                    tell=tell,
                )
            except StepError as exc:
                if attempt == RESTORE_ATTEMPTS or "lock timeout" not in str(exc):
                    raise
                tell("waiting for the tables' lock")
                time.sleep(random.uniform(0, min(3.0, 0.25 * 2**attempt)))  # noqa: S311 (not for secrets)
            else:
                return

    def query(self, url: str, statement: str, parameters: Mapping[str, object]) -> list[Sequence[object]]:
        database = open_database(url, statement_seconds=LONGEST_SECONDS)
        try:
            with database.engine.begin() as connection:
                result = connection.execute(text(statement), dict(parameters))
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            database.close()

    def close(self) -> None:
        self.let_writers()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- Parts -----------------------------------------------------------------------------------------------------

    def _schema(self, url: str) -> str:
        with self._connect(url) as connection:
            found: str = connection.execute("SELECT current_schema()").fetchone()[0]  # type: ignore[index]  # one row
            return found

    def _connect(
        self, url: str, *, autocommit: bool = True, lock_seconds: float = 0.0, answer_seconds: float | None = None
    ) -> psycopg.Connection[Any]:
        arguments = {**_arguments(url), "connect_timeout": CONNECT_SECONDS, "application_name": _APPLICATION}
        network = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 10_000}
        arguments["options"] = f"{arguments.get('options', '')} -c statement_timeout=0".strip()
        kind = bounded(ANSWER_SECONDS if answer_seconds is None else answer_seconds)
        connection = kind.connect(autocommit=autocommit, **{**network, **arguments})
        try:
            connection.execute(pg_catalog.LIMITS, (str(round(lock_seconds * 1000)),))
            if not autocommit:
                connection.commit()  # what is set in a transaction that is rolled back is not kept
        except BaseException:
            connection.close()
            raise
        return connection


def _arguments(url: str) -> dict[str, Any]:
    """psycopg's arguments for a URL of SQLAlchemy's."""
    parsed = make_url(url)
    positional, arguments = parsed.get_dialect()().create_connect_args(parsed)
    if positional and positional[0]:
        raise RefusedError("VOCERO_DATABASE_URL: name one host; a rollback is for the primary alone.")
    return {name: value for name, value in arguments.items() if name not in {"context"}}


def _tables(connection: psycopg.Connection[Any]) -> list[str]:
    return [row[0] for row in connection.execute(pg_catalog.TABLES).fetchall()]


def _blockers(connection: psycopg.Connection[Any]) -> list[Blocker]:
    return [
        Blocker(
            f"session {pid} ({user}, {application or 'no name'}) has {'written' if writes else 'read'}"
            f" in a transaction that is open for {age:.0f} s",
            f"SELECT pg_terminate_backend({pid});",
        )
        for pid, user, application, age, writes in connection.execute(pg_catalog.BLOCKERS, (_APPLICATION,)).fetchall()
    ]


def _still_there(found: Sequence[Blocker], seconds: float) -> str:
    if not found:
        return f"The tables' lock was not to be had within {seconds:g} s."
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"After {seconds:g} s, {found[0].what}{more}. End it, for example with {found[0].remedy} and try again."
