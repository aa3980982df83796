"""The platform's section of the catalogue: its names and helps, and what each call tells."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from service import metrics_platform as platform
from service import redis_keys
from service.loop_watch import LATE_SECONDS, TICK_SECONDS, LoopWatch
from service.measured_redis import use_of
from service.metrics_platform import Method, OrderKind, OrderOutcome, RedisUse, StatusClass
from service.web.http_metrics import method_of, status_of

UNITS = ("_seconds", "_bytes", "_ratio", "_info")
WITHOUT_UNIT = {"vocero_dependency_up", "vocero_workers", "vocero_maintenance", "vocero_metrics_without_room"}
DECLARED = {name: value for name, value in vars(platform).items() if isinstance(value, MetricWrapperBase)}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED.keys())
def test_a_metric_has_its_units_name_at_the_end_and_a_help_that_is_a_sentence(metric: MetricWrapperBase) -> None:
    (family,) = metric.collect()
    assert family.name.startswith("vocero_")
    assert family.documentation[0].isupper() or family.documentation[0] == "1"
    assert family.documentation.endswith(".")
    if not isinstance(metric, Counter):
        assert family.name.endswith(UNITS) or family.name in WITHOUT_UNIT
    if isinstance(metric, Gauge):
        assert metric._multiprocess_mode in {"livemin", "livemax", "livesum"}
    assert isinstance(metric, Gauge | Counter | Histogram)


def test_what_is_told_is_what_is_shown() -> None:
    before = value("vocero_worker_starts_total")
    platform.worker_started(1234.5)
    assert value("vocero_worker_started_timestamp_seconds") == 1234.5
    assert (value("vocero_worker_starts_total"), value("vocero_workers")) == (before + 1, 1)
    platform.maintenance_is(99.5)
    assert (value("vocero_maintenance"), value("vocero_maintenance_started_timestamp_seconds")) == (1, 99.5)
    platform.maintenance_is(None)
    assert (value("vocero_maintenance"), value("vocero_maintenance_started_timestamp_seconds")) == (0, 0)


class Loop:
    """A clock, and a sleep that takes what the test says on top."""

    def __init__(self, late: list[float]) -> None:
        self.now = 100.0
        self.late = iter(late)
        self.watch = LoopWatch(clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        late = next(self.late, None)
        if late is None:
            self.watch.close()
        self.now += seconds + (late or 0.0)


def test_only_ticks_that_are_late_are_told_with_how_late_they_were() -> None:
    names = ("vocero_event_loop_stall_seconds_count", "vocero_event_loop_stall_seconds_sum")
    before = [value(name) for name in (*names, "vocero_event_loop_ticks_total")]
    Loop([0.0, LATE_SECONDS * 0.9, 0.2, 0.0, 0.05]).watch.run()
    after = [value(name) for name in (*names, "vocero_event_loop_ticks_total")]
    assert [one - other for one, other in zip(after, before, strict=True)] == pytest.approx([2, 0.25, 6])


def test_the_worst_of_the_last_ten_seconds_is_known_and_then_forgotten() -> None:
    ticks_a_second = round(1 / TICK_SECONDS)
    loop = Loop([0.2, 0.05] + [0.0] * (3 * ticks_a_second))
    loop.watch.run()
    assert loop.watch.recent_lag == pytest.approx(0.2)
    loop = Loop([0.2] + [LATE_SECONDS / 2] * (12 * ticks_a_second))
    loop.watch.run()
    assert loop.watch.recent_lag == 0


def test_orders_are_counted_by_kinds_that_are_known() -> None:
    series = {"kind": "other", "outcome": "unknown"}
    before = value("vocero_orders_total", **series)
    platform.order_answered("what somebody said", OrderOutcome.UNKNOWN)
    assert value("vocero_orders_total", **series) == before + 1
    for kind in OrderKind:
        for outcome in OrderOutcome:
            assert REGISTRY.get_sample_value("vocero_orders_total", {"kind": kind, "outcome": outcome}) is not None


@pytest.fixture
def running_watch() -> Iterator[LoopWatch]:
    watch = LoopWatch()
    watch.start()
    yield watch
    watch.close()


def test_it_ends_with_the_next_tick(running_watch: LoopWatch) -> None:
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "event loop watch"]
    running_watch.close()
    thread.join(100 * TICK_SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("command", "use"),
    [
        (("GET", redis_keys.MAINTENANCE.prefix), RedisUse.OTHER),
        (("GET", redis_keys.OVERRIDE.prefix + "conversation"), RedisUse.OVERRIDES),
        (("GETDEL", b"vocero:ticket:abc"), RedisUse.TICKETS),
        (("INCR", "vocero:tickets_per_minute:1.2.3.4"), RedisUse.TICKETS),
        (("XADD", "vocero:conversation:{conv_1}:events"), RedisUse.LEDGER),
        (("ZADD", "vocero:ledger:open", 1), RedisUse.LEDGER),
        (("EVALSHA", "sha", 2, "vocero:limiter:agents:slots", "x"), RedisUse.LIMITER),
        (("EVAL", "return 1", 0), RedisUse.OTHER),
        (("PING",), RedisUse.OTHER),
        (("GET", "celery:1"), RedisUse.OTHER),
        (("MGET", b"\xff:\xff"), RedisUse.OTHER),
        (("SELECT", 3), RedisUse.OTHER),
    ],
)
def test_a_commands_use_is_told_by_its_first_key(command: tuple[object, ...], use: RedisUse) -> None:
    assert use_of(command) is use


@pytest.mark.parametrize(
    ("text", "method"), [("GET", Method.GET), ("HEAD", Method.GET), ("POST", Method.POST), ("B" * 999, Method.OTHER)]
)
def test_a_method_that_somebody_made_up_is_other(text: str, method: Method) -> None:
    assert method_of(text) is method


def test_a_status_is_told_by_its_class() -> None:
    assert [status_of(code) for code in (101, 200, 304, 404, 503)] == [
        StatusClass.INFORMED, StatusClass.GOOD, StatusClass.ELSEWHERE, StatusClass.CALLER, StatusClass.OURS,
    ]  # fmt: skip
