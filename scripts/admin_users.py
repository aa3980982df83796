"""`python -m scripts.admin_users create|list|reset-password|disable|enable`: who may sign in to the dashboard.

The key decision: a password is never an argument, which others could see among the processes. It is generated and shown
once, or read from standard input (`--password-stdin`). Whatever is changed is in the audit, as done on the console.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable

import redis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from dashboard.access.password_rules import check_password
from dashboard.access.passwords import generate, hash_now
from dashboard.access.sessions import Sessions
from dashboard.settings import DashboardSettings, load_dashboard_settings
from service.errors import ConfigurationError, RequestError
from service.storage import (
    AdminRole,
    AdminUser,
    AdminUsers,
    AuditLog,
    Database,
    check_schema,
    database_url,
    open_database,
)

BUSY_SECONDS = 5.0
REDIS_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_dashboard_settings()
        database = open_database(database_url(settings), busy_seconds=BUSY_SECONDS)
        try:
            check_schema(database)
            return _Console(database, settings).do(options)
        finally:
            database.close()
    except (ConfigurationError, RequestError, ValueError) as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code if isinstance(exc, ConfigurationError) else 1
    except SQLAlchemyError as exc:
        print(f"The database refused: {str(getattr(exc, 'orig', exc)).partition(chr(10))[0]}", file=sys.stderr)
    return 1


class _Console:
    def __init__(self, database: Database, settings: DashboardSettings) -> None:
        self._database = database
        self._settings = settings
        self._users = AdminUsers(database)
        self._audit = AuditLog(database)

    def do(self, options: argparse.Namespace) -> int:
        if options.command == "list":
            for each in self._users.list_all():
                print(f"{each.id}  {each.role.value:<8}  {each.created_at:%Y-%m-%d}  {_state(each):<20}  {each.name}")
            return 0
        if options.command == "create":
            return self._create(options.name, AdminRole(options.role), reads=options.password_stdin)
        user = self._users.find(options.name)
        if user is None:
            print(f"There is no user {options.name}.", file=sys.stderr)
            return 1
        if options.command == "reset-password":
            return self._reset_password(user, reads=options.password_stdin)
        return self._enable(user) if options.command == "enable" else self._disable(user)

    def _create(self, name: str, role: AdminRole, *, reads: bool) -> int:
        password = _password(name, reads=reads)
        hashed = hash_now(password)
        with self._database.writing() as session:
            user = self._users.create(name, role, password_hash=hashed, within=session)
            self._note("user.create", user, session, after={"role": role.value})
        print(f"{user.name} may sign in as {role.value}.")
        _show(password, reads=reads)
        return 0

    def _reset_password(self, user: AdminUser, *, reads: bool) -> int:
        password = _password(user.name, reads=reads)
        hashed = hash_now(password)
        self._change(
            "user.password", user, lambda session: self._users.set_password_hash(user.id, hashed, within=session)
        )
        print(f"{user.name} has another password.")
        _show(password, reads=reads)
        self._end_sessions(user)
        return 0

    def _disable(self, user: AdminUser) -> int:
        self._change("user.disable", user, lambda session: self._users.disable(user.id, within=session))
        print(f"{user.name} may sign in no more.")
        self._end_sessions(user)
        return 0

    def _enable(self, user: AdminUser) -> int:
        self._change("user.enable", user, lambda session: self._users.enable(user.id, within=session))
        print(f"{user.name} may sign in again.")
        return 0

    def _change(self, action: str, user: AdminUser, change: Callable[[Session], bool]) -> None:
        with self._database.writing() as session:
            change(session)
            self._note(action, user, session)

    def _note(self, action: str, user: AdminUser, session: Session, after: dict[str, str] | None = None) -> None:
        self._audit.append(
            actor=f"console:{getpass.getuser()}", action=action, subject=user.name, after=after, within=session
        )

    def _end_sessions(self, user: AdminUser) -> None:
        """They would end by themselves, two seconds after the database was changed."""
        settings, store = self._settings, redis.Redis.from_url(self._settings.redis_url, socket_timeout=REDIS_SECONDS)
        sessions = Sessions(
            store, idle_seconds=settings.dashboard_idle_seconds, whole_seconds=settings.dashboard_session_seconds
        )
        try:
            ended = sessions.revoke_all(user.id)
        except redis.RedisError as exc:
            print(f"Redis does not answer ({type(exc).__name__}); open sessions end by themselves within seconds.")
        else:
            print(f"Sessions that ended: {ended}.")
        finally:
            store.close()


def _password(name: str, *, reads: bool) -> str:
    if not reads:
        return generate()
    password = sys.stdin.readline().rstrip("\r\n")
    check_password(password, name=name)
    return password


def _show(password: str, *, reads: bool) -> None:
    if not reads:
        print(f"Password: {password}\nIt is shown this once; change it after signing in.")


def _state(user: AdminUser) -> str:
    if user.disabled_at is not None:
        return f"disabled {user.disabled_at:%Y-%m-%d}"
    return "good" if user.password_hash is not None else "without a password"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.admin_users", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a user; the password is generated and shown once")
    reset = commands.add_parser("reset-password", help="give a user another password, and end their sessions")
    for command in (create, reset):
        command.add_argument(
            "--password-stdin", action="store_true", help="read the password's line from standard input"
        )
    create.add_argument("--role", choices=[role.value for role in AdminRole], default=AdminRole.VIEWER.value)
    commands.add_parser("list", help="show every user: id, role, since when, state, name")
    disable = commands.add_parser("disable", help="let a user in no more, and end their sessions")
    enable = commands.add_parser("enable", help="let a user in again")
    for command in (create, reset, disable, enable):
        command.add_argument("name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
