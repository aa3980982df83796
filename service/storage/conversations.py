"""The conversations that were held: written while they last and after, looked for, read, erased.

The key decision: a writer may repeat anything, in any order after `start`: what a replay brings is never older news
than what is kept. And what was erased stays erased, also when the ledger is drained late: `start` asks the tombstones,
and whatever belongs to no conversation is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, delete, or_, select, tuple_, update
from sqlalchemy.orm import Session

from service.storage import conversation_search
from service.storage.conversation_costs import ConversationCosts
from service.storage.conversation_models import ConversationRow, LegRow, UtteranceRow
from service.storage.conversation_records import (
    ConversationFilter,
    ConversationRecord,
    ConversationSummary,
    EndedBy,
    Leg,
    Utterance,
)
from service.storage.database import Database
from service.storage.erasures import is_erased
from service.storage.judged_answers import JudgedAnswers
from service.storage.pages import Page
from service.storage.upserts import affected, insert_or_update
from service.storage.values import value_of, values_of

# A writer of SQLite's keeps every other one waiting, and those wait in C: so transactions are kept short.
MOST_ROWS = 200
MOST_CONVERSATIONS = 50  # each brings a few rows of legs and costs along


class Pruned(NamedTuple):
    """How many rows of each table one call of `prune` deleted."""

    conversations: int = 0
    utterances: int = 0
    judged_answers: int = 0


class Conversations:
    """The tables `conversations`, `legs` and `utterances`, and what hangs on them.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long; repeating
    the call is safe.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._costs = ConversationCosts(database)
        self._judged = JudgedAnswers(database)

    # --- Writing ---------------------------------------------------------------------------------------------------

    def start(
        self,
        conversation_id: str,
        *,
        agent_id: str,
        started_at: datetime,
        user_id: str | None = None,
        language: str | None = None,
        opening_seconds: float | None = None,
        first_audio_seconds: float | None = None,
    ) -> bool:
        """Keep that a conversation began, or what is known of it since; what is None changes nothing.

        False: it was erased, and is not kept. Whoever writes it may forget the rest of it.
        """
        row = {
            "id": conversation_id,
            "agent_id": agent_id,
            "started_at": started_at,
            "user_id": user_id,
            "language": language,
            "opening_seconds": opening_seconds,
            "first_audio_seconds": first_audio_seconds,
        }
        with self._database.writing() as session:
            if is_erased(session, conversation_id, user_id, started_at):
                return False
            insert_or_update(session, ConversationRow, [row], update=lambda new: _filled_in(new, row))
        return True

    def end(
        self, conversation_id: str, *, ended_at: datetime, ended_by: EndedBy, code: int | None, reason: str | None
    ) -> bool:
        """Keep how a conversation ended; its first ending stands. False if there is no such conversation."""
        with self._database.writing() as session:
            unended = [ConversationRow.id == conversation_id, ConversationRow.ended_at.is_(None)]
            ending = {"ended_at": ended_at, "ended_by": ended_by, "end_code": code, "end_reason": reason}
            session.execute(update(ConversationRow).where(*unended).values(**ending))
            return bool(_known(session, [conversation_id]))

    def put_leg(self, leg: Leg) -> bool:
        """Keep a leg, or what is known of it since; what is None changes nothing. False: no such conversation."""
        row = values_of(leg)
        with self._database.writing() as session:
            if not _known(session, [leg.conversation_id]):
                return False
            insert_or_update(session, LegRow, [row], update=lambda new: _filled_in(new, row))
        return True

    def append(self, utterances: Iterable[Utterance]) -> int:
        """Keep utterances, of one conversation or of several; the result is how many had a conversation to belong to.

        One that is there already is changed by newer news only: a correction that is not older than the one before, or
        an interruption of what was not yet interrupted or corrected. More than 200 are written in several
        transactions, so a failure may leave some of them written: repeat the call.
        """
        newest = list(utterances)
        kept = 0
        for start in range(0, len(newest), MOST_ROWS):
            batch = newest[start : start + MOST_ROWS]
            with self._database.writing() as session:
                known = _known(session, {utterance.conversation_id for utterance in batch})
                belonging = [utterance for utterance in batch if utterance.conversation_id in known]
                if belonging:
                    belonging.sort(key=lambda one: (one.conversation_id, one.sequence))  # two writers: no deadlock
                    rows = [values_of(utterance) for utterance in belonging]
                    insert_or_update(session, UtteranceRow, rows, update=_newer, where=_is_news)
                kept += len(belonging)
        return kept

    # --- Reading ---------------------------------------------------------------------------------------------------

    def get(self, conversation_id: str) -> ConversationRecord | None:
        """Everything that is kept of a conversation; None if there is none."""
        with self._database.reading() as session:
            row = session.get(ConversationRow, conversation_id)
            if row is None:
                return None
            legs = select(LegRow).where(LegRow.conversation_id == conversation_id).order_by(LegRow.number)
            mine = UtteranceRow.conversation_id == conversation_id
            said = select(UtteranceRow).where(mine).order_by(UtteranceRow.sequence)
            record = ConversationRecord(
                summary=value_of(ConversationSummary, row),
                legs=tuple(value_of(Leg, leg) for leg in session.scalars(legs)),
                utterances=tuple(value_of(Utterance, one) for one in session.scalars(said)),
            )
        judged = self._judged.of(conversation_id)
        return replace(record, cost=self._costs.get(conversation_id), judged_answers=judged)

    def legs_of(self, ids: Iterable[str]) -> dict[str, tuple[Leg, ...]]:
        """The legs of these conversations (not more than a page of them), by number; one without any is missing."""
        theirs = select(LegRow).where(LegRow.conversation_id.in_(sorted(ids)))
        found: dict[str, tuple[Leg, ...]] = {}
        with self._database.reading() as session:
            for row in session.scalars(theirs.order_by(LegRow.conversation_id, LegRow.number)):
                found[row.conversation_id] = (*found.get(row.conversation_id, ()), value_of(Leg, row))
        return found

    def known(self, ids: Iterable[str]) -> set[str]:
        """Which of these conversations are kept."""
        wanted = select(ConversationRow.id).where(ConversationRow.id.in_(sorted(ids)))
        with self._database.reading() as session:
            return set(session.scalars(wanted))

    def search(
        self, wanted: ConversationFilter, *, cursor: str | None = None, limit: int = 50
    ) -> Page[ConversationSummary]:
        """Conversations that meet the filter, newest first; `limit` is 200 at most.

        Raises:
            RequestError: the cursor is none of ours.
        """
        with self._database.reading() as session:
            return conversation_search.search(session, wanted, cursor, limit)

    def subjects(self, *, after: str = "", limit: int = MOST_ROWS) -> list[tuple[str, str | None]]:
        """The ids of conversations and of their users, by id and from behind `after`: to apply tombstones again."""
        wanted = select(ConversationRow.id, ConversationRow.user_id).where(ConversationRow.id > after)
        with self._database.reading() as session:
            found = session.execute(wanted.order_by(ConversationRow.id).limit(limit)).all()
        return [(row.id, row.user_id) for row in found]

    # --- Forgetting ------------------------------------------------------------------------------------------------

    def erase(self, conversation_id: str) -> bool:
        """Delete everything that is kept of a conversation, 200 rows a transaction. False if there was nothing."""
        deleted = MOST_ROWS
        while deleted == MOST_ROWS:
            with self._database.writing() as session:
                deleted = _delete_utterances(session, UtteranceRow.conversation_id == conversation_id)
        while self._judged.delete([conversation_id], MOST_ROWS) == MOST_ROWS:
            pass
        with self._database.writing() as session:
            return affected(session, delete(ConversationRow).where(ConversationRow.id == conversation_id)) == 1

    def prune_utterances(self, before: datetime) -> int:
        """Delete up to 200 utterances said before `before`, oldest first; 0 when none is left: call it until then."""
        with self._database.writing() as session:
            return _delete_utterances(session, UtteranceRow.at < before, UtteranceRow.at)

    def prune(self, before: datetime) -> Pruned:
        """Delete up to 200 rows of the oldest conversations that began before `before`; none when none is left."""
        old = select(ConversationRow.id).where(ConversationRow.started_at < before)
        oldest = old.order_by(ConversationRow.started_at, ConversationRow.id).limit(MOST_CONVERSATIONS)
        with self._database.writing() as session:
            ids = list(session.scalars(oldest))
            utterances = _delete_utterances(session, UtteranceRow.conversation_id.in_(ids)) if ids else 0
        if utterances or not ids:
            return Pruned(utterances=utterances)
        if judged := self._judged.delete(ids, MOST_ROWS):
            return Pruned(judged_answers=judged)
        with self._database.writing() as session:
            return Pruned(affected(session, delete(ConversationRow).where(ConversationRow.id.in_(ids))))


def _known(session: Session, ids: Iterable[str]) -> set[str]:
    """Which of these conversations there are; none of them can be deleted before the transaction ends."""
    wanted = select(ConversationRow.id).where(ConversationRow.id.in_(sorted(ids))).order_by(ConversationRow.id)
    return set(session.scalars(wanted.with_for_update(read=True, key_share=True)))


def _filled_in(new: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: new[name] for name, value in row.items() if value is not None}


def _outranks(new: Any) -> ColumnElement[bool]:
    """Tell whether the text that comes is newer than the one that is there."""
    corrects = and_(
        new.corrected_at.is_not(None),
        or_(UtteranceRow.corrected_at.is_(None), new.corrected_at >= UtteranceRow.corrected_at),
    )
    return or_(corrects, and_(_interrupts(new), UtteranceRow.corrected_at.is_(None)))


def _interrupts(new: Any) -> ColumnElement[bool]:
    return and_(new.interrupted.is_(True), UtteranceRow.interrupted.is_(False))


def _is_news(new: Any) -> ColumnElement[bool]:
    return or_(_outranks(new), _interrupts(new))


def _newer(new: Any) -> dict[str, Any]:
    return {
        "text": case((_outranks(new), new.text), else_=UtteranceRow.text),
        "corrected_at": case((_outranks(new), new.corrected_at), else_=UtteranceRow.corrected_at),
        "interrupted": or_(UtteranceRow.interrupted, new.interrupted),
    }


def _delete_utterances(session: Session, which: ColumnElement[bool], *order: Any) -> int:
    key = (UtteranceRow.conversation_id, UtteranceRow.sequence)
    chosen = select(*key).where(which).order_by(*(order or key)).limit(MOST_ROWS)
    return affected(session, delete(UtteranceRow).where(tuple_(*key).in_(chosen)))
