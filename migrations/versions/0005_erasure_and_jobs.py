"""What has to be forgotten, and the jobs that see to it.

Undoing it loses the tombstones: what a backup brings back is no longer recognised as erased, and deletions that a
provider has not confirmed are no longer asked for. Export `erasure_tombstones` and `provider_deletions` first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LOSES: tuple[str, ...] = ("erasure_tombstones", "provider_deletions", "job_runs")
LOSES_COLUMNS: dict[str, tuple[str, ...]] = {}
IRREVERSIBLE = False


def upgrade() -> None:
    op.create_table(
        "erasure_tombstones",
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject_hash", sa.String(64), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("subject_kind IN ('conversation', 'user')", name=op.f("ck_erasure_tombstones_subject_kind")),
        sa.PrimaryKeyConstraint("subject_kind", "subject_hash", name="pk_erasure_tombstones"),
    )
    _create_provider_deletions()
    op.create_table(
        "job_runs",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(200), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_job_runs"),
    )


def downgrade() -> None:
    op.drop_table("job_runs")
    op.drop_table("provider_deletions")
    op.drop_table("erasure_tombstones")


def _create_provider_deletions() -> None:
    op.create_table(
        "provider_deletions",
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("provider_conversation_id", sa.String(128), nullable=False),
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject_hash", sa.String(64), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.String(300), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("provider", "provider_conversation_id", name="pk_provider_deletions"),
        sa.ForeignKeyConstraint(
            ["subject_kind", "subject_hash"],
            ["erasure_tombstones.subject_kind", "erasure_tombstones.subject_hash"],
            name="fk_provider_deletions_tombstone",
        ),
    )
    op.create_index(
        "ix_provider_deletions_subject_kind_subject_hash", "provider_deletions", ["subject_kind", "subject_hash"]
    )
    unconfirmed = sa.text("confirmed_at IS NULL")
    op.create_index(
        "ix_provider_deletions_next_attempt_at",
        "provider_deletions",
        ["next_attempt_at"],
        sqlite_where=unconfirmed,
        postgresql_where=unconfirmed,
    )
