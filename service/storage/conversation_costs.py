"""What conversations cost, as their provider reports it after they have ended.

The key decision: this is what the code can do without. On the schema before the table (0005), and when a rollback
takes the table away under a running process, costs are neither kept nor known, and nothing fails.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from service.storage.conversation_models import ConversationCostRow, ConversationRow, LegRow
from service.storage.conversation_records import ConversationCost, Leg
from service.storage.database import Database
from service.storage.schema import has_conversation_costs, is_missing_table
from service.storage.upserts import insert_or_update
from service.storage.values import value_of, values_of


class ConversationCosts:
    """The table `conversation_costs`, where there is one.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long; repeating
    the call is safe.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, cost: ConversationCost) -> bool:
        """Keep a cost, in place of an older one. False: it is not kept: no table, or no such conversation."""
        row = values_of(cost)
        if not has_conversation_costs(self._database):
            return False
        with self._database.writing() as session:
            here = select(ConversationRow.id).where(ConversationRow.id == cost.conversation_id)
            if session.scalar(here.with_for_update(read=True, key_share=True)) is None:
                return False
            try:
                insert_or_update(
                    session,
                    ConversationCostRow,
                    [row],
                    update=lambda new: {name: new[name] for name in row},
                    where=lambda new: new.fetched_at >= ConversationCostRow.fetched_at,
                )
            except (OperationalError, ProgrammingError) as exc:
                return self._without_table(exc, session)
        return True

    def get(self, conversation_id: str) -> ConversationCost | None:
        """What a conversation cost, if that is known."""
        if not has_conversation_costs(self._database):
            return None
        with self._database.reading() as session:
            try:
                row = session.get(ConversationCostRow, conversation_id)
            except (OperationalError, ProgrammingError) as exc:
                self._without_table(exc, session)
                return None
            return None if row is None else value_of(ConversationCost, row)

    def missing(self, provider: str, *, since: datetime, until: datetime, limit: int = 50) -> list[Leg]:
        """Legs of `provider` in conversations that have no cost yet, oldest first.

        Those conversations began at `since` or later and ended before `until`.
        """
        if not has_conversation_costs(self._database):
            return []
        without = (
            select(LegRow)
            .join(ConversationRow, ConversationRow.id == LegRow.conversation_id)
            .outerjoin(ConversationCostRow, ConversationCostRow.conversation_id == LegRow.conversation_id)
            .where(ConversationCostRow.conversation_id.is_(None))
            .where(LegRow.provider == provider, LegRow.provider_conversation_id.is_not(None))
            .where(ConversationRow.started_at >= since, ConversationRow.ended_at < until)
            .order_by(ConversationRow.started_at, LegRow.conversation_id, LegRow.number)
        )
        with self._database.reading() as session:
            try:
                return [value_of(Leg, row) for row in session.scalars(without.limit(limit))]
            except (OperationalError, ProgrammingError) as exc:
                self._without_table(exc, session)
                return []

    def _without_table(self, failure: OperationalError | ProgrammingError, session: Session) -> bool:
        """Take note that the table has gone, which is no failure; raise `failure` if it is another one."""
        if not is_missing_table(failure):
            raise failure
        session.rollback()
        self._database.revision = None  # so that it is asked for again
        return False
