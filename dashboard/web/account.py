"""One's own account: the password, and where one is signed in.

The key decision: whoever changes their password goes on in a new session, and every other one of theirs ends; a stolen
cookie is worth nothing from that moment on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from dashboard.access.oidc import is_from_provider
from dashboard.access.password_rules import LONGEST
from dashboard.access.sessions import Session
from dashboard.sight.browsers import browser_name
from dashboard.web.answers import fields, json_answer, page
from dashboard.web.audit_trail import note
from dashboard.web.context import parts, who
from dashboard.web.new_password import chosen_password
from dashboard.words.said import Said
from service.errors import ConflictError, NotFoundError, UnprocessableError


@dataclass(frozen=True)
class SessionSeen:
    """A session as its user sees it."""

    session: Session
    browser: str
    is_this: bool


def blueprint() -> Blueprint:
    routes = Blueprint("account", __name__)
    routes.get("/account")(show)
    routes.get("/api/account")(told)
    routes.post("/api/account/password")(change_password)
    routes.post("/api/account/sessions/<session_id>/revoke")(revoke_session)
    routes.post("/api/account/sessions/revoke-all")(revoke_others)
    return routes


def show() -> ResponseReturnValue:
    """The page."""
    return page("account.html", "account.title", sessions=_sessions())


def told() -> ResponseReturnValue:
    """The same as JSON."""
    user = who().user
    return json_answer(
        {
            "id": user.id,
            "name": user.name,
            "role": user.role.value,
            "created_at": user.created_at.isoformat(),
            "password_changed_at": None if user.password_changed_at is None else user.password_changed_at.isoformat(),
            "confirmed_at": who().confirmed_at,
            "sessions": [_told(each) for each in _sessions()],
        }
    )


def change_password() -> ResponseReturnValue:
    """Take another password, after the one of now was shown; it goes on in a new session, and the others end."""
    if is_from_provider(who().user):
        raise ConflictError(Said("account.error.by_provider"), code="by_provider")
    body, name, address = fields(), who().user.name, who().address
    current, wanted = _current(body), chosen_password(body, name=name)
    parts().throttle.take(name, address)
    user = parts().users.get(who().user.id)
    if user is None or not parts().passwords.matches(user.password_hash, current):
        failures = parts().throttle.worth_noting(name, address)
        if failures is not None:
            note("account.password_refused", name, after={"failures": failures})
        parts().throttle.refused(name, address)
        raise UnprocessableError(Said("account.error.current"), param="current")
    parts().throttle.succeeded(name, address)
    hashed = parts().passwords.hash(wanted)
    with parts().database.writing() as session:
        parts().users.set_password_hash(user.id, hashed, within=session)
        note("account.password", name, within=session)
    return _in_a_new_session(user.id)


def revoke_session(session_id: str) -> ResponseReturnValue:
    """End one of one's own sessions."""
    if not parts().sessions.revoke(session_id, who().user.id):
        raise NotFoundError(Said("account.error.session"), code="session_not_found")
    note("account.session_revoke", who().user.name, after={"session": session_id[:8]})
    return json_answer({"sessions_ended": 1})


def revoke_others() -> ResponseReturnValue:
    """End all of one's own sessions but this one."""
    ended = parts().sessions.revoke_all(who().user.id, but=who().session_id)
    note("account.sessions_revoke", who().user.name, after={"ended": ended})
    return json_answer({"sessions_ended": ended})


def _in_a_new_session(user_id: str) -> ResponseReturnValue:
    parts().known_users.forget(user_id)
    user = parts().users.get(user_id)
    if user is None:
        raise NotFoundError(Said("users.error.not_found"), code="user_not_found")
    ended = parts().sessions.revoke_all(user_id)
    cookie, session = parts().sessions.begin(user, address=who().address, agent=request.user_agent.string)
    answer = json_answer({"sessions_ended": max(0, ended - 1), "csrf_token": session.csrf_token})
    parts().cookies.set_session(answer, cookie)
    return answer


def _sessions() -> list[SessionSeen]:
    here = who().session_id
    found = [
        SessionSeen(each, browser_name(each.agent), each.id == here) for each in parts().sessions.of_user(who().user.id)
    ]
    return sorted(found, key=lambda each: (not each.is_this, -each.session.seen_at))


def _current(body: dict[str, Any]) -> str:
    value = body.get("current")
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        raise UnprocessableError(Said("account.error.current"), param="current")
    return value


def _told(seen: SessionSeen) -> dict[str, Any]:
    session = seen.session
    return {
        "id": session.id,
        "is_this": seen.is_this,
        "began_at": session.began_at,
        "seen_at": session.seen_at,
        "address": session.address,
        "agent": session.agent,
    }
