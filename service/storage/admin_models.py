"""The tables of who may change what, and of what was changed: users, overrides, and the audit's chain.

The key decision: the audit's table defends itself. Triggers refuse every change of an entry, and every deletion but
that of old entries whose pruning is on record (`migrations/versions/0003_audit_and_overrides.py`).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.admin_records import AdminRole, Capability, OverrideMode
from service.storage.column_types import Identifier, LongText, OneOf, ShortText, UtcDateTime, allowed
from service.storage.models import Base


class OverrideRow(Base):
    """An admin's switch for one capability; `version` rises with each change."""

    __tablename__ = "overrides"
    __table_args__ = (
        CheckConstraint(allowed("capability", Capability), name="capability"),
        CheckConstraint(allowed("mode", OverrideMode), name="mode"),
    )

    capability: Mapped[Capability] = mapped_column(OneOf(Capability), primary_key=True)
    mode: Mapped[OverrideMode] = mapped_column(OneOf(OverrideMode))
    reason: Mapped[str] = mapped_column(ShortText(500))
    author: Mapped[str] = mapped_column(ShortText(200))
    set_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(BigInteger)


class AuditEntryRow(Base):
    """One change that somebody made, chained to the one before it (`service.storage.audit_chain`)."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index(None, "at"),
        Index(None, "actor", "sequence"),
        Index(None, "action", "sequence"),
        Index(None, "subject", "sequence"),
    )

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(ShortText(200))
    action: Mapped[str] = mapped_column(ShortText(64))
    subject: Mapped[str] = mapped_column(ShortText(300))
    before: Mapped[str | None] = mapped_column(LongText)
    after: Mapped[str | None] = mapped_column(LongText)
    address: Mapped[str | None] = mapped_column(ShortText(64))
    request_id: Mapped[str | None] = mapped_column(Identifier(128))
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AdminUserRow(Base):
    """Who may enter the dashboard. Without a hash there is no password: such a user comes by OIDC."""

    __tablename__ = "admin_users"
    __table_args__ = (CheckConstraint(allowed("role", AdminRole), name="role"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(300))
    role: Mapped[AdminRole] = mapped_column(OneOf(AdminRole))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    password_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
