"""Signing in by a provider of OpenID Connect: there and back, what one becomes, and showing the password again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard.access.oidc.accounts import id_of
from dashboard.access.sessions import CONFIRMED_SECONDS
from service.storage import AdminRole, AuditFilter
from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.dashboards import PASSWORD, Dashboard
from tests.dashboard.oidc.conftest import ANA, GROUPS, Traveller
from tests.dashboard.oidc.provider import CLIENT_ID, Provider

LONG_AGO = 3600


def noted(dashboard: Dashboard, action: str) -> list[Any]:
    return list(dashboard.parts.audit.search(AuditFilter(action=action)).items)


def test_who_comes_back_from_the_provider_is_signed_in_with_the_highest_role_of_their_groups(
    joined: Dashboard, provider: Provider, traveller: Traveller
) -> None:
    page = traveller.flask.get("/login?next=%2Faudit")
    assert "Sign in with Staff SSO" in page.text
    assert 'href="/login/oidc?next=%2Faudit"' in page.text
    answer = traveller.travel("/login/oidc?next=%2Faudit")
    assert (answer.status_code, answer.headers["Refresh"]) == (200, "0; url=/audit")
    account = traveller.flask.get("/api/account").json
    assert (account["role"], account["id"]) == ("operator", id_of(provider.url, "4711"))
    assert account["name"].startswith("ana · ")
    [entry] = noted(joined, "user.create")
    assert (entry.actor, entry.address) == (account["name"], "127.0.0.1")
    assert len(noted(joined, "login.ok")) == 1


def test_the_way_there_has_a_challenge_a_state_and_a_nonce_and_no_secret(
    provider: Provider, traveller: Traveller
) -> None:
    query = parse_qs(urlsplit(traveller.set_out()).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["response_type"] == ["code"]
    assert query["redirect_uri"] == ["http://localhost/login/oidc/callback"]
    assert all(len(query[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))
    assert query.keys().isdisjoint({"client_secret", "code_verifier", "prompt"})


def test_the_cookie_for_the_way_comes_back_from_another_site_and_the_sessions_does_not(traveller: Traveller) -> None:
    away = traveller.flask.get("/login/oidc")
    assert "SameSite=Lax" in away.headers["Set-Cookie"]
    assert "HttpOnly" in away.headers["Set-Cookie"]
    back = traveller.come_back(traveller.visit(str(away.location)))
    assert "vocero_session=" in back.headers["Set-Cookie"]
    assert "SameSite=Strict" in back.headers["Set-Cookie"]


def test_a_role_is_set_anew_at_each_sign_in_and_written_down(
    joined: Dashboard, provider: Provider, new_traveller: Callable[[], Traveller]
) -> None:
    first, second = new_traveller(), new_traveller()
    first.travel()
    provider.person = {**ANA, "preferred_username": "renamed", "groups": "ops team"}
    second.travel()
    assert first.flask.get("/api/account").json["role"] == "admin"
    [entry] = noted(joined, "user.role")
    assert (entry.before, entry.after) == ('{"role": "operator"}', '{"by": "provider", "role": "admin"}')
    assert [user.role for user in joined.parts.users.list_all()] == [AdminRole.ADMIN]


def test_a_disabled_user_stays_out_and_keeps_the_role_of_then(
    joined: Dashboard, provider: Provider, traveller: Traveller, new_traveller: Callable[[], Traveller]
) -> None:
    traveller.travel()
    [user] = joined.parts.users.list_all()
    joined.parts.users.disable(user.id)
    provider.person["groups"] = ["vocero-admins"]
    other = new_traveller()
    answer = other.travel()
    assert (answer.status_code, other.is_signed_in) == (403, False)
    assert "Your account here is disabled." in answer.text
    [kept] = joined.parts.users.list_all()
    assert kept.role is AdminRole.OPERATOR
    [entry] = noted(joined, "login.failed")
    assert "disabled" in entry.after


def test_nobody_takes_over_a_user_with_a_password_by_calling_themselves_so(
    joined: Dashboard, provider: Provider, traveller: Traveller
) -> None:
    admin = joined.user(AdminRole.ADMIN)
    provider.person |= {"sub": "admin", "preferred_username": "admin", "email": "admin", "email_verified": True}
    traveller.travel()
    account = traveller.flask.get("/api/account").json
    assert account["id"] != admin.id
    assert account["name"] != "admin"
    assert account["role"] == "operator"
    script = {"X-Requested-By": "dashboard"}
    for password in ("", PASSWORD):
        body = {"name": account["name"], "password": password}
        assert joined.client(None).post("/login", json=body, headers=script).status_code == 401


def test_the_same_subject_of_another_issuer_is_somebody_else() -> None:
    assert id_of("https://a.example", "1") != id_of("https://a.example/", "1")
    assert id_of("https://a.example", "1x") != id_of("https://a.example1", "x")


def test_after_a_sign_in_without_a_password_at_the_provider_it_must_be_shown_there_for_what_needs_it(
    joined: Dashboard, provider: Provider, traveller: Traveller
) -> None:
    provider.person["groups"] = ["vocero-admins"]
    provider.auth_time = int(time.time()) - LONG_AGO
    traveller.travel()
    token = joined.parts.sessions.of_user(id_of(provider.url, "4711"))[0].csrf_token
    body = {"name": "luis", "role": "viewer"}
    refused = traveller.flask.post("/api/users", json=body, headers={"X-CSRF-Token": token})
    assert refused.json["error"]["code"] == "confirmation_needed"
    answer = traveller.travel("/login/oidc/confirm")
    assert "Your password has been shown again" in answer.text
    assert (provider.asked[-1]["prompt"], provider.asked[-1]["max_age"]) == ("login", "0")
    again = traveller.flask.post("/api/users", json=body, headers={"X-CSRF-Token": token})
    assert again.status_code == 201, again.text
    assert len(noted(joined, "login.confirmed")) == 1
    assert len(joined.parts.sessions.of_user(id_of(provider.url, "4711"))) == 1


def test_a_provider_that_did_not_ask_again_confirms_nothing(
    joined: Dashboard, provider: Provider, traveller: Traveller
) -> None:
    provider.auth_time = int(time.time()) - LONG_AGO
    provider.ignores_prompt = True
    traveller.travel()
    answer = traveller.travel("/login/oidc/confirm")
    assert answer.status_code == 403
    assert "confirms nothing" in answer.text
    assert traveller.flask.get("/api/account").json["confirmed_at"] is None


def test_somebody_else_confirms_nothing_for_who_is_signed_in_here(
    joined: Dashboard, provider: Provider, traveller: Traveller
) -> None:
    provider.auth_time = int(time.time()) - LONG_AGO
    traveller.travel()
    provider.person = {**ANA, "sub": "4712"}
    answer = traveller.travel("/login/oidc/confirm")
    assert answer.status_code == 403
    assert "Somebody else came back" in answer.text
    account = traveller.flask.get("/api/account").json
    assert (account["id"], account["confirmed_at"]) == (id_of(provider.url, "4711"), None)


def test_who_has_just_signed_in_at_the_provider_has_shown_the_password(
    joined: Dashboard, provider: Provider, traveller: Traveller
) -> None:
    traveller.travel()
    confirmed = traveller.flask.get("/api/account").json["confirmed_at"]
    assert time.time() - CONFIRMED_SECONDS < confirmed < time.time() + CONFIRMED_SECONDS


def test_a_user_with_a_password_shows_that_and_is_not_sent_to_the_provider(joined: Dashboard) -> None:
    assert joined.client().get("/login/oidc/confirm").location == "/"


def test_without_a_provider_there_is_no_button_and_no_way(dashboard: Dashboard) -> None:
    nobody = dashboard.client(None)
    assert "/login/oidc" not in nobody.get("/login").text
    assert nobody.get("/login/oidc").status_code == 404
    assert nobody.get("/login/oidc/callback?state=x&code=y").status_code == 404


def test_when_the_provider_is_away_it_is_said_and_passwords_work(open_dashboard_with: OpenDashboard) -> None:
    dashboard = open_dashboard_with(oidc_issuer="http://127.0.0.1:9", oidc_client_id=CLIENT_ID, **GROUPS)
    dashboard.user()
    nobody = dashboard.client(None)
    answer = nobody.get("/login/oidc")
    assert answer.status_code == 503
    assert "OpenID Connect does not answer." in answer.text
    body = {"name": "admin", "password": PASSWORD}
    assert nobody.post("/login", json=body, headers={"X-Requested-By": "dashboard"}).status_code == 200


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_the_way_back_leads_to_a_page_of_ours_whatever_was_asked_for(traveller: Traveller, wanted: str) -> None:
    answer = traveller.travel(f"/login/oidc?next={wanted}")
    assert answer.headers["Refresh"] == "0; url=/"
    assert "evil" not in answer.text
