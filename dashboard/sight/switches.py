"""What happened lately: who went from whom to whom, and why, and what admins have ordered meanwhile.

The key decision: an outage takes hundreds of conversations along in the same seconds, and is one event. So changes of
the same kind that follow each other closely are one line, with their number and some conversations to look at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.errors import ServiceUnavailableError
from service.fallback.overrides import ACTION
from service.storage import AuditEntry, AuditFilter, AuditLog, Database, LegChange, LegChanges, OverrideMode

MOST_CHANGES = 200
MOST_ORDERS = 30
MOST_EVENTS = 30
MOST_EXAMPLES = 5
TOGETHER = timedelta(seconds=60)
"""Changes of the same kind with less than that between them are one event."""

REMEMBERED_SECONDS = 3.0
"""Every open page asks once a second, and a thousand conversations are looked through for the answer."""


@dataclass(frozen=True)
class Switched:
    """`count` conversations went from `before` to `after` because of `cause`, from `since` until `at`."""

    at: datetime
    since: datetime
    before: str
    after: str
    cause: str
    count: int
    conversations: tuple[str, ...]


@dataclass(frozen=True)
class Ordered:
    """Somebody has set an override; `previous` is the mode that was there before."""

    at: datetime
    author: str
    capability: str
    mode: str
    previous: str
    reason: str
    expires_at: datetime | None


class Happenings:
    """The last events, read again when they are asked for `seconds` after the last time."""

    def __init__(self, database: Database, *, seconds: float = REMEMBERED_SECONDS) -> None:
        self._database = database
        self._seconds = seconds
        self._read_at: float | None = None
        self._known: list[Switched | Ordered] = []
        self._error: str | None = None

    def newest(self) -> tuple[list[Switched | Ordered], str | None]:
        """What is known, and the error's class if the database did not answer when it was asked last."""
        now = time.monotonic()
        if self._read_at is None or now >= self._read_at + self._seconds:
            self._read_at = now  # before it is read: others need not read it too meanwhile
            try:
                self._known, self._error = see_happenings(self._database), None
            except ServiceUnavailableError as exc:
                self._error = type(exc).__name__
        return self._known, self._error

    def forget(self) -> None:
        """Read it again the next time: something has just happened."""
        self._read_at = None


def see_happenings(database: Database) -> list[Switched | Ordered]:
    """The last events, newest first, 30 at most.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    changes = LegChanges(database).newest(limit=MOST_CHANGES)
    entries = AuditLog(database).search(AuditFilter(action=ACTION), limit=MOST_ORDERS).items
    found: list[Switched | Ordered] = [*gathered(changes), *(_ordered(entry) for entry in entries)]
    return sorted(found, key=lambda event: event.at, reverse=True)[:MOST_EVENTS]


def gathered(changes: Iterable[LegChange]) -> list[Switched]:
    """Changes, newest first, as events."""
    found: list[Switched] = []
    newest: dict[tuple[str, str, str], int] = {}
    for change in changes:
        kind = (change.before, change.after, change.cause or "unknown")
        place = newest.get(kind)
        if place is not None and found[place].since - change.at <= TOGETHER:
            found[place] = _with(found[place], change)
            continue
        newest[kind] = len(found)
        found.append(Switched(change.at, change.at, *kind, count=1, conversations=(change.conversation_id,)))
    return found


def _with(event: Switched, change: LegChange) -> Switched:
    is_shown = len(event.conversations) < MOST_EXAMPLES and change.conversation_id not in event.conversations
    return Switched(
        at=event.at,
        since=change.at,
        before=event.before,
        after=event.after,
        cause=event.cause,
        count=event.count + 1,
        conversations=(*event.conversations, change.conversation_id) if is_shown else event.conversations,
    )


def _ordered(entry: AuditEntry) -> Ordered:
    before, after = _json(entry.before), _json(entry.after)
    return Ordered(
        at=entry.at,
        author=entry.actor,
        capability=entry.subject,
        mode=str(after.get("mode", OverrideMode.AUTO.value)),
        previous=str(before.get("mode", OverrideMode.AUTO.value)),
        reason=str(after.get("reason", "")),
        expires_at=_moment(after.get("expires_at")),
    )


def _json(text: str | None) -> dict[str, Any]:
    """What `OverrideBoard` wrote; another release may have written something else."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
