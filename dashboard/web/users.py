"""The users of the dashboard: who may enter, and as what.

The key decisions:

* nobody changes their own role, state or password here: their own account is a page of its own, and an admin who locks
  themselves out does so by mistake;
* whoever takes a right away holds all users while looking whether an admin is left, so two requests at once cannot
  take away the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from dashboard.access.confirmation import require_confirmed
from dashboard.access.oidc import is_from_provider
from dashboard.web.answers import fields, json_answer, page
from dashboard.web.audit_trail import note
from dashboard.web.context import parts, who
from dashboard.web.new_password import chosen_password
from dashboard.words.said import Said
from service.errors import ConflictError, NotAllowedError, NotFoundError, ServiceUnavailableError, UnprocessableError
from service.storage import AdminRole, AdminUser, UserExistsError
from service.storage.admin_users import LONGEST_NAME


@dataclass(frozen=True)
class UserSeen:
    """A user with what the sessions know; None: Redis does not answer. Times are Unix times."""

    user: AdminUser
    sessions: int | None
    seen_at: float | None


def blueprint() -> Blueprint:
    routes = Blueprint("users", __name__)
    routes.get("/users")(show)
    routes.get("/api/users")(listed)
    routes.post("/api/users")(create)
    routes.post("/api/users/<user_id>")(change)
    routes.post("/api/users/<user_id>/password")(reset_password)
    routes.post("/api/users/<user_id>/sessions/revoke")(revoke_sessions)
    return routes


def show() -> ResponseReturnValue:
    """The page."""
    seen: list[UserSeen] | None
    try:
        seen = _seen()
    except ServiceUnavailableError:
        seen = None
    return page(
        "users.html",
        "users.title",
        users=seen or [],
        unavailable=seen is None,
        roles=list(AdminRole),
        comes_by_provider=is_from_provider,
    )


def listed() -> ResponseReturnValue:
    """Every user as JSON."""
    return json_answer({"users": [_told(each) for each in _seen()]})


def create() -> ResponseReturnValue:
    """Make a user, with the password that is given or with one that the answer shows this once."""
    require_confirmed()
    body = fields()
    name, role = _name(body), _role(body.get("role"))
    password, shown = _password(body, name)
    hashed = parts().passwords.hash(password)
    with parts().database.writing() as session:
        user = _made(name, role, hashed, within=session)
        note("user.create", user.name, after=_noted(user), within=session)
    return json_answer({"user": _told(UserSeen(user, 0, None)), "password": shown}, 201)


def change(user_id: str) -> ResponseReturnValue:
    """Give another role, or let in no more or again."""
    require_confirmed()
    _not_oneself(user_id)
    body = fields()
    role = _role(body["role"]) if "role" in body else None
    enabled = _enabled(body)
    with parts().database.writing() as session:
        everybody = parts().users.hold_all(session)
        before = _among(everybody, user_id)
        if role is not None:
            _not_by_provider(before)
        role = role or before.role
        enabled = before.is_enabled if enabled is None else enabled
        _leave_an_admin(everybody, before, is_admin=enabled and role is AdminRole.ADMIN)
        after = {"role": role.value, "enabled": enabled}
        for action in _make_it_so(before, role, enabled=enabled, within=session):
            note(action, before.name, before=_noted(before), after=after, within=session)
    parts().known_users.forget(user_id)
    ended = None if enabled else _end_sessions(user_id)
    return json_answer({"id": user_id, **after, "sessions_ended": ended})


def reset_password(user_id: str) -> ResponseReturnValue:
    """Give a user another password, and end what they began with the old one."""
    require_confirmed()
    _not_oneself(user_id)
    user = _known(user_id)
    _not_by_provider(user)
    password, shown = _password(fields(), user.name)
    hashed = parts().passwords.hash(password)
    with parts().database.writing() as session:
        parts().users.set_password_hash(user_id, hashed, within=session)
        note("user.password", user.name, within=session)
    parts().known_users.forget(user_id)
    return json_answer({"id": user_id, "password": shown, "sessions_ended": _end_sessions(user_id)})


def revoke_sessions(user_id: str) -> ResponseReturnValue:
    """End all sessions of a user, who may sign in again."""
    require_confirmed()
    _not_oneself(user_id)
    user = _known(user_id)
    note("user.sessions_revoke", user.name)
    return json_answer({"id": user_id, "sessions_ended": parts().sessions.revoke_all(user_id)})


def _made(name: str, role: AdminRole, password_hash: str, *, within: Session) -> AdminUser:
    try:
        return parts().users.create(name, role, password_hash=password_hash, within=within)
    except UserExistsError as exc:
        raise UserExistsError(Said("users.error.exists"), code=exc.code) from exc
    except ValueError as exc:  # some characters are more than one when they are made comparable
        raise UnprocessableError(Said("users.error.name", longest=LONGEST_NAME), param="name") from exc


def _seen() -> list[UserSeen]:
    return [UserSeen(user, *_sessions_of(user)) for user in parts().users.list_all()]


def _sessions_of(user: AdminUser) -> tuple[int | None, float | None]:
    try:
        sessions = parts().sessions.of_user(user.id)
    except redis.RedisError:
        return None, None
    return len(sessions), max((session.seen_at for session in sessions), default=None)


def _end_sessions(user_id: str) -> int | None:
    """How many ended; None: Redis does not answer, and then nobody has a session that works."""
    try:
        return parts().sessions.revoke_all(user_id)
    except redis.RedisError:
        return None


def _make_it_so(user: AdminUser, role: AdminRole, *, enabled: bool, within: Session) -> list[str]:
    """Change what differs; the result are the actions for the audit, called as `scripts.admin_users` calls them."""
    actions = []
    if role is not user.role:
        parts().users.set_role(user.id, role, within=within)
        actions.append("user.role")
    if enabled and not user.is_enabled:
        parts().users.enable(user.id, within=within)
        actions.append("user.enable")
    elif user.is_enabled and not enabled:
        parts().users.disable(user.id, within=within)
        actions.append("user.disable")
    return actions


def _leave_an_admin(everybody: list[AdminUser], changed: AdminUser, *, is_admin: bool) -> None:
    others = [user for user in everybody if user.id != changed.id and _can_administer(user)]
    if not is_admin and _can_administer(changed) and not others:
        raise ConflictError(Said("users.error.last_admin", name=changed.name), code="last_admin")


def _can_administer(user: AdminUser) -> bool:
    can_sign_in = user.password_hash is not None or (is_from_provider(user) and parts().provider is not None)
    return user.is_enabled and user.role is AdminRole.ADMIN and can_sign_in


def _not_oneself(user_id: str) -> None:
    if user_id == who().user.id:
        raise NotAllowedError(Said("users.error.own_user"), code="own_user")


def _not_by_provider(user: AdminUser) -> None:
    if is_from_provider(user):
        raise ConflictError(Said("users.error.by_provider"), code="by_provider")


def _known(user_id: str) -> AdminUser:
    return _among([user for user in (parts().users.get(user_id),) if user is not None], user_id)


def _among(users: list[AdminUser], user_id: str) -> AdminUser:
    found = next((user for user in users if user.id == user_id), None)
    if found is None:
        raise NotFoundError(Said("users.error.not_found"), code="user_not_found")
    return found


def _name(body: Mapping[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or not name.strip().isprintable():
        raise UnprocessableError(Said("users.error.name", longest=LONGEST_NAME), param="name")
    return name.strip()


def _role(value: Any) -> AdminRole:
    try:
        return AdminRole(value)
    except ValueError:
        raise UnprocessableError(Said("users.error.role", roles=", ".join(AdminRole)), param="role") from None


def _enabled(body: Mapping[str, Any]) -> bool | None:
    enabled = body.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise UnprocessableError(Said("errors.truth", name="enabled"), param="enabled")
    return enabled


def _password(body: Mapping[str, Any], name: str) -> tuple[str, str | None]:
    """The password that is wanted, or one that we make; the second value is what the answer may show."""
    given = body.get("password")
    if given is None or given == "":
        made = parts().passwords.generate()
        return made, made
    return chosen_password(body, name=name), None


def _noted(user: AdminUser) -> dict[str, Any]:
    return {"role": user.role.value, "enabled": user.is_enabled}


def _told(seen: UserSeen) -> dict[str, Any]:
    user = seen.user
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role.value,
        "enabled": user.is_enabled,
        "created_at": user.created_at.isoformat(),
        "disabled_at": None if user.disabled_at is None else user.disabled_at.isoformat(),
        "by_provider": is_from_provider(user),
        "password_changed_at": None if user.password_changed_at is None else user.password_changed_at.isoformat(),
        "sessions": seen.sessions,
        "seen_at": seen.seen_at,
        "is_you": user.id == who().user.id,
    }
