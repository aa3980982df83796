"""Asking ElevenLabs to delete what was erased, until it confirms.

The key decision: what is still owed lies in the database, with the moment of the next attempt. So neither a restart nor
an outage of days loses any of it, and attempts are drawn from the whole of a time that doubles (full jitter), up to six
hours. When ElevenLabs fails three times in a row, the others wait too: it is away, or our key is not good.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from service import metrics
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import CapacityError, SecretsUnavailableError, UpstreamError
from service.keeping.run import Run
from service.storage import Database, ProviderDeletion, ProviderDeletions, Tombstone
from service.storage.tombstone_upkeep import TombstoneUpkeep

log = structlog.get_logger(__name__)

BATCH = 50
BASE_SECONDS, LONGEST_DELAY_SECONDS = 60.0, 6 * 3600.0
FAILURES_IN_A_ROW = 3

Uniform = Callable[[float, float], float]


@dataclass(frozen=True)
class Asked:
    """What came of asking: deletions that ElevenLabs confirmed, and attempts that failed."""

    confirmed: int
    failed: int


class ProviderRequests:
    """Asks `elevenlabs` for the deletions that `database` says are due; `now` is the database's clock unless given."""

    def __init__(
        self,
        database: Database,
        elevenlabs: ElevenLabsService,
        *,
        now: Callable[[], datetime] | None = None,
        uniform: Uniform | None = None,
    ) -> None:
        self._deletions = ProviderDeletions(database)
        self._elevenlabs = elevenlabs
        self._now = now or TombstoneUpkeep(database).now
        self._uniform = uniform or random.uniform

    def ask_all(self, run: Run) -> Asked:
        """Ask for whatever is due, as long as the run has time."""
        confirmed = failed = 0
        while run.has_time:
            due = self._deletions.due(self._now(), limit=BATCH)
            asked = self._ask(due, run)
            confirmed, failed = confirmed + asked.confirmed, failed + asked.failed
            if len(due) < BATCH or not asked.confirmed:
                break
        return Asked(confirmed, failed)

    def ask_for(self, order: Tombstone, run: Run) -> Asked:
        """Ask for what is due of one order."""
        now = self._now()
        open_ = (deletion for deletion in self._deletions.of(order) if deletion.confirmed_at is None)
        return self._ask([deletion for deletion in open_ if deletion.next_attempt_at <= now], run)

    def _ask(self, deletions: Iterable[ProviderDeletion], run: Run) -> Asked:
        confirmed = failed = in_a_row = 0
        for deletion in deletions:
            run.step()
            if not run.has_time or in_a_row == FAILURES_IN_A_ROW:
                break
            if self._is_confirmed(deletion, run):
                confirmed, in_a_row = confirmed + 1, 0
            else:
                failed, in_a_row = failed + 1, in_a_row + 1
        return Asked(confirmed, failed)

    def _is_confirmed(self, deletion: ProviderDeletion, run: Run) -> bool:
        try:
            self._elevenlabs.delete_conversation(deletion.provider_conversation_id)
        except (UpstreamError, CapacityError, SecretsUnavailableError) as exc:
            failure = exc
        else:
            run.patiently(lambda: self._deletions.confirm(deletion, self._now()))
            return True
        self._note(deletion, failure, run)
        return False

    def _note(self, deletion: ProviderDeletion, failure: Exception, run: Run) -> None:
        # Neither its message nor its code: both are words of ElevenLabs', which may quote the request.
        status = getattr(failure, "status", None)
        error = type(failure).__name__ + (f" {status}" if status else "")
        most = min(LONGEST_DELAY_SECONDS, BASE_SECONDS * 2.0 ** min(deletion.attempts, 32))
        delay = max(0.0, getattr(failure, "retry_after", None) or 0.0) + self._uniform(0.0, most)
        metrics.provider_deletion_failed()
        log.warning(
            "ElevenLabs has not deleted an erased conversation",
            attempt=deletion.attempts + 1,
            error=error,
            delay_seconds=round(delay),
        )
        next_attempt_at = self._now() + timedelta(seconds=delay)
        run.patiently(lambda: self._deletions.note_attempt(deletion, error=error, next_attempt_at=next_attempt_at))
