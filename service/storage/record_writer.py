"""Writes records of conversations into the database, at once and in one go: what waits for it waits elsewhere.

The key decision: whatever the database cannot take is told apart by what is to be done about it. With the database away
the rest is given back, to be tried again; what it refuses would fail again, so it is counted and passed over; and what
belongs to no conversation (it was erased) is named, so that the rest of it is not brought again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from service import metrics
from service.errors import ServiceUnavailableError
from service.metrics import RecordLoss
from service.storage.conversation_records import ConversationSummary, Leg, Utterance
from service.storage.conversations import Conversations

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.001
"""After each transaction: SQLite lets nobody else of the worker have a turn. For 0 s nobody who waits for a socket gets
one either; 70 ms of silence in one piece were seen so, 8 ms with this."""

Record = ConversationSummary | Leg | Utterance
"""One thing that is kept; a later one of the same name (id, leg, sequence) takes the place of the one before."""


@dataclass(frozen=True)
class Written:
    """What came of a batch: the last `left` of its records were not written, the database does not answer;
    `strangers` are the ids of conversations that are not kept.
    """

    left: int
    strangers: frozenset[str]


class RecordWriter:
    """Has `conversations` keep records. Safe to repeat, from any thread.

    `on_refused` hears of a conversation that is not kept because it was erased; it may raise what writing may.
    """

    def __init__(
        self, conversations: Conversations, *, on_refused: Callable[[ConversationSummary], None] | None = None
    ) -> None:
        self._conversations = conversations
        self._on_refused = on_refused

    def write(self, batch: Sequence[Record]) -> Written:
        """Write the records in their order; never raises for a database that is away or refuses something."""
        done = 0
        strangers: set[str] = set()
        try:
            for run in _runs(batch):
                self._write_run(run, strangers)
                done += len(run)
                time.sleep(PAUSE_SECONDS)
        except ServiceUnavailableError as exc:
            log.debug("conversations cannot be written now", reason=str(exc.__cause__ or exc))
        return Written(len(batch) - done, frozenset(strangers))

    def _write_run(self, run: list[Record], strangers: set[str]) -> None:
        try:
            is_kept = self._keep(run)
        except (SQLAlchemyError, ValueError) as exc:
            if len(run) > 1:  # one of them is to blame, and may be somebody else's
                for record in run:
                    self._write_run([record], strangers)
                return
            # It would fail again, and hold up all that comes behind it. Its text, which the error quotes, is no log's.
            log.error("the database refuses a record of a conversation", error=type(exc).__name__)  # noqa: TRY400
            metrics.records_were_lost(1, RecordLoss.REFUSED)
            return
        if not is_kept:
            strangers |= self._strangers_of(run)

    def _keep(self, run: list[Record]) -> bool:
        first = run[0]
        if isinstance(first, ConversationSummary):
            return self._write_summary(first)
        if isinstance(first, Leg):
            return self._conversations.put_leg(first)
        said = [record for record in run if isinstance(record, Utterance)]
        return self._conversations.append(said) >= len(said)

    def _strangers_of(self, run: Iterable[Record]) -> set[str]:
        summaries = {record.id for record in run if isinstance(record, ConversationSummary)}
        others = {record.conversation_id for record in run if not isinstance(record, ConversationSummary)}
        return summaries | (others - self._conversations.known(others) if others else others)

    def _write_summary(self, summary: ConversationSummary) -> bool:
        is_kept = self._conversations.start(
            summary.id,
            agent_id=summary.agent_id,
            started_at=summary.started_at,
            user_id=summary.user_id,
            language=summary.language,
            opening_seconds=summary.opening_seconds,
            first_audio_seconds=summary.first_audio_seconds,
        )
        if not is_kept:
            if self._on_refused is not None:
                self._on_refused(summary)
            return False
        if summary.ended_at is not None and summary.ended_by is not None:
            self._conversations.end(
                summary.id,
                ended_at=summary.ended_at,
                ended_by=summary.ended_by,
                code=summary.end_code,
                reason=summary.end_reason,
            )
        return True


def _runs(batch: Iterable[Record]) -> list[list[Record]]:
    """The records in their order, utterances that follow each other together: they are written in one transaction."""
    runs: list[list[Record]] = []
    for record in batch:
        if runs and isinstance(record, Utterance) and isinstance(runs[-1][0], Utterance):
            runs[-1].append(record)
        else:
            runs.append([record])
    return runs
