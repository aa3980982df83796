"""Whether this worker can serve: what it needs, looked at in the background, and told to whoever asks.

The key decision: nobody who asks makes anything happen twice. Each dependency is looked at by one thread of its own,
every few seconds and when somebody wants to know it fresher than it is; everybody waits for the same look, and for a
moment at most. So a flood of questions costs a look a second, and a dependency that hangs costs one thread.

What is found goes to the metrics, to the ops listener (a file beside the metrics, `ops_readiness.py`) and to `/readyz`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from service import metrics_files, metrics_pages, metrics_platform, ops_readiness
from service.clock_watch import ClockWatch
from service.conversation.registry import ConversationRegistry
from service.errors import ConfigurationError, SchemaError, ServiceUnavailableError
from service.maintenance import Maintenance
from service.metrics import SecretsState
from service.metrics_platform import Dependency
from service.ops_readiness import OK, WorkerReadiness
from service.secrets_manager import SecretsManager
from service.storage import Database, check_schema
from service.storage.schema import SCHEMA_REVISION

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks at a dependency that nobody has asked for."""

FRESH_SECONDS = 1.0
"""How old an answer to a question may be."""

PATIENCE_SECONDS = 1.5
"""How long a look may take before the dependency counts as one that does not answer."""

SAY_SECONDS = 1.0
_NOTICE_SECONDS = 0.25


class WatchedDependency:
    """One dependency; `check` says "ok" or why it is not, and may take its time. `clock` is monotonic."""

    def __init__(self, check: Callable[[], str], *, clock: Callable[[], float] | None = None) -> None:
        self._check = check
        self._clock = clock or _monotonic
        self._changed = threading.Condition()
        self._wanted = threading.Event()
        self._is_closed = False
        self._state: str | None = None
        self._looked_at = 0.0
        self._begun_at: float | None = None

    def start(self) -> None:
        """Look now, and from time to time."""
        threading.Thread(target=self._watch, name="readiness", daemon=True).start()

    def close(self) -> None:
        """Look no more; does not wait for the look that is under way."""
        self._is_closed = True
        self._wanted.set()

    def last(self) -> str:
        """What is known now, without waiting."""
        with self._changed:
            return self._known(self._clock())

    def fresh(self, *, patience: float = PATIENCE_SECONDS) -> str:
        """What a look found that began at most `FRESH_SECONDS` ago; waits `patience` seconds for it at most."""
        with self._changed:
            now = self._clock()
            since = now - FRESH_SECONDS
            if self._state is None or self._looked_at < since:
                self._wanted.set()
                left = patience if self._begun_at is None else self._begun_at + patience - now
                self._changed.wait_for(lambda: self._state is not None and self._looked_at >= since, max(0.0, left))
            now = self._clock()
            if self._state is not None and self._looked_at >= since:
                return self._state
            return self._known(now, patience=0.0)

    def _known(self, now: float, *, patience: float = PATIENCE_SECONDS) -> str:
        if self._begun_at is not None and now - self._begun_at > patience:
            return f"no answer for {now - self._begun_at:.1f} s"
        return self._state or "not looked at yet"

    def _watch(self) -> None:
        while not self._is_closed:
            self._wanted.clear()
            with self._changed:
                self._begun_at = begun_at = self._clock()
            state = self._look()
            with self._changed:
                self._state, self._looked_at, self._begun_at = state, begun_at, None
                self._changed.notify_all()
            self._wanted.wait(LOOK_SECONDS)

    def _look(self) -> str:
        try:
            return self._check()
        except Exception as exc:  # noqa: BLE001 (the edge of a health probe: whatever it is, the dependency is not well)
            return type(exc).__name__


@dataclass(frozen=True)
class Subject:
    """What is looked at: the dependencies, and what this worker knows of itself.

    `conversations` and `capacity` are how many go on and how many it takes; `database_schema` is what was found last.
    """

    redis: WatchedDependency
    database: WatchedDependency
    secrets: Callable[[], str]
    draining: Callable[[], bool]
    maintenance: Callable[[], Maintenance | None]
    conversations: Callable[[], int]
    capacity: int
    database_schema: Callable[[], str | None]


class Readiness:
    """Watches `subject`; `say` is how the ops listener hears of it, if there is one (it may raise OSError)."""

    def __init__(self, subject: Subject, *, say: Callable[[WorkerReadiness], None] | None = None) -> None:
        self._subject = subject
        self._say = say
        self._leaves = threading.Event()
        self._lacks_room = False

    def start(self) -> None:
        """Begin to look and to tell."""
        self._subject.redis.start()
        self._subject.database.start()
        threading.Thread(target=self._tell_on, name="readiness", daemon=True).start()

    def close(self) -> None:
        """Stop; waits for nothing."""
        self._leaves.set()
        self._subject.redis.close()
        self._subject.database.close()

    def now(self) -> WorkerReadiness:
        """The answer to a question: a second old at most, and given within `PATIENCE_SECONDS`."""
        began = time.monotonic()
        redis_state = self._subject.redis.fresh()
        left = PATIENCE_SECONDS - (time.monotonic() - began)
        return self._readiness(redis_state, self._subject.database.fresh(patience=max(0.0, left)))

    def last(self) -> WorkerReadiness:
        """What is known, without waiting for anything."""
        return self._readiness(self._subject.redis.last(), self._subject.database.last())

    def _readiness(self, redis_state: str, database_state: str) -> WorkerReadiness:
        maintenance = self._subject.maintenance()
        return WorkerReadiness(
            dependencies={
                Dependency.REDIS.value: redis_state,
                Dependency.DATABASE.value: database_state,
                Dependency.SECRETS.value: self._subject.secrets(),
            },
            draining=self._subject.draining(),
            maintenance=None if maintenance is None else maintenance.reason,
            conversations=self._subject.conversations(),
            capacity=self._subject.capacity,
            code_schema=SCHEMA_REVISION,
            database_schema=self._subject.database_schema(),
        )

    def _tell_on(self) -> None:
        told = self.now()
        self._tell(told)
        while not self._leaves.wait(_NOTICE_SECONDS):
            now = self.last()
            if now.said_at - told.said_at >= SAY_SECONDS or _differ(now, told):
                self._tell(now)
                told = now

    def _tell(self, now: WorkerReadiness) -> None:
        for name, state in now.dependencies.items():
            metrics_platform.dependency_is(Dependency(name), up=state == OK)
        maintenance = self._subject.maintenance()
        metrics_platform.maintenance_is(None if maintenance is None else maintenance.since)
        lacks_room = metrics_pages.has_no_room()
        if self._say is not None:
            try:
                self._say(now)
            except OSError:
                lacks_room = True
        if lacks_room and not self._lacks_room:
            self._lacks_room = True
            metrics_platform.metrics_lack_room(lacking=True)
            log.warning("there is no room for metrics: what is new of them stays in memory, and untold")


def make_readiness(
    store: redis.Redis,
    database: Database,
    secrets: SecretsManager,
    conversations: ConversationRegistry,
    *,
    maintenance: Callable[[], Maintenance | None],
    capacity: int,
) -> Readiness:
    """The readiness of a worker that needs these and takes `capacity` conversations; told to the ops listener if there
    is one: a worker without a place for its metrics has none.
    """
    clock = ClockWatch()
    subject = Subject(
        redis=WatchedDependency(lambda: redis_state(store, clock)),
        database=WatchedDependency(lambda: database_state(database)),
        secrets=lambda: secrets_state(secrets),
        draining=lambda: conversations.is_draining,
        maintenance=maintenance,
        conversations=lambda: len(conversations),
        capacity=capacity,
        database_schema=lambda: database.revision,
    )
    place, folder = metrics_files.place(), metrics_files.chosen_folder()
    return Readiness(subject, say=None if place is None else lambda said: ops_readiness.write(folder, place, said))


def _differ(one: WorkerReadiness, other: WorkerReadiness) -> bool:
    return (one.dependencies, one.draining, one.maintenance) != (
        other.dependencies, other.draining, other.maintenance,
    )  # fmt: skip


def redis_state(store: redis.Redis, clock: ClockWatch | None = None) -> str:
    """Say "ok" if Redis answers, else the kind of failure; `clock` hears what time it is there."""
    try:
        if clock is None:
            store.ping()
        else:
            seconds, micros = store.time()
            clock.compare(seconds + micros / 1e6)
    except redis.RedisError as exc:
        return type(exc).__name__
    return OK


def database_state(database: Database) -> str:
    """Say "ok" if the database answers and has a schema of ours, else what to do about it."""
    try:
        check_schema(database)
    except SchemaError as exc:
        return str(exc)
    except (ConfigurationError, ServiceUnavailableError, SQLAlchemyError) as exc:
        return "unreachable" if isinstance(exc, ConfigurationError) else type(exc).__name__
    return OK


def secrets_state(secrets: SecretsManager) -> str:
    """Say "ok" if there are secrets that may be used, else why not; asks nobody."""
    status = secrets.status()
    if status.state in {SecretsState.FRESH, SecretsState.STALE}:
        return OK
    return f"{status.state}: {status.last_error or 'not read yet'}"


def _monotonic() -> float:
    return time.monotonic()
