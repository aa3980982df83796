"""Signing in and out, as a browser does it."""

from __future__ import annotations

from typing import Any

import pytest
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dashboard.access.passwords import WAITING_FOR_EACH_THREAD
from service.storage import AdminRole, AuditFilter
from tests.dashboard.dashboards import PASSWORD, Dashboard

SCRIPT = {"X-Requested-By": "dashboard"}


def open_form(browser: FlaskClient, path: str = "/login") -> str:
    """Open the sign-in page; the result is the token of its form."""
    assert browser.get(path).status_code == 200
    cookie = browser.get_cookie("vocero_login")
    assert cookie is not None
    return cookie.value


def send_form(browser: FlaskClient, **fields: str) -> TestResponse:
    return browser.post("/login", data={"csrf_token": open_form(browser), **fields})


def session_cookie(browser: FlaskClient) -> str | None:
    found = browser.get_cookie("vocero_session")
    return None if found is None else found.value


def noted(dashboard: Dashboard, action: str) -> list[Any]:
    return list(dashboard.parts.audit.search(AuditFilter(action=action)).items)


def test_who_signs_in_comes_to_the_page_that_was_asked_for(dashboard: Dashboard) -> None:
    dashboard.user()
    browser = dashboard.client(None)
    sent_away = browser.get("/audit?actor=me")
    assert (sent_away.status_code, sent_away.location) == (303, "/login?next=%2Faudit%3Factor%3Dme")
    token = open_form(browser, sent_away.location)
    form = {"name": " Admin", "password": PASSWORD, "csrf_token": token, "next": "/audit?actor=me"}
    answer = browser.post("/login", data=form)
    assert (answer.status_code, answer.location) == (303, "/audit?actor=me")
    assert browser.get("/api/account").status_code == 200
    assert browser.get("/login").location == "/"
    [entry] = noted(dashboard, "login.ok")
    assert (entry.actor, entry.address) == ("admin", "127.0.0.1")


def test_a_page_whose_session_has_ended_signs_in_by_a_script_and_goes_on(dashboard: Dashboard) -> None:
    dashboard.user()
    browser = dashboard.client(None)
    answer = browser.post("/login", json={"name": "admin", "password": PASSWORD}, headers=SCRIPT)
    assert answer.status_code == 200
    token = answer.json["csrf_token"]
    assert browser.post("/api/account/confirm", json={"password": PASSWORD}, headers={"X-CSRF-Token": token}).json == {
        "confirmed": True
    }


@pytest.mark.parametrize(
    ("name", "password"),
    [("admin", "not the password"), ("nobody", PASSWORD), ("off", PASSWORD), ("admin", ""), ("", PASSWORD)],
    ids=["another password", "no such user", "disabled", "no password", "no name"],
)
def test_whatever_is_wrong_is_told_in_the_same_words(dashboard: Dashboard, name: str, password: str) -> None:
    dashboard.user()
    off = dashboard.parts.users.create("off", AdminRole.ADMIN, password_hash=dashboard.user().password_hash)
    dashboard.parts.users.disable(off.id)
    browser = dashboard.client(None)
    answer = send_form(browser, name=name, password=password)
    assert answer.status_code == 401
    assert "The name or the password is not right." in answer.text
    assert session_cookie(browser) is None
    assert password not in answer.text or not password


def test_the_language_of_the_sign_in_is_the_browsers(dashboard: Dashboard) -> None:
    text = dashboard.client(None).get("/login", headers={"Accept-Language": "es-MX,es;q=0.9"}).text
    assert 'lang="es"' in text
    assert "Iniciar sesión" in text


def test_a_sign_in_gets_a_new_session_and_ends_the_one_that_the_browser_had(dashboard: Dashboard) -> None:
    dashboard.user()
    browser = dashboard.client(None)
    browser.set_cookie("vocero_session", "chosen-by-somebody-else")
    assert send_form(browser, name="admin", password=PASSWORD).status_code == 303
    first = session_cookie(browser)
    assert first not in {None, "chosen-by-somebody-else"}
    browser.post("/login", json={"name": "admin", "password": PASSWORD}, headers=SCRIPT)
    assert session_cookie(browser) != first
    assert len(dashboard.parts.sessions.of_user(dashboard.user().id)) == 1


def test_a_form_of_another_page_signs_nobody_in(dashboard: Dashboard) -> None:
    """Else somebody could have us work under their name (login CSRF)."""
    dashboard.user()
    browser = dashboard.client(None)
    good = {"name": "admin", "password": PASSWORD}
    assert browser.post("/login", data=good).status_code == 400
    assert browser.post("/login", data={**good, "csrf_token": ""}).status_code == 400
    open_form(browser)
    assert browser.post("/login", data={**good, "csrf_token": "another"}).status_code == 400
    assert browser.post("/login", json=good).status_code == 403  # no other origin can send the header
    foreign = {"Origin": "https://evil.example", **SCRIPT}
    assert browser.post("/login", json=good, headers=foreign).status_code == 403
    assert session_cookie(browser) is None


def test_signing_out_ends_the_session_for_good(dashboard: Dashboard) -> None:
    client = dashboard.client()
    cookie = session_cookie(client.flask)
    assert cookie is not None
    answer = client.flask.post("/logout", data={"csrf_token": client.csrf_token})
    assert (answer.status_code, answer.location) == (303, "/login")
    client.flask.set_cookie("vocero_session", cookie)
    assert client.get("/api/account").status_code == 401
    assert len(noted(dashboard, "logout")) == 1


def test_the_password_shown_again_counts_for_this_session(dashboard: Dashboard) -> None:
    one, other = dashboard.client(confirmed=False), dashboard.client(confirmed=False)
    refused = one.post("/api/keys", {"name": "shop"})
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "confirmation_needed")
    assert one.post("/api/account/confirm", {"password": "something else"}).status_code == 401
    assert one.post("/api/account/confirm", {"password": PASSWORD}).status_code == 200
    assert one.post("/api/keys", {"name": "shop"}).status_code == 201
    assert other.post("/api/keys", {"name": "shop"}).status_code == 403
    assert len(noted(dashboard, "login.confirmed")) == 1


def test_after_three_failures_there_is_a_wait_for_a_right_password_too(dashboard: Dashboard) -> None:
    dashboard.user()
    browser = dashboard.client(None)
    statuses = [send_form(browser, name="admin", password=f"wrong {each}").status_code for each in range(3)]
    assert statuses == [401, 401, 401]
    answer = send_form(browser, name="ADMIN", password=PASSWORD)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "Too many tries. Wait 1 s" in answer.text
    answer = browser.post("/login", json={"name": "admin", "password": PASSWORD}, headers=SCRIPT)
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "too_many_tries")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_flood_of_failures_leaves_a_trace_and_no_flood_of_entries(dashboard: Dashboard) -> None:
    browser = dashboard.client(None)
    for each in range(5):
        body = {"name": f"name {each} " + "x" * 100, "password": "wrong"}
        browser.post("/login", json=body, headers=SCRIPT)
    [entry] = noted(dashboard, "login.failed")
    assert entry.actor.startswith("name 0 ")
    assert len(entry.actor) <= 40
    assert "wrong" not in str(entry)


def test_more_sign_ins_at_once_than_have_room_are_told_to_come_back(dashboard: Dashboard) -> None:
    dashboard.user()
    threads = dashboard.parts.settings.dashboard_login_threads
    dashboard.parts.passwords._taken = threads * (1 + WAITING_FOR_EACH_THREAD)  # as if so many were under way
    answer = send_form(dashboard.client(None), name="admin", password=PASSWORD)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_a_hash_of_other_parameters_is_made_anew_and_no_session_ends_for_it(dashboard: Dashboard) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    user = dashboard.parts.users.create("old", AdminRole.VIEWER, password_hash=old)
    before = dashboard.sign_in(user)
    assert send_form(dashboard.client(None), name="old", password=PASSWORD).status_code == 303
    found = dashboard.parts.users.get(user.id)
    assert found is not None
    assert "m=19456,t=2,p=1" in (found.password_hash or "")
    assert before.get("/api/account").status_code == 200


def test_without_redis_nobody_gets_in_and_is_told_why(dashboard: Dashboard) -> None:
    dashboard.user()
    browser = dashboard.client(None)
    token = open_form(browser)
    dashboard.lose_redis()
    answer = browser.post("/login", data={"name": "admin", "password": PASSWORD, "csrf_token": token})
    assert answer.status_code == 503
    browser.set_cookie("vocero_session", "x" * 43)
    answer = browser.get("/")
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.text
    assert answer.headers["Retry-After"]
    assert browser.get("/api/account").json["error"]["code"] == "redis_unavailable"
    assert browser.get("/livez").status_code == 200


def test_without_redis_who_was_here_just_now_may_look_and_change_nothing(dashboard: Dashboard) -> None:
    here, away = dashboard.client(), dashboard.client()
    ended = dashboard.client()
    assert [each.get("/pool").status_code for each in (here, ended)] == [200, 200]
    dashboard.parts.sessions.revoke(ended.session_id, ended.user.id)
    assert ended.get("/api/account").status_code == 401
    dashboard.lose_redis()
    assert here.get("/pool").status_code == 200
    assert away.get("/pool").status_code == 503
    assert ended.get("/pool").status_code == 503
    answer = here.post("/api/keys", {"name": "shop"})
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "redis_unavailable")
    assert dashboard.parts.api_keys.list_all() == []
