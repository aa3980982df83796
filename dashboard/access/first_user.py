"""The way in when there is none yet: nobody is let in by a password that everybody knows.

The key decision: there is no default password. `make run` makes one user with a password that is shown once; elsewhere
an operator does (`python -m scripts.admin_users`), and without one the dashboard does not start.
"""

from __future__ import annotations

from dashboard.access.passwords import generate, hash_now
from service.storage import AdminRole, AdminUsers

FIRST_USER = "admin"
HOW_TO_CREATE = "python -m scripts.admin_users create NAME --role admin"


def first_admin(users: AdminUsers) -> str | None:
    """Make the user `admin` if there is no user at all; the result is the password, None if there are users."""
    if users.list_all():
        return None
    password = generate()
    users.create(FIRST_USER, AdminRole.ADMIN, password_hash=hash_now(password))
    return password


def somebody_can_enter(users: AdminUsers, *, has_provider: bool = False) -> bool:
    """Tell whether there is a user who is not disabled and has a password, or a provider that says who may enter."""
    return has_provider or any(user.is_enabled and user.password_hash is not None for user in users.list_all())
