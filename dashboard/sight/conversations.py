"""Conversations as the dashboard shows them: what the database keeps, laid under what Redis knows of those that go on.

The key decision: either of the two may be away, and what the other one tells is shown all the same, with a word on
what is missing. Without the database a list has what the ledger still holds for it; without Redis nobody can tell
which conversations go on, so none is said to.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import redis

from dashboard.sight.live_conversations import LiveConversations, Sign
from service.conversation.ledger_history import History, make_history
from service.conversation.timeline import Moment, MomentKind, TurnResult, moments_of
from service.errors import ServiceUnavailableError
from service.storage import (
    ConversationCost,
    ConversationFilter,
    ConversationRecord,
    Conversations,
    ConversationSummary,
    Database,
    JudgedAnswer,
    Leg,
    Page,
)

SILENT_SECONDS = 600.0
"""After so long without a word, nobody believes any more that a conversation goes on."""

SEARCH_DAYS = 7
"""How far back a search goes that no index serves, unless it says itself from when on."""


class ConversationState(StrEnum):
    """Whether a conversation goes on."""

    LIVE = "live"
    SILENT = "silent"  # no end of it is known, and no sign that it goes on
    UNSURE = "unsure"  # no end of it is known, and Redis cannot be asked
    ENDED = "ended"


@dataclass(frozen=True)
class Listed:
    """A conversation in a list. `last_sign_at` is a Unix time; None: Redis has nothing of it, or was not asked."""

    summary: ConversationSummary
    state: ConversationState
    legs: tuple[Leg, ...] = ()
    last_sign_at: float | None = None

    @property
    def providers(self) -> tuple[str, ...]:
        """Who spoke, each once, in the order in which they began."""
        return tuple(dict.fromkeys(leg.provider for leg in self.legs))


@dataclass(frozen=True)
class Listing:
    """One page. `since` is from when on was looked, if that was not asked for but set here.

    `database_error`: the database is away, and these are those that Redis knows, unfiltered. `redis_error`: nobody
    knows which of them go on. Both are names of classes.
    """

    items: tuple[Listed, ...]
    next_cursor: str | None = None
    since: datetime | None = None
    database_error: str | None = None
    redis_error: str | None = None


@dataclass(frozen=True)
class SeenConversation:
    """One conversation. `is_complete`: both the database and Redis were read. `judged_answers`, the verdicts on its
    answers, are in the database only; None: nobody knows."""

    history: History
    summary: ConversationSummary
    state: ConversationState
    cost: ConversationCost | None = None
    judged_answers: tuple[JudgedAnswer, ...] | None = None
    last_sign_at: float | None = None
    database_error: str | None = None
    redis_error: str | None = None

    @property
    def moments(self) -> list[Moment]:
        """Its timeline, oldest first."""
        return moments_of(self.history)

    @property
    def record(self) -> ConversationRecord:
        """All of it, for an export."""
        return ConversationRecord(
            self.summary, self.history.legs, self.history.utterances, self.cost, self.judged_answers
        )


@dataclass(frozen=True)
class Turns:
    """What came of the turns of a conversation; seconds from the question's text to the answer's, None without any."""

    count: int
    interrupted: int
    unanswered: int
    median_seconds: float | None
    longest_seconds: float | None


class ConversationSight:
    """Looks into `database` and `store` (Redis, with short timeouts)."""

    def __init__(self, database: Database, *, store: redis.Redis) -> None:
        self._conversations = Conversations(database)
        self._live = LiveConversations(store)

    def find(self, wanted: ConversationFilter, *, cursor: str | None = None, limit: int = 50) -> Listing:
        """A page of the conversations that meet the filter, newest first; `limit` is 200 at most.

        What no index serves is looked for in the last seven days, unless the filter says since when.

        Raises:
            RequestError: the cursor is none of ours.
            ServiceUnavailableError: neither the database nor Redis answers.
        """
        since = None
        if is_costly(wanted) and wanted.since is None:
            since = (wanted.until or datetime.now(UTC)) - timedelta(days=SEARCH_DAYS)
            wanted = replace(wanted, since=since)
        try:
            page = self._conversations.search(wanted, cursor=cursor, limit=limit)
            legs = self._conversations.legs_of(summary.id for summary in page.items)
        except ServiceUnavailableError as exc:
            return self._without_database(exc, limit)
        listing = self._with_signs(page, legs)
        return replace(listing, since=since)

    def see(self, conversation_id: str) -> SeenConversation | None:
        """One conversation; None if nobody knows of it.

        Raises:
            ServiceUnavailableError: neither the database nor Redis answers, or the one that does has nothing of it.
        """
        entries, kept, sign = [], None, None
        away: ServiceUnavailableError | None = None
        redis_error = None
        try:
            entries = self._live.entries(conversation_id)
            sign = self._live.signs([conversation_id]).get(conversation_id) if entries else None
        except redis.RedisError as exc:
            redis_error = type(exc).__name__
        try:
            kept = self._conversations.get(conversation_id)
        except ServiceUnavailableError as exc:
            away = exc
        history = make_history(kept, entries, is_complete=away is None and redis_error is None)
        if history.summary is None:
            if away is not None:
                raise away
            return None
        return SeenConversation(
            history,
            history.summary,
            _state(history.summary, history.legs, sign, is_asked=redis_error is None),
            cost=None if kept is None else kept.cost,
            judged_answers=_judged(kept, is_asked=away is None),
            last_sign_at=None if sign is None else sign.at,
            database_error=None if away is None else type(away).__name__,
            redis_error=redis_error,
        )

    def _with_signs(self, page: Page[ConversationSummary], legs: dict[str, tuple[Leg, ...]]) -> Listing:
        redis_error, signs = None, {}
        try:
            signs = self._live.signs([summary.id for summary in page.items if summary.ended_at is None])
        except redis.RedisError as exc:
            redis_error = type(exc).__name__
        items = tuple(
            _listed(summary, legs.get(summary.id, ()), signs.get(summary.id), is_asked=redis_error is None)
            for summary in page.items
        )
        return Listing(items, page.next_cursor, redis_error=redis_error)

    def _without_database(self, away: ServiceUnavailableError, limit: int) -> Listing:
        try:
            known = self._live.waiting(limit)
            signs = self._live.signs([summary.id for summary in known])
        except redis.RedisError:
            raise away from None
        items = tuple(_listed(summary, (), signs.get(summary.id), is_asked=True) for summary in known)
        return Listing(items, database_error=type(away).__name__)


def is_costly(wanted: ConversationFilter) -> bool:
    """Whether no index serves what is looked for: it is as slow as the time it covers is long."""
    return bool(wanted.text) or wanted.unended or wanted.ended_badly or wanted.switched


def turns_of(moments: Iterable[Moment]) -> Turns:
    """Count what came of each turn."""
    results = [moment.result for moment in moments if moment.result is not None]
    waits = [
        moment.latency_seconds
        for moment in moments
        if moment.kind is MomentKind.AGENT_ANSWERED and moment.latency_seconds is not None
    ]
    return Turns(
        count=len(results),
        interrupted=results.count(TurnResult.INTERRUPTED),
        unanswered=results.count(TurnResult.UNANSWERED),
        median_seconds=statistics.median(waits) if waits else None,
        longest_seconds=max(waits, default=None),
    )


def _judged(kept: ConversationRecord | None, *, is_asked: bool) -> tuple[JudgedAnswer, ...] | None:
    """What the database has; of a conversation that it does not have yet, no answer was judged."""
    if kept is not None:
        return kept.judged_answers
    return () if is_asked else None


def _listed(summary: ConversationSummary, legs: tuple[Leg, ...], sign: Sign | None, *, is_asked: bool) -> Listed:
    if sign is not None and sign.end is not None:  # the database hears of it in a moment
        summary = sign.end
    return Listed(summary, _state(summary, legs, sign, is_asked=is_asked), legs, None if sign is None else sign.at)


def _state(
    summary: ConversationSummary, legs: tuple[Leg, ...], sign: Sign | None, *, is_asked: bool
) -> ConversationState:
    if summary.ended_at is not None:
        return ConversationState.ENDED
    if not is_asked:
        return ConversationState.UNSURE
    if sign is None or sign.age_seconds > SILENT_SECONDS:
        return ConversationState.SILENT
    is_left = bool(legs) and legs[-1].ended_at is not None  # its worker has left, and nobody has come for it yet
    return ConversationState.SILENT if is_left else ConversationState.LIVE
