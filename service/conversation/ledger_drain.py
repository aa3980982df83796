"""Writes the ledger into the database: what this worker noted, and what others left behind.

The key decision: a conversation is drained by one worker at a time, in order, because the database takes a leg or an
utterance only if it knows the conversation. That is a lease and no lock: one that ran out while its holder hung does no
harm, since the next one begins with what the holder was given, and what the holder then writes late is no news to the
database (`service.storage.conversations`). An entry is acknowledged after it is committed; who dies in between leaves
it to be written once more.

With Redis away the records come straight from this worker's memory (`LedgerBook`). In a maintenance only those are
written that this worker noted itself, until none is left (`Ledger.pending` says so): then nobody touches the database.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import redis
import structlog

from service import metrics
from service.conversation.ledger_book import Batch, LedgerBook
from service.conversation.ledger_entries import decode
from service.conversation.ledger_stream import LedgerStream, Taken
from service.metrics import RecordLoss, RecordPath
from service.storage.conversation_records import ConversationSummary, Leg
from service.storage.record_writer import Record, RecordWriter

log = structlog.get_logger(__name__)

CONVERSATIONS, ENTRIES = 16, 100
"""That are drained in one go: of how many conversations, and of each. More would keep the rest of the worker waiting:
to write 40 utterances is 8 ms of CPU."""

DIRECT_ENTRIES = 500
GATHERING_SECONDS = 0.2
"""For what is said at the same time: one transaction instead of many."""

LOOK_SECONDS = 1.0
"""Between two looks for what others have left."""

LEFT_BEHIND_SECONDS = 2.0
"""After which an entry is anybody's to drain; until then it is its owner's."""

LOOK_AT = 500
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.2, 10.0


@dataclass(frozen=True)
class _Line:
    """An entry on its way into the database."""

    conversation_id: str
    sequence: int
    record: Record


class LedgerDrain:
    """One worker's consumer, in a thread of its own. `holder` is its name, as no other worker has it.

    `is_shut` tells that the service is in maintenance. `lose` is told what had to be dropped.
    """

    def __init__(
        self,
        stream: LedgerStream,
        book: LedgerBook,
        writer: RecordWriter,
        *,
        holder: str,
        is_shut: Callable[[], bool],
        lose: Callable[[int, RecordLoss], None],
    ) -> None:
        self._stream = stream
        self._book = book
        self._writer = writer
        self._holder = holder
        self._is_shut = is_shut
        self._lose = lose
        self._wake = threading.Event()
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self._works = False
        self._looked_at = 0.0

    def start(self) -> None:
        """Begin to drain."""
        self._thread = threading.Thread(target=self._drain_on, name="ledger drain", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Stop behind the batch that is being written; waits `timeout` s at most."""
        self._leaves.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def wake(self) -> None:
        """There is something to drain."""
        self._wake.set()

    @property
    def under_way(self) -> int:
        """1 while something may be written to the database, else 0: never 0 too early in a maintenance."""
        return int(self._works)

    # --- The thread

    def _drain_on(self) -> None:
        failures = 0
        while not self._leaves.is_set():
            self._wake.clear()
            try:
                is_well = self.drain_once()
            except Exception as exc:  # noqa: BLE001 (the edge of a worker loop: it must go on with the next round)
                # Not its text: it may quote what somebody said.
                log.error("the ledger cannot be drained", error=type(exc).__name__)  # noqa: TRY400
                is_well = False
            failures = 0 if is_well else failures + 1
            if failures:
                most = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16))
                self._leaves.wait(random.uniform(0.0, most))  # noqa: S311 (it is no secret)
            elif self._wake.wait(LOOK_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311
                self._leaves.wait(GATHERING_SECONDS)

    def drain_once(self) -> bool:
        """Write what waits; false if the database does not answer. Redis being away only leaves less to write."""
        self._works = True  # before asking for a maintenance: who asks us afterwards is told that we may still write
        try:
            if not self._write_directly():
                return False
            return self._drain(self._book.unconfirmed()) and self._drain(self._left_behind())
        except redis.RedisError as exc:
            log.debug("the ledger cannot be read now", error=type(exc).__name__)
            return True
        finally:
            self._works = False

    # --- Without Redis

    def _write_directly(self) -> bool:
        while batches := self._book.direct_batches(DIRECT_ENTRIES):
            lines = [
                _Line(batch.conversation_id, entry.sequence, entry.record)
                for batch in batches
                for entry in batch.entries
            ]
            done, strangers = self._write(lines, RecordPath.DIRECT)
            for conversation_id in strangers:
                self._book.refuse(conversation_id)
            for batch in batches:
                written = {line.sequence for line in done if line.conversation_id == batch.conversation_id}
                self._book.confirm(batch.conversation_id, _without_gap(batch, written))
            if len(done) < len(lines):
                return False
        return True

    # --- From Redis

    def _left_behind(self) -> list[str]:
        """What has waited for long, at most once a second; none in a maintenance."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS / 2:
            return []
        self._looked_at = now
        found, lag = self._stream.waiting(older_than_seconds=LEFT_BEHIND_SECONDS, most=LOOK_AT)
        metrics.records_lag(lag)
        random.shuffle(found)  # workers that look at the same time do not all begin with the same one
        return [] if self._is_shut() else found

    def _drain(self, conversation_ids: Sequence[str]) -> bool:
        """Drain these conversations as far as nobody else does; false if the database does not answer."""
        for start in range(0, len(conversation_ids), CONVERSATIONS):
            some = list(conversation_ids[start : start + CONVERSATIONS])
            while some and not self._leaves.is_set():
                taken = self._stream.take(some, self._holder, ENTRIES)
                found = [(name, each) for name, each in zip(some, taken, strict=True) if each is not None]
                more = self._settle(found)
                if more is None:
                    return False
                some = more
        return True

    def _settle(self, taken: Iterable[tuple[str, Taken]]) -> list[str] | None:
        """Write what was taken, and say so; the result is of which conversations there may be more. None: not all."""
        lines: list[_Line] = []
        settled: dict[str, list[int]] = {}
        for name, each in taken:
            if each.entries:
                settled[name] = []
                lines += self._read(name, each, settled[name])
        if not settled:
            return []
        done, strangers = self._write(lines, RecordPath.LEDGER)
        for line in done:
            settled[line.conversation_id].append(line.sequence)
        for name in strangers:
            self._book.refuse(name)
        self._stream.refuse(strangers, self._holder)
        rest = [(name, sequences) for name, sequences in settled.items() if name not in strangers]
        told = dict(zip([name for name, _ in rest], self._stream.acknowledge(rest, self._holder), strict=True))
        for name, answer in told.items():
            self._book.confirm(name, 0 if answer is None else answer.confirmed)
        if len(done) < len(lines):
            return None
        return [name for name, answer in told.items() if answer is not None and answer.confirmed < answer.last]

    def _read(self, conversation_id: str, taken: Taken, settled: list[int]) -> list[_Line]:
        """The records of these entries; those that have none are settled already."""
        lines = []
        for sequence, kind, raw in taken.entries:
            try:
                record = decode(kind, raw)
            except ValueError:
                log.error("an entry of the ledger cannot be read", sequence=sequence)  # noqa: TRY400 (nor its text)
                self._lose(1, RecordLoss.UNREADABLE)
                record = None
            if record is None:
                settled.append(sequence)
            else:
                lines.append(_Line(conversation_id, sequence, record))
        return lines

    # --- To the database

    def _write(self, lines: list[_Line], path: RecordPath) -> tuple[list[_Line], frozenset[str]]:
        """Those that were written, and the conversations that are not kept."""
        ordered = sorted(lines, key=lambda line: _rank(line.record))  # beginnings first, then few long transactions
        written = self._writer.write([line.record for line in ordered])
        done = ordered[: len(ordered) - written.left]
        metrics.records_were_written(len(done), path)
        return done, written.strangers


def _rank(record: Record) -> int:
    if isinstance(record, ConversationSummary):
        return 0
    return 1 if isinstance(record, Leg) else 2


def _without_gap(batch: Batch, done: set[int]) -> int:
    """Up to where all of the batch is done."""
    confirmed = 0
    for entry in batch.entries:
        if entry.sequence not in done:
            break
        confirmed = entry.sequence
    return confirmed
