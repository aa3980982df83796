"""Looking at dependencies: once for all who ask, and never longer than a moment for anybody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import REGISTRY

from scripts.launcher.waiting import wait_until
from service import metrics_pages, readiness
from service.maintenance import Maintenance
from service.ops_readiness import WorkerReadiness
from service.readiness import Readiness, Subject, WatchedDependency

LIMIT = 10.0


class Dependency:
    """What a test makes of it: `answer` is said when `may_answer` is set."""

    def __init__(self) -> None:
        self.answer = "ok"
        self.looks = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def look(self) -> str:
        self.looks += 1
        assert self.may_answer.wait(LIMIT)
        if self.answer == "breaks":
            raise RuntimeError("hunter2")
        return self.answer


class Clock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def dependency() -> Dependency:
    return Dependency()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(dependency: Dependency, clock: Clock) -> Iterator[WatchedDependency]:
    watched = WatchedDependency(dependency.look, clock=clock)
    yield watched
    dependency.may_answer.set()
    watched.close()


def test_before_the_first_look_nothing_is_claimed(watched: WatchedDependency) -> None:
    assert watched.last() == "not looked at yet"
    assert watched.fresh(patience=0.01) == "not looked at yet"


def test_a_hundred_questions_are_one_look(watched: WatchedDependency, dependency: Dependency) -> None:
    watched.start()
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: watched.fresh(), range(100))) == {"ok"}
    assert dependency.looks == 1


def test_what_is_older_than_a_second_is_looked_at_anew(
    watched: WatchedDependency, dependency: Dependency, clock: Clock
) -> None:
    watched.start()
    assert watched.fresh() == "ok"
    dependency.answer = "TimeoutError"
    clock.now += 0.9
    assert watched.fresh() == "ok"
    clock.now += 0.2
    assert watched.fresh(patience=LIMIT) == "TimeoutError"
    assert dependency.looks == 2


def test_a_dependency_that_hangs_costs_who_asks_a_moment_and_one_look(
    watched: WatchedDependency, dependency: Dependency, clock: Clock
) -> None:
    watched.start()
    assert watched.fresh() == "ok"
    dependency.may_answer.clear()
    clock.now += 2
    watched.fresh(patience=0.01)
    wait_until(lambda: dependency.looks == 2)
    clock.now += 3
    assert watched.last() == "no answer for 3.0 s"
    assert {watched.fresh() for _ in range(50)} == {"no answer for 3.0 s"}
    assert dependency.looks == 2
    dependency.may_answer.set()
    assert watched.fresh(patience=LIMIT) == "ok"


def test_a_look_that_breaks_says_how_and_not_with_what(watched: WatchedDependency, dependency: Dependency) -> None:
    dependency.answer = "breaks"
    watched.start()
    assert watched.fresh(patience=LIMIT) == "RuntimeError"


class Worker:
    """A worker whose state a test sets."""

    def __init__(self) -> None:
        self.redis, self.database = Dependency(), Dependency()
        self.secrets = "ok"
        self.is_draining = False
        self.maintenance: Maintenance | None = None
        self.said: list[WorkerReadiness] = []
        self.has_room = True
        self.readiness = Readiness(
            Subject(
                redis=WatchedDependency(self.redis.look),
                database=WatchedDependency(self.database.look),
                secrets=lambda: self.secrets,
                draining=lambda: self.is_draining,
                maintenance=lambda: self.maintenance,
                conversations=lambda: 3,
                capacity=10,
                database_schema=lambda: "0005",
            ),
            say=self.say,
        )

    def say(self, said: WorkerReadiness) -> None:
        if not self.has_room:
            raise OSError(28, "No space left on device")
        self.said.append(said)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.readiness.close()


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_the_first_word_comes_after_the_first_look(worker: Worker) -> None:
    worker.readiness.start()
    wait_until(lambda: len(worker.said) > 0)
    first = worker.said[0]
    assert first.is_ready
    assert first.dependencies == {"redis": "ok", "database": "ok", "secrets": "ok"}
    assert (first.conversations, first.capacity, first.database_schema) == (3, 10, "0005")
    assert {value("vocero_dependency_up", dependency=name) for name in first.dependencies} == {1.0}


def test_it_is_said_again_and_again_and_every_change_sooner(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "SAY_SECONDS", 3600.0)
    worker.readiness.start()
    wait_until(lambda: len(worker.said) == 1)
    worker.is_draining = True
    wait_until(lambda: len(worker.said) == 2)
    worker.maintenance = Maintenance(reason="schema back to 0005", by="tests", since=1234.5)
    wait_until(lambda: len(worker.said) == 3)
    worker.secrets = "expired: Vault is sealed."
    wait_until(lambda: len(worker.said) == 4)
    last = worker.said[-1]
    assert (last.draining, last.maintenance, last.is_ready) == (True, "schema back to 0005", False)
    assert value("vocero_maintenance") == 1
    assert value("vocero_maintenance_started_timestamp_seconds") == 1234.5
    assert value("vocero_dependency_up", dependency="secrets") == 0
    worker.maintenance = None
    wait_until(lambda: value("vocero_maintenance") == 0)
    monkeypatch.setattr(readiness, "SAY_SECONDS", 0.0)
    wait_until(lambda: len(worker.said) > 6)


def test_who_asks_is_answered_in_time_though_everything_hangs(worker: Worker) -> None:
    worker.redis.may_answer.clear()
    worker.database.may_answer.clear()
    worker.readiness.start()
    said = worker.readiness.now()
    assert not said.is_ready
    assert said.dependencies["redis"].startswith("no answer for ")
    assert said.dependencies["database"].startswith("no answer for ")
    worker.redis.may_answer.set()
    worker.database.may_answer.set()
    wait_until(lambda: worker.readiness.now().is_ready)


def test_a_full_disk_is_told_and_nothing_stops(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_pages, "_room", metrics_pages._Room())
    worker.has_room = False
    worker.readiness.start()
    wait_until(lambda: value("vocero_metrics_without_room") == 1)
    worker.has_room = True
    wait_until(lambda: len(worker.said) > 0)
