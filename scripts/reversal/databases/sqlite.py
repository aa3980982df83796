"""A SQLite database as a rollback needs it.

The key decisions: the file must be there, under the inode that it had at the start, since SQLite would make a new and
empty one without a word; and a restore goes through SQLite's own backup routine into the open database, in one
transaction, so that processes which have the file open see the old state or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine, make_url, text

from scripts.reversal.contents import VERSION_TABLE, Contents, Rows, schema_lines
from scripts.reversal.databases.keeper import Blocker, Facts, Tell
from scripts.reversal.failures import LockHeldError, RefusedError, StepError
from scripts.reversal.journal import flush_folder

BUSY_SECONDS = 0.25
RESTORE_SECONDS = 30.0
PAGES = 512
SIDE_FILES = ("-wal", "-shm", "-journal")


class SqliteKeeper:
    """The database file of `url`; see `Keeper`. Scratch files lie in `scratch_folder`."""

    def __init__(self, url: URL, *, scratch_folder: Path) -> None:
        self.path = Path(url.database or "").absolute()
        self.url = URL.create("sqlite", database=str(self.path)).render_as_string()
        self.place = f"sqlite:///{self.path}"
        self._scratch_folder = scratch_folder
        self._inode: int | None = None
        self._lock: int | None = None
        self._hold: sqlite3.Connection | None = None

    # --- Looking ---------------------------------------------------------------------------------------------------

    def look(self) -> Facts:
        if not self.path.is_file():
            raise RefusedError(f"VOCERO_DATABASE_URL: there is no database file {self.path}.")
        try:
            with self._open(self.path) as connection:
                rows = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall()  # noqa: S608
        except sqlite3.Error as exc:
            missing = "no such table" in str(exc)
            why = "it has no schema of Vocero's" if missing else f"it cannot be read ({exc})"
            raise RefusedError(f"VOCERO_DATABASE_URL: {self.path}: {why}.") from None
        if len(rows) != 1:
            raise RefusedError(f"{self.path} is marked with {len(rows)} revisions; there has to be one.")
        self._inode = self._inode or self.path.stat().st_ino
        return Facts("SQLite", sqlite3.sqlite_version, self.place, self._size(), rows[0][0])

    def count_rows(self) -> dict[str, int]:
        with self._open(self.path) as connection:
            return {
                table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608 (a table's name)
                for table in _tables(connection)
            }

    def count_values(self, table: str, column: str) -> int:
        with self._open(self.path) as connection:
            found: int = connection.execute(f'SELECT count("{column}") FROM "{table}"').fetchone()[0]  # noqa: S608
            return found

    def refusals(self, *, needs: int, folder: Path) -> list[str]:
        found = []
        free_here, free_there = shutil.disk_usage(self.path.parent).free, shutil.disk_usage(folder).free
        if free_there < needs:
            found.append(f"{folder} has {free_there:,} bytes free; backup and rehearsal need {needs:,}.")
        if free_here < self._size():  # a table that is made anew goes through the write-ahead log
            found.append(f"{self.path.parent} has {free_here:,} bytes free; the downgrade may need {self._size():,}.")
        if os.statvfs(self.path.parent).f_flag & os.ST_RDONLY:
            found.append(f"{self.path.parent} is on a disk that is read-only.")
        elif not os.access(self.path, os.W_OK) or not os.access(self.path.parent, os.W_OK):
            found.append(f"{self.path} or its folder may not be written by this user.")
        return found

    def blockers(self) -> list[Blocker]:
        try:
            self._begin_immediate(self.path).close()
        except sqlite3.OperationalError as exc:
            return [Blocker(f"{self.path} is being written to just now ({exc})")]
        return []

    # --- Keeping others out ----------------------------------------------------------------------------------------

    def lock(self) -> None:
        if self._lock is not None:
            return
        beside = self.path.with_name(self.path.name + ".rollback-lock")
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LockHeldError(f"Another rollback of {self.path} is running (it holds {beside.name}).") from None
        self._lock = descriptor

    def hold_writers(self, seconds: float, tell: Tell) -> None:
        self.let_writers()
        end = time.monotonic() + seconds
        while True:
            self._check_file()
            try:
                self._hold = self._begin_immediate(self.path)
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc):
                    raise
                if time.monotonic() > end:
                    raise StepError(f"{self.path} was still being written to after {seconds:g} s.") from None
                tell("waiting for a writer to finish")
            else:
                return

    def check_hold(self) -> None:
        self._check_file()

    def let_writers(self) -> None:
        if self._hold is not None:
            self._hold.close()  # and with it the transaction
            self._hold = None

    # --- Copies ----------------------------------------------------------------------------------------------------

    def read_schema(self, url: str) -> tuple[str, ...]:
        with _reading(url) as connection:
            return schema_lines(connection)

    def read_contents(self, url: str) -> Contents:
        with _reading(url) as connection:
            lines = schema_lines(connection)
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)  # noqa: S101 (for the type)
            tables = {table: _sum_up(raw, table) for table in _tables(raw)}
            revision = connection.execute(text(f"SELECT max(version_num) FROM {VERSION_TABLE}")).scalar()  # noqa: S608
            return Contents(revision, lines, tables)

    def back_up(self, path: Path, tell: Tell) -> None:
        self._check_file()
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
        with self._open(self.path) as source, closing(sqlite3.connect(partial, isolation_level=None)) as target:
            source.backup(target, pages=PAGES, progress=lambda _, left, total: tell(_share(left, total)))
            target.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, with nothing beside it
            verdict = target.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            raise StepError(f"The database is damaged: {verdict}. See docs/rollback.md, 'A damaged database'.")
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
        flush_folder(path.parent)

    def make_scratch(self, name: str) -> str:
        self.drop_scratch(name)
        path = self._scratch(name)
        return URL.create("sqlite", database=str(path)).render_as_string()

    def drop_scratch(self, name: str) -> None:
        path = self._scratch(name)
        for suffix in ("", *SIDE_FILES):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def restore(self, path: Path, url: str, tell: Tell) -> None:
        """SQLite's routine repeats itself as long as somebody reads or writes at the wrong moment: we bound that."""
        target_path = _path(url)
        end = time.monotonic() + RESTORE_SECONDS

        def bound(_status: int, left: int, total: int) -> None:
            tell(_share(left, total))
            if left and time.monotonic() > end:
                raise StepError(f"{target_path} was in use for more than {RESTORE_SECONDS:g} s.")

        with self._open(path) as source, closing(sqlite3.connect(target_path, isolation_level=None)) as target:
            source.backup(target, pages=-1, progress=bound, sleep=0.05)

    def query(self, url: str, statement: str, parameters: Mapping[str, object]) -> list[Sequence[object]]:
        with self._open(_path(url)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection.execute(statement, parameters).fetchall()

    def close(self) -> None:
        self.let_writers()
        if self._lock is not None:
            os.close(self._lock)  # and with it the lock
            self._lock = None

    # --- Parts -----------------------------------------------------------------------------------------------------

    def _scratch(self, name: str) -> Path:
        return self._scratch_folder / f"{name}.sqlite3"

    def _size(self) -> int:
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def _check_file(self) -> None:
        found = self.path.stat().st_ino if self.path.exists() else None
        if self._inode is not None and found != self._inode:
            raise StepError(f"{self.path} {'is gone' if found is None else 'was replaced by another file'}.")

    @contextmanager
    def _open(self, path: Path) -> Iterator[sqlite3.Connection]:
        """A connection to a file that is there."""
        with closing(_connect(path)) as connection:
            yield connection

    def _begin_immediate(self, path: Path) -> sqlite3.Connection:
        connection = _connect(path)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            connection.close()
            raise
        return connection


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    """SQLAlchemy's view of a file that is there, as of one moment."""
    address = f"sqlite:///file:{quote(str(_path(url)))}?mode=rw&uri=true"
    engine = create_engine(address, connect_args={"isolation_level": None})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
    finally:
        engine.dispose()


def _path(url: str) -> Path:
    return Path(make_url(url).database or "")


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return sorted(name for (name,) in found if not name.startswith("sqlite_"))


def _sum_up(connection: sqlite3.Connection, table: str) -> Rows:
    count, total = 0, 0
    for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 (a table's name)
        count += 1
        total += int.from_bytes(hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return Rows(count, f"{total % 2**64:016x}")


def _share(left: int, total: int) -> str:
    return f"{100 * (total - left) // max(1, total)} %"
