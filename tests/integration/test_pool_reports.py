"""What each worker tells of its pools, in a real Valkey."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import fields, replace

import orjson
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.launcher.waiting import wait_until
from service import pool_reports
from service.connection_pool import ConnectionPool
from service.fallback.breaker_report import BreakerReport
from service.pool_reports import EXPIRY_SECONDS, INDEX_KEY, MAX_WORKERS, PoolReporter, WorkerState, list_reports
from service.pool_stats import PoolStats
from tests.conftest import NewRedis
from tests.servers import free_port


@pytest.fixture
def store(new_redis: NewRedis) -> Iterator[redis.Redis]:
    """A database of the test's own: the session's service reports to the first one."""
    client = redis.Redis.from_url(new_redis(), socket_timeout=5)
    _forget(client)
    yield client
    _forget(client)
    client.close()


def _forget(client: redis.Redis) -> None:
    for key in list(client.scan_iter(match=f"{INDEX_KEY[:-1]}*")):
        client.delete(key)


def reporter(store: redis.Redis, worker: str, *, node: str = "node-1", lent: int = 0) -> PoolReporter:
    return PoolReporter(store, node=node, worker=worker, pools=lambda: [PoolStats(name="agents", lent=lent)])


def test_the_workers_of_all_nodes_are_listed_with_their_pools(store: redis.Redis) -> None:
    assert list_reports(store) == []
    reporter(store, "2", node="node-2", lent=5).publish()
    reporter(store, "1", lent=3).publish()
    reporter(store, "2").publish()
    reports = list_reports(store)
    assert [(each.node, each.worker) for each in reports] == [("node-1", "1"), ("node-1", "2"), ("node-2", "2")]
    assert [each.pools[0].lent for each in reports] == [3, 0, 5]
    assert abs(reports[0].reported_at - time.time()) < 60


def test_a_report_replaces_the_one_before(store: redis.Redis) -> None:
    reporter(store, "1", lent=1).publish()
    reporter(store, "1", lent=2).publish()
    (report,) = list_reports(store)
    assert report.pools == (PoolStats(name="agents", lent=2),)


def test_a_dead_worker_disappears_and_its_name_is_taken_off_the_list(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_reports, "EXPIRY_SECONDS", 0.1)
    reporter(store, "dead").publish()
    monkeypatch.undo()
    reporter(store, "alive").publish()
    wait_until(lambda: [each.worker for each in list_reports(store)] == ["alive"], 10, "the dead one is gone")
    assert store.zrange(INDEX_KEY, 0, -1) == [b"node-1/alive"]


def test_every_report_expires(store: redis.Redis) -> None:
    reporter(store, "1").publish()
    left = store.pttl("vocero:pool_report:node-1/1")
    assert 0 < left <= EXPIRY_SECONDS * 1000


def test_names_do_not_pile_up_though_nobody_lists_them(store: redis.Redis) -> None:
    store.zadd(INDEX_KEY, {f"node-1/{number}": number for number in range(MAX_WORKERS + 500)})
    reporter(store, "now").publish()
    assert store.zcard(INDEX_KEY) == MAX_WORKERS
    assert [each.worker for each in list_reports(store)] == ["now"]


def test_listing_costs_the_same_however_many_keys_there_are_of_others(store: redis.Redis) -> None:
    reporter(store, "1").publish()
    store.config_resetstat()
    list_reports(store)
    called = {name.removeprefix("cmdstat_") for name in store.info("commandstats")}
    assert {"zrange", "mget"} <= called
    assert not {"keys", "scan", "sort"} & called  # the session's service may do other things meanwhile


def test_a_worker_tells_how_it_is_beside_its_pools(store: redis.Redis) -> None:
    state = WorkerState(
        draining=True,
        capacity=800,
        started_at=1_800_000_000.5,
        loop_lag_seconds=0.02,
        dependencies={"redis": "ok", "database": "unreachable"},
        speaking={"elevenlabs": 3, "local": 1},
        limiters=({"name": "agents", "waiting": {"live_turn": 2}},),
        breakers=(BreakerReport("elevenlabs", "speech", "open", last_fault="busy (provider)", calls=5),),
        secrets={"state": "fresh", "read_at": 1.5},
        chains={"conversation": ("elevenlabs", "local")},
        modes={"conversation": 7, "speech": 0},
        sandbox=True,
    )
    PoolReporter(store, node="n", worker="w", pools=list, state=lambda: state).publish()
    (report,) = list_reports(store)
    assert {each.name: getattr(report, each.name) for each in fields(WorkerState)} == vars(state)


def test_a_worker_of_another_version_is_read_as_far_as_it_is_known(store: redis.Redis) -> None:
    reporter(store, "1").publish()
    (known,) = list_reports(store)
    written = orjson.loads(store.get("vocero:pool_report:node-1/1"))
    older = {name: written[name] for name in ("node", "worker", "reported_at", "pools")}
    store.set("vocero:pool_report:node-1/1", orjson.dumps(older))
    assert list_reports(store) == [replace(known, version="", maintenance=None)]
    written["breakers"] = [{"provider": "p", "capability": "c", "state": "resting", "mood": "fine"}]
    store.set("vocero:pool_report:node-1/1", orjson.dumps({**written, "shoes": 2}))
    assert list_reports(store) == [replace(known, breakers=(BreakerReport("p", "c", "resting"),))]


def test_a_worker_that_cannot_tell_how_it_is_tells_the_rest(store: redis.Redis) -> None:
    def broken() -> WorkerState:
        raise ZeroDivisionError

    PoolReporter(store, node="n", worker="w", pools=list, conversations=lambda: 3, state=broken).publish()
    (report,) = list_reports(store)
    assert (report.conversations, report.capacity) == (3, 0)


def test_what_is_added_after_a_report_ends_neither_it_nor_the_reporter(store: redis.Redis) -> None:
    added = threading.Event()

    def add() -> None:
        added.set()
        raise redis.ConnectionError("gone")

    running = PoolReporter(store, node="n", worker="w", pools=list, add=add)
    running.start()
    try:
        assert added.wait(10)
        assert [each.worker for each in list_reports(store)] == ["w"]
    finally:
        running.close()
    assert list_reports(store) == []


def test_a_worker_reports_by_itself_and_takes_its_report_back_when_it_leaves(store: redis.Redis) -> None:
    counted = iter(range(1000))
    running = PoolReporter(store, node="n", worker="w", pools=lambda: [PoolStats(name="agents", served=next(counted))])
    running.start()
    try:
        wait_until(lambda: [e.pools[0].served >= 1 for e in list_reports(store)] == [True], 10, "a second report")
    finally:
        running.close()
    assert list_reports(store) == []
    assert store.zcard(INDEX_KEY) == 0


def test_redis_being_gone_disturbs_neither_the_pool_nor_the_end_of_the_reporter() -> None:
    gone = redis.Redis(port=free_port(), socket_timeout=0.25, retry=Retry(NoBackoff(), 1))
    told = threading.Event()
    pool = ConnectionPool(
        object,
        name="agents",
        close_connection=lambda _: None,
        min_idle=1,
        max_size=2,
        max_waiting=1,
        timeout=5.0,
        max_idle=60.0,
        max_lifetime=60.0,
    )

    def snapshots() -> list[PoolStats]:
        told.set()
        return [pool.stats()]

    running = PoolReporter(gone, node="n", worker="w", pools=snapshots)
    with pool:
        running.start()
        assert told.wait(10)
        for _ in range(100):
            with pool.connection():
                pass
        running.close(timeout=10)
        assert pool.stats().served == 100
    assert not [thread for thread in threading.enumerate() if thread.name == "pool reports"]
    with pytest.raises(redis.RedisError):
        list_reports(gone)
