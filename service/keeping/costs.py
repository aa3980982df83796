"""What conversations cost: asked of ElevenLabs a little after their end, when it has added it up.

The key decision: what ElevenLabs does not know (it was deleted there) is kept as not known, so that it is not asked for
again; whatever else fails is asked for again by the next run, for three days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.past_conversations import CallCost
from service.elevenlabs.vocabulary import PROVIDER
from service.errors import CapacityError, SecretsUnavailableError, UpstreamError, UpstreamRequestError
from service.keeping.run import Run
from service.metrics_elevenlabs import characters_billed
from service.storage import ConversationCost, ConversationCosts, Database, Leg
from service.storage.tombstone_upkeep import TombstoneUpkeep

SETTLES_WITHIN = timedelta(seconds=60)
GIVEN_UP_AFTER = timedelta(days=3)
BATCH = 200
FAILURES_IN_A_ROW = 3


class CostFetch:
    """Fetches from `elevenlabs` what `database` lacks; `now` is the database's clock unless given."""

    def __init__(
        self, database: Database, elevenlabs: ElevenLabsService, *, now: Callable[[], datetime] | None = None
    ) -> None:
        self._costs = ConversationCosts(database)
        self._elevenlabs = elevenlabs
        self._now = now or TombstoneUpkeep(database).now

    def has_work(self) -> bool:
        """Tell whether a cost is missing."""
        return bool(self._missing(limit=1))

    def run(self, run: Run) -> dict[str, Any]:
        """Fetch what is missing, the oldest first; the result is how many costs came, and how many did not."""
        fetched = failed = in_a_row = 0
        for conversation_id, legs in _by_conversation(self._missing(limit=BATCH)):
            run.step()
            if not run.has_time or in_a_row == FAILURES_IN_A_ROW:
                break
            try:
                costs = [self._cost_of(leg) for leg in legs]
            except (UpstreamError, CapacityError, SecretsUnavailableError):
                failed, in_a_row = failed + 1, in_a_row + 1
                continue
            in_a_row = 0
            total = _sum(conversation_id, costs, self._now())
            if total is not None and run.patiently(partial(self._costs.put, total)):
                fetched += 1
                characters_billed(total.characters or 0)
        return {"fetched": fetched, "failed": failed}

    def _missing(self, *, limit: int) -> list[Leg]:
        now = self._now()
        return self._costs.missing(PROVIDER, since=now - GIVEN_UP_AFTER, until=now - SETTLES_WITHIN, limit=limit)

    def _cost_of(self, leg: Leg) -> CallCost | None:
        try:
            return self._elevenlabs.fetch_cost(leg.provider_conversation_id or "")
        except UpstreamRequestError:
            return CallCost()


def _by_conversation(legs: list[Leg]) -> Iterable[tuple[str, list[Leg]]]:
    """The legs of each conversation; the last one's may go on behind a full list, so it waits for the next."""
    groups = [(conversation_id, list(some)) for conversation_id, some in groupby(legs, lambda leg: leg.conversation_id)]
    return groups[:-1] if len(legs) == BATCH and len(groups) > 1 else groups


def _sum(conversation_id: str, costs: list[CallCost | None], now: datetime) -> ConversationCost | None:
    """The costs of a conversation's legs together; None: one of them is not added up yet."""
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return None
    return ConversationCost(
        conversation_id=conversation_id,
        fetched_at=now,
        credits=_total([cost.credits for cost in known]),
        characters=_total([cost.characters for cost in known]),
        call_seconds=_total([cost.call_seconds for cost in known]),
    )


def _total(numbers: list[int | None]) -> int | None:
    told = [number for number in numbers if number is not None]
    return sum(told) if told else None
