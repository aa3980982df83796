"""Writes down what conversations put aside, in a thread of its own, behind a queue that is bounded.

The key decision: a conversation never waits for the database. It leaves its records here and goes on; when the database
is away they wait, and when too many wait the newest are dropped, counted, and said so in the log: once, and in numbers
when it is over. Every record may be written twice (`Conversations` sees to that), so what failed is simply tried again.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable

import structlog

from service import metrics
from service.metrics import RecordLoss, RecordPath
from service.storage.conversation_records import ConversationSummary
from service.storage.conversations import Conversations
from service.storage.record_writer import Record, RecordWriter

__all__ = ["BATCH", "ConversationWriter", "Record"]

log = structlog.get_logger(__name__)

MAX_WAITING = 20_000
"""Records: some 200 bytes each but for their text, which its maker bounds (`service.conversation.recording`)."""

BATCH = 200
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.2, 10.0


class ConversationWriter:
    """Takes records with `note` and has `conversations` keep them; at most `max_waiting` of them wait.

    `on_refused` hears of a conversation that is not kept because it was erased; it may raise what writing may.
    """

    def __init__(
        self,
        conversations: Conversations,
        *,
        max_waiting: int = MAX_WAITING,
        on_refused: Callable[[ConversationSummary], None] | None = None,
    ) -> None:
        self._writer = RecordWriter(conversations, on_refused=on_refused)
        self._max_waiting = max_waiting
        self._waiting: deque[Record] = deque()
        self._under_way = 0
        self._lost = 0
        self._wake = threading.Event()
        self._closes = False
        self._gives_up = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._write_on, name="conversation writer", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Write what is waiting, for at most `timeout` seconds, and end. What is left then is lost, and counted."""
        self._closes = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        self._gives_up.set()
        if self._waiting or self._under_way:
            self._lose(self.pending, RecordLoss.ENDED, "the process has ended")
            self._waiting.clear()

    def note(self, record: Record) -> None:
        """Put a record aside; returns at once, and never raises."""
        if self.pending >= self._max_waiting:
            self._lose(1, RecordLoss.NO_MEMORY, "too many wait for the database")
            return
        self._waiting.append(record)
        self._wake.set()

    @property
    def pending(self) -> int:
        """Records that are not written yet."""
        return len(self._waiting) + self._under_way

    # --- The thread

    def _write_on(self) -> None:
        failures = 0
        batch: list[Record] = []
        while not self._gives_up.is_set():
            self._wake.clear()
            if not batch:
                batch = self._next_batch()
            if not batch:
                metrics.records_wait(0)
                if self._closes:
                    return
                self._wake.wait(LONGEST_BACKOFF_SECONDS)
                continue
            batch = self._write(batch)
            self._under_way = len(batch)
            metrics.records_wait(self.pending)
            failures = failures + 1 if batch else 0
            if failures:
                most = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16))
                self._gives_up.wait(random.uniform(0.0, most))  # noqa: S311 (it is no secret)
            elif self._lost:
                log.warning("records of conversations were lost", count=self._lost)
                self._lost = 0

    def _next_batch(self) -> list[Record]:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        self._under_way = len(batch)
        return batch

    def _write(self, batch: list[Record]) -> list[Record]:
        """Write the records in their order; the result is what is left when the database did not answer."""
        written = len(batch) - self._writer.write(batch).left
        metrics.records_were_written(written, RecordPath.DIRECT)
        return batch[written:]

    def _lose(self, count: int, cause: RecordLoss, reason: str) -> None:
        if not self._lost:
            log.error("records of conversations are lost", reason=reason)
        self._lost += count
        metrics.records_were_lost(count, cause)
