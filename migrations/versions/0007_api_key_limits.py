"""What an integrator's key may be used for, and how much.

Undoing it loses the scopes and limits of all keys: a key that had some may then do everything, without a limit.

A table of its own and not columns of `api_keys`: this release's code does without it (the expand half of a change,
docs/storage.md), so this step can be undone while the code stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

LOSES: tuple[str, ...] = ("api_key_limits",)
LOSES_COLUMNS: dict[str, tuple[str, ...]] = {}
IRREVERSIBLE = False


def upgrade() -> None:
    op.create_table(
        "api_key_limits",
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("scopes", sa.String(100), nullable=False),
        sa.Column("max_concurrent", sa.BigInteger(), nullable=True),
        sa.Column("characters_per_day", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_key_limits"),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], ondelete="CASCADE", name="fk_api_key_limits_key_id_api_keys"
        ),
        sa.CheckConstraint("max_concurrent > 0", name=op.f("ck_api_key_limits_max_concurrent")),
        sa.CheckConstraint("characters_per_day > 0", name=op.f("ck_api_key_limits_characters_per_day")),
    )


def downgrade() -> None:
    op.drop_table("api_key_limits")
