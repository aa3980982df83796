"""The tables of what was said: conversations, their legs and utterances, how they sounded, and what they cost.

The key decision: a conversation's rows hang on it (ON DELETE CASCADE), so that to erase it is to delete one row; and
what came later, its cost and the verdicts on its answers, are tables of their own, so that the code also runs on the
schemas before them (`service.storage.schema`).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Float, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.storage.column_types import Identifier, LongText, NameList, OneOf, ShortText, UtcDateTime, allowed
from service.storage.conversation_records import LONGEST_ID, LONGEST_USER_ID, EndedBy, Speaker
from service.storage.models import Base


class ConversationRow(Base):
    """A conversation, from its first word to its last."""

    __tablename__ = "conversations"
    __table_args__ = (
        CheckConstraint(allowed("ended_by", EndedBy), name="ended_by"),
        Index(None, "started_at", "id"),
        Index(None, "agent_id", "started_at", "id"),
        Index(None, "user_id", "started_at", "id"),
    )

    id: Mapped[str] = mapped_column(Identifier(LONGEST_ID), primary_key=True)
    agent_id: Mapped[str] = mapped_column(Identifier(128))
    user_id: Mapped[str | None] = mapped_column(Identifier(LONGEST_USER_ID))
    language: Mapped[str | None] = mapped_column(ShortText(35))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[EndedBy | None] = mapped_column(OneOf(EndedBy))
    end_code: Mapped[int | None] = mapped_column(BigInteger)
    end_reason: Mapped[str | None] = mapped_column(ShortText(200))
    opening_seconds: Mapped[float | None] = mapped_column(Float)
    first_audio_seconds: Mapped[float | None] = mapped_column(Float)


class LegRow(Base):
    """The part of a conversation that one provider's agent spoke."""

    __tablename__ = "legs"
    __table_args__ = (Index(None, "provider_conversation_id"),)

    conversation_id: Mapped[str] = mapped_column(
        Identifier(LONGEST_ID), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    provider: Mapped[str] = mapped_column(Identifier(32))
    provider_conversation_id: Mapped[str | None] = mapped_column(Identifier(128))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_cause: Mapped[str | None] = mapped_column(ShortText(64))


class UtteranceRow(Base):
    """What somebody said, in the order in which it was said."""

    __tablename__ = "utterances"
    __table_args__ = (CheckConstraint(allowed("speaker", Speaker), name="speaker"), Index(None, "at"))

    conversation_id: Mapped[str] = mapped_column(
        Identifier(LONGEST_ID), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    speaker: Mapped[Speaker] = mapped_column(OneOf(Speaker))
    text: Mapped[str] = mapped_column(LongText)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    provider: Mapped[str] = mapped_column(Identifier(32))
    interrupted: Mapped[bool] = mapped_column(Boolean)
    corrected_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ConversationCostRow(Base):
    """What the provider says that a conversation cost; fetched after its end."""

    __tablename__ = "conversation_costs"

    conversation_id: Mapped[str] = mapped_column(
        Identifier(LONGEST_ID), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    characters: Mapped[int | None] = mapped_column(BigInteger)
    credits: Mapped[int | None] = mapped_column(BigInteger)
    call_seconds: Mapped[int | None] = mapped_column(BigInteger)
    fetched_at: Mapped[datetime] = mapped_column(UtcDateTime)


class JudgedAnswerRow(Base):
    """How a sampled answer sounded; filled in by whoever knows something."""

    __tablename__ = "judged_answers"

    conversation_id: Mapped[str] = mapped_column(
        Identifier(LONGEST_ID), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    leg: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    turn: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    provider: Mapped[str] = mapped_column(Identifier(32))
    defects: Mapped[tuple[str, ...] | None] = mapped_column(NameList(100))
    score: Mapped[float | None] = mapped_column(Float)
    deviation: Mapped[float | None] = mapped_column(Float)


class DeploymentRow(Base):
    """Which release first ran with which schema."""

    __tablename__ = "deployments"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    release: Mapped[str] = mapped_column(String(64))
    revision: Mapped[str] = mapped_column(String(32))
    node: Mapped[str] = mapped_column(ShortText(255))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
