"""The root of all tables, and the tables of integrators' keys; the others stand in `*_models.py`, by theme.

The key decision: only what is used stands in a model, and `migrations/` is what makes the tables; tests hold both
equal. The text types bound what is written, so the lengths here are the lengths there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.storage.column_types import UtcDateTime

# Every constraint has a name, so that a downgrade can drop it on either database.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The root of all tables."""

    metadata = MetaData(naming_convention=NAMES)


class ApiKeyRow(Base):
    """An integrator's key. The key itself is not here: only its digest, and its end to recognise it by."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    last_characters: Mapped[str] = mapped_column(String(4))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiKeyLimitsRow(Base):
    """What a key may be used for and how much; a key without a row may do everything."""

    __tablename__ = "api_key_limits"
    __table_args__ = (
        CheckConstraint("max_concurrent > 0", name="max_concurrent"),
        CheckConstraint("characters_per_day > 0", name="characters_per_day"),
    )

    key_id: Mapped[str] = mapped_column(String(32), ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True)
    scopes: Mapped[str] = mapped_column(String(100))
    max_concurrent: Mapped[int | None] = mapped_column(BigInteger)
    characters_per_day: Mapped[int | None] = mapped_column(BigInteger)
