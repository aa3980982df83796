"""Signing in by a provider of OpenID Connect, and showing one's password there again.

The key decision: whoever comes back from the provider gets a page and no redirect. Browsers do not show our session's
cookie (`SameSite=Strict`) on a way that began on another site, and a redirect would go on that way; from a page of ours
the next one is reached as from any other.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import structlog
from flask import Blueprint, Response, g, request

from dashboard.access.client_address import shown_address
from dashboard.access.next_page import HOME, next_page
from dashboard.access.oidc import Arrival, OpenIdConnect, ProviderSignInError, Reason, is_from_provider
from dashboard.web.answers import page, redirected
from dashboard.web.audit_trail import note_sign_in
from dashboard.web.context import parts, who
from dashboard.web.looks import language
from dashboard.words import translate
from dashboard.words.said import Said
from service.errors import NotFoundError

log = structlog.get_logger(__name__)

CALLBACK = "/login/oidc/callback"
_AWAY = re.compile(r"[A-Za-z0-9_-]{43}")
_STATUS = {Reason.AWAY: 503, Reason.TOO_MANY: 429, Reason.STALE: 400}  # the others: 403
_WORTH_NOTING = frozenset(set(Reason) - {Reason.AWAY, Reason.TOO_MANY, Reason.STALE})


def blueprint() -> Blueprint:
    """Make the endpoints of the way by the provider, and tell every template its name (`provider_name`)."""
    oidc = Blueprint("oidc", __name__)
    oidc.add_url_rule("/login/oidc", "begin", _begin)
    oidc.add_url_rule("/login/oidc/confirm", "confirm", _confirm)
    oidc.add_url_rule(CALLBACK, "come_back", _come_back)
    oidc.app_context_processor(_for_templates)
    return oidc


def _begin() -> Response:
    wanted = next_page(request.args.get("next"))
    if g.get("signed_in") is not None:
        return redirected(wanted)
    return _send_away(wanted)


def _confirm() -> Response:
    """For whoever has no password of ours: the provider asks for theirs, whoever is signed in there."""
    signed_in = who()
    if not is_from_provider(signed_in.user):
        return redirected(HOME)
    return _send_away(HOME, confirming=(signed_in.session_id, signed_in.user.id))


def _send_away(wanted: str, *, confirming: tuple[str, str] | None = None) -> Response:
    given = parts().cookies.away_of(request)
    browser = given if _AWAY.fullmatch(given) else secrets.token_urlsafe(32)  # two tabs may be away at once
    own = parts().settings.dashboard_url or request.host_url.rstrip("/")
    try:
        address = _provider().begin(
            browser=browser,
            address=shown_address(request.remote_addr),
            redirect_uri=f"{own}{CALLBACK}",
            next_page=wanted,
            confirming=confirming,
        )
    except ProviderSignInError as exc:
        return _refused(exc)
    answer = redirected(address)
    parts().cookies.set_away(answer, browser)
    return answer


def _come_back() -> Response:
    try:
        arrival = _provider().finish(
            request.args.to_dict(),
            browser=parts().cookies.away_of(request),
            address=shown_address(request.remote_addr),
            request_id=g.request_id,
        )
    except ProviderSignInError as exc:
        return _refused(exc)
    parts().known_users.forget(arrival.user.id)
    if arrival.attempt.confirms is not None:
        return _confirmed(arrival, arrival.attempt.confirms)
    return _signed_in(arrival)


def _signed_in(arrival: Arrival) -> Response:
    user, wanted = arrival.user, next_page(arrival.attempt.next)
    before = g.get("signed_in")
    if before is not None:  # in another tab, meanwhile
        parts().sessions.revoke(before.session_id, before.user.id)
    cookie, _ = parts().sessions.begin(
        user,
        address=shown_address(request.remote_addr),
        agent=request.user_agent.string,
        is_confirmed=arrival.is_fresh,
    )
    note_sign_in("login.ok", user.name, {"role": user.role.value, "by": "provider"})
    log.info("signed in", user=user.id, by="provider")
    answer = page("oidc.html", heading=translate("oidc.signed_in", language()), onward=wanted)
    answer.headers["Refresh"] = f"0; url={wanted}"
    parts().cookies.set_session(answer, cookie)
    return answer


def _confirmed(arrival: Arrival, session_id: str) -> Response:
    if not parts().sessions.goes_on(session_id):
        return _refused(ProviderSignInError(Reason.STALE))
    parts().sessions.confirm(session_id)
    note_sign_in("login.confirmed", arrival.user.name, {"by": "provider"})
    return page(
        "oidc.html", heading=translate("oidc.confirmed", language()), text=translate("oidc.go_back", language())
    )


def _refused(error: ProviderSignInError) -> Response:
    log.warning("sign-in by the provider refused", reason=error.reason.value, detail=error.detail)
    if error.reason in _WORTH_NOTING:
        # By network alone: who it is, is either not certain or not ours to write down.
        failures = parts().throttle.worth_noting("(provider)", shown_address(request.remote_addr))
        if failures is not None:
            note_sign_in("login.failed", "(provider)", {"outcome": error.reason.value, "failures": failures})
    spoken, key = language(), f"oidc.error.{error.reason.value}"
    values = {"name": _provider().name, "groups": ", ".join(_provider().roles.named())}
    return page(
        "oidc.html",
        status=_STATUS.get(error.reason, 403),
        heading=translate("oidc.not_signed_in", spoken),
        problem=translate(f"{key}.text", spoken, **values),
        hint=translate(f"{key}.hint", spoken, **values),
    )


def _provider() -> OpenIdConnect:
    provider = parts().provider
    if provider is None:
        raise NotFoundError(Said("oidc.error.no_provider"), code="no_provider")
    return provider


def _for_templates() -> dict[str, Any]:
    provider = parts().provider
    signed_in = g.get("signed_in")
    return {
        "provider_name": None if provider is None else provider.name,
        "by_provider": signed_in is not None and is_from_provider(signed_in.user),
    }
