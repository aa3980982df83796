"""Which conversations went from one provider to another lately, and why.

The key decision: legs have no index by time, and need none for this. The newest conversations are found along theirs,
a bounded number of them, and only their legs are looked at; so it costs the same in a database of years.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import aliased

from service.storage.conversation_models import ConversationRow, LegRow
from service.storage.database import Database
from service.storage.pages import bounded

MOST_CONVERSATIONS = 1000
"""The newest ones, among which changes are looked for."""


@dataclass(frozen=True)
class LegChange:
    """A conversation that `before` led until `at`, and `after` from then on; `cause` is None if it is not known."""

    conversation_id: str
    number: int
    before: str
    after: str
    cause: str | None
    at: datetime


class LegChanges:
    """Reads the table `legs`. Raises ServiceUnavailableError when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, *, limit: int = 50) -> list[LegChange]:
        """Changes of the provider, newest first, in the 1,000 conversations that began last; `limit` is 200 at most."""
        place = (ConversationRow.started_at.desc(), ConversationRow.id.desc())
        lately = select(ConversationRow.id).order_by(*place).limit(MOST_CONVERSATIONS).subquery()
        before, after = aliased(LegRow), aliased(LegRow)
        wanted = (
            select(
                after.conversation_id, after.number, before.provider, after.provider, before.end_cause, after.started_at
            )
            .select_from(lately)
            .join(after, after.conversation_id == lately.c.id)
            .join(before, (before.conversation_id == after.conversation_id) & (before.number == after.number - 1))
            .where(before.provider != after.provider)
            .order_by(after.started_at.desc(), after.conversation_id, after.number.desc())
            .limit(bounded(limit))
        )
        with self._database.reading() as session:
            return [LegChange(*row) for row in session.execute(wanted)]
