"""Keys of integrators: made once, shown once, kept as a digest.

The key decision: a key is 256 random bits, so a plain SHA-256 is as safe as a slow password hash here and costs a
microsecond instead of a tenth of a second of everybody's time in the worker; and finding it by the digest's index
tells an attacker's clock nothing about the key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import ServiceUnavailableError
from service.storage.api_key_limits import (
    NO_LIMITS,
    ApiKeyLimits,
    add_limits,
    check_limits,
    read_with_limits,
    replace_limits,
)
from service.storage.database import Database
from service.storage.models import ApiKeyRow

PREFIX = "vocero_"
KEY_BYTES = 32
LONGEST_KEY = 128
REMEMBER_SECONDS = 5.0
MAX_REMEMBERED = 1024
LONGEST_NAME = 200


@dataclass(frozen=True)
class ApiKey:
    """What may be known of a key: never the key itself. `last_characters` are its last four."""

    id: str
    name: str
    last_characters: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    limits: ApiKeyLimits = NO_LIMITS

    def is_good(self, moment: datetime) -> bool:
        """Tell whether the key opens anything at `moment`."""
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


@dataclass(frozen=True)
class KeyStanding:
    """Whether what a key has given away opens anything yet, and the key as it is now; None: that is not known."""

    is_good: bool
    key: ApiKey | None = None


class ApiKeys:
    """The `api_keys` table.

    A key that was found is remembered for 5 seconds: looking it up took a quarter of the CPU of a speech request
    (docs/performance.md). So what another process has changed, a revocation or other limits, holds 5 seconds later at
    the latest, or as soon as `forget` is called.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: dict[str, tuple[float, ApiKey]] = {}  # by digest: until when (monotonic), and the key
        self._standing: dict[str, tuple[float, KeyStanding]] = {}  # by id: until when (monotonic), and how it stands
        self._forgotten = 0

    def create(
        self,
        name: str,
        *,
        expires_at: datetime | None = None,
        limits: ApiKeyLimits = NO_LIMITS,
        within: Session | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key called `name`; the second value is the key, which cannot be had again.

        `within` is a session of `Database.writing`, for what must come with it or not at all (an audit entry).

        Raises:
            ValueError: the name is empty or longer than 200 characters, or the limits are of no use.
            SchemaError: there are limits, and the database has no table for them yet.
        """
        name = name.strip()
        if not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(f"a key's name has 1 to {LONGEST_NAME} characters, not {len(name)}")
        check_limits(limits)
        key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
        row = ApiKeyRow(
            id=secrets.token_hex(8),
            name=name,
            key_hash=_digest(key),
            last_characters=key[-4:],
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        with self._database.writing(within) as session:
            session.add(row)
            session.flush()
            add_limits(self._database, session, row.id, limits)
            return _value(row, limits), key

    def verify(self, key: str) -> ApiKey | None:
        """Find the key that `key` is, unless it is unknown, expired or revoked."""
        if not key.startswith(PREFIX) or len(key) > LONGEST_KEY:
            return None
        found = self._find(_digest(key))
        return found if found is not None and found.is_good(datetime.now(UTC)) else None

    def _find(self, digest: str) -> ApiKey | None:
        until, found = self._remembered.get(digest, (0.0, None))
        if found is not None and time.monotonic() < until:
            return found
        forgotten = self._forgotten
        rows = read_with_limits(self._database, select(ApiKeyRow).where(ApiKeyRow.key_hash == digest))
        if not rows or not hmac.compare_digest(rows[0][0].key_hash, digest):
            self._remembered.pop(digest, None)
            return None
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        found = _value(*rows[0])
        if forgotten == self._forgotten:  # else it was read before what was to be noticed
            self._remembered[digest] = (time.monotonic() + REMEMBER_SECONDS, found)
        return found

    def standing(self, key_id: str) -> KeyStanding:
        """Tell how it stands with what the key has given away, a signed URL; remembered as `verify` does.

        A database that does not answer is no reason to refuse: the key was good when the URL was made, minutes ago.
        """
        until, known = self._standing.get(key_id, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        forgotten = self._forgotten
        try:
            rows = read_with_limits(self._database, select(ApiKeyRow).where(ApiKeyRow.id == key_id))
            key = _value(*rows[0]) if rows else None
            known = KeyStanding(key is not None and key.is_good(datetime.now(UTC)), key)
        except ServiceUnavailableError:
            known = KeyStanding(is_good=True)
        if len(self._standing) >= MAX_REMEMBERED:
            self._standing.clear()
        if forgotten == self._forgotten:
            self._standing[key_id] = (time.monotonic() + REMEMBER_SECONDS, known)
        return known

    def change_limits(
        self, key_id: str, limits: ApiKeyLimits, *, within: Session | None = None
    ) -> tuple[ApiKey, ApiKey] | None:
        """Let `limits` hold for the key in place of those that it has; what it was before, and what it is.

        None: no key of this id opens anything, so there is nothing to limit. `within` is as for `create`.

        Raises:
            ValueError: the limits are of no use.
            SchemaError: there are limits, and the database has no table for them yet.
        """
        check_limits(limits)
        with self._database.writing(within) as session:
            # Locked, because a key without limits has no row there that two who change it at once could meet at.
            row = session.get(ApiKeyRow, key_id, with_for_update=True, populate_existing=True)
            if row is None or not _value(row, NO_LIMITS).is_good(datetime.now(UTC)):
                return None
            before = replace_limits(self._database, session, key_id, limits)
            changed = _value(row, before), _value(row, limits)
        self.forget()
        return changed

    def forget(self) -> None:
        """Look every key up again: another process has revoked one, or changed what it may do."""
        self._forgotten += 1
        self._remembered.clear()
        self._standing.clear()

    def revoke(self, key_id: str, *, within: Session | None = None) -> bool:
        """End the key for good; False if there is none with this id. A second time changes nothing."""
        with self._database.writing(within) as session:
            row = session.get(ApiKeyRow, key_id)
            if row is None:
                return False
            row.revoked_at = row.revoked_at or datetime.now(UTC)
        self.forget()
        return True

    def list_all(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        rows = read_with_limits(self._database, select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id))
        return [_value(row, limits) for row, limits in rows]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _value(row: ApiKeyRow, limits: ApiKeyLimits) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        last_characters=row.last_characters,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        limits=limits,
    )
