"""Who asks: the person behind a request, as the guard has found them."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.access.permissions import GRANTED, Permission
from service.storage import AdminUser


@dataclass(frozen=True)
class SignedIn:
    """A user with a session. `session_id` is the session's public name, of no use as a cookie.

    `confirmed_at`: when the password was shown again last (seconds since 1970); None: not, or too long ago.
    """

    user: AdminUser
    session_id: str
    csrf_token: str
    confirmed_at: float | None
    address: str
    request_id: str

    def may(self, permission: Permission) -> bool:
        """Tell whether the user's role allows it."""
        return permission in GRANTED[self.user.role]
