"""What the engines promise to a worker whose greenlets share one thread."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from migrations import runner
from service.errors import ConfigurationError, ServiceUnavailableError
from service.storage import ApiKeys, Database, check_schema, open_database
from service.storage.models import ApiKeyRow


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url)
    return open_database(url)


def test_sqlite_connections_use_a_write_ahead_log_and_foreign_keys_and_wait_only_briefly(sqlite: Database) -> None:
    with sqlite.reading() as session:
        read = {
            name: session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    sqlite.close()
    assert read == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 50}


def test_a_reader_is_not_held_up_by_a_writer(sqlite: Database) -> None:
    _, key = ApiKeys(sqlite).create("shop")
    with sqlite.writing() as session:
        session.execute(text("UPDATE api_keys SET name = 'changed'"))
        assert ApiKeys(sqlite).verify(key) is not None
        assert ApiKeys(sqlite).list_all()[0].name == "shop"
    assert ApiKeys(sqlite).list_all()[0].name == "changed"
    sqlite.close()


def test_a_second_writer_gets_an_error_instead_of_stopping_the_worker(sqlite: Database) -> None:
    with sqlite.writing(), pytest.raises(ServiceUnavailableError):
        ApiKeys(sqlite).create("second")
    ApiKeys(sqlite).create("third")
    sqlite.close()


def test_writers_that_read_first_all_succeed(tmp_path: Path) -> None:
    """With the driver's own transactions some of them would fail at once: a read lock cannot become a write lock."""
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url)
    database = open_database(url, busy_seconds=20)
    made, _ = ApiKeys(database).create("0")

    def count_up() -> None:
        for _ in range(10):
            with database.writing() as session:
                row = session.get_one(ApiKeyRow, made.id)
                row.name = str(int(row.name) + 1)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ApiKeys(database).list_all()[0].name == "40"
    database.close()


def test_a_block_that_raises_writes_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), database.writing() as session:
        session.execute(text("DELETE FROM api_keys"))
        session.add(_row("one"))
        session.flush()
        raise RuntimeError("on purpose")
    assert ApiKeys(database).list_all() == []


def test_the_same_digest_twice_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add_all([_row("one"), _row("two")])


def test_postgresql_gives_up_on_locks_and_long_statements(postgresql: str) -> None:
    database = open_database(postgresql)
    with database.reading() as session:
        read = [
            session.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        ]
    database.close()
    assert read == ["1s", "5s", "10s"]


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://user:hunter2@host/db", "sqlite://", "sqlite:///:memory:", "oracle://x"]
)
def test_a_url_of_no_use_is_one_line_that_names_the_variable_and_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^VOCERO_DATABASE_URL: ") as caught:
        open_database(url)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_opening_connects_to_nothing(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/vocero.db")
    open_database("postgresql://nobody:hunter2@127.0.0.1:1/none")
    assert list(tmp_path.iterdir()) == []


def test_the_schema_of_this_code_is_accepted(database: Database) -> None:
    check_schema(database)


def test_an_empty_database_is_refused_with_the_command_to_run(empty_url: str) -> None:
    database = open_database(empty_url)
    with pytest.raises(ConfigurationError, match="no schema yet; run: python -m migrations upgrade"):
        check_schema(database)
    database.close()


def test_another_schema_is_refused_with_both_names(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="has schema 9999, this version needs 0001"):
        check_schema(database)


def test_a_database_that_cannot_be_reached_is_one_line_without_the_password() -> None:
    database = open_database("postgresql://nobody:hunter2@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError, match="cannot be reached") as caught:
        check_schema(database)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def _row(key_id: str) -> ApiKeyRow:
    return ApiKeyRow(id=key_id, name=key_id, key_hash="0" * 64, last_characters="0000", created_at=datetime.now(UTC))
