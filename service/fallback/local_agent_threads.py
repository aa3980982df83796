"""The two parts of which the local agent's concurrency is made: a mailbox for its one thread, workers for slow work.

The key decision: actions travel, not data under locks. Whoever wants something of the agent puts a function into its
mailbox, and the agent's thread runs it; so the agent's state has one owner and needs no lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from service.logs import with_log_context

log = structlog.get_logger(__name__)

Action = Callable[[], None]
# An idle thread wakes this rarely; what it waits for wakes it at once.
IDLE_SECONDS = 60.0


class Mailbox:
    """A bounded queue of actions for one taker, which also wakes at a deadline. Closing it ends both sides at once."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._actions: deque[Action] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing is taken in or given out any more."""
        return self._closed

    def put(self, action: Action, *, timeout: float) -> bool:
        """Leave an action, waiting for room up to `timeout` seconds; False when the mailbox is closed.

        Raises:
            TimeoutError: the taker is stuck.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or len(self._actions) < self._capacity, timeout):
                raise TimeoutError(f"the agent took none of {self._capacity} waiting events in {timeout} s")
            if self._closed:
                return False
            self._actions.append(action)
            self._changed.notify_all()
            return True

    def take(self, deadline: float | None) -> Action | None:
        """Take the next action; None at `deadline` (of `time.monotonic()`; None is none) and once it is closed."""
        with self._changed:
            while not self._actions and not self._closed:
                left = IDLE_SECONDS if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            if self._closed:
                return None
            self._changed.notify_all()
            return self._actions.popleft()

    def close(self) -> None:
        """Drop what is left and wake everybody."""
        with self._changed:
            self._closed = True
            self._actions.clear()
            self._changed.notify_all()


class Worker:
    """One thread for jobs of one kind, started by the first job. When `capacity` jobs wait, the oldest is dropped."""

    def __init__(self, name: str, *, capacity: int) -> None:
        self._name = name
        self._jobs: deque[Action] = deque(maxlen=capacity)
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def is_full(self) -> bool:
        """Whether the next job would drop one that waits."""
        return len(self._jobs) == self._jobs.maxlen

    def submit(self, job: Action) -> None:
        """Run `job` on the worker's thread, after those before it. It must not raise."""
        with self._changed:
            if self._closed:
                return
            self._jobs.append(job)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=with_log_context(self._run), name=self._name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Drop the waiting jobs; the thread ends after the job that it is in."""
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, at most `timeout` seconds."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # a worker loop: one bad job must not silence those after it
                log.exception("a job of the local agent failed", worker=self._name)

    def _next(self) -> Action | None:
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait(IDLE_SECONDS)
            return self._jobs.popleft() if not self._closed else None


class Timers:
    """Named deadlines of one owner, in seconds of `time.monotonic()`."""

    def __init__(self) -> None:
        self._deadlines: dict[str, float] = {}

    def set(self, name: str, deadline: float) -> None:
        """Let `name` be due at `deadline`, instead of whenever it was due before."""
        self._deadlines[name] = deadline

    def clear(self, *names: str) -> None:
        """Let these not be due."""
        for name in names:
            self._deadlines.pop(name, None)

    @property
    def next_at(self) -> float | None:
        """The earliest deadline."""
        return min(self._deadlines.values(), default=None)

    def take_due(self, now: float) -> list[str]:
        """Return the names that are due, earliest first, and forget them."""
        due = sorted((deadline, name) for name, deadline in self._deadlines.items() if deadline <= now)
        for _, name in due:
            del self._deadlines[name]
        return [name for _, name in due]
