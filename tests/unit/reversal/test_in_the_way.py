"""Whoever is in the way: another rollback, a long transaction, a writer that does not end."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import make_url

from migrations import runner
from scripts.launcher.waiting import wait_until
from scripts.reversal.databases import Keeper, PgPrograms, make_keeper
from scripts.reversal.journal import Entry
from service.maintenance import MAINTENANCE_KEY
from tests.rollbacks.places import connect
from tests.unit.reversal.conftest import MakeRollback

ALLOW = ("--allow-data-loss", "judged_answers:10")
APPLY = ("apply", "--yes", *ALLOW)


@contextmanager
def open_transaction(url: str, *statements: str) -> Iterator[None]:
    """A session that has done something and does not end its transaction."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(make_url(url).database or "", isolation_level=None)
        begin = "BEGIN IMMEDIATE" if "UPDATE" in statements[0] else "BEGIN"
    else:
        connection = connect(url)  # type: ignore[assignment]  # both have what is used of them
        begin = "BEGIN"
    for statement in (begin, *statements):
        connection.execute(statement)
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # somebody may have ended it
            connection.close()


def test_of_two_with_one_folder_the_second_ends_with_5(rollback: MakeRollback, keeper: Keeper) -> None:
    seen: list[int] = []

    def second(entry: Entry) -> None:
        if (entry.event, entry.step) == ("begun", "backup"):
            seen.append(rollback(*APPLY).code)

    assert rollback(*APPLY, watch=(second,)).code == 0
    assert seen == [5]
    assert keeper.look().revision == "0007"


def test_of_two_on_different_machines_the_second_ends_with_5(
    rollback: MakeRollback, keeper: Keeper, filled_url: str, pg_bin: Path, tmp_path: Path, journals: Path
) -> None:
    other = make_keeper(filled_url, programs=PgPrograms(pg_bin), scratch_folder=tmp_path)
    other.lock()
    answer = rollback(*APPLY)
    assert (answer.code, "Another rollback of" in answer.errors) == (5, True)
    assert "vocero:maintenance" not in answer.output
    other.close()
    assert rollback("resume").code == 0, "the lock has ended with its holder"


def test_a_writer_that_does_not_end_makes_it_give_up_and_open_again(
    rollback: MakeRollback, keeper: Keeper, store: redis.Redis, filled_url: str
) -> None:
    before = keeper.read_contents(keeper.url)
    with open_transaction(filled_url, "UPDATE legs SET provider = 'x'"):
        began = time.monotonic()
        answer = rollback(*APPLY, "--wait-seconds", "1")
        assert time.monotonic() - began < 15
    assert answer.code == 1, answer.errors
    assert store.get(MAINTENANCE_KEY) is None
    assert keeper.read_contents(keeper.url) == before
    assert rollback("resume").code == 0


class TestPostgresqlOnly:
    """SQLite's readers are in nobody's way."""

    @pytest.fixture
    def kind(self) -> str:
        return "postgresql"

    def test_a_long_reader_is_found_before_the_backup_and_named_with_the_remedy(
        self, rollback: MakeRollback, filled_url: str, keeper: Keeper
    ) -> None:
        with open_transaction(filled_url, "SELECT * FROM legs"):
            wait_until(keeper.blockers, 10, "the reader is old enough")
            plan = rollback("plan")
            assert "has read in a transaction that is open for" in " ".join(plan.output.split())
            answer = rollback(*APPLY, "--wait-seconds", "0.5")
            assert answer.code == 1
            assert "has read in a transaction that is open for" in answer.errors
            remedy = answer.errors.partition("for example with ")[2].partition(";")[0]
            with connect(filled_url) as connection:
                assert connection.execute(remedy).fetchone() == (True,)  # type: ignore[arg-type]  # our own words
        assert rollback("resume").code == 0

    def test_readers_are_never_blocked_while_it_waits_for_a_lock(
        self, rollback: MakeRollback, filled_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The trap: PostgreSQL queues every new reader behind a waiting ALTER TABLE."""
        monkeypatch.setattr(runner, "LOCK_ATTEMPTS", 3)
        monkeypatch.setattr(runner, "LONGEST_PAUSE_SECONDS", 0.1)
        slowest: list[float] = []
        is_over = threading.Event()

        def late_reader(entry: Entry) -> None:
            """Comes when everybody was out, and stays in the way of the downgrade."""
            if (entry.event, entry.step) == ("begun", "downgrade"):
                holder.execute("BEGIN")
                holder.execute("SELECT * FROM judged_answers")

        with connect(filled_url) as holder, reading(filled_url, slowest, is_over):
            answer = rollback(*APPLY, watch=(late_reader,))
            is_over.set()
        assert answer.code == 1, answer.errors
        assert "lock timeout" in answer.errors
        assert max(slowest) < runner.LOCK_SECONDS + 2, "nobody waits longer than one attempt for the lock"
        assert rollback("resume").code == 0

    def test_who_writes_while_the_backup_is_made_waits_and_is_not_lost(
        self, rollback: MakeRollback, filled_url: str
    ) -> None:
        refused: list[str] = []

        def write(entry: Entry) -> None:
            if (entry.event, entry.step) == ("begun", "rehearsal"):
                with connect(filled_url) as connection:
                    connection.execute("SET lock_timeout = '200ms'")
                    try:
                        connection.execute("UPDATE legs SET provider = 'x'")
                    except psycopg.errors.LockNotAvailable:
                        refused.append("refused")
                    assert connection.execute("SELECT count(*) FROM legs").fetchone() == (20,)

        assert rollback(*APPLY, watch=(write,)).code == 0
        assert refused == ["refused"]

    def test_a_session_of_the_services_role_is_seen_by_another_role(
        self, keeper: Keeper, filled_url: str, make_role: Callable[[str], str]
    ) -> None:
        url = make_role("LOGIN")
        with connect(filled_url) as connection:
            connection.execute(f"GRANT UPDATE, SELECT ON legs TO {make_url(url).username}")  # type: ignore[arg-type]
        with open_transaction(url, "UPDATE legs SET provider = 'x'"):
            (blocker,) = keeper.blockers()
            assert "has written in a transaction" in blocker.what
            assert str(make_url(url).username) in blocker.what

    @pytest.fixture
    def make_role(self, filled_url: str) -> Iterator[Callable[[str], str]]:
        """A role with these rights; the URL of the filled database with it."""
        made: list[str] = []

        def make(rights: str) -> str:
            name = f"role_{len(made)}_{make_url(filled_url).database}"
            with connect(filled_url) as connection:
                connection.execute(f"CREATE ROLE {name} {rights}")  # type: ignore[arg-type]  # our own words
            made.append(name)
            return make_url(filled_url).set(username=name).render_as_string(hide_password=False)

        yield make
        with connect(filled_url) as connection:
            for name in made:
                connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")  # type: ignore[arg-type]

    def test_a_role_without_the_rights_is_refused(
        self, rollback: MakeRollback, make_role: Callable[[str], str], filled_url: str
    ) -> None:
        url = make_role("LOGIN")
        with connect(filled_url) as connection:
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {make_url(url).username}")  # type: ignore[arg-type]
        answer = rollback("plan", VOCERO_DATABASE_URL=url)
        said = " ".join(answer.output.split())
        assert answer.code == 3
        assert "This role may not create databases" in said
        assert "This role does not own admin_users, alembic_version, api_key_limits" in said

    def test_the_owner_of_the_tables_is_enough_and_the_services_rights_survive_a_restore(
        self, rollback: MakeRollback, make_role: Callable[[str], str], filled_url: str, keeper: Keeper
    ) -> None:
        owner = make_role("LOGIN CREATEDB")
        service = make_url(make_role("LOGIN")).username
        name = make_url(owner).username
        with connect(filled_url) as connection:
            connection.execute(f"ALTER DATABASE {make_url(filled_url).database} OWNER TO {name}")  # type: ignore[arg-type]
            connection.execute(f"GRANT {name} TO postgres")  # type: ignore[arg-type]
            for table in keeper.count_rows():
                connection.execute(f"ALTER TABLE {table} OWNER TO {name}")  # type: ignore[arg-type]
            for (function,) in connection.execute(
                "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            ).fetchall():
                connection.execute(f"ALTER FUNCTION {function} OWNER TO {name}")
            connection.execute(f"GRANT SELECT, INSERT ON audit_entries, judged_answers TO {service}")  # type: ignore[arg-type]
        before = rights(filled_url)
        assert rollback(*APPLY, VOCERO_DATABASE_URL=owner).code == 0
        assert rollback("restore", "--yes").code == 0
        assert rights(filled_url) == before
        with connect(filled_url) as connection:
            connection.execute(f"ALTER DATABASE {make_url(filled_url).database} OWNER TO postgres")  # type: ignore[arg-type]


@contextmanager
def reading(url: str, slowest: list[float], is_over: threading.Event) -> Iterator[None]:
    """Somebody who reads the whole time; how long each look took."""

    def read() -> None:
        with connect(url) as connection:
            while not is_over.is_set():
                began = time.monotonic()
                connection.execute("SELECT count(*) FROM judged_answers").fetchone()
                slowest.append(time.monotonic() - began)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def rights(url: str) -> list[tuple[str, str]]:
    """Who may do what with which table, and whose it is."""
    with connect(url) as connection:
        return connection.execute(
            "SELECT relname::text, relacl::text || relowner::regrole FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
        ).fetchall()
