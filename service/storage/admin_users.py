"""Who may enter the dashboard, and as what.

The key decision: names are compared without regard to case or to how a character was typed (NFKC, case folded), so
that two users never look the same. Passwords are hashed by whoever calls: that takes CPU, and does not belong here.
"""

from __future__ import annotations

import secrets
import unicodedata
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import ConflictError
from service.storage.admin_models import AdminUserRow
from service.storage.admin_records import AdminRole, AdminUser
from service.storage.column_types import storable
from service.storage.database import Database
from service.storage.values import value_of

LONGEST_NAME = 200


class UserExistsError(ConflictError):
    """There is a user of this name already, perhaps a disabled one: take that one, or another name."""


class AdminUsers:
    """The table `admin_users`.

    Every method raises ServiceUnavailableError when the database does not answer or is locked for too long. `within`
    is a session of `Database.writing`, for what must come with it or not at all (an audit entry).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        role: AdminRole,
        *,
        password_hash: str | None = None,
        user_id: str | None = None,
        within: Session | None = None,
    ) -> AdminUser:
        """Make a user; without a password's hash, one that comes by OIDC, and whose id its caller knows.

        Raises:
            UserExistsError: there is one of this name, or of this id.
            ValueError: the name is empty or longer than 200 characters.
        """
        now = datetime.now(UTC)
        row = AdminUserRow(
            id=user_id or secrets.token_hex(8),
            name=_comparable(name),
            password_hash=password_hash,
            role=role,
            created_at=now,
            password_changed_at=None if password_hash is None else now,
        )
        with self._database.writing(within) as session:
            try:
                with session.begin_nested():  # the caller's block goes on after a refusal
                    session.add(row)
            except IntegrityError as exc:
                raise UserExistsError(f"There is a user {row.name} already.", code="user_exists") from exc
            return value_of(AdminUser, row)

    def get(self, user_id: str) -> AdminUser | None:
        """The user of this id, disabled or not."""
        with self._database.reading() as session:
            row = session.get(AdminUserRow, user_id)
            return None if row is None else value_of(AdminUser, row)

    def find(self, name: str) -> AdminUser | None:
        """The user of this name, disabled or not."""
        try:
            wanted = select(AdminUserRow).where(AdminUserRow.name == _comparable(name))
        except ValueError:
            return None
        with self._database.reading() as session:
            row = session.scalars(wanted).one_or_none()
            return None if row is None else value_of(AdminUser, row)

    def list_all(self) -> list[AdminUser]:
        """Every user, disabled ones too, by name."""
        with self._database.reading() as session:
            return [
                value_of(AdminUser, row) for row in session.scalars(select(AdminUserRow).order_by(AdminUserRow.name))
            ]

    def hold_all(self, within: Session) -> list[AdminUser]:
        """Every user, and nobody else changes one until `within` has ended: for what depends on who else there is."""
        rows = within.scalars(select(AdminUserRow).order_by(AdminUserRow.id).with_for_update())
        return [value_of(AdminUser, row) for row in rows]

    def set_role(self, user_id: str, role: AdminRole, *, within: Session | None = None) -> bool:
        """Give a user another role. False if there is no such user."""
        return self._change(user_id, within, role=role)

    def set_password_hash(self, user_id: str, password_hash: str, *, within: Session | None = None) -> bool:
        """Give a user another password. False if there is no such user."""
        return self._change(user_id, within, password_hash=password_hash, password_changed_at=datetime.now(UTC))

    def replace_password_hash(self, user_id: str, password_hash: str, *, within: Session | None = None) -> bool:
        """Keep the same password hashed anew, with other parameters. False if there is no such user."""
        return self._change(user_id, within, password_hash=password_hash)

    def disable(self, user_id: str, *, within: Session | None = None) -> bool:
        """Let a user in no more; the first time stands. False if there is no such user."""
        return self._change(user_id, within, disabled_at=datetime.now(UTC))

    def enable(self, user_id: str, *, within: Session | None = None) -> bool:
        """Let a user in again. False if there is no such user."""
        return self._change(user_id, within, disabled_at=None)

    def _change(self, user_id: str, within: Session | None, **values: Any) -> bool:
        with self._database.writing(within) as session:
            row = session.get(AdminUserRow, user_id, with_for_update=True)
            if row is None:
                return False
            if values.get("disabled_at") is not None and row.disabled_at is not None:
                return True
            for name, value in values.items():
                setattr(row, name, value)
            return True


def _comparable(name: str) -> str:
    comparable = unicodedata.normalize("NFKC", storable(name)).strip().casefold()
    if not 0 < len(comparable) <= LONGEST_NAME:
        raise ValueError(f"a user's name has 1 to {LONGEST_NAME} characters, not {len(comparable)}")
    return comparable
