"""Which release ran with which schema: what `--release 1.4.0` of a rollback is looked up in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from service.storage.conversation_models import DeploymentRow
from service.storage.database import Database
from service.storage.values import value_of


@dataclass(frozen=True)
class Deployment:
    """`release` ran `python -m migrations upgrade` on `node` and had schema `revision` from then on."""

    release: str
    revision: str
    node: str
    at: datetime


class Deployments:
    """The table `deployments`. Every method raises ServiceUnavailableError when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, *, release: str, revision: str, node: str) -> bool:
        """Write a deployment down. False: the newest one is the same release and schema, so nothing is new."""
        newest = select(DeploymentRow).order_by(DeploymentRow.at.desc(), DeploymentRow.id.desc()).limit(1)
        with self._database.writing() as session:
            last = session.scalars(newest).one_or_none()
            if last is not None and (last.release, last.revision) == (release, revision):
                return False
            session.add(
                DeploymentRow(
                    id=secrets.token_hex(8), release=release, revision=revision, node=node, at=datetime.now(UTC)
                )
            )
        return True

    def revision_of(self, release: str) -> str | None:
        """The schema that `release` had last; None if it was never deployed here."""
        mine = select(DeploymentRow.revision).where(DeploymentRow.release == release)
        with self._database.reading() as session:
            return session.scalars(mine.order_by(DeploymentRow.at.desc(), DeploymentRow.id.desc()).limit(1)).first()

    def list_all(self) -> list[Deployment]:
        """Every deployment, oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(select(DeploymentRow).order_by(DeploymentRow.at, DeploymentRow.id))
            return [value_of(Deployment, row) for row in rows]
