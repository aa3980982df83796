"""Looking at Redis and the database once for all who look."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dashboard.sight.lookout import Lookout
from dashboard.sight.watch import Watch
from scripts.launcher.waiting import wait_until
from service.maintenance import MAINTENANCE_KEY, Maintenance
from service.storage import Capability, Override, OverrideMode
from tests.dashboard.dashboards import Dashboard

PATIENCE = 10.0


class Source:
    """Something to read, which can fail."""

    def __init__(self) -> None:
        self.readings = 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def read(self) -> int:
        self.gate.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        self.readings += 1
        return self.readings


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def lookout(source: Source) -> Iterator[Lookout[int]]:
    made = Lookout(source.read, name="test", nothing=0, interval_seconds=0.01)
    made.start()
    yield made
    source.gate.set()
    made.close()


def test_nothing_is_read_before_somebody_asks(lookout: Lookout[int], source: Source) -> None:
    assert source.readings == 0
    assert lookout.newest(patience=PATIENCE).value >= 1


def test_who_follows_hears_of_each_reading(lookout: Lookout[int]) -> None:
    first = lookout.newest(patience=PATIENCE)
    second = lookout.after(first.attempts, timeout=PATIENCE)
    assert second.attempts == first.attempts + 1
    assert second.at > first.at


def test_an_error_keeps_what_was_known_and_its_age(lookout: Lookout[int], source: Source) -> None:
    known = lookout.newest(patience=PATIENCE)
    source.error = TimeoutError("nobody there")
    failed = lookout.after(known.attempts, timeout=PATIENCE)
    assert (failed.value, failed.at, failed.error) == (known.value, known.at, "TimeoutError")
    source.error = None
    assert lookout.after(failed.attempts, timeout=PATIENCE).error is None


def test_a_source_that_hangs_holds_up_nobody(lookout: Lookout[int], source: Source) -> None:
    source.gate.clear()
    assert lookout.newest(patience=0.01).at == 0.0


def test_the_snapshot_has_what_workers_admins_and_operators_say(dashboard: Dashboard) -> None:
    dashboard.report(node="node-2", worker="7", conversations=3)
    dashboard.store.set(MAINTENANCE_KEY, Maintenance(reason="disks", by="ada", since=1.0).as_json())
    dashboard.parts.overrides.set(
        Capability.SPEECH, OverrideMode.FORCED_FALLBACK, reason="try", author="ada", expected_version=0
    )
    watch = dashboard.parts.watch
    wait_until(lambda: watch.snapshot().overrides_at > 0 and watch.snapshot().at > 0, PATIENCE)
    snapshot = watch.snapshot()
    assert [(each.node, each.conversations) for each in snapshot.workers] == [("node-2", 3)]
    assert snapshot.maintenance is not None
    assert snapshot.maintenance.reason == "disks"
    modes = {override.capability: override.mode for override in snapshot.overrides}
    assert modes[Capability.SPEECH] is OverrideMode.FORCED_FALLBACK


def test_without_redis_the_overrides_are_still_known() -> None:
    unreachable = redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    nobody = Watch(unreachable, overrides=lambda: [Override(Capability.SPEECH, OverrideMode.AUTO, 0)])
    nobody.start()
    try:
        wait_until(lambda: nobody.snapshot().redis_error is not None, PATIENCE)
        snapshot = nobody.snapshot()
        assert (snapshot.redis_error, snapshot.at, snapshot.workers) == ("ConnectionError", 0.0, ())
        assert len(snapshot.overrides) == 1
    finally:
        nobody.close()
