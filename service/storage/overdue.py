"""How much of each kind is older than it may be: what the next run of retention will delete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from service.storage.admin_models import AuditEntryRow
from service.storage.audit_chain import PRUNED
from service.storage.conversation_models import ConversationRow, UtteranceRow
from service.storage.database import Database
from service.storage.erasure_models import TombstoneRow
from service.storage.models import Base


@dataclass(frozen=True)
class Borders:
    """What is from before its border has been kept for long enough."""

    utterances: datetime
    conversations: datetime
    audit: datetime
    tombstones: datetime


@dataclass(frozen=True)
class Overdue:
    """Numbers of rows from before their borders. `audit_entries` that tell of a pruning do not count."""

    utterances: int
    conversations: int
    audit_entries: int
    tombstones: int


class OverdueRecords:
    """Looks into every table that is pruned. Raises ServiceUnavailableError when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, borders: Borders) -> Overdue:
        """Count them; with very many that takes its time."""
        return Overdue(
            utterances=self._count(UtteranceRow, UtteranceRow.at < borders.utterances),
            conversations=self._count(ConversationRow, ConversationRow.started_at < borders.conversations),
            audit_entries=self._count(AuditEntryRow, _old_entry(borders.audit)),
            tombstones=self._count(TombstoneRow, TombstoneRow.requested_at < borders.tombstones),
        )

    def has_audit_entries(self, before: datetime) -> bool:
        """Tell whether there is an entry from before `before` that does not only tell of a pruning."""
        with self._database.reading() as session:
            return session.scalar(select(AuditEntryRow.sequence).where(_old_entry(before)).limit(1)) is not None

    def _count(self, table: type[Base], old: ColumnElement[bool]) -> int:
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(table).where(old)) or 0


def _old_entry(before: datetime) -> ColumnElement[bool]:
    return (AuditEntryRow.at < before) & (AuditEntryRow.action != PRUNED)
