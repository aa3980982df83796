"""`SecretsManager`: the one place that knows the secrets, keeps them fresh, and notices when they change.

The key decisions:

* one thread (a greenlet in our workers) reads them, everybody else takes what lies ready: no request waits for Vault;
* a secret is fresh, stale or expired (google-auth's three states). Stale ones are given out while they are read again,
  expired ones are not. What Vault says wrong in the meantime, a value that makes no sense included, changes nothing;
* the loop is the only one that tries again, with full jitter: below it everything is asked once.

Durations are seconds. docs/secrets.md is for operators.
"""

from __future__ import annotations

import math
import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from service.errors import SecretsSourceError, SecretsUnavailableError
from service.metrics import FailureCause, SecretsState
from service.secret import Secret, SecretName
from service.secrets_reports import SecretsReporter, SecretsStatus
from service.secrets_sources import Reading, SecretsSource

log = structlog.get_logger(__name__)

FRESH_FACTOR = 1.5
"""Of the poll's interval: older than that, a reading was missed."""

POLL_JITTER = 0.2
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 15.0
SHORTEST_INTERVAL_SECONDS = 1.0
"""Between two readings, however many ask for one: a key that is refused is refused to every request."""

SHORTEST_UPKEEP_SECONDS = 0.2
"""Before a reading for the sake of the source's own credentials: a lease of nothing must not make the thread spin."""

MAX_PREVIOUS = 8
"""Values of before that are kept for one secret, if it changes again and again."""

STOP_SECONDS = 6.0


@dataclass(frozen=True)
class _Replaced:
    value: Secret
    until: float


class SecretsManager:
    """The secrets of `source`.

    They are read every `poll_seconds`, less up to a fifth, and are given out until `grace_seconds` after the last
    success; a value that was replaced is kept for `overlap_seconds`. `spread_seconds` is over how much time the first
    reading is spread by chance, so that workers do not all log in at once. `on_rotation` hears of changes in the
    thread that reads. `clock`, `wall_clock` and `uniform` are those of `time` (monotonic) and `random` unless given.
    """

    def __init__(
        self,
        source: SecretsSource,
        *,
        poll_seconds: float = 30.0,
        grace_seconds: float = 3600.0,
        overlap_seconds: float = 600.0,
        spread_seconds: float = 0.0,
        clock: Callable[[], float] | None = None,
        wall_clock: Callable[[], float] | None = None,
        uniform: Callable[[float, float], float] | None = None,
    ) -> None:
        self._source = source
        self._poll_seconds = poll_seconds
        self._overlap_seconds = overlap_seconds
        self._spread_seconds = spread_seconds
        self._clock = clock or _monotonic
        self._wall_clock = wall_clock or _time
        self._uniform = uniform or random.uniform
        self._fresh_seconds = poll_seconds * FRESH_FACTOR
        self._lasting_seconds = max(grace_seconds, self._fresh_seconds)
        self._reporter = SecretsReporter()
        self._lock = threading.Lock()
        self._current: Mapping[SecretName, Secret] = {}
        self._previous: dict[SecretName, tuple[_Replaced, ...]] = {}
        self._version = 0
        self._succeeded_at: float | None = None
        self._begun_at = -math.inf
        self._read_at: float | None = None
        self._failure: tuple[str, str, float] | None = None  # not the error: its frames hold what Vault said
        self._listeners: list[Callable[[frozenset[SecretName]], None]] = []
        self._wake = threading.Event()
        self._has_read = threading.Event()
        self._next_reading = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None
        source.on_failure = self._note_failure

    # --- Life

    def start(self) -> None:
        """Begin to read; returns at once, whether or not the source answers."""
        if self._source.is_static:
            self._take(self._source.read())
        self._reporter.report(self.status())
        if self._source.is_static:
            return
        self._thread = threading.Thread(target=self._keep, name="secrets", daemon=True)
        self._thread.start()

    def close(self, timeout: float = STOP_SECONDS) -> None:
        """Read no more, and forget what was read; waits at most `timeout` for an answer that is under way."""
        with self._lock:
            self._is_closed = True
            self._next_reading.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        else:
            self._source.close()
        with self._lock:
            self._current, self._previous = {}, {}
            self._succeeded_at = None

    def on_rotation(self, listener: Callable[[frozenset[SecretName]], None]) -> None:
        """Have `listener` called with the names of the secrets that have changed, each time some have."""
        self._listeners.append(listener)

    # --- The secrets

    def current(self, name: SecretName) -> Secret:
        """The value of now.

        Raises:
            SecretsUnavailableError: there is none yet, or it has expired.
        """
        return self.usable(name)[0]

    def usable(self, name: SecretName) -> tuple[Secret, ...]:
        """The value of now, and those it has replaced within the overlap, the newest first; raises as `current`."""
        now = self._clock()
        with self._lock:
            if self._state(now) in {SecretsState.MISSING, SecretsState.EXPIRED} or name not in self._current:
                raise SecretsUnavailableError("The service has no keys now; try again.")
            kept = [one.value for one in self._previous.get(name, ()) if now < one.until]
            return (self._current[name], *kept)

    @property
    def can_refresh(self) -> bool:
        """Whether reading them again could give other ones: those of the environment stay as they are."""
        return not self._source.is_static

    def refresh(self, timeout: float) -> bool:
        """Have the secrets read now, and wait at most `timeout` for it; whether they have changed by that."""
        with self._lock:
            before, reading = self._current, self._next_reading
        if self._source.is_static or self._is_closed:
            return False
        self._wake.set()
        if timeout > 0:
            reading.wait(timeout)
        return self._current is not before

    def wait_until_read(self, timeout: float) -> bool:
        """Wait at most `timeout` until they were read for the first time; whether they were."""
        return self._has_read.wait(timeout)

    def status(self) -> SecretsStatus:
        """One consistent snapshot."""
        now = self._clock()
        with self._lock:
            error, cause, failed_at = self._failure or (None, None, None)
            left = self._source.lease_seconds_left
            return SecretsStatus(
                source=self._source.name,
                state=self._state(now),
                version=self._version,
                names=tuple(self._current),
                read_at=self._read_at,
                age_seconds=None if self._succeeded_at is None else now - self._succeeded_at,
                lease_ends_at=self._wall_clock() + left if 0 < left < math.inf else None,
                last_error=error,
                last_cause=cause,
                failed_at=failed_at,
            )

    def _state(self, now: float) -> SecretsState:
        if self._succeeded_at is None:
            return SecretsState.MISSING
        age = now - self._succeeded_at
        if self._source.is_static or age <= self._fresh_seconds:
            return SecretsState.FRESH
        return SecretsState.STALE if age <= self._lasting_seconds else SecretsState.EXPIRED

    # --- The thread

    def _keep(self) -> None:
        self._wake.wait(self._uniform(0.0, self._spread_seconds))
        failures = 0
        while not self._is_closed:
            failures = 0 if self._read_once() else failures + 1
            self._reporter.report(self.status())
            self._pause(self._seconds_to_the_next(failures))
        self._source.close()

    def _read_once(self) -> bool:
        self._begun_at = self._clock()
        self._wake.clear()
        with self._lock:
            reading, self._next_reading = self._next_reading, threading.Event()
        try:
            self._take(self._source.read())
        except SecretsSourceError as exc:
            self._note_failure(exc)
            return False
        except Exception as exc:  # noqa: BLE001 (the edge of a worker loop: else the secrets would silently expire)
            # Where it was and what it was, but not its text: nobody has looked whether that holds a value.
            place = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{type(exc).__name__} in {place.name}, line {place.lineno}"
            self._note_failure(
                SecretsSourceError(f"Reading the secrets failed ({where}).", cause=FailureCause.BAD_ANSWER)
            )
            return False
        finally:
            reading.set()
        return True

    def _seconds_to_the_next(self, failures: int) -> float:
        if failures:
            return self._uniform(0.0, min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16)))
        poll = self._poll_seconds * self._uniform(1 - POLL_JITTER, 1.0)
        return min(poll, max(SHORTEST_UPKEEP_SECONDS, self._source.seconds_to_upkeep))

    def _pause(self, seconds: float) -> None:
        if self._is_closed:  # since before `_wake` was cleared, perhaps
            return
        self._wake.wait(seconds)
        # Whoever asked for a reading waits for the shortest interval; who only closes does not.
        while not self._is_closed and (left := self._begun_at + SHORTEST_INTERVAL_SECONDS - self._clock()) > 0:
            if not self._wake.is_set():
                return
            time.sleep(min(left, 0.05))

    def _take(self, reading: Reading) -> None:
        now = self._clock()
        with self._lock:
            if self._is_closed:
                return
            before = self._current
            changed = frozenset(name for name, value in reading.values.items() if before.get(name) != value)
            if changed or before.keys() != reading.values.keys():
                self._keep_replaced(reading, changed, now)
                self._current = dict(reading.values)
            self._version = reading.version
            self._succeeded_at, self._read_at = now, self._wall_clock()
        self._has_read.set()
        self._reporter.note_success(self.status(), changed=changed, is_first=not before)
        if before and changed:
            self._tell(changed)

    def _keep_replaced(self, reading: Reading, changed: frozenset[SecretName], now: float) -> None:
        for name in changed & self._current.keys():
            new = reading.values[name]  # may be one of before that comes back
            kept = [one for one in self._previous.get(name, ()) if now < one.until and one.value != new]
            replaced = _Replaced(self._current[name], now + self._overlap_seconds)
            self._previous[name] = (replaced, *kept)[:MAX_PREVIOUS]

    def _tell(self, changed: frozenset[SecretName]) -> None:
        for listener in self._listeners:
            try:
                listener(changed)
            except Exception:  # the edge of a worker loop: the others are told all the same
                log.exception("a listener to rotations failed")

    def _note_failure(self, error: SecretsSourceError) -> None:
        with self._lock:
            self._failure = (str(error), error.cause, self._wall_clock())
        self._reporter.note_failure(error)


def _monotonic() -> float:
    return time.monotonic()


def _time() -> float:
    return time.time()
