"""Conversations with their legs and utterances, and which release ran with which schema.

Undoing it loses every transcript and every latency mark. It loses the record of deployments as well, so a rollback
below this step can no longer be asked for by a release's name.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LOSES: tuple[str, ...] = ("conversations", "legs", "utterances", "deployments")
LOSES_COLUMNS: dict[str, tuple[str, ...]] = {}
IRREVERSIBLE = False


def upgrade() -> None:
    _create_conversations()
    _create_legs()
    _create_utterances()
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("revision", sa.String(32), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
    )


def downgrade() -> None:
    op.drop_table("deployments")
    op.drop_table("utterances")
    op.drop_table("legs")
    op.drop_table("conversations")


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("agent_id", sa.String(128), nullable=False),
        sa.Column("user_id", sa.String(256), nullable=True),
        sa.Column("language", sa.String(35), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(16), nullable=True),
        sa.Column("end_code", sa.BigInteger(), nullable=True),
        sa.Column("end_reason", sa.String(200), nullable=True),
        sa.Column("opening_seconds", sa.Float(), nullable=True),
        sa.Column("first_audio_seconds", sa.Float(), nullable=True),
        sa.CheckConstraint("ended_by IN ('client', 'agent', 'service')", name=op.f("ck_conversations_ended_by")),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_started_at_id", "conversations", ["started_at", "id"])
    op.create_index("ix_conversations_agent_id_started_at_id", "conversations", ["agent_id", "started_at", "id"])
    op.create_index("ix_conversations_user_id_started_at_id", "conversations", ["user_id", "started_at", "id"])


def _create_legs() -> None:
    op.create_table(
        "legs",
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("provider_conversation_id", sa.String(128), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_cause", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("conversation_id", "number", name="pk_legs"),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], ondelete="CASCADE", name="fk_legs_conversation_id_conversations"
        ),
    )
    op.create_index("ix_legs_provider_conversation_id", "legs", ["provider_conversation_id"])


def _create_utterances() -> None:
    op.create_table(
        "utterances",
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("speaker", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("speaker IN ('user', 'agent', 'tool')", name=op.f("ck_utterances_speaker")),
        sa.PrimaryKeyConstraint("conversation_id", "sequence", name="pk_utterances"),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            ondelete="CASCADE",
            name="fk_utterances_conversation_id_conversations",
        ),
    )
    op.create_index("ix_utterances_at", "utterances", ["at"])
