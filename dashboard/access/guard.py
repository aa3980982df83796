"""The guard: what each request has to pass before any code of a page runs.

The key decision: deny by default. A route that is not in the table is refused, whoever asks; everything else is looked
up there by method and rule, so no page can forget to ask. A change needs the session's token and must not come from
another origin. While Redis does not answer, who was here just now may look, and change nothing.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlencode

import redis
from flask import Flask, Response, g, redirect, request

from dashboard.access.client_address import shown_address
from dashboard.access.cookies import Cookies
from dashboard.access.known_sessions import KnownSessions
from dashboard.access.known_users import KnownUsers
from dashboard.access.origins import is_foreign
from dashboard.access.permissions import ROUTES, Permission
from dashboard.access.sessions import Sessions, stamp_of
from dashboard.access.signed_in import SignedIn
from dashboard.words.said import Said
from service.errors import NotAllowedError, NotAuthenticatedError

CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
LIVE_HEADER = "X-Fragment"  # a page that brings itself up to date; nobody need sit before it
LIVE_STREAM = "/api/live"
SIGN_IN = "/login"
_SEEN_WITHOUT_SESSION = frozenset({"/livez", "/static/<path:filename>"})
_SAFE = frozenset({"GET", "HEAD"})


class Guard:
    """Finds who asks, and refuses what they may not. `url` is the address that browsers use, if one is set."""

    def __init__(self, sessions: Sessions, *, users: KnownUsers, cookies: Cookies, url: str | None) -> None:
        self._sessions = sessions
        self._known = KnownSessions(sessions)
        self._users = users
        self._cookies = cookies
        self._url = url

    def register(self, app: Flask) -> None:
        """Stand before every view of `app`."""
        app.before_request(self._check)

    def _check(self) -> Response | None:
        g.signed_in = None
        rule = request.url_rule
        if rule is None:
            return None  # there is no such page, method or host: Flask says which
        method = "GET" if request.method == "HEAD" else request.method
        needed = ROUTES.get((method, rule.rule))
        if needed is None:
            raise NotAllowedError(Said("errors.open_to_nobody"))
        if request.method not in _SAFE:
            self._refuse_other_origins()
        if rule.rule in _SEEN_WITHOUT_SESSION:
            return None
        signed_in = self._find()
        g.signed_in = signed_in
        if needed is Permission.PUBLIC:
            return None
        if signed_in is None:
            return self._send_to_sign_in(rule.rule)
        if request.method not in _SAFE:
            self._check_token(signed_in)
        if not signed_in.may(needed):
            raise NotAllowedError(Said("errors.role", role=Said(f"common.role_{signed_in.user.role.value}")))
        return None

    def _find(self) -> SignedIn | None:
        is_person = request.path != LIVE_STREAM and LIVE_HEADER not in request.headers
        found = self._known.find(self._cookies.session_of(request), is_person=is_person)
        if found is None:
            return None
        if found.is_remembered and request.method not in _SAFE:
            raise redis.ConnectionError("nothing is changed by a session that Redis cannot confirm")
        session = found.session
        user = self._users.get(session.user_id)
        if user is not None and stamp_of(user) != session.stamp:
            self._users.forget(user.id)  # the password may have changed within the last two seconds
            user = self._users.get(session.user_id)
        if user is None or not user.is_enabled or stamp_of(user) != session.stamp:
            self._sessions.revoke(session.id, session.user_id)
            return None
        return SignedIn(
            user=user,
            session_id=session.id,
            csrf_token=session.csrf_token,
            confirmed_at=session.confirmed_at,
            address=shown_address(request.remote_addr),
            request_id=g.request_id,
        )

    def _refuse_other_origins(self) -> None:
        ours = {f"{request.scheme}://{request.host}"} | ({self._url} if self._url is not None else set())
        if is_foreign(request.headers, ours=frozenset(ours)):
            raise NotAllowedError(Said("errors.code.foreign_origin"), code="foreign_origin")

    def _check_token(self, signed_in: SignedIn) -> None:
        shown = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), signed_in.csrf_token.encode()):
            raise NotAllowedError(Said("errors.code.wrong_csrf_token"), code="wrong_csrf_token")

    def _send_to_sign_in(self, rule: str) -> Response:
        if request.method not in _SAFE or rule.startswith("/api/") or LIVE_HEADER in request.headers:
            raise NotAuthenticatedError(Said("errors.code.not_signed_in"), code="not_signed_in")
        wanted = request.full_path.rstrip("?")
        query = f"?{urlencode({'next': wanted})}" if wanted != "/" else ""
        return redirect(SIGN_IN + query, code=303)  # type: ignore[return-value]  # Flask's own responses, typed as Werkzeug's
