"""One rollback, interrupted at one step in one way, and gone on with: does it come to the same end?"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.reversal.conductor import BACK, FORWARD
from scripts.reversal.exit_codes import ExitCode
from tests.postgresql import PostgresqlServer
from tests.rollbacks.disks import SmallDisk, small_disk
from tests.rollbacks.places import (
    DatabasePlace,
    EndState,
    PostgresqlPlace,
    RedisPlace,
    SqlitePlace,
    connect,
    create_database,
    end_state,
)
from tests.rollbacks.running import Process, Zygote
from tests.unit.reversal.filled import fill_database, fill_redis

STEPS = tuple(FORWARD)
STEPS_BACK = tuple(BACK)
FAULTS = ("SIGTERM", "SIGKILL", "database gone", "Redis gone", "disk full")
APPLY = ("apply", "--yes", "--to", "0007", "--allow-data-loss", "judged_answers:10", "--drain-seconds", "0")
RESTORE = ("restore", "--yes")
AFTER_A_FAULT = {ExitCode.DONE, ExitCode.FAILED_UNCHANGED, ExitCode.REFUSED, ExitCode.HALF_WAY}


@dataclass
class Scene:
    """A filled database, a filled Redis, and a disk for the journal; all can be broken."""

    database: DatabasePlace
    redis: RedisPlace
    disk: SmallDisk
    zygote: Zygote

    def start(self, *arguments: str, **options: Any) -> Process:
        """Run a rollback here."""
        environment = {
            "ELEVENLABS_API_KEY": "x",
            "VOCERO_DATABASE_URL": self.database.url,
            "VOCERO_REDIS_URL": self.redis.url,
            "VOCERO_ROLLBACK_DIR": str(self.disk.folder / "rollback"),
        }
        folder = self.disk.folder.parent
        return self.zygote.start(
            [*arguments, *self.database.arguments], folder=folder, environment=environment, **options
        )

    def run(self, *arguments: str) -> tuple[int, Process]:
        """Run it to its end."""
        process = self.start(*arguments)
        return process.wait(), process

    def end_state(self) -> EndState:
        with self.redis.client() as store:
            return end_state(self.database.url, store)


class Templates:
    """A filled database of each kind, to be copied."""

    def __init__(self, folder: Path, server: Callable[[], PostgresqlServer]) -> None:
        self._folder = folder
        self._server = server
        self._file: Path | None = None
        self._database: str | None = None

    def sqlite(self, folder: Path) -> SqlitePlace:
        if self._file is None:
            self._file = self._folder / "template.db"
            fill_database(f"sqlite:///{self._file}")
        place = SqlitePlace(folder)
        shutil.copyfile(self._file, place.path)
        return place

    def postgresql(self) -> PostgresqlPlace:
        server = self._server()
        if self._database is None:
            url = create_database(server.url)
            fill_database(url)
            self._database = url.rpartition("/")[2]
        place = PostgresqlPlace(server)
        name = place.url.rpartition("/")[2]
        with connect(server.url) as connection:
            connection.execute(f'DROP DATABASE "{name}"')  # type: ignore[arg-type]  # a name of our own making
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._database}"')  # type: ignore[arg-type]
        return place


@contextmanager
def scene(kind: str, folder: Path, templates: Templates, redis: RedisPlace, zygote: Zygote) -> Iterator[Scene]:
    """A fresh scene in `folder`; `redis` is used over and over."""
    redis.bring_back()
    with redis.client() as store:
        store.flushall()
        fill_redis(store)
    with small_disk(folder / "disk") as disk:
        place: DatabasePlace = templates.sqlite(disk.folder) if kind == "sqlite" else templates.postgresql()
        try:
            yield Scene(place, redis, disk, zygote)
        finally:
            place.bring_back()


def break_it(here: Scene, process: Process, fault: str) -> None:
    """Do `fault` while the process stands still."""
    if fault == "database gone":
        here.database.take_away()
    elif fault == "Redis gone":
        here.redis.take_away()
    elif fault == "disk full":
        here.disk.fill(process.pid)
    else:
        process.signal(signal.Signals[fault])


def mend_it(here: Scene, fault: str) -> None:
    """Undo `fault`."""
    if fault == "database gone":
        here.database.bring_back()
    elif fault == "Redis gone":
        here.redis.bring_back()
    elif fault == "disk full":
        here.disk.make_room()


def interrupt(here: Scene, step: str, fault: str) -> None:
    """Interrupt a rollback when `step` begins, mend what was broken, and go on until it is done."""
    _interrupt(here, APPLY, step, fault)


def interrupt_restore(here: Scene, step: str, fault: str) -> None:
    """The same with the way back, after a rollback that is done."""
    code, process = here.run(*APPLY)
    assert code == ExitCode.DONE, process.errors
    _interrupt(here, RESTORE, step, fault)


def _interrupt(here: Scene, command: Sequence[str], step: str, fault: str) -> None:
    process = here.start(*command, pause=("begun", step))
    assert process.wait_until_paused(), process.errors
    break_it(here, process, fault)
    process.go_on()
    code = process.wait()
    mend_it(here, fault)
    said = process.errors + process.output
    assert "Traceback" not in said, said
    if fault == "SIGKILL":
        assert code == -signal.SIGKILL, said
    elif fault == "SIGTERM":
        assert code == ExitCode.HALF_WAY, said
        assert "python -m scripts.rollback resume" in said, said
    else:
        assert code in AFTER_A_FAULT, said
    if code != ExitCode.DONE:
        is_undone = command is RESTORE and code == ExitCode.FAILED_UNCHANGED
        code, process = here.run(*(RESTORE if is_undone else ("resume",)))
        said += process.errors + process.output
    assert code == ExitCode.DONE, said
    assert here.database.leftovers() == []
