"""Users, overrides and audit entries as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Capability(StrEnum):
    """What an override switches."""

    CONVERSATION = "conversation"
    SPEECH = "speech"


class OverrideMode(StrEnum):
    """What an admin may ask for: nothing, only the primary, only the fallback, or that it says so and ends."""

    AUTO = "auto"
    FORCED_PRIMARY = "forced_primary"
    FORCED_FALLBACK = "forced_fallback"
    DISABLED = "disabled"


class AdminRole(StrEnum):
    """What a user of the dashboard may do: everything, everything but users and keys, or look."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"


@dataclass(frozen=True)
class Override:
    """An admin's switch. Version 0 has never been set; `set_at` is None then and only then."""

    capability: Capability
    mode: OverrideMode
    version: int
    reason: str = ""
    author: str = ""
    set_at: datetime | None = None
    expires_at: datetime | None = None

    def mode_at(self, moment: datetime) -> OverrideMode:
        """The mode that holds at `moment`: `auto` again once it has expired."""
        over = self.expires_at is not None and moment >= self.expires_at
        return OverrideMode.AUTO if over else self.mode


@dataclass(frozen=True)
class AuditEntry:
    """A change that somebody made. `before` and `after` are JSON texts."""

    sequence: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: str | None
    after: str | None
    address: str | None
    request_id: str | None
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class AuditFilter:
    """Which entries to list: those that meet all that is given. `since` is included, `until` is not."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class AdminUser:
    """A user of the dashboard. `password_hash` is None for one that comes by OIDC."""

    id: str
    name: str
    role: AdminRole
    created_at: datetime
    disabled_at: datetime | None = None
    password_changed_at: datetime | None = None
    password_hash: str | None = field(default=None, repr=False)

    @property
    def is_enabled(self) -> bool:
        return self.disabled_at is None
