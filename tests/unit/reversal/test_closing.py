"""Closing the service: workers of a real reporter in a real Valkey, and those that are too old to hear of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import orjson
import pytest
import redis

from scripts.launcher.waiting import wait_until
from scripts.reversal import closing
from scripts.reversal.closing import Closing
from scripts.reversal.failures import StepError
from scripts.reversal.terms import Terms
from service.maintenance import MAINTENANCE_KEY, MaintenanceWatch, read_maintenance
from service.pool_reports import INDEX_KEY, PoolReporter, list_reports

TERMS = Terms(
    id="20261125-1", place="x", current="0007", target="0006", actor="ana@ops", version="1", losses={}, allowed={},
    drain_seconds=0.0,
)  # fmt: skip


class Room:
    """A worker's conversations: `end_all` empties it, unless somebody does not leave."""

    def __init__(self, talks: int = 0, *, leaves: bool = True) -> None:
        self.talks = talks
        self.writes = 0
        self._leaves = leaves

    def shut(self) -> None: ...

    def reopen(self) -> None: ...

    def end_all(self, code: int, reason: str) -> None:
        self.talks = 0 if self._leaves else self.talks


@pytest.fixture
def worker(store: redis.Redis) -> Iterator[Callable[[Room], PoolReporter]]:
    with ExitStack() as stack:

        def start(room: Room) -> PoolReporter:
            reporter = PoolReporter(
                store, node="n", worker=str(id(room)), pools=list, maintenance=MaintenanceWatch(room),
                conversations=lambda: room.talks, writes_pending=lambda: room.writes,
            )  # fmt: skip
            reporter.start()
            stack.callback(reporter.close)
            return reporter

        yield start


@pytest.fixture
def close_service(store: redis.Redis) -> Iterator[Closing]:
    made = Closing(store, TERMS)
    yield made
    made.stop_keeping()


def test_it_is_closed_when_every_worker_says_so_and_nobody_is_left(
    store: redis.Redis, worker: Callable[[Room], PoolReporter], close_service: Closing
) -> None:
    rooms = [Room(3), Room(0)]
    for room in rooms:
        worker(room)
    wait_until(lambda: len(list_reports(store)) == 2)
    close_service.begin()
    said: list[str] = []
    assert close_service.wait_until_empty(said.append) == {"workers": 2}
    assert [room.talks for room in rooms] == [0, 0]
    assert "workers that have not noticed" in said[0]
    assert close_service.end(said.append) == ""
    assert [report.maintenance for report in list_reports(store)] == [False, False]


def test_writes_on_their_way_are_waited_for(
    store: redis.Redis, worker: Callable[[Room], PoolReporter], close_service: Closing
) -> None:
    room = Room()
    room.writes = 2
    worker(room)
    wait_until(lambda: len(list_reports(store)) == 1)
    close_service.begin()

    def watch(text: str) -> None:
        if "2 writes on their way" in text and "noticed" not in text:
            room.writes = 0

    assert close_service.wait_until_empty(watch) == {"workers": 1}


def test_somebody_who_does_not_leave_ends_the_waiting(
    store: redis.Redis,
    worker: Callable[[Room], PoolReporter],
    close_service: Closing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "MARGIN_SECONDS", 1.5)
    worker(Room(1, leaves=False))
    wait_until(lambda: len(list_reports(store)) == 1)
    close_service.begin()
    with pytest.raises(StepError, match="The service was not empty in time: 1 conversations"):
        close_service.wait_until_empty(lambda _: None)


def test_a_worker_that_knows_no_maintenance_is_named(store: redis.Redis, close_service: Closing) -> None:
    report = {"node": "old-node", "worker": "77", "reported_at": 0.0, "pools": []}
    store.set("vocero:pool_report:old-node/77", orjson.dumps(report))
    store.zadd(INDEX_KEY, {"old-node/77": 1})
    close_service.begin()
    with pytest.raises(StepError, match="Worker 77 on old-node is too old to be closed from here"):
        close_service.wait_until_empty(lambda _: None)


def test_a_redis_that_forgets_does_not_open_the_service(
    store: redis.Redis, close_service: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "KEEP_SECONDS", 0.02)
    close_service.begin()
    store.flushdb()
    wait_until(lambda: store.exists(MAINTENANCE_KEY), 10, "the key is set again")
    assert close_service.end(lambda _: None) == ""
    assert not store.exists(MAINTENANCE_KEY)


def test_whoever_closed_it_first_opens_it(store: redis.Redis, close_service: Closing) -> None:
    first = Closing(store, replace(TERMS, id="another"))
    first.begin()
    close_service.begin()
    assert "stays in the maintenance that ana@ops (rollback another) has begun" in close_service.end(lambda _: None)
    found = read_maintenance(store.get(MAINTENANCE_KEY))
    assert found is not None
    assert found.by == "ana@ops (rollback another)"
    assert first.end(lambda _: None) == ""
    assert not store.exists(MAINTENANCE_KEY)
