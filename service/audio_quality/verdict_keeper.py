"""Keeps in the database what was found about answers, with the conversations that they belong to.

The key decision: not through the ledger. There a conversation has one owner, who numbers its entries; but a score comes
minutes after its answer, when the conversation may be over or somebody else's, and to the worker that asks the judge
next. So each worker has a thread for it and writes what came to it: twice, late and in any order without harm
(`service.storage.judged_answers`). Nobody waits for it; what the database does not take yet waits in memory, within
bounds, and is lost with its worker; nobody is woken for that, since the metrics have it.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service import metrics_quality
from service.errors import ServiceUnavailableError
from service.metrics_quality import VerdictLoss
from service.storage import JudgedAnswer, JudgedAnswers

log = structlog.get_logger(__name__)

MOST_WAITING = 1_000
"""Verdicts in a worker's memory; above that the newest are dropped, and counted."""

UNKNOWN_SECONDS = 60.0
"""So long a conversation may come after a verdict on it; then it was erased, or never kept, and so is the verdict."""

LOOK_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 10.0


class VerdictKeeper:
    """Writes verdicts into `answers`, in a thread of its own. While `is_shut` (a maintenance) nothing is written.

    `clock` is monotonic.
    """

    def __init__(
        self,
        answers: JudgedAnswers,
        *,
        is_shut: Callable[[], bool],
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._answers = answers
        self._is_shut = is_shut
        self._most_waiting = most_waiting
        self._clock = clock or time.monotonic
        # Each with since when its conversation is known not to be there.
        self._waiting: deque[tuple[JudgedAnswer, float | None]] = deque()
        self._wake = threading.Event()
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self._works = False
        self._is_full = False

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._write_on, name="verdicts", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, once more and for at most `timeout` seconds, and end. What is left then is lost."""
        self._leaves.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._waiting:
            metrics_quality.verdicts_were_lost(len(self._waiting), VerdictLoss.ENDED)

    def keep(self, answer: JudgedAnswer) -> None:
        """Have this written some time; at once back."""
        is_full, was_full = len(self._waiting) >= self._most_waiting, self._is_full
        self._is_full = is_full
        if is_full:
            metrics_quality.verdicts_were_lost(1, VerdictLoss.NO_MEMORY)
            if not was_full:
                log.warning("verdicts on answers are dropped", waiting=len(self._waiting))
            return
        self._waiting.append((answer, None))
        self._wake.set()

    @property
    def under_way(self) -> int:
        """1 while something may be written to the database, else 0: never 0 too early in a maintenance."""
        return int(self._works)

    @property
    def waiting(self) -> int:
        """Verdicts that are not in the database yet."""
        return len(self._waiting)

    def _write_on(self) -> None:
        failures = 0
        while not self._leaves.is_set():
            self._wake.clear()
            failures = 0 if self.write_waiting() else failures + 1
            if failures:
                most = min(LONGEST_BACKOFF_SECONDS, LOOK_SECONDS * 2.0 ** min(failures - 1, 16))
                self._leaves.wait(random.uniform(most / 2, most))  # noqa: S311 (it is no secret)
            else:
                self._wake.wait(LOOK_SECONDS)
        self.write_waiting()

    def write_waiting(self) -> bool:
        """Write what waits now, as the thread does by itself; false if the database cannot be written to."""
        self._works = True  # before asking for a maintenance: who asks us afterwards is told that we may still write
        try:
            return not self._is_shut() and all(self._write_next() for _ in range(len(self._waiting)))
        finally:
            self._works = False

    def _write_next(self) -> bool:
        answer, unknown_since = self._waiting.popleft()
        try:
            is_settled = self._answers.put(answer)
        except ServiceUnavailableError:
            self._waiting.appendleft((answer, None))
            return False
        except (SQLAlchemyError, ValueError) as exc:  # it would fail again, and hold up all that comes behind it
            log.error("the database refuses a verdict on an answer", error=type(exc).__name__)  # noqa: TRY400 (nor its text)
            metrics_quality.verdicts_were_lost(1, VerdictLoss.REFUSED)
            return True
        unknown_since = self._clock() if unknown_since is None else unknown_since
        if not is_settled and self._clock() - unknown_since < UNKNOWN_SECONDS:
            self._waiting.append((answer, unknown_since))
        return True
