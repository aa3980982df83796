"""Jobs that run on one node at a time: a lease in the database.

The key decision: a lease ends by the database's clock and not by a node's, and a holder that dies simply does not
prolong it. So no node has to be told about another, and none that has a wrong clock takes what is not free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, select, update
from sqlalchemy.orm import Session

from service.storage.clock import database_now
from service.storage.database import Database
from service.storage.erasure_models import JobRunRow
from service.storage.erasure_records import JobRun
from service.storage.upserts import affected, insert_or_update


class JobRuns:
    """The table `job_runs`.

    A `holder` is a name that no other run has, such as node, process and a random part. Every method raises
    ServiceUnavailableError when the database does not answer or is locked for too long; repeating the call is safe.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, holder: str, *, lease_seconds: float) -> bool:
        """Take the job for `lease_seconds`, unless another has it. True if it is this holder's now."""
        with self._database.writing() as session:
            now = database_now(session)
            row = {
                "name": name,
                "holder": holder,
                "lease_until": now + timedelta(seconds=lease_seconds),
                "started_at": now,
            }
            taken = insert_or_update(
                session,
                JobRunRow,
                [row],
                update=lambda new: {
                    "started_at": case((JobRunRow.holder == holder, JobRunRow.started_at), else_=new.started_at),
                    "holder": new.holder,
                    "lease_until": new.lease_until,
                },
                where=lambda _: or_(
                    JobRunRow.lease_until.is_(None), JobRunRow.lease_until <= now, JobRunRow.holder == holder
                ),
            )
            return taken == 1

    def prolong(self, name: str, holder: str, *, lease_seconds: float) -> bool:
        """Hold the job for `lease_seconds` more from now on. False: it is another's by now, or free: stop at once."""
        with self._database.writing() as session:
            until = database_now(session) + timedelta(seconds=lease_seconds)
            return (
                affected(session, update(JobRunRow).where(_held(session, name, holder)).values(lease_until=until)) == 1
            )

    def finish(self, name: str, holder: str, result: Mapping[str, Any]) -> bool:
        """Note that the run came to its end with `result` (JSON), and let go of the job.

        False: another has taken it since, and nothing is noted.
        """
        with self._database.writing() as session:
            return self._let_go(session, name, holder, finished_at=database_now(session), result=json.dumps(result))

    def release(self, name: str, holder: str) -> bool:
        """Let go of the job without an end, so that another may try at once. False: another has taken it since."""
        with self._database.writing() as session:
            return self._let_go(session, name, holder)

    def last(self, name: str) -> JobRun | None:
        """The job's state; None if it never ran."""
        with self._database.reading() as session:
            row = session.get(JobRunRow, name)
            return None if row is None else _job_run(row)

    def list_all(self) -> list[JobRun]:
        """Every job that ever ran, by name."""
        with self._database.reading() as session:
            return [_job_run(row) for row in session.scalars(select(JobRunRow).order_by(JobRunRow.name))]

    def _let_go(self, session: Session, name: str, holder: str, **more: Any) -> bool:
        mine = and_(JobRunRow.name == name, JobRunRow.holder == holder)  # late, but nobody else has taken it
        return affected(session, update(JobRunRow).where(mine).values(holder=None, lease_until=None, **more)) == 1


def _held(session: Session, name: str, holder: str) -> ColumnElement[bool]:
    return and_(JobRunRow.name == name, JobRunRow.holder == holder, JobRunRow.lease_until > database_now(session))


def _job_run(row: JobRunRow) -> JobRun:
    return JobRun(
        name=row.name,
        holder=row.holder,
        lease_until=row.lease_until,
        started_at=row.started_at,
        finished_at=row.finished_at,
        result=None if row.result is None else json.loads(row.result),
    )
