"""What was erased and must stay so: tombstones, and the deletions that providers still owe.

The key decision: an order to erase is written down before anything is deleted. So it survives a crash half-way, is
found again after a restore, and keeps what comes in late (a drained ledger) from bringing the erased back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from service.storage.conversation_records import Leg
from service.storage.database import Database
from service.storage.erasure_models import ProviderDeletionRow, TombstoneRow
from service.storage.erasure_records import ProviderDeletion, SubjectKind, Tombstone, subject_hash
from service.storage.upserts import affected, insert_or_ignore, insert_or_update


class Tombstones:
    """The table `erasure_tombstones`.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long; repeating
    the call is safe.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        kind: SubjectKind,
        subject: str,
        *,
        requested_at: datetime,
        requested_by: str,
        within: Session | None = None,
    ) -> Tombstone:
        """Write down that `subject` has to be erased. A later request makes the order new: it is to be applied again.

        `within` is a session of `Database.writing`, for what must come with it or not at all.
        """
        digest = subject_hash(kind, subject)
        row = {
            "subject_kind": kind,
            "subject_hash": digest,
            "requested_at": requested_at,
            "requested_by": requested_by,
            "applied_at": None,
        }
        with self._database.writing(within) as session:
            _lock(session, [digest], shared=False)
            insert_or_update(
                session,
                TombstoneRow,
                [row],
                update=lambda new: {name: new[name] for name in ("requested_at", "requested_by", "applied_at")},
                where=lambda new: new.requested_at > TombstoneRow.requested_at,
            )
            found = session.get_one(TombstoneRow, (kind, digest), populate_existing=True)
            return _tombstone(found)

    def get(self, kind: SubjectKind, subject: str) -> Tombstone | None:
        """The order to erase `subject`, if there is one."""
        with self._database.reading() as session:
            row = session.get(TombstoneRow, (kind, subject_hash(kind, subject)))
            return None if row is None else _tombstone(row)

    def list_all(self) -> list[Tombstone]:
        """Every order, oldest first: what must be applied again after a restore."""
        with self._database.reading() as session:
            rows = session.scalars(select(TombstoneRow).order_by(TombstoneRow.requested_at, TombstoneRow.subject_hash))
            return [_tombstone(row) for row in rows]

    def unapplied(self) -> list[Tombstone]:
        """The orders that were not carried out to their end yet, oldest first."""
        return [tombstone for tombstone in self.list_all() if tombstone.applied_at is None]

    def mark_applied(self, tombstone: Tombstone, applied_at: datetime) -> bool:
        """Note that nothing of the subject is left. False if there is a newer order by now, or none."""
        mine = and_(
            TombstoneRow.subject_kind == tombstone.kind,
            TombstoneRow.subject_hash == tombstone.hash,
            TombstoneRow.requested_at == tombstone.requested_at,
        )
        with self._database.writing() as session:
            return affected(session, update(TombstoneRow).where(mine).values(applied_at=applied_at)) == 1

    def forget_applications(self) -> int:
        """Make every order one that has not been carried out: after a restore. The result is their number."""
        with self._database.writing() as session:
            return affected(session, update(TombstoneRow).values(applied_at=None))


class ProviderDeletions:
    """The table `provider_deletions`: conversations that a provider has to delete. Raises as `Tombstones` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, tombstone: Tombstone, legs: Iterable[Leg], *, next_attempt_at: datetime, within: Session | None = None
    ) -> int:
        """Have the provider's copies of these legs deleted too; the result is how many were not on the list yet."""
        new = 0
        with self._database.writing(within) as session:
            for leg in legs:
                if leg.provider_conversation_id is not None:
                    row = {
                        "provider": leg.provider,
                        "provider_conversation_id": leg.provider_conversation_id,
                        "subject_kind": tombstone.kind,
                        "subject_hash": tombstone.hash,
                        "attempts": 0,
                        "next_attempt_at": next_attempt_at,
                    }
                    new += insert_or_ignore(session, ProviderDeletionRow, row)
        return new

    def due(self, now: datetime, *, limit: int = 50) -> list[ProviderDeletion]:
        """Deletions that are not confirmed and whose next attempt is due, those that wait the longest first."""
        unconfirmed = select(ProviderDeletionRow).where(ProviderDeletionRow.confirmed_at.is_(None))
        due = unconfirmed.where(ProviderDeletionRow.next_attempt_at <= now)
        with self._database.reading() as session:
            rows = session.scalars(due.order_by(ProviderDeletionRow.next_attempt_at).limit(limit))
            return [_deletion(row) for row in rows]

    def note_attempt(self, deletion: ProviderDeletion, *, error: str, next_attempt_at: datetime) -> None:
        """Note that an attempt failed, and when to make the next one. Told twice, it counts once."""
        seen = ProviderDeletionRow.attempts == deletion.attempts
        failed = update(ProviderDeletionRow).where(_is(deletion), seen, ProviderDeletionRow.confirmed_at.is_(None))
        with self._database.writing() as session:
            session.execute(
                failed.values(attempts=deletion.attempts + 1, last_error=error, next_attempt_at=next_attempt_at)
            )

    def confirm(self, deletion: ProviderDeletion, confirmed_at: datetime) -> None:
        """Note that the provider has it no more; the first confirmation stands."""
        first = update(ProviderDeletionRow).where(_is(deletion), ProviderDeletionRow.confirmed_at.is_(None))
        with self._database.writing() as session:
            session.execute(first.values(confirmed_at=confirmed_at))

    def of(self, tombstone: Tombstone) -> list[ProviderDeletion]:
        """The deletions that belong to an order, confirmed ones too."""
        mine = and_(
            ProviderDeletionRow.subject_kind == tombstone.kind, ProviderDeletionRow.subject_hash == tombstone.hash
        )
        key = (ProviderDeletionRow.provider, ProviderDeletionRow.provider_conversation_id)
        with self._database.reading() as session:
            return [_deletion(row) for row in session.scalars(select(ProviderDeletionRow).where(mine).order_by(*key))]


def is_erased(session: Session, conversation_id: str, user_id: str | None, started_at: datetime) -> bool:
    """Tell whether a conversation was erased: itself, or with its user in an order that is younger than it.

    No order comes about before the session's transaction ends, so what it writes then is seen by whoever erases.
    """
    conversation = subject_hash(SubjectKind.CONVERSATION, conversation_id)
    orders = [and_(TombstoneRow.subject_kind == SubjectKind.CONVERSATION, TombstoneRow.subject_hash == conversation)]
    hashes = [conversation]
    if user_id is not None:
        user = subject_hash(SubjectKind.USER, user_id)
        hashes.append(user)
        of_user = and_(TombstoneRow.subject_kind == SubjectKind.USER, TombstoneRow.subject_hash == user)
        orders.append(and_(of_user, TombstoneRow.requested_at >= started_at))
    _lock(session, hashes, shared=True)
    return session.scalar(select(TombstoneRow.subject_hash).where(or_(*orders)).limit(1)) is not None


def _lock(session: Session, hashes: list[str], *, shared: bool) -> None:
    """Until the transaction ends, keep orders to erase these subjects from coming between (SQLite: one writer only)."""
    if session.get_bind().dialect.name == "sqlite":
        return
    take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    keys = [int.from_bytes(bytes.fromhex(subject[:16]), signed=True) for subject in sorted(hashes)]
    session.execute(select(*(take(key) for key in keys)))


def _is(deletion: ProviderDeletion) -> ColumnElement[bool]:
    return and_(
        ProviderDeletionRow.provider == deletion.provider,
        ProviderDeletionRow.provider_conversation_id == deletion.provider_conversation_id,
    )


def _tombstone(row: TombstoneRow) -> Tombstone:
    return Tombstone(
        kind=row.subject_kind,
        hash=row.subject_hash,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        applied_at=row.applied_at,
    )


def _deletion(row: ProviderDeletionRow) -> ProviderDeletion:
    return ProviderDeletion(
        provider=row.provider,
        provider_conversation_id=row.provider_conversation_id,
        kind=row.subject_kind,
        hash=row.subject_hash,
        attempts=row.attempts,
        last_error=row.last_error,
        next_attempt_at=row.next_attempt_at,
        confirmed_at=row.confirmed_at,
    )
