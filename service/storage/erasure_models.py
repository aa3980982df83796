"""The tables of what has to be forgotten, and of the jobs that see to it.

The key decision: a tombstone holds a digest of what was erased and nothing else of it, so that it may outlive the
erased data and every backup of them, and be applied again after a restore.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.column_types import Identifier, LongText, OneOf, ShortText, UtcDateTime, allowed
from service.storage.erasure_records import SubjectKind
from service.storage.models import Base


class TombstoneRow(Base):
    """The order to erase a conversation or a user, kept as a digest."""

    __tablename__ = "erasure_tombstones"
    __table_args__ = (CheckConstraint(allowed("subject_kind", SubjectKind), name="subject_kind"),)

    subject_kind: Mapped[SubjectKind] = mapped_column(OneOf(SubjectKind), primary_key=True)
    subject_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    requested_by: Mapped[str] = mapped_column(ShortText(200))
    applied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ProviderDeletionRow(Base):
    """A conversation that a provider has to delete too, asked for until it confirms."""

    __tablename__ = "provider_deletions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["subject_kind", "subject_hash"],
            ["erasure_tombstones.subject_kind", "erasure_tombstones.subject_hash"],
            name="fk_provider_deletions_tombstone",  # the convention's name is longer than PostgreSQL's 63 characters
        ),
        Index(None, "subject_kind", "subject_hash"),
        Index(
            None,
            "next_attempt_at",
            sqlite_where=text("confirmed_at IS NULL"),
            postgresql_where=text("confirmed_at IS NULL"),
        ),
    )

    provider: Mapped[str] = mapped_column(Identifier(32), primary_key=True)
    provider_conversation_id: Mapped[str] = mapped_column(Identifier(128), primary_key=True)
    subject_kind: Mapped[SubjectKind] = mapped_column(OneOf(SubjectKind))
    subject_hash: Mapped[str] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(BigInteger)
    last_error: Mapped[str | None] = mapped_column(ShortText(300))
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobRunRow(Base):
    """A job that runs on one node at a time: who runs it now, and what came of it the last time."""

    __tablename__ = "job_runs"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str | None] = mapped_column(ShortText(200))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result: Mapped[str | None] = mapped_column(LongText)
