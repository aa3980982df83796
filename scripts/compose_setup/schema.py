"""The database's schema, the service's rights in it, and the first admin: what `migrate` does before anybody connects.

The key decision: it works as the tables' owner, which the service is not (`migrations/grants.py`).
"""

from __future__ import annotations

from pathlib import Path

from dashboard.access.first_user import FIRST_USER
from dashboard.access.passwords import hash_now
from migrations.__main__ import main as migrations
from service.config import load_settings
from service.storage import AdminRole, AdminUsers, database_url, open_database
from service.variables import secrets_folder

SERVICE_ROLE = "vocero"
BUSY_SECONDS = 5.0


def bring_up_to_date() -> int:
    """Do all three, each of which changes nothing the second time; the result is the exit code."""
    code = migrations(["upgrade"]) or migrations(["grant", SERVICE_ROLE])
    if code == 0:
        _make_first_admin()
    return code


def _make_first_admin() -> None:
    folder = secrets_folder()
    password = (folder or Path()) / "admin_password"
    database = open_database(database_url(load_settings()), busy_seconds=BUSY_SECONDS)
    try:
        users = AdminUsers(database)
        if users.list_all():
            return
        users.create(FIRST_USER, AdminRole.ADMIN, password_hash=hash_now(password.read_text()))
        print(f"user: {FIRST_USER} may sign in to the dashboard")
    finally:
        database.close()
