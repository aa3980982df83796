"""How sampled answers sounded, kept with their conversation.

Undoing it loses the verdicts on sampled answers: their scores and defects. Nothing can judge them again, since no sound
is kept; the metrics have what was told of them.

A table of its own and not columns of `utterances`: this release's code does without it (the expand half of a change,
docs/storage.md), so this step can be undone while the code stays; and an answer is judged where no words are kept, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LOSES: tuple[str, ...] = ("judged_answers",)
LOSES_COLUMNS: dict[str, tuple[str, ...]] = {}
IRREVERSIBLE = False


def upgrade() -> None:
    op.create_table(
        "judged_answers",
        sa.Column("conversation_id", sa.String(64), nullable=False),
        sa.Column("leg", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("defects", sa.String(100), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("deviation", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("conversation_id", "leg", "turn", name="pk_judged_answers"),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            ondelete="CASCADE",
            name="fk_judged_answers_conversation_id_conversations",
        ),
    )


def downgrade() -> None:
    op.drop_table("judged_answers")
