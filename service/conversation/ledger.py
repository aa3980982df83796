"""The ledger: everything that happens in a conversation, in Redis within milliseconds, in the database soon after.

The key decision: a conversation that makes a note waits for nobody. What it notes lies in this worker's memory
(`ledger_book`) until the database has it; a thread brings it into a stream in Redis (`ledger_stream`), where another
worker finds it that takes the conversation over, and another thread into the database (`ledger_drain`): from Redis, or
straight from memory when Redis is away. So nothing is lost that was noted unless two of the three fail together, and
what is lost then is counted by cause and said so in the log: once, and in numbers when it is over.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import redis
import structlog

from service import metrics
from service.conversation.ledger_book import FIRST_FENCE, MAX_ENTRIES, Batch, LedgerBook
from service.conversation.ledger_drain import LedgerDrain
from service.conversation.ledger_entries import encode, kind_of
from service.conversation.ledger_history import History, make_history
from service.conversation.ledger_stream import LEASE_SECONDS, Answer, Append, Appended, LedgerStream
from service.errors import ServiceUnavailableError
from service.metrics import RecordLoss
from service.storage.conversations import Conversations
from service.storage.record_writer import Record, RecordWriter

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks at what became of what Redis was given."""

LOOK_AT = 200
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.05, 1.0
RETRY_AFTER_SECONDS = 1.0


class Ledger:
    """The ledger of this worker's conversations, in `store` (short timeouts) and, through `writer`, in the database.

    `conversations` is read for a history. `on_fenced` hears, in the ledger's thread, of a conversation that another
    worker has taken over: it must be quick. While `is_shut` (a maintenance) only what this worker noted is still
    written. At most `max_waiting` records wait in memory; what a worker that died was draining is anybody's after
    `lease_seconds`.
    """

    def __init__(
        self,
        store: redis.Redis,
        conversations: Conversations,
        writer: RecordWriter,
        *,
        on_fenced: Callable[[str], None] = lambda _: None,
        is_shut: Callable[[], bool] = lambda: False,
        max_waiting: int = MAX_ENTRIES,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._stream = LedgerStream(store, lease_seconds=lease_seconds)
        self._conversations = conversations
        self._on_fenced = on_fenced
        self._losses = _Losses()
        self._book = LedgerBook(max_entries=max_waiting, on_lost=self._losses.add)
        self._drain = LedgerDrain(
            self._stream,
            self._book,
            writer,
            holder=f"{socket.gethostname()[:100]}/{os.getpid()}/{secrets.token_hex(4)}",
            is_shut=is_shut,
            lose=self._losses.add,
        )
        self._wake = threading.Event()
        self._gives_up = threading.Event()
        self._closes = False
        self._thread: threading.Thread | None = None
        self._looked_at = 0.0
        self._is_away = False
        self._is_crowded = False

    # --- Life

    def start(self) -> None:
        """Begin to append and to drain."""
        self._thread = threading.Thread(target=self._append_on, name="ledger", daemon=True)
        self._thread.start()
        self._drain.start()

    def close(self, timeout: float = 5.0) -> None:
        """Bring what waits to Redis, or to the database, for at most `timeout` seconds, and end.

        What Redis has is safe: another worker drains it, or the next that starts. What is nowhere else is lost then.
        """
        end = time.monotonic() + timeout
        self._closes = True
        self._wake.set()
        self._drain.wake()
        while self._book.pending and time.monotonic() < end and self._thread is not None:
            self._gives_up.wait(0.01)
        self._gives_up.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(max(0.1, end - time.monotonic()))
        self._drain.close(max(0.1, end - time.monotonic()))
        left = self._book.unsent
        if left:
            self._losses.add(left, RecordLoss.ENDED)

    # --- For a conversation

    def note(self, record: Record) -> None:
        """Put a record aside; returns at once, and never raises."""
        if self._book.add(record):
            self._wake.set()

    def take_over(self, conversation_id: str, *, fence: int = FIRST_FENCE + 1) -> History | None:
        """Go on with a conversation that another worker began: whoever noted for it is fenced off from now on.

        The fence is `fence` or more. None: the conversation was erased. It may take a second.

        Raises:
            ServiceUnavailableError: Redis does not answer; nobody was fenced off for sure.
        """
        try:
            taken = self._stream.take_over(conversation_id, fence)
        except redis.RedisError as exc:
            raise ServiceUnavailableError(
                "The conversation cannot be taken over now; try again.", retry_after=RETRY_AFTER_SECONDS
            ) from exc
        if taken is None:
            return None
        history = self.read_history(conversation_id)
        self._book.take_over(conversation_id, fence=taken[0], sequence=taken[1])
        if history.summary is not None and history.summary.ended_at is None:
            self.note(history.summary)  # the database takes nothing without it, and may get nothing from Redis
        return history

    def release(self, conversation_id: str) -> None:
        """Nothing more will be noted here of a conversation that has not ended: it goes on elsewhere, or nowhere."""
        self._book.release(conversation_id)

    def read_history(self, conversation_id: str) -> History:
        """What is known of a conversation, from Redis and the database; from one of them if the other is away.

        Raises:
            ServiceUnavailableError: neither answers.
        """
        entries, kept, away = [], None, 0
        try:
            entries = self._stream.read(conversation_id)
        except redis.RedisError:
            away += 1
        try:
            kept = self._conversations.get(conversation_id)
        except ServiceUnavailableError:
            away += 1
            if away == 2:
                raise
        return make_history(kept, entries, is_complete=not away)

    @property
    def pending(self) -> int:
        """Records that the database does not have yet, as far as this worker is concerned; 0: it writes nothing."""
        return self._book.pending + self._drain.under_way

    def drain_once(self) -> bool:
        """Write into the database what waits now, as the thread does by itself; false if it does not answer."""
        return self._drain.drain_once()

    # --- The thread that appends

    def _append_on(self) -> None:
        failures = 0
        while not self._gives_up.is_set():
            self._wake.clear()
            try:
                is_well = self.append_once()
            except Exception as exc:  # noqa: BLE001 (the edge of a worker loop: it must go on with the next round)
                # Not its text: it may quote what somebody said.
                log.error("the ledger cannot be written", error=type(exc).__name__)  # noqa: TRY400
                is_well = False
            metrics.records_wait(self._book.pending)
            failures = 0 if is_well else failures + 1
            if failures:
                most = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16))
                self._gives_up.wait(random.uniform(most / 2, most))  # noqa: S311 (it is no secret)
            elif self._is_crowded or not self._book.has_unsent:
                self._losses.tell_if_over()
                self._wake.wait(LOOK_SECONDS)

    def append_once(self) -> bool:
        """Bring what waits to Redis, and look what became of what it has; false if it cannot take it."""
        is_well = True
        try:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._look()
                self._book.tidy()
            batches = self._book.unsent_batches()
            if self._is_crowded:
                self._book.redis_failed(batch.conversation_id for batch in batches)
            else:
                is_well = self._append(batches)
        except redis.RedisError as exc:
            self._note_state(is_away=True, error=type(exc).__name__)
            self._book.redis_failed()
            is_well = False
        if is_well:
            self._note_state(is_away=False)
        self._drain.wake()
        return is_well

    def _append(self, batches: Sequence[Batch]) -> bool:
        found = self._stream.append(
            [
                Append(
                    batch.conversation_id,
                    batch.fence,
                    batch.floor,
                    [(entry.sequence, kind_of(entry.record), encode(entry.record)) for entry in batch.entries],
                )
                for batch in batches
            ]
        )
        is_well = True
        for batch, appended in zip(batches, found, strict=True):
            is_well = self._take_note(batch, appended) and is_well
        return is_well

    def _take_note(self, batch: Batch, appended: Appended) -> bool:
        """Act on what Redis says to a batch; false if it is to be tried again later."""
        name, answer = batch.conversation_id, appended.answer
        if answer is Answer.OK:
            metrics.records_were_appended(len(batch.entries))
            self._book.was_sent(name, batch.entries[-1].sequence)
        elif answer is Answer.GAP:
            self._book.redis_has(name, appended.last)
        elif answer is Answer.BEHIND:
            self._book.renumber(name, appended.last)
        elif answer is Answer.FENCED:
            self._tell_fenced(name)
        elif answer is Answer.REFUSED:
            self._book.refuse(name)
        else:
            self._book.redis_failed([name])
            return False
        return True

    def _look(self) -> None:
        """See what became of entries that Redis was given some time ago: others drain them, too, and it may forget."""
        self._note_crowd(is_crowded=self._stream.is_crowded())
        names = self._book.unconfirmed(noted_before=time.monotonic() - LOOK_SECONDS, most=LOOK_AT)
        for name, progress in zip(names, self._stream.progress(names), strict=True):
            if progress is None:
                self._book.redis_failed([name])
            elif progress.is_refused:
                self._book.refuse(name)
            elif progress.fence > self._book.fence_of(name):
                self._tell_fenced(name)
            else:
                self._book.redis_has(name, progress.last)
                self._book.confirm(name, progress.confirmed)

    def _tell_fenced(self, conversation_id: str) -> None:
        if self._book.fence_off(conversation_id):
            log.warning("another worker goes on with a conversation")
            with suppress(Exception):  # somebody else's code, in our loop
                self._on_fenced(conversation_id)

    def _note_crowd(self, *, is_crowded: bool) -> None:
        if is_crowded != self._is_crowded:
            log.warning(
                "Redis is nearly full: the ledger leaves it to others" if is_crowded else "Redis has room again"
            )
        self._is_crowded = is_crowded

    def _note_state(self, *, is_away: bool, error: str = "") -> None:
        if is_away and not self._is_away:
            log.warning("the ledger does without Redis", error=error)
        elif self._is_away and not is_away:
            log.warning("the ledger is in Redis again")
        self._is_away = is_away


class _Losses:
    """Counts what was dropped; the log hears of it when it begins, and in numbers when it is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost: dict[RecordLoss, int] = {}
        self._newest = 0.0

    def add(self, count: int, cause: RecordLoss) -> None:
        """Note that so many records were dropped."""
        metrics.records_were_lost(count, cause)
        with self._lock:
            is_first = not self._lost
            self._lost[cause] = self._lost.get(cause, 0) + count
            self._newest = time.monotonic()
        if is_first:
            log.error("records of conversations are lost", cause=cause.value, count=count)

    def tell_if_over(self) -> None:
        """Say how many they were, once none was dropped for a second."""
        with self._lock:
            if not self._lost or time.monotonic() - self._newest < LOOK_SECONDS:
                return
            lost, self._lost = self._lost, {}
        log.warning("records of conversations were lost", **{cause.value: count for cause, count in lost.items()})
