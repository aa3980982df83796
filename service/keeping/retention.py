"""Deleting what has been kept for long enough, of each kind its own number of days.

The key decision: the borders come from the database's clock, so that a node whose clock is wrong deletes nothing too
early; and everything goes in transactions of 200 rows at most, with a pause after each, for as long as the run has
time. What is left is the next run's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
import structlog

from service import metrics
from service.config import Settings
from service.keeping.run import Run
from service.keeping.tombstone_mirror import TombstoneMirror
from service.metrics import KeptKind
from service.storage import AuditLog, Conversations, Database
from service.storage.overdue import Borders, OverdueRecords
from service.storage.tombstone_upkeep import TombstoneUpkeep

log = structlog.get_logger(__name__)

ACTOR = "retention"


@dataclass(frozen=True)
class Periods:
    """For how long each kind is kept."""

    transcripts: timedelta
    conversations: timedelta
    audit: timedelta
    tombstones: timedelta

    def borders(self, now: datetime) -> Borders:
        """From before when each kind goes."""
        return Borders(
            utterances=now - min(self.transcripts, self.conversations),
            conversations=now - self.conversations,
            audit=now - self.audit,
            tombstones=now - self.tombstones,
        )


def periods_of(settings: Settings) -> Periods:
    """The periods that `settings` have."""
    return Periods(
        transcripts=timedelta(days=settings.transcript_days),
        conversations=timedelta(days=settings.conversation_days),
        audit=timedelta(days=settings.audit_days),
        tombstones=timedelta(days=settings.tombstone_days),
    )


class Retention:
    """Deletes what `periods` say from `database`; `now` is the database's own clock unless given."""

    def __init__(
        self,
        database: Database,
        store: redis.Redis,
        *,
        periods: Periods,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._conversations = Conversations(database)
        self._audit = AuditLog(database)
        self._overdue = OverdueRecords(database)
        self._upkeep = TombstoneUpkeep(database)
        self._mirror = TombstoneMirror(store)
        self._periods = periods
        self._now = now or self._upkeep.now

    def run(self, run: Run) -> dict[str, Any]:
        """Delete what is due; the result is how many rows of each kind went, and whether that was all."""
        borders = run.patiently(lambda: self._periods.borders(self._now()))
        utterances = self._prune_utterances(run, borders.utterances)
        conversations, last_words = self._prune_conversations(run, borders.conversations)
        return {
            "utterances": utterances + last_words,
            "conversations": conversations,
            "audit_entries": self._prune_audit(run, borders.audit),
            "tombstones": self._prune_tombstones(run, borders.tombstones),
            "complete": run.has_time,
        }

    def _prune_utterances(self, run: Run, border: datetime) -> int:
        total = 0
        while run.has_time and (deleted := run.patiently(lambda: self._conversations.prune_utterances(border))):
            metrics.retention_deleted(KeptKind.UTTERANCE, deleted)
            total += deleted
            run.step()
        return total

    def _prune_conversations(self, run: Run, border: datetime) -> tuple[int, int]:
        """Delete what began before `border`, with what was said in it after; how many conversations and utterances."""
        conversations = utterances = 0
        while run.has_time and any(pruned := run.patiently(lambda: self._conversations.prune(border))):
            metrics.retention_deleted(KeptKind.CONVERSATION, pruned.conversations)
            metrics.retention_deleted(KeptKind.UTTERANCE, pruned.utterances)
            conversations += pruned.conversations
            utterances += pruned.utterances
            run.step()
        return conversations, utterances

    def _prune_audit(self, run: Run, border: datetime) -> int:
        # A pruning makes an entry, which would be pruned itself one day, which would make an entry: for ever.
        if not run.has_time or not run.patiently(lambda: self._overdue.has_audit_entries(border)):
            return 0
        deleted = run.patiently(lambda: self._audit.prune(border, actor=ACTOR))
        metrics.retention_deleted(KeptKind.AUDIT_ENTRY, deleted)
        run.step()
        return deleted

    def _prune_tombstones(self, run: Run, border: datetime) -> int:
        total = 0
        while run.has_time and (gone := run.patiently(lambda: self._upkeep.prune(border))) is not None:
            try:
                self._mirror.remove(gone)
            except redis.RedisError as exc:  # it would come back from there, and go again by the next run
                log.info("the mirror of tombstones does not answer", error=type(exc).__name__)
            metrics.retention_deleted(KeptKind.TOMBSTONE, len(gone))
            total += len(gone)
            run.step()
        return total
