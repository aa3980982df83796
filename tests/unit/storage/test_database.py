"""What the engines promise to a worker whose greenlets share one thread."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InternalError

from migrations import runner
from scripts.launcher.waiting import wait_until
from scripts.run import _has_newest_schema
from service.errors import ConfigurationError, SchemaError, ServiceUnavailableError
from service.storage import ApiKeys, Database, check_schema, open_database
from service.storage.models import ApiKeyRow
from service.storage.schema import (
    KNOWN_REVISIONS,
    SCHEMA_REVISION,
    WITHOUT_API_KEY_LIMITS,
    WITHOUT_CONVERSATION_COSTS,
)
from tests.unit.storage.conftest import create_on
from tests.unit.storage.everything import do_everything


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


def test_the_same_digest_twice_is_refused_and_the_error_shows_no_value(database: Database) -> None:
    with pytest.raises(IntegrityError) as refused, database.writing() as session:
        session.add_all([_row("one"), _row("two")])
    assert "INSERT INTO api_keys" in str(refused.value)
    assert "one" not in str(refused.value).partition("[SQL")[2]


def test_postgresql_gives_up_on_locks_and_long_statements(postgresql: str) -> None:
    database = open_database(postgresql)
    with database.reading() as session:
        read = [
            session.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        ]
    database.close()
    assert read == ["1s", "5s", "10s"]


def test_what_is_read_in_one_block_is_of_one_moment(database: Database) -> None:
    ApiKeys(database).create("first")
    with database.reading() as session:
        count = text("SELECT count(*) FROM api_keys")
        before = session.execute(count).scalar_one()
        ApiKeys(database).create("second")
        assert session.execute(count).scalar_one() == before == 1
    assert len(ApiKeys(database).list_all()) == 2


def test_what_is_written_while_reading_is_not_kept(database: Database) -> None:
    with contextlib.suppress(InternalError), database.reading() as session:
        session.execute(text("DELETE FROM alembic_version"))
    check_schema(database)


def test_a_block_within_a_block_is_a_part_of_it(database: Database) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), database.writing() as outer:
        with database.writing(outer) as inner:
            assert inner is outer
            inner.add(_row("one"))
        outer.flush()
        raise RuntimeError("on purpose")
    assert ApiKeys(database).list_all() == []


def test_a_connection_that_the_server_ends_is_an_error_that_passes(postgresql: str) -> None:
    database = open_database(postgresql, statement_seconds=0.2)  # and twice that for a transaction that does nothing
    for end_it in ("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT pg_sleep(5)"):
        with pytest.raises(ServiceUnavailableError), database.writing() as session:
            session.execute(text(end_it))
    with pytest.raises(ServiceUnavailableError), database.writing() as session:
        number = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        wait_until(lambda: not _runs(postgresql, number), 10.0, "the end of the idle transaction")
        session.execute(text("SELECT 1"))
    with database.reading() as session:
        assert session.execute(text("SELECT 1")).scalar_one() == 1
    database.close()


def _runs(url: str, number: int) -> bool:
    database = open_database(url)
    with database.reading() as session:
        found = session.execute(text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid"), {"pid": number}).all()
    database.close()
    return bool(found)


def test_a_server_that_takes_no_writes_any_more_is_an_error_that_passes(postgresql: str) -> None:
    url = create_on(postgresql)
    runner.upgrade(url)
    database = open_database(url)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(f'ALTER DATABASE "{database.engine.url.database}" SET default_transaction_read_only = on')
        )
    database.close()
    with pytest.raises(ServiceUnavailableError):
        ApiKeys(database).create("shop")
    assert ApiKeys(database).list_all() == []
    database.close()


def test_sqlite_knows_upper_and_lower_case_beyond_a_to_z(sqlite: Database) -> None:
    with sqlite.reading() as session:
        found = session.execute(text("SELECT lower('ÁRBOL'), lower(NULL), lower(7)")).one()
    sqlite.close()
    assert tuple(found) == ("árbol", None, 7)


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


def test_a_schema_before_it_is_accepted_and_known(database_at_0005: Database) -> None:
    check_schema(database_at_0005)
    assert database_at_0005.revision == "0005"
    assert not _has_newest_schema(database_at_0005), "`make run` goes on to the newest all the same"


def test_everything_works_on_each_schema_that_the_code_knows(empty_url: str) -> None:
    for revision in reversed(KNOWN_REVISIONS):
        runner.upgrade(empty_url, revision)
        database = open_database(empty_url)
        check_schema(database)
        do_everything(
            database,
            keeps_costs=revision not in WITHOUT_CONVERSATION_COSTS,
            keeps_limits=revision not in WITHOUT_API_KEY_LIMITS,
            keeps_judged=revision == SCHEMA_REVISION,
        )
        database.close()
        runner.downgrade(empty_url, "base")


def test_which_schema_there_is_is_asked_again_with_each_check(empty_url: str, database_at_0005: Database) -> None:
    runner.upgrade(empty_url)
    check_schema(database_at_0005)
    assert database_at_0005.revision == SCHEMA_REVISION
    assert _has_newest_schema(database_at_0005)


def test_a_schema_before_those_is_refused(empty_url: str) -> None:
    runner.upgrade(empty_url, "0004")
    database = open_database(empty_url)
    with pytest.raises(SchemaError, match="has schema 0004, this version needs 0008; run: python -m migr"):
        check_schema(database)
    database.close()


def test_an_empty_database_is_refused_with_the_command_to_run(empty_url: str) -> None:
    database = open_database(empty_url)
    with pytest.raises(ConfigurationError, match="no schema yet; run: python -m migrations upgrade"):
        check_schema(database)
    database.close()


def test_another_schema_is_refused_with_both_names(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="has schema 9999, this version needs 0008"):
        check_schema(database)


def test_a_database_that_cannot_be_reached_is_one_line_without_the_password() -> None:
    database = open_database("postgresql://nobody:hunter2@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError, match="cannot be reached") as caught:
        check_schema(database)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def _row(key_id: str) -> ApiKeyRow:
    return ApiKeyRow(id=key_id, name=key_id, key_hash="0" * 64, last_characters="0000", created_at=datetime.now(UTC))
