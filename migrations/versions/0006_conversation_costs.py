"""What a conversation cost, as its provider reports it.

Undoing it loses the costs that were fetched. While the provider keeps its conversations they can be fetched again.

A table of its own and not columns of `conversations`: this release's code does without it (the expand half of a change,
docs/storage.md), so this step can be undone while the code stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOSES: tuple[str, ...] = ("conversation_costs",)
LOSES_COLUMNS: dict[str, tuple[str, ...]] = {}
IRREVERSIBLE = False


def upgrade() -> None:
    op.create_table(
        "conversation_costs",
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("characters", sa.BigInteger(), nullable=True),
        sa.Column("credits", sa.BigInteger(), nullable=True),
        sa.Column("call_seconds", sa.BigInteger(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_conversation_costs"),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            ondelete="CASCADE",
            name="fk_conversation_costs_conversation_id_conversations",
        ),
    )


def downgrade() -> None:
    op.drop_table("conversation_costs")
