"""Which conversations an order to erase is about, and what a provider has to delete before their rows go.

The key decision: an order knows its subject only as a digest, so what it covers is found by looking at every
conversation, a page at a time. And what will be needed when the rows are gone is written down before they go, in the
step that reads them: what the provider has to delete, and which conversations a user's order was about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from service.storage.conversation_models import ConversationRow, LegRow
from service.storage.conversation_records import Leg
from service.storage.database import Database
from service.storage.erasure_models import ProviderDeletionRow, TombstoneRow
from service.storage.erasure_records import SubjectKind, Tombstone, subject_hash
from service.storage.erasures import ProviderDeletions, Tombstones
from service.storage.tombstone_upkeep import tombstone_of
from service.storage.values import value_of

PAGE = 200
LONGEST_CALL = timedelta(hours=1)
"""A conversation without an end that began so long ago is over: whoever held it has died."""

CALL_TIME = timedelta(minutes=10)
"""How long a provider is left alone with a conversation that may still go on (ElevenLabs' usual bound for one)."""


@dataclass(frozen=True)
class Held:
    """A conversation that is kept, as far as an order cares."""

    id: str
    user_id: str | None
    started_at: datetime

    def is_covered_by(self, tombstone: Tombstone) -> bool:
        """Whether the order is about it: it names it, or its user, who has not come back since."""
        if tombstone.kind is SubjectKind.CONVERSATION:
            return tombstone.hash == subject_hash(SubjectKind.CONVERSATION, self.id)
        if self.user_id is None or self.started_at > tombstone.requested_at:
            return False
        return tombstone.hash == subject_hash(SubjectKind.USER, self.user_id)


class ErasureScope:
    """Looks through the conversations of `database` for `provider`'s part in them.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long; repeating
    the call is safe.
    """

    def __init__(self, database: Database, *, provider: str) -> None:
        self._database = database
        self._provider = provider
        self._deletions = ProviderDeletions(database)
        self._tombstones = Tombstones(database)

    def pages(self) -> Iterator[list[Held]]:
        """Every conversation, by id, at most 200 at a time; between two pages no transaction is open."""
        page, after = self._page(""), ""
        while page:
            yield page
            after = page[-1].id
            page = self._page(after)

    def of_user(self, user_id: str) -> list[Held]:
        """The conversations of a user."""
        return self._read(ConversationRow.user_id == user_id)

    def of_conversation(self, conversation_id: str) -> list[Held]:
        """The conversation of that id, if it is kept."""
        return self._read(ConversationRow.id == conversation_id)

    def prepare(self, tombstone: Tombstone, conversation_id: str, *, now: datetime) -> Tombstone:
        """Put the provider's copy of a conversation on the list; the result is the order that names the conversation.

        That is `tombstone` itself, or one that is made of a user's: by it the conversation is recognised where nobody
        knows its user any more. Where no leg tells which id the provider has for it, it is ours: the provider gave it.
        """
        with self._database.writing() as session:
            row = session.get(ConversationRow, conversation_id, with_for_update=True)
            legs = self._legs(session, conversation_id) or [self._leg(conversation_id, now)]
            first = now + CALL_TIME if row is not None and _may_go_on(row, now) else now
            self._deletions.add(tombstone, legs, next_attempt_at=first, within=session)
            if tombstone.kind is SubjectKind.CONVERSATION:
                return tombstone
            return self._tombstones.add(
                SubjectKind.CONVERSATION,
                conversation_id,
                requested_at=tombstone.requested_at,
                requested_by=tombstone.requested_by,
                within=session,
            )

    def ask_again(self, tombstone: Tombstone, conversation_id: str, *, now: datetime, goes_on: bool) -> None:
        """Put the provider's copy of a conversation on the list that was erased before it was over.

        What the provider has deleted while the conversation went on, it may have written down again since.
        """
        first = now + CALL_TIME if goes_on else now
        with self._database.writing() as session:
            self._deletions.add(tombstone, [self._leg(conversation_id, now)], next_attempt_at=first, within=session)
            theirs = and_(
                ProviderDeletionRow.provider == self._provider,
                ProviderDeletionRow.provider_conversation_id == conversation_id,
                ProviderDeletionRow.confirmed_at.is_not(None),
            )
            session.execute(update(ProviderDeletionRow).where(theirs).values(confirmed_at=None, next_attempt_at=first))

    def order_about(self, conversation: Held) -> Tombstone | None:
        """The order that a conversation is covered by, whether it is kept or not."""
        hashes = [subject_hash(SubjectKind.CONVERSATION, conversation.id)]
        if conversation.user_id is not None:
            hashes.append(subject_hash(SubjectKind.USER, conversation.user_id))
        with self._database.reading() as session:
            rows = session.scalars(select(TombstoneRow).where(TombstoneRow.subject_hash.in_(hashes)))
            orders = [tombstone_of(row) for row in rows]
        return next((order for order in orders if conversation.is_covered_by(order)), None)

    def _page(self, after: str) -> list[Held]:
        return self._read(ConversationRow.id > after, most=PAGE)

    def _read(self, *wanted: ColumnElement[bool], most: int | None = None) -> list[Held]:
        columns = (ConversationRow.id, ConversationRow.user_id, ConversationRow.started_at)
        statement = select(*columns).where(*wanted).order_by(ConversationRow.id).limit(most)
        with self._database.reading() as session:
            return [Held(row.id, row.user_id, row.started_at) for row in session.execute(statement)]

    def _leg(self, conversation_id: str, now: datetime) -> Leg:
        return Leg(conversation_id, 1, self._provider, now, provider_conversation_id=conversation_id)

    def _legs(self, session: Session, conversation_id: str) -> list[Leg]:
        mine = (LegRow.conversation_id == conversation_id, LegRow.provider == self._provider)
        known = LegRow.provider_conversation_id.is_not(None)
        return [value_of(Leg, row) for row in session.scalars(select(LegRow).where(*mine, known))]


def _may_go_on(row: ConversationRow, now: datetime) -> bool:
    return row.ended_at is None and now - row.started_at < LONGEST_CALL
