"""Connections that lie ready: lent first come, first served, within bounds, and replaced before they are too old.

The key decision: a caller never opens a connection itself. Opening runs in a thread of its own (a greenlet in our
workers) and what comes of it goes to whoever has waited longest; so a caller's timeout holds however long opening
hangs, and a caller that is killed loses nothing. One thread, the keeper, keeps `min_idle` ready and closes what is
old. All that is decided stands in `service.pool_state`; here are the lock, the threads and the I/O, which never meet:
no lock is held while a connection is opened, checked or closed.

Durations are seconds. What the pool learned from psycopg's: hand-over to the waiter, jitter on ages, counters.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Self, TypeVar

import structlog

from service.errors import PoolTimeoutError
from service.pool_parts import Pooled, PoolLimits, Waiter
from service.pool_state import PoolState
from service.pool_stats import PoolStats

C = TypeVar("C")
log = structlog.get_logger(__name__)

NAP_SECONDS = 1.0
"""The keeper looks for what has become old this often."""


def always(_: object) -> bool:
    """The check of connections that need none."""
    return True


def untold(_: float) -> None:
    """What is told of waits that nobody measures."""


class Lent(Generic[C]):
    """A connection in a caller's hands, until the first of `give_back` and `discard`; what comes later does nothing.

    Both may be called in a callback of an event loop: they wait for nothing (but for what `close_connection` does).
    One that is forgotten is closed when Python collects it, and counted as abandoned.
    """

    __slots__ = ("_pool", "_pooled", "connection", "has_ended", "since")

    def __init__(self, pool: ConnectionPool[C], pooled: Pooled[C]) -> None:
        self._pool = pool
        self._pooled = pooled
        self.connection = pooled.connection
        self.since = time.monotonic()
        self.has_ended = False

    def give_back(self) -> None:
        """The use ended well: the next one may have the connection."""
        self._pool._end(self, self._pooled, is_good=True)

    def discard(self) -> None:
        """The use ended badly, or has used the connection up: close it."""
        self._pool._end(self, self._pooled, is_good=False)

    def __del__(self) -> None:
        if not self.has_ended:
            # Python may collect in the middle of anything, also where the lock is held: no more than this.
            self._pool._forgotten.append(self._pooled)


class ConnectionPool(Generic[C]):
    """Lends connections of any kind.

    `open_connection` opens one, with deadlines of its own; what it raises is told to the caller that has waited
    longest, unchanged. `close_connection` ends one without waiting for its peer. `is_healthy` tells quickly whether
    one that has rested or was used is still good.

    `min_idle` connections are kept ready besides those lent, `max_size` is all there may be, `max_waiting` are the
    callers that may wait for others to give back, `timeout` is how long one waits. `max_idle` and `max_lifetime`
    bound how long a connection rests and lives, each shortened by up to 5 %. docs/upstream.md tells more.

    With `opens_at_once` whoever needs one calls `open_connection` itself, which must then do no I/O: a thread costs ten
    times what lending does. `on_waited` is told how many seconds each caller has waited, whatever came of it; it may
    wait for nothing.

    Raises:
        ValueError: a bound makes no sense.
    """

    def __init__(
        self,
        open_connection: Callable[[], C],
        *,
        name: str,
        close_connection: Callable[[C], None],
        is_healthy: Callable[[C], bool] = always,
        min_idle: int,
        max_size: int,
        max_waiting: int,
        timeout: float,
        max_idle: float,
        max_lifetime: float,
        opens_at_once: bool = False,
        on_waited: Callable[[float], None] = untold,
    ) -> None:
        limits = PoolLimits(
            min_idle=min_idle,
            max_size=max_size,
            max_waiting=max_waiting,
            max_idle=max_idle,
            max_lifetime=max_lifetime,
        )
        self.name = name
        self._open_connection = open_connection
        self._close_connection = close_connection
        self._is_healthy = is_healthy
        self._timeout = timeout
        self._opens_at_once = opens_at_once
        self._on_waited = on_waited
        self._state: PoolState[C] = PoolState(limits, name=name)
        # Under gevent nothing gives way while this is held, so a greenlet cannot be killed half-way through a step.
        # That is why there is no Condition on it: its notify() tries the lock, and gevent gives way then.
        self._lock = threading.Lock()
        self._keeper_wakes = threading.Event()
        self._has_ended = threading.Event()
        self._forgotten: deque[Pooled[C]] = deque()
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Begin to lend, and to open `min_idle` connections; a second time changes nothing.

        Raises:
            PoolClosedError: it was closed.
        """
        with self._lock:
            if self._state.is_closed:
                raise self._state.closed_error()
            if self._state.is_open:
                return
            self._state.is_open = True
            self._keeper = threading.Thread(target=self._keep, name=f"pool {self.name}", daemon=True)
        self._keeper.start()

    def close(self, timeout: float = 5.0) -> None:
        """Lend nothing any more; whoever waits is told. What is lent is closed when it comes back.

        Waits `timeout` s at most for what is being opened or closed.
        """
        end = time.monotonic() + timeout
        with self._lock:
            self._state.close()
            self._rouse(time.monotonic())
        self._keeper_wakes.set()
        keeper = self._keeper
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(timeout)
        self._has_ended.wait(max(0.0, end - time.monotonic()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[C]:
        """Lend a connection for the block; if the block raises, whatever it is, the connection is closed.

        Raises: as `take`.
        """
        lent = self.take(timeout)
        try:
            yield lent.connection
        except BaseException:  # GreenletExit and the like, too: nobody knows what is still under way on it
            lent.discard()
            raise
        lent.give_back()

    def take(self, timeout: float | None = None) -> Lent[C]:
        """Lend a connection for longer than a block lasts; wait `timeout` s at most (unset: the pool's).

        With a `timeout` of 0 there is one ready or none: nothing is waited for.

        Raises:
            PoolTimeoutError: there was none in that time.
            PoolExhaustedError: too many wait already; at once.
            PoolClosedError: the pool is not open, or was closed meanwhile.
            Exception: what `open_connection` raised.
        """
        limit = self._timeout if timeout is None else timeout
        now = time.monotonic()
        with self._lock:
            self._take_back_forgotten()
            waiter = self._state.arrive(now, may_wait=limit > 0)
            self._rouse(now)
        try:
            return Lent(self, self._obtain(waiter, limit))
        except BaseException:  # GreenletExit and the like, too: what it was handed goes to the next one
            with self._lock:
                now = time.monotonic()
                self._state.cancelled(waiter, now)
                self._rouse(now)
            raise
        finally:
            self._on_waited(time.monotonic() - waiter.asked_at)

    def _obtain(self, waiter: Waiter[C], limit: float) -> Pooled[C]:
        deadline = waiter.asked_at + limit
        has_checked = False
        while True:
            if waiter.has_nothing():
                while self._begin_opening():
                    pass
                waiter.wait(max(0.0, deadline - time.monotonic()))
            with self._lock:
                now = time.monotonic()
                if waiter.error is not None:
                    raise self._state.got_error(waiter, now)
                pooled = waiter.pooled
                if pooled is None or (has_checked and now >= deadline):
                    message = f"pool {self.name}: no connection within {limit:g} s ({self._state.numbers()})"
                    self._state.timed_out(waiter, now)
                    raise PoolTimeoutError(message)
                if not pooled.is_unchecked:
                    return self._state.served(waiter, now)
                waiter.is_checking = has_checked = True
            is_good = self._passes_check(pooled.connection)
            with self._lock:
                now = time.monotonic()
                if is_good:
                    return self._state.served(waiter, now)
                self._state.failed_check(waiter, now)
                self._rouse(now)

    def _passes_check(self, connection: C) -> bool:
        try:
            return self._is_healthy(connection)
        except Exception as exc:  # noqa: BLE001 (a health probe: whatever goes wrong, it is not healthy)
            log.debug("pool check failed", pool=self.name, error=type(exc).__name__)
            return False

    def _end(self, lent: Lent[C], pooled: Pooled[C], *, is_good: bool) -> None:
        with self._lock:
            if lent.has_ended:
                return
            lent.has_ended = True
            now = time.monotonic()
            end = self._state.returned if is_good else self._state.discarded
            end(pooled, now, now - lent.since)
            self._rouse(now)
            is_to_close = bool(self._state.to_close)
        # Opening is left to the keeper: to start a thread is to wait for it.
        while is_to_close and self._close_one():
            pass

    def drain(self) -> None:
        """Let no connection of before be lent again: idle ones are closed at once, lent ones when they come back.

        For when what they were opened with has changed, a key for one. Returns at once.
        """
        with self._lock:
            self._state.drain()
        self._keeper_wakes.set()

    def resize(self, *, min_idle: int, max_size: int) -> None:
        """Change the bounds; what is too much is closed, lent ones when they come back. Returns at once.

        Raises:
            ValueError: a bound makes no sense.
        """
        if self._opens_at_once and min_idle:
            raise ValueError(f"pool {self.name} was started without connections that lie ready, and cannot keep any.")
        with self._lock:
            self._state.resize(min_idle=min_idle, max_size=max_size)
        self._keeper_wakes.set()

    def refill(self) -> None:
        """Open what lacks of `min_idle` now, also where the last attempt failed just now. Returns at once."""
        with self._lock:
            self._state.forget_failures()
        self._keeper_wakes.set()

    def stats(self) -> PoolStats:
        """One consistent snapshot; what must hold in it stands in `service.pool_stats`."""
        with self._lock:
            self._take_back_forgotten()
            return self._state.stats(time.monotonic())

    # --- What has to be done outside the lock. It lies in the state, so whoever is killed in it leaves it to others.

    def _rouse(self, now: float) -> None:
        if self._state.is_work_due(now):
            self._keeper_wakes.set()
        if self._state.is_closed and self._state.is_settled:
            self._has_ended.set()

    def _take_back_forgotten(self) -> None:
        while self._forgotten:
            self._state.abandoned(self._forgotten.popleft())

    def _keep(self) -> None:
        while True:
            self._keeper_wakes.clear()
            with self._lock:
                now = time.monotonic()
                self._take_back_forgotten()
                self._state.retire_aged(now)
                is_due = self._state.is_work_due(now)
                refill_in = self._state.next_refill_in(now)
                if self._state.is_closed and not is_due:
                    return
            if not is_due:
                self._keeper_wakes.wait(NAP_SECONDS if refill_in is None else min(NAP_SECONDS, refill_in))
            self._do_work()

    def _do_work(self) -> None:
        while self._begin_opening() or self._close_one():
            pass

    def _begin_opening(self) -> bool:
        with self._lock:
            if not self._state.begin_opening(time.monotonic()):
                return False
            generation = self._state.generation
        if self._opens_at_once:
            self._open_one(generation)
            return True
        opener = threading.Thread(
            target=self._open_in_thread, args=(generation,), name=f"open {self.name}", daemon=True
        )
        try:
            opener.start()
        except RuntimeError as exc:  # no thread is to be had now
            self._note_failure(exc)
        return True

    def _open_one(self, generation: int) -> None:
        try:
            connection = self._open_connection()
        except BaseException as exc:
            self._note_failure(exc)
            if not isinstance(exc, Exception):
                raise
        else:
            with self._lock:
                now = time.monotonic()
                was_failing = self._state.is_failing
                self._state.has_opened(connection, generation, now)
                self._rouse(now)
            if was_failing:
                log.info("pool opens connections again", pool=self.name)

    def _open_in_thread(self, generation: int) -> None:
        self._open_one(generation)
        self._do_work()

    def _note_failure(self, exc: BaseException) -> None:
        with self._lock:
            now = time.monotonic()
            was_failing = self._state.is_failing
            # Nobody who waits is to be ended by what ended the opener.
            self._state.has_failed(exc if isinstance(exc, Exception) else None, now)
            self._rouse(now)
        if not was_failing:
            log.warning("pool cannot open connections", pool=self.name, error=type(exc).__name__)

    def _close_one(self) -> bool:
        with self._lock:
            if not self._state.to_close:
                return False
            pooled = self._state.to_close.popleft()
        try:
            self._close_connection(pooled.connection)
        except Exception as exc:  # noqa: BLE001 (rubbish: it is of no more use either way)
            log.debug("pool could not close a connection", pool=self.name, error=type(exc).__name__)
        finally:
            with self._lock:
                self._state.has_closed()
                self._rouse(time.monotonic())
        return True
