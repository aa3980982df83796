"""Orders to erase as a whole: how many are open, those learned from elsewhere, those that have outlived their use.

The key decision: an order goes only when nothing can bring its subject back: it was carried out, it is older than any
backup, and every provider has confirmed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from service.storage.clock import database_now
from service.storage.database import Database
from service.storage.erasure_models import ProviderDeletionRow, TombstoneRow
from service.storage.erasure_records import SubjectKind, Tombstone
from service.storage.models import Base
from service.storage.upserts import affected, insert_or_update

MOST_ROWS = 200
MOST_TOMBSTONES = 50


@dataclass(frozen=True)
class OpenErasures:
    """What is left to do: `orders` that were not carried out here, `deletions` that a provider has not confirmed.

    `due` of the latter are to be tried now; `now` is the database's moment.
    """

    orders: int
    deletions: int
    due: int
    now: datetime


@dataclass(frozen=True)
class KnownOrders:
    """How many orders there are since a moment, and when the newest was given; None: there is none."""

    count: int
    newest: datetime | None


class TombstoneUpkeep:
    """The tables `erasure_tombstones` and `provider_deletions`, many rows at a time.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long; repeating
    the call is safe.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        """The moment by the clock that all nodes share."""
        with self._database.reading() as session:
            return database_now(session)

    def open(self) -> OpenErasures:
        """What is left to do."""
        unconfirmed = ProviderDeletionRow.confirmed_at.is_(None)
        with self._database.reading() as session:
            now = database_now(session)
            return OpenErasures(
                orders=_count(session, TombstoneRow, TombstoneRow.applied_at.is_(None)),
                deletions=_count(session, ProviderDeletionRow, unconfirmed),
                due=_count(session, ProviderDeletionRow, and_(unconfirmed, ProviderDeletionRow.next_attempt_at <= now)),
                now=now,
            )

    def known(self, since: datetime) -> KnownOrders:
        """The orders from `since` on, in numbers."""
        numbers = select(func.count(), func.max(TombstoneRow.requested_at)).where(TombstoneRow.requested_at >= since)
        with self._database.reading() as session:
            count, newest = session.execute(numbers).one()
        return KnownOrders(count, newest)

    def merge(self, orders: Iterable[Tombstone]) -> int:
        """Take over orders that were learned from elsewhere, to be carried out; the result is how many were news."""
        rows = [
            {
                "subject_kind": order.kind,
                "subject_hash": order.hash,
                "requested_at": order.requested_at,
                "requested_by": order.requested_by,
                "applied_at": None,
            }
            for order in orders
        ]
        news = 0
        for start in range(0, len(rows), MOST_ROWS):
            with self._database.writing() as session:
                news += insert_or_update(
                    session,
                    TombstoneRow,
                    rows[start : start + MOST_ROWS],
                    update=lambda new: {"requested_at": new.requested_at, "applied_at": None},
                    where=lambda new: new.requested_at > TombstoneRow.requested_at,
                )
        return news

    def mark_applied(self, orders: Sequence[Tombstone], applied_at: datetime) -> int:
        """Note that nothing is left of what these (at most 200) were about; tell how many are still the newest."""
        ours = tuple_(TombstoneRow.subject_kind, TombstoneRow.subject_hash, TombstoneRow.requested_at)
        these = ours.in_([(order.kind, order.hash, order.requested_at) for order in orders])
        with self._database.writing() as session:
            return affected(session, update(TombstoneRow).where(these).values(applied_at=applied_at))

    def prune(self, before: datetime) -> list[Tombstone] | None:
        """Delete some of the orders from before `before` that have outlived their use; None: there are none left.

        At most 200 rows go at a time, those of confirmed deletions first: call it until it is None.
        """
        done = and_(TombstoneRow.requested_at < before, TombstoneRow.applied_at.is_not(None))
        theirs = and_(
            ProviderDeletionRow.subject_kind == TombstoneRow.subject_kind,
            ProviderDeletionRow.subject_hash == TombstoneRow.subject_hash,
        )
        owed = select(ProviderDeletionRow.provider).where(theirs, ProviderDeletionRow.confirmed_at.is_(None)).exists()
        old = select(TombstoneRow).where(done, ~owed).order_by(TombstoneRow.requested_at).limit(MOST_TOMBSTONES)
        with self._database.writing() as session:
            orders = [tombstone_of(row) for row in session.scalars(old.with_for_update())]
            if not orders:
                return None
            keys = [(order.kind, order.hash) for order in orders]
            if _delete_deletions(session, keys) == MOST_ROWS:
                return []
            key = tuple_(TombstoneRow.subject_kind, TombstoneRow.subject_hash)
            affected(session, delete(TombstoneRow).where(key.in_(keys)))
            return orders


def tombstone_of(row: TombstoneRow) -> Tombstone:
    """The order that `row` holds."""
    return Tombstone(
        kind=row.subject_kind,
        hash=row.subject_hash,
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        applied_at=row.applied_at,
    )


def _count(session: Session, table: type[Base], which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(which)) or 0


def _delete_deletions(session: Session, keys: list[tuple[SubjectKind, str]]) -> int:
    row_key = tuple_(ProviderDeletionRow.provider, ProviderDeletionRow.provider_conversation_id)
    some = select(ProviderDeletionRow.provider, ProviderDeletionRow.provider_conversation_id).where(
        tuple_(ProviderDeletionRow.subject_kind, ProviderDeletionRow.subject_hash).in_(keys)
    )
    return affected(session, delete(ProviderDeletionRow).where(row_key.in_(some.limit(MOST_ROWS))))
