"""What every worker of every node looks like now: each says so in Redis once a second, and hears of a maintenance.

Pools were the first thing that was reported so; by now it is all that admins want to see of a worker.

The key decision: a report is a key of its own that expires, so a worker that died is gone without anybody noticing
its death; a sorted set of the workers' names leads to the keys, so listing never looks through the keyspace. Whoever
lists takes the names out whose report has expired. A worker looks whether there is a maintenance just before it
reports, so a report that says it has seen one is never ahead of what the worker does.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import redis
import structlog

from service import __version__, redis_keys
from service.fallback.breaker_report import BreakerReport
from service.maintenance import MAINTENANCE_KEY, MaintenanceWatch
from service.pool_stats import PoolStats

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 1.0
EXPIRY_SECONDS = 5.0
"""How long a report is believed: a worker that is silent for longer is dead, or as good as dead."""

MAX_WORKERS = 1000
"""Names that the list holds: those that reported last. Far above what one Redis serves."""

INDEX_KEY = redis_keys.POOL_REPORTS.prefix
_REPORT_KEY = redis_keys.POOL_REPORT.prefix


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """How a worker is, beside its pools; what one of an earlier version does not tell has its default here.

    `capacity` is how many conversations it takes, `started_at` is in seconds since 1970, `loop_lag_seconds` the worst
    of the last ten seconds. `dependencies` are "ok" or why not; `speaking` counts live conversations by who leads them;
    `limiters` and `secrets` are `LimiterStats` and `SecretsStatus` as JSON has them. `chains` are the providers of each
    capability in their order, `modes` the versions of the overrides in force (0: none).
    """

    draining: bool = False
    capacity: int = 0
    started_at: float = 0.0
    loop_lag_seconds: float = 0.0
    dependencies: Mapping[str, str] = field(default_factory=dict)
    speaking: Mapping[str, int] = field(default_factory=dict)
    limiters: tuple[Mapping[str, Any], ...] = ()
    breakers: tuple[BreakerReport, ...] = ()
    secrets: Mapping[str, Any] | None = None
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    sandbox: bool = False


@dataclass(frozen=True)
class WorkerReport(WorkerState):
    """One worker as it saw itself at `reported_at` (seconds since 1970 by the worker's clock).

    `maintenance`: it has seen that there is one, and takes nobody any more; None: it is too old to know of such.
    `conversations` go on, `writes_pending` are on their way to the database.
    """

    node: str
    worker: str
    reported_at: float
    pools: tuple[PoolStats, ...]
    version: str = ""
    maintenance: bool | None = None
    conversations: int = 0
    writes_pending: int = 0

    @property
    def name(self) -> str:
        """How orders and people call the worker."""
        return worker_name(self.node, self.worker)


# What workers of an earlier version do not tell.
_STATE = tuple(each.name for each in dataclasses.fields(WorkerState))
_TOLD_SINCE = ("version", "maintenance", "conversations", "writes_pending", *_STATE)


def _none() -> int:
    return 0


def _nothing() -> None:
    pass


class PoolReporter:
    """Publishes what this worker looks like, and tells `maintenance` what it hears.

    `node` and `worker` together name the worker; `pools`, `conversations`, `writes_pending` and `state` are called in
    the reporter's own thread. Redis being slow or gone delays the next report and nothing else: `store` needs short
    timeouts. `tell` is called before each report, whether Redis is there or not, to tell the metrics the same; `add`
    after each, to tell Redis what else there is: it may raise RedisError.
    """

    def __init__(
        self,
        store: redis.Redis,
        *,
        node: str,
        worker: str,
        pools: Callable[[], Iterable[PoolStats]],
        maintenance: MaintenanceWatch | None = None,
        conversations: Callable[[], int] = _none,
        writes_pending: Callable[[], int] = _none,
        state: Callable[[], WorkerState] = WorkerState,
        tell: Callable[[], None] = _nothing,
        add: Callable[[], None] = _nothing,
    ) -> None:
        self._store = store
        self._node = node
        self._worker = worker
        self._member = worker_name(node, worker).encode()
        self._pools = pools
        self._maintenance = maintenance
        self._conversations = conversations
        self._writes_pending = writes_pending
        self._state = state
        self._tell = tell
        self._add = add
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_heard = self._tells = self._knows = True

    def start(self) -> None:
        """Look and report now, and every second from now on: who starts in a maintenance takes nobody."""
        self._try(self._look)
        self._thread = threading.Thread(target=self._report_on, name="pool reports", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Stop, and take the report back; waits `timeout` s at most."""
        self._leaves.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def publish(self) -> None:
        """Report once.

        Raises:
            RedisError: Redis did not take it.
        """
        now = time.time()
        report = {
            "node": self._node,
            "worker": self._worker,
            "reported_at": now,
            "pools": [stats.as_dict() for stats in self._pools()],
            "version": __version__,
            "maintenance": self._maintenance is not None and self._maintenance.current is not None,
            "conversations": self._conversations(),
            "writes_pending": self._writes_pending(),
        } | self._fields()
        with self._store.pipeline(transaction=True) as pipeline:
            pipeline.set(_key(self._member), orjson.dumps(report), px=round(EXPIRY_SECONDS * 1000))
            pipeline.zadd(INDEX_KEY, {self._member: now})
            # Nobody may ever list them: dead workers' names must not pile up for that.
            pipeline.zremrangebyrank(INDEX_KEY, 0, -MAX_WORKERS - 1)
            pipeline.execute()

    def _report_on(self) -> None:
        while True:
            self._tell_metrics()
            self._try(self._look_and_publish)
            if self._maintenance is not None:
                self._maintenance.enforce()
            if self._leaves.wait(INTERVAL_SECONDS):
                break
        self._tell_metrics()
        self._try(self._add)
        self._try(self._withdraw)

    def _tell_metrics(self) -> None:
        try:
            self._tell()
        except Exception:  # the edge of a worker loop: of a maintenance it must hear all the same
            if self._tells:  # once, not every second
                log.exception("metrics of the pools are not told")
            self._tells = False
        else:
            self._tells = True

    def _fields(self) -> dict[str, Any]:
        try:
            state = self._state()
        except Exception:  # the edge of a worker loop: a report without it is better than none
            if self._knows:  # once, not every second
                log.exception("the worker's state is not reported")
            self._knows = False
            return {}
        self._knows = True
        # One level: orjson writes the breakers, and `asdict` would copy what lies deeper.
        return {name: getattr(state, name) for name in _STATE}

    def _look_and_publish(self) -> None:
        self._look()
        self.publish()
        self._add()

    def _look(self) -> None:
        if self._maintenance is not None:
            self._maintenance.observe(cast("bytes | None", self._store.get(MAINTENANCE_KEY)))

    def _withdraw(self) -> None:
        with self._store.pipeline(transaction=True) as pipeline:
            pipeline.delete(_key(self._member))
            pipeline.zrem(INDEX_KEY, self._member)
            pipeline.execute()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except redis.RedisError as exc:
            if self._is_heard:  # once, not every second of an outage
                log.warning("pool reports are not heard", error=type(exc).__name__)
            self._is_heard = False
        else:
            if not self._is_heard:
                log.info("pool reports are heard again")
            self._is_heard = True


def list_reports(store: redis.Redis, *, forget_dead: bool = True) -> list[WorkerReport]:
    """The reports of all workers that live, by node and worker; without `forget_dead` nothing is written.

    Raises:
        RedisError: Redis did not answer.
    """
    members = [bytes(member) for member in cast("list[bytes]", store.zrange(INDEX_KEY, -MAX_WORKERS, -1))]
    if not members:
        return []
    values = cast("list[bytes | None]", store.mget([_key(member) for member in members]))
    dead = [member for member, value in zip(members, values, strict=True) if value is None]
    if dead and forget_dead:
        store.zrem(INDEX_KEY, *dead)  # one that was only late puts its name back with its next report
    reports = [_report(value) for value in values if value is not None]
    return sorted(reports, key=lambda report: (report.node, report.worker))


def _report(value: bytes) -> WorkerReport:
    found: dict[str, Any] = orjson.loads(value)
    pools = tuple(PoolStats.from_dict(each) for each in found["pools"])
    told = {name: found[name] for name in _TOLD_SINCE if name in found}
    for name, read in _READ.items():
        if name in told:
            told[name] = read(told[name])
    return WorkerReport(
        node=found["node"], worker=found["worker"], reported_at=found["reported_at"], pools=pools, **told
    )


_READ: dict[str, Callable[[Any], Any]] = {
    "breakers": lambda found: tuple(BreakerReport.from_dict(each) for each in found),
    "limiters": tuple,
    "chains": lambda found: {name: tuple(chain) for name, chain in found.items()},
}
"""For what JSON has no type of."""


def worker_name(node: str, worker: str) -> str:
    """What a worker is called, here and in orders."""
    return f"{node}/{worker}"


def _key(member: bytes) -> bytes:
    return _REPORT_KEY.encode() + member
