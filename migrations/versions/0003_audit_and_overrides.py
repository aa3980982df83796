"""Overrides, and the audit's chain of entries that nobody can change.

Undoing it loses the whole audit (export it first) and every override: the service decides by itself again.

The key decision: the table refuses by itself, whoever is connected. An UPDATE or TRUNCATE is always refused. A DELETE
is refused too, unless an entry on record says that the audit was pruned up to there, and what goes is older than 30
days. On PostgreSQL that is one function, which the service's role may execute though it has no right to delete; on
SQLite, which has no roles, it is a trigger. SQLite's REPLACE deletes without asking a trigger, so an entry must also
be newer than all others.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LOSES: tuple[str, ...] = ("overrides", "audit_entries")
LOSES_COLUMNS: dict[str, tuple[str, ...]] = {}
IRREVERSIBLE = False

# 23001 is what a foreign key's RESTRICT answers: the driver makes an IntegrityError of it, as SQLite's does of ABORT.
# RAISE would take a percent sign for a placeholder, and so would the driver: the messages are put together instead.
POSTGRESQL = (
    """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '23001', MESSAGE = 'audit_entries is append-only, refused: ' || TG_OP;
END
$$
""",
    """
CREATE FUNCTION refuse_audit_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('vocero.audit_pruning', true), '') <> 'on' THEN
        RAISE EXCEPTION USING ERRCODE = '23001', MESSAGE = 'audit_entries is append-only, refused: DELETE';
    END IF;
    IF OLD.at > now() - INTERVAL '30 days' THEN
        RAISE EXCEPTION USING ERRCODE = '23001',
            MESSAGE = 'audit_entries: entry ' || OLD.sequence || ' is younger than 30 days';
    END IF;
    RETURN OLD;
END
$$
""",
    """
CREATE FUNCTION prune_audit_entries(up_to bigint, most integer) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pruned integer;
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM public.audit_entries
        WHERE action = 'audit.pruned' AND subject = CAST(up_to AS text) AND sequence > up_to
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '23001', MESSAGE = 'audit_entries: no entry records a pruning up to ' || up_to;
    END IF;
    PERFORM set_config('vocero.audit_pruning', 'on', true);
    DELETE FROM public.audit_entries WHERE sequence IN (
        SELECT sequence FROM public.audit_entries WHERE sequence <= up_to ORDER BY sequence LIMIT most
    );
    GET DIAGNOSTICS pruned = ROW_COUNT;
    PERFORM set_config('vocero.audit_pruning', 'off', true);
    RETURN pruned;
END
$$
""",
    "REVOKE ALL ON FUNCTION prune_audit_entries(bigint, integer) FROM PUBLIC",
    """
CREATE TRIGGER audit_entries_refuse_change BEFORE UPDATE OR TRUNCATE ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
""",
    """
CREATE TRIGGER audit_entries_refuse_deletion BEFORE DELETE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION refuse_audit_deletion()
""",
)
SQLITE = (
    """
CREATE TRIGGER audit_entries_refuse_change BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only, refused: UPDATE');
END
""",
    """
CREATE TRIGGER audit_entries_refuse_replacement BEFORE INSERT ON audit_entries
WHEN EXISTS (SELECT 1 FROM audit_entries WHERE sequence >= NEW.sequence)
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only, refused: an entry that is not the newest');
END
""",
    """
CREATE TRIGGER audit_entries_refuse_young_deletion BEFORE DELETE ON audit_entries
WHEN OLD.at > datetime('now', '-30 days')
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only, refused: DELETE of an entry younger than 30 days');
END
""",
    """
CREATE TRIGGER audit_entries_refuse_unrecorded_deletion BEFORE DELETE ON audit_entries
WHEN NOT EXISTS (
    SELECT 1 FROM audit_entries
    WHERE action = 'audit.pruned' AND CAST(subject AS INTEGER) >= OLD.sequence
    AND sequence > CAST(subject AS INTEGER)
)
BEGIN
    SELECT RAISE(ABORT, 'audit_entries is append-only, refused: DELETE without an entry that records the pruning');
END
""",
)


def upgrade() -> None:
    op.create_table(
        "overrides",
        sa.Column("capability", sa.String(16), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("capability IN ('conversation', 'speech')", name=op.f("ck_overrides_capability")),
        sa.CheckConstraint(
            "mode IN ('auto', 'forced_primary', 'forced_fallback', 'disabled')", name=op.f("ck_overrides_mode")
        ),
        sa.PrimaryKeyConstraint("capability", name="pk_overrides"),
    )
    _create_audit_entries()
    for statement in POSTGRESQL if _is_postgresql() else SQLITE:
        op.execute(statement.strip())


def downgrade() -> None:
    if _is_postgresql():
        op.execute("DROP FUNCTION prune_audit_entries(bigint, integer)")
    op.drop_table("audit_entries")  # and its triggers with it
    if _is_postgresql():
        op.execute("DROP FUNCTION refuse_audit_deletion()")
        op.execute("DROP FUNCTION refuse_audit_change()")
    op.drop_table("overrides")


def _create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    for column in ("actor", "action", "subject"):
        op.create_index(f"ix_audit_entries_{column}_sequence", "audit_entries", [column, "sequence"])


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"
