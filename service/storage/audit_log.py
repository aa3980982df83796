"""The audit: who changed what, when, from where. Entries are added, listed, verified and, when they are old, pruned.

The key decision: appends come one after the other (an advisory lock on PostgreSQL, the only writer on SQLite), because
each one's hash needs the one before it. That is slow where there are many of them; there are few, and none is on the
audio path.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from service.storage.admin_models import AuditEntryRow
from service.storage.admin_records import AuditEntry, AuditFilter
from service.storage.audit_chain import GENESIS, PRUNED, ChainReport, entry_hash, verify
from service.storage.clock import database_now
from service.storage.column_types import storable
from service.storage.database import Database
from service.storage.pages import Page, bounded, read_number
from service.storage.values import as_kept, value_of, values_of

LOCK = 8_463_002  # any number that nothing else in the database uses (migrations/env.py has the one before)
FLOOR = timedelta(days=30)  # younger entries cannot be pruned; the database's triggers say so too
MOST_ROWS = 200
JSON_LIMIT = 16_000

Json = Mapping[str, Any]


class AuditLog:
    """The table `audit_entries`.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long. After that
    an append may have happened or not: repeat it, and let an entry too many tell the truth twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
        *,
        actor: str,
        action: str,
        subject: str,
        before: Json | None = None,
        after: Json | None = None,
        address: str | None = None,
        request_id: str | None = None,
        within: Session | None = None,
    ) -> AuditEntry:
        """Add an entry. `within` is a session of `Database.writing`: then the entry is kept if the change is.

        Let it be the last thing in that block, since every other append waits for its end.

        Raises:
            ValueError: `before` or `after` is no JSON, or longer than 16,000 characters.
        """
        draft = _draft(
            actor, action, subject, before=_json(before), after=_json(after), address=address, request_id=request_id
        )
        with self._database.writing(within) as session:
            return _append(session, draft)

    def search(self, wanted: AuditFilter, *, cursor: str | None = None, limit: int = 50) -> Page[AuditEntry]:
        """Entries that meet the filter, newest first; `limit` is 200 at most.

        Raises:
            RequestError: the cursor is none of ours.
        """
        statement = select(AuditEntryRow).where(*_conditions(wanted))
        if cursor is not None:
            statement = statement.where(AuditEntryRow.sequence < read_number(cursor))
        newest_first = statement.order_by(AuditEntryRow.sequence.desc()).limit(bounded(limit) + 1)
        with self._database.reading() as session:
            found = [value_of(AuditEntry, row) for row in session.scalars(newest_first)]
        items = tuple(found[: bounded(limit)])
        return Page(items, str(items[-1].sequence) if len(found) > len(items) else None)

    def verify_chain(self) -> ChainReport:
        """Check every entry's hash and its link to the one before, and that what is missing was pruned on record."""
        with self._database.reading() as session:
            prunings = select(AuditEntryRow).where(AuditEntryRow.action == PRUNED)
            return verify(_all(session), [value_of(AuditEntry, row) for row in session.scalars(prunings)])

    def prune(self, before: datetime, *, actor: str) -> int:
        """Delete the entries from before `before`, oldest first, and write down that this was done.

        The record comes first and the deletions follow in transactions of 200 rows: a pruning that is broken off is
        gone on with by the next one, and the chain is whole at any moment. The result is the number of entries deleted.

        Raises:
            ValueError: `before` is less than 30 days ago.
        """
        with self._database.writing() as session:
            if before > database_now(session) - FLOOR:
                raise ValueError(f"audit entries are kept for {FLOOR.days} days at least")
            up_to = _record_pruning(session, before, actor)
        deleted, total = MOST_ROWS, 0
        while up_to is not None and deleted == MOST_ROWS:
            with self._database.writing() as session:
                deleted = _delete(session, up_to)
            total += deleted
        return total


def _draft(
    actor: str,
    action: str,
    subject: str,
    *,
    before: str | None = None,
    after: str | None = None,
    address: str | None = None,
    request_id: str | None = None,
) -> AuditEntry:
    """An entry of this moment, without its place in the chain."""
    draft = AuditEntry(
        sequence=0,
        at=datetime.now(UTC),
        actor=actor,
        action=action,
        subject=subject,
        before=before,
        after=after,
        address=address,
        request_id=request_id,
        previous_hash="",
        hash="",
    )
    return as_kept(AuditEntryRow, draft)


def _append(session: Session, draft: AuditEntry) -> AuditEntry:
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    newest = select(AuditEntryRow.sequence, AuditEntryRow.hash).order_by(AuditEntryRow.sequence.desc()).limit(1)
    last = session.execute(newest).one_or_none()
    linked = replace(
        draft,
        sequence=1 if last is None else last.sequence + 1,
        previous_hash=GENESIS if last is None else last.hash,
    )
    entry = replace(linked, hash=entry_hash(linked))
    session.add(AuditEntryRow(**values_of(entry)))
    session.flush()
    return entry


def _all(session: Session) -> Iterator[AuditEntry]:
    """Every entry, by sequence; a few at a time are in memory."""
    after = 0
    while True:
        statement = select(AuditEntryRow).where(AuditEntryRow.sequence > after).order_by(AuditEntryRow.sequence)
        rows = session.scalars(statement.limit(MOST_ROWS)).all()
        for row in rows:
            yield value_of(AuditEntry, row)
        if len(rows) < MOST_ROWS:
            return
        after = rows[-1].sequence
        session.expunge_all()
        time.sleep(0)  # SQLite never waits for a socket: other greenlets get their turn here


def _record_pruning(session: Session, before: datetime, actor: str) -> int | None:
    """Write down up to which entry the audit is pruned, unless it is written already; None if nothing is so old.

    Records of earlier prunings alone are not pruned: that would take a record, which takes a record, for ever.
    """
    first_kept = select(AuditEntryRow.sequence).where(AuditEntryRow.at >= before).order_by(AuditEntryRow.sequence)
    keep_from = session.scalar(first_kept.limit(1))
    old = select(AuditEntryRow).order_by(AuditEntryRow.sequence.desc()).limit(1)
    if keep_from is not None:
        old = old.where(AuditEntryRow.sequence < keep_from)
    last = session.scalars(old).one_or_none()
    if last is None:
        return None
    worth_it = select(AuditEntryRow.sequence).where(
        AuditEntryRow.sequence <= last.sequence, AuditEntryRow.action != PRUNED
    )
    if session.scalar(worth_it.limit(1)) is None:
        return None
    recorded = select(AuditEntryRow.sequence).where(
        AuditEntryRow.action == PRUNED, AuditEntryRow.subject == str(last.sequence)
    )
    if session.scalar(recorded.limit(1)) is None:
        gone = {"hash": last.hash, "until": last.at.isoformat()}
        _append(session, _draft(actor, PRUNED, str(last.sequence), after=_json(gone)))
    return last.sequence


def _delete(session: Session, up_to: int) -> int:
    parameters = {"up_to": up_to, "most": MOST_ROWS}
    if session.get_bind().dialect.name != "sqlite":
        call = text("SELECT public.prune_audit_entries(:up_to, CAST(:most AS integer))")
        return int(session.execute(call, parameters).scalar_one())
    statement = (
        "DELETE FROM audit_entries WHERE sequence IN"
        " (SELECT sequence FROM audit_entries WHERE sequence <= :up_to ORDER BY sequence LIMIT :most)"
    )
    return int(session.execute(text(statement), parameters).rowcount)  # type: ignore[attr-defined]  # a CursorResult


def _conditions(wanted: AuditFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.actor is not None:
        yield AuditEntryRow.actor == wanted.actor
    if wanted.action is not None:
        yield AuditEntryRow.action == wanted.action
    if wanted.subject is not None:
        yield AuditEntryRow.subject == wanted.subject
    if wanted.since is not None:
        yield AuditEntryRow.at >= wanted.since
    if wanted.until is not None:
        yield AuditEntryRow.at < wanted.until


def _json(value: Json | None) -> str | None:
    if value is None:
        return None
    try:
        made = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except TypeError as exc:
        raise ValueError(f"what changed cannot be told as JSON: {exc}") from exc
    if len(made) > JSON_LIMIT:
        raise ValueError(f"what changed has {len(made)} characters of JSON, at most {JSON_LIMIT} are kept")
    return storable(made)
