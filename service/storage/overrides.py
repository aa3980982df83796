"""The admins' switches, one for each capability.

The key decision: a switch is set by whoever saw the newest one. Two admins that press at once do not overwrite each
other unseen: the second is told what the first did.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.errors import ConflictError
from service.storage.admin_models import OverrideRow
from service.storage.admin_records import Capability, Override, OverrideMode
from service.storage.database import Database
from service.storage.upserts import insert_or_ignore
from service.storage.values import as_kept, value_of, values_of


class OverrideConflictError(ConflictError):
    """Somebody else has set the override since it was read; `current` is what they made of it."""

    def __init__(self, current: Override) -> None:
        super().__init__(
            f"The override of {current.capability} has version {current.version} by now, set by {current.author}.",
            code="version_conflict",
        )
        self.current = current


class Overrides:
    """The table `overrides`. Raises ServiceUnavailableError when the database does not answer or is locked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, capability: Capability) -> Override:
        """The override of `capability`; version 0 and `auto` if it has never been set. It may have expired."""
        with self._database.reading() as session:
            return _found(session, capability)

    def list_all(self) -> list[Override]:
        """The override of each capability."""
        with self._database.reading() as session:
            return [_found(session, capability) for capability in Capability]

    def set(
        self,
        capability: Capability,
        mode: OverrideMode,
        *,
        reason: str,
        author: str,
        expires_at: datetime | None,
        expected_version: int,
        within: Session | None = None,
    ) -> Override:
        """Set the override if its version is still `expected_version`; the result has the version after that.

        A repetition of what was done is answered as it was the first time. `within` is a session of
        `Database.writing`, for what must come with it or not at all (an audit entry).

        Raises:
            OverrideConflictError: it has another version.
        """
        wanted = Override(
            capability,
            mode,
            version=expected_version + 1,
            reason=reason,
            author=author,
            set_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        with self._database.writing(within) as session:
            if expected_version == 0:
                insert_or_ignore(session, OverrideRow, values_of(wanted))
            else:
                mine = (OverrideRow.capability == capability, OverrideRow.version == expected_version)
                session.execute(update(OverrideRow).where(*mine).values(**values_of(wanted)))
            current = _found(session, capability)
            if replace(current, set_at=wanted.set_at) != as_kept(OverrideRow, wanted):
                raise OverrideConflictError(current)
            return current


def _found(session: Session, capability: Capability) -> Override:
    newest = select(OverrideRow).where(OverrideRow.capability == capability)
    row = session.scalars(newest.execution_options(populate_existing=True)).one_or_none()
    return Override(capability, OverrideMode.AUTO, 0) if row is None else value_of(Override, row)
