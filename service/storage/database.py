"""One database, SQLite or PostgreSQL, with settings that suit a worker whose greenlets share one thread.

The key decision: we say ourselves when a transaction begins. Python's SQLite driver starts one silently and only
before some statements, which loses the atomicity of schema changes and turns a read followed by a write into
"database is locked" at once. So the driver's own mode is switched off, a reader begins with BEGIN and a writer with
BEGIN IMMEDIATE (https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#pysqlite-serializable).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from service import metrics_platform
from service.errors import ServiceUnavailableError, SettingsError
from service.secret import Secret
from service.storage.bounded_connection import bounded

# SQLite waits for its lock in C, where no other greenlet of the worker can run: a worker may stand still this long
# and no longer. Readers never wait (WAL); writers are rare.
SQLITE_BUSY_SECONDS = 0.05
POSTGRESQL_CONNECT_SECONDS = 3
POSTGRESQL_STATEMENT_SECONDS = 5.0
POSTGRESQL_LOCK_SECONDS = 1.0
ANSWER_SLACK_SECONDS = 1.0  # that we wait longer than the server gives a statement, before we take it for hung
POOL_SIZE = 5
POOL_WAIT_SECONDS = 2.0
POOL_RECYCLE_SECONDS = 1800
READ_ONLY = "25006"  # what a server answers to a writer when it has become a standby

_WRITES = "vocero_writes"
_BEGAN = "vocero_began"


class Database:
    """A pool of connections; made with `open_database`, connects when first used.

    `writer` and `reader` are the same pool; what is begun on the one may write, the other sees one state. Prefer
    `reading` and `writing`. `revision` is the schema that was found last (`service.storage.schema`), None before.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.writer = engine.execution_options(**{_WRITES: True})
        self.reader = engine
        if not self.is_sqlite:
            self.reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self.revision: str | None = None
        _measure(engine)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing.

        Raises:
            ServiceUnavailableError: the database does not answer.
        """
        with _translated(), Session(self.reader, autoflush=False) as session:
            yield session

    @contextmanager
    def writing(self, within: Session | None = None) -> Iterator[Session]:
        """A session that commits at the end of the block, or rolls back when the block raises.

        `within` is such a session of an outer block: then the block becomes part of that one.

        Raises:
            ServiceUnavailableError: the database does not answer, or somebody else writes for too long.
        """
        if within is not None:
            yield within
            return
        with _translated(writes=True), Session(self.writer) as session, session.begin():
            session.connection()  # begin now: what the block reads first must still hold when it writes
            yield session

    def close(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()


@contextmanager
def _translated(*, writes: bool = False) -> Iterator[None]:
    try:
        yield
    except (InterfaceError, OperationalError, PoolTimeoutError) as exc:
        if isinstance(exc, PoolTimeoutError):
            metrics_platform.database_failed()  # no statement, so that `_measure` does not hear of it
        raise _unavailable() from exc
    except InternalError as exc:
        has_become_standby = writes and getattr(exc.orig, "sqlstate", None) == READ_ONLY
        if not exc.connection_invalidated and not has_become_standby:
            raise
        raise _unavailable() from exc


def _unavailable() -> ServiceUnavailableError:
    return ServiceUnavailableError("The database does not answer now; try again.", retry_after=2.0)


def _measure(engine: Engine) -> None:
    """Tell how long each statement took, and which failed."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin(connection: Connection, *_others: object) -> None:
        connection.info[_BEGAN] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def end(connection: Connection, *_others: object) -> None:
        metrics_platform.database_took(time.perf_counter() - connection.info[_BEGAN])

    @event.listens_for(engine, "handle_error")
    def fail(context: ExceptionContext) -> None:
        if not isinstance(context.sqlalchemy_exception, IntegrityError):
            metrics_platform.database_failed()


def open_database(
    url: str,
    *,
    busy_seconds: float = SQLITE_BUSY_SECONDS,
    lock_seconds: float = POSTGRESQL_LOCK_SECONDS,
    statement_seconds: float = POSTGRESQL_STATEMENT_SECONDS,
    password: Callable[[], Secret] | None = None,
) -> Database:
    """Prepare the database at `url` (SQLAlchemy's form); nothing is connected yet.

    `password` gives PostgreSQL's password for each new connection, in place of the URL's: so it can change.

    `busy_seconds` is how long a SQLite writer waits for another (give more outside of a worker); `lock_seconds` is
    how long a PostgreSQL statement waits for a lock and `statement_seconds` how long it takes at most (0: no limit,
    and then we wait for a server that hangs as long as it does).

    Raises:
        SettingsError: the URL is of no use; the message never shows it, since it may carry a password.
    """
    parsed = _parse(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    try:
        if is_sqlite:
            return Database(_sqlite_engine(parsed, busy_seconds))
        engine = _postgresql_engine(parsed, lock_seconds, statement_seconds)
    except (ArgumentError, ValueError, TypeError):  # what stands behind its question mark
        raise SettingsError("VOCERO_DATABASE_URL: an option behind its question mark cannot be used.") from None
    if password is not None:
        _ask_for_password(engine, password)
    if statement_seconds:
        _wait_for_answers(engine, statement_seconds + ANSWER_SLACK_SECONDS)  # the last: it connects
    return Database(engine)


def _ask_for_password(engine: Engine, password: Callable[[], Secret]) -> None:
    @event.listens_for(engine, "do_connect")
    def add_password(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        parameters["password"] = password().reveal()


def _wait_for_answers(engine: Engine, answer_seconds: float) -> None:
    connection_class = bounded(answer_seconds)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: Any, parameters: dict[str, Any]) -> Any:
        return connection_class.connect(*arguments, **parameters)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "postgresql" and parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        driver = parsed.get_dialect().driver
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise SettingsError("VOCERO_DATABASE_URL: this is not a database URL.") from None
    if (backend, driver) not in {("sqlite", "pysqlite"), ("postgresql", "psycopg")}:
        raise SettingsError("VOCERO_DATABASE_URL: use sqlite:///FILE or postgresql+psycopg://...")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SettingsError("VOCERO_DATABASE_URL: SQLite needs a file, as in sqlite:///FILE.")
    return parsed


def _sqlite_engine(url: URL, busy_seconds: float) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": busy_seconds},
        hide_parameters=True,  # an error's text is logged, and these are words and hashes
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.create_function("lower", 1, _lower, deterministic=True)  # SQLite's own knows a to z only

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _postgresql_engine(url: URL, lock_seconds: float, statement_seconds: float) -> Engine:
    limits = {
        "statement_timeout": statement_seconds,
        "lock_timeout": lock_seconds,
        "idle_in_transaction_session_timeout": 2 * statement_seconds,
    }
    options = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())
    # TCP alone notices a vanished server after minutes; these bound it to seconds.
    network = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 10_000}
    return create_engine(
        url,
        connect_args={
            "connect_timeout": POSTGRESQL_CONNECT_SECONDS,
            "application_name": "vocero",
            "options": options,
            **network,
        },
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_recycle=POOL_RECYCLE_SECONDS,
        pool_pre_ping=True,
    )
