"""The way in and out: signing in, showing the password once more, signing out.

The key decision: whoever cannot sign in is told the same, in the same time, whatever the reason: no such name, another
password, a disabled user. Only waiting is told apart, because it says nothing about any of these.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

import structlog
from flask import Blueprint, Response, g, request

from dashboard.access.client_address import shown_address
from dashboard.access.guard import CSRF_FIELD, CSRF_HEADER
from dashboard.access.next_page import HOME, next_page
from dashboard.access.sessions import Session
from dashboard.web.answers import fields, json_answer, page, redirected
from dashboard.web.audit_trail import note, note_sign_in
from dashboard.web.context import parts, who
from dashboard.web.looks import language
from dashboard.words import translate
from dashboard.words.said import Said
from service.errors import NotAllowedError, NotAuthenticatedError, RequestError, TooManyRequestsError
from service.storage import AdminUser
from service.storage.admin_users import LONGEST_NAME

log = structlog.get_logger(__name__)

LONGEST_NOTED_NAME = 40
LONGEST_PASSWORD = 1024  # beyond what any may have: not looked at
SCRIPT_HEADER = "X-Requested-By"
"""What our own scripts send with a sign-in: no page of another origin can, without our leave."""

_SAME_WORDS = Said("errors.code.wrong_credentials")


def blueprint() -> Blueprint:
    """Make the endpoints of the way in."""
    login = Blueprint("login", __name__)
    login.add_url_rule("/login", "show", _show)
    login.add_url_rule("/login", "sign_in", _sign_in, methods=["POST"])
    login.add_url_rule("/logout", "sign_out", _sign_out, methods=["POST"])
    login.add_url_rule("/api/account/confirm", "confirm", _confirm, methods=["POST"])
    return login


def _show() -> Response:
    wanted = next_page(request.args.get("next"))
    if g.get("signed_in") is not None:
        return redirected(wanted)
    return _login_page(wanted)


def _sign_in() -> Response:
    """From the form of the page, or as JSON from a page whose session has ended."""
    if request.mimetype == "application/json":
        if request.headers.get(SCRIPT_HEADER) != "dashboard":
            raise NotAllowedError(Said("errors.code.foreign_origin"), code="foreign_origin")
        body = fields()
        cookie, session = _begin_session(_text(body, "name", LONGEST_NAME), _text(body, "password", LONGEST_PASSWORD))
        answer = json_answer({"csrf_token": session.csrf_token})
    else:
        wanted = next_page(request.form.get("next"))
        if not _has_login_token():
            return _login_page(wanted, error="sign_in.error.stale", status=400)
        try:
            cookie, _ = _begin_session(
                _text(request.form, "name", LONGEST_NAME), _text(request.form, "password", LONGEST_PASSWORD)
            )
        except RequestError as exc:
            return _refused_page(wanted, exc)
        answer = redirected(wanted)
    parts().cookies.set_session(answer, cookie)
    parts().cookies.forget_login_token(answer)
    return answer


def _sign_out() -> Response:
    signed_in = who()
    parts().sessions.revoke(signed_in.session_id, signed_in.user.id)
    note("logout", signed_in.user.name)
    answer = redirected("/login")
    parts().cookies.forget_session(answer)
    return answer


def _confirm() -> Response:
    """Show the password again: for five minutes this session may do what an open screen alone may not."""
    signed_in = who()
    password = _text(fields(), "password", LONGEST_PASSWORD)
    user = _checked(signed_in.user.name, password)
    parts().throttle.succeeded(user.name, signed_in.address)
    parts().sessions.confirm(signed_in.session_id)
    note("login.confirmed", user.name)
    return json_answer({"confirmed": True})


def _begin_session(name: str, password: str) -> tuple[str, Session]:
    """Sign in, under a new id whatever the browser brought; the first value is for the cookie.

    Raises:
        NotAuthenticatedError: not with these.
        TooManyRequestsError, ServiceUnavailableError: not now.
    """
    address = shown_address(request.remote_addr)
    user = _checked(name, password)
    failed_before = parts().throttle.succeeded(user.name, address)
    _hash_anew_if_outdated(user, password)
    _end_session_of_cookie()
    cookie, session = parts().sessions.begin(user, address=address, agent=request.user_agent.string)
    note_sign_in("login.ok", _shortened(user.name), {"role": user.role.value, "failed_before": failed_before})
    log.info("signed in", user=user.id)
    return cookie, session


def _checked(name: str, password: str) -> AdminUser:
    address = shown_address(request.remote_addr)
    try:
        parts().throttle.take(name, address)
    except TooManyRequestsError:
        _note_failure(name, address, "throttled")
        raise
    user = parts().users.find(name)
    usable = user if user is not None and user.is_enabled else None
    is_right = parts().passwords.matches(None if usable is None else usable.password_hash, password)
    if usable is None or not is_right:
        _note_failure(name, address, "refused")
        parts().throttle.refused(name, address)
        raise NotAuthenticatedError(_SAME_WORDS, code="wrong_credentials")
    return usable


def _hash_anew_if_outdated(user: AdminUser, password: str) -> None:
    if user.password_hash is not None and parts().passwords.is_outdated(user.password_hash):
        parts().users.replace_password_hash(user.id, parts().passwords.hash(password))


def _end_session_of_cookie() -> None:
    signed_in = g.get("signed_in")
    if signed_in is not None:
        parts().sessions.revoke(signed_in.session_id, signed_in.user.id)


def _note_failure(name: str, address: str, outcome: str) -> None:
    log.warning("sign-in refused", outcome=outcome)
    failures = parts().throttle.worth_noting(name, address)
    if failures is not None:
        note_sign_in("login.failed", _shortened(name), {"outcome": outcome, "failures": failures})


def _shortened(name: str) -> str:
    return name.strip()[:LONGEST_NOTED_NAME] or "(no name)"


def _has_login_token() -> bool:
    """Tell whether the form comes from a page that this browser was given: nobody else can sign it in as themselves."""
    given = parts().cookies.login_token_of(request)
    shown = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    return bool(given) and hmac.compare_digest(shown.encode("utf-8", "replace"), given.encode("utf-8", "replace"))


def _refused_page(wanted: str, error: RequestError) -> Response:
    key = {401: "wrong", 429: "wait", 503: "busy"}.get(error.http_status, "stale")
    seconds = round(getattr(error, "retry_after", 0.0))
    answer = _login_page(wanted, error=f"sign_in.error.{key}", status=error.http_status, seconds=seconds)
    if seconds:
        answer.headers["Retry-After"] = str(seconds)
    return answer


def _login_page(wanted: str, *, error: str | None = None, status: int = 200, seconds: int = 0) -> Response:
    """A page with a new token for its form; the name that was typed stays."""
    g.csrf_token = secrets.token_urlsafe(32)
    answer = page(
        "login.html",
        "sign_in.title",
        status=status,
        next=wanted,
        name=request.form.get("name", "")[:LONGEST_NAME],
        problem=None if error is None else translate(error, language(), seconds=seconds),
        was_elsewhere=wanted != HOME,
    )
    parts().cookies.set_login_token(answer, g.csrf_token)
    return answer


def _text(given: Any, name: str, longest: int) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise NotAuthenticatedError(_SAME_WORDS, code="wrong_credentials")
    return value
