"""How sampled answers sounded: defects and a score, beside the conversation that they belong to.

The key decision: a row is filled in by whoever knows something, in any order and as often as they like: what is wrong
with an answer is known at once, its score minutes later and to another worker. And this is what the code can do
without: on the schema before the table (0007), when a rollback takes the table away under a running process, and until
the service's role was given its rights, verdicts are neither kept nor known, and nothing fails.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog
from sqlalchemy import delete, select, tuple_
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from service.storage.conversation_models import ConversationRow, JudgedAnswerRow
from service.storage.conversation_records import JudgedAnswer
from service.storage.database import Database
from service.storage.schema import is_forbidden, is_missing_table, keeps_judged_answers
from service.storage.upserts import affected, insert_or_update
from service.storage.values import value_of, values_of

log = structlog.get_logger(__name__)


class JudgedAnswers:
    """The table `judged_answers`, where there is one.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long; repeating
    the call is safe.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, answer: JudgedAnswer) -> bool:
        """Keep what is known of an answer; what is None changes nothing.

        False: there is no such conversation, not yet or not any more. True: it is kept, or there is no place for it.
        """
        row = values_of(answer)
        if not keeps_judged_answers(self._database):
            return True
        with self._database.writing() as session:
            here = select(ConversationRow.id).where(ConversationRow.id == answer.conversation_id)
            if session.scalar(here.with_for_update(read=True, key_share=True)) is None:
                return False
            try:
                insert_or_update(
                    session,
                    JudgedAnswerRow,
                    [row],
                    update=lambda new: {name: new[name] for name, value in row.items() if value is not None},
                )
            except (OperationalError, ProgrammingError) as exc:
                self._do_without(exc, session)
        return True

    def of(self, conversation_id: str) -> tuple[JudgedAnswer, ...] | None:
        """What was found about a conversation's answers, in their order; None: there is no place where that is kept."""
        if not keeps_judged_answers(self._database):
            return None
        mine = select(JudgedAnswerRow).where(JudgedAnswerRow.conversation_id == conversation_id)
        with self._database.reading() as session:
            try:
                rows = session.scalars(mine.order_by(JudgedAnswerRow.leg, JudgedAnswerRow.turn))
                return tuple(value_of(JudgedAnswer, row) for row in rows)
            except (OperationalError, ProgrammingError) as exc:
                self._do_without(exc, session)
        return None

    def delete(self, conversation_ids: Collection[str], limit: int) -> int:
        """Delete up to `limit` rows of these conversations; how many there were."""
        if not conversation_ids or not keeps_judged_answers(self._database):
            return 0
        key = (JudgedAnswerRow.conversation_id, JudgedAnswerRow.leg, JudgedAnswerRow.turn)
        chosen = select(*key).where(JudgedAnswerRow.conversation_id.in_(sorted(conversation_ids))).limit(limit)
        with self._database.writing() as session:
            try:
                return affected(session, delete(JudgedAnswerRow).where(tuple_(*key).in_(chosen)))
            except (OperationalError, ProgrammingError) as exc:
                self._do_without(exc, session)
        return 0

    def _do_without(self, failure: OperationalError | ProgrammingError, session: Session) -> None:
        """Take note that there is no table, or none for us, which is no failure; raise `failure` if it is another."""
        if is_forbidden(failure):
            log.warning("the service's role may not use judged_answers: run python -m migrations grant ROLE")
        elif is_missing_table(failure):
            self._database.revision = None  # so that it is asked for again
        else:
            raise failure
        session.rollback()
