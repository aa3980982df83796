"""One's own account: another password, and ending sessions that one does not know."""

from __future__ import annotations

import pytest

from dashboard.sight.browsers import browser_name
from service.storage import AdminRole, AuditFilter
from tests.dashboard.dashboards import PASSWORD

WANTED = "another horse, another battery"


def test_a_new_password_goes_on_in_a_new_session_and_ends_all_others(dashboard):
    here = dashboard.client(AdminRole.VIEWER)
    elsewhere = dashboard.sign_in(here.user)
    old_cookie = here.flask.get_cookie(dashboard.parts.cookies.session_name).value
    answer = here.post("/api/account/password", {"current": PASSWORD, "password": WANTED})
    assert (answer.status_code, answer.json["sessions_ended"]) == (200, 1)
    assert elsewhere.get("/api/account").status_code == 401
    told = here.get("/api/account").json
    assert [session["is_this"] for session in told["sessions"]] == [True]
    assert here.flask.get_cookie(dashboard.parts.cookies.session_name).value != old_cookie
    assert here.post("/api/account/sessions/revoke-all").status_code == 403  # the token of before
    here.csrf_token = answer.json["csrf_token"]
    assert here.post("/api/account/sessions/revoke-all").json["sessions_ended"] == 0
    hashed = dashboard.parts.users.get(here.user.id).password_hash
    assert dashboard.parts.passwords.matches(hashed, WANTED)
    assert [entry.actor for entry in dashboard.parts.audit.search(AuditFilter(action="account.password")).items] == [
        "viewer"
    ]


def test_a_wrong_password_changes_nothing_and_guessing_is_slowed_down(dashboard):
    viewer = dashboard.client(AdminRole.VIEWER)
    answers = [
        viewer.post("/api/account/password", {"current": "not this one at all", "password": WANTED}) for _ in range(4)
    ]
    assert (answers[0].status_code, answers[0].json["error"]["param"]) == (422, "current")
    assert answers[-1].status_code == 429
    assert viewer.post("/api/account/password", {"current": PASSWORD, "password": "short"}).status_code == 400
    assert viewer.post("/api/account/password", {"password": WANTED}).json["error"]["param"] == "current"
    assert dashboard.parts.users.get(viewer.user.id).password_hash == viewer.user.password_hash
    assert len(dashboard.parts.audit.search(AuditFilter(action="account.password_refused")).items) == 1


def test_one_ends_ones_own_sessions_and_nobody_elses(dashboard):
    here, other = dashboard.client(AdminRole.VIEWER), dashboard.client(AdminRole.OPERATOR)
    elsewhere, third = dashboard.sign_in(here.user), dashboard.sign_in(here.user)
    page = here.get("/account").text
    assert f"/api/account/sessions/{elsewhere.session_id}/revoke" in page
    assert f"/api/account/sessions/{here.session_id}/revoke" not in page
    assert here.post(f"/api/account/sessions/{elsewhere.session_id}/revoke").status_code == 200
    assert elsewhere.get("/api/account").status_code == 401
    assert here.post(f"/api/account/sessions/{other.session_id}/revoke").status_code == 404
    assert other.get("/api/account").status_code == 200
    assert here.post("/api/account/sessions/revoke-all").json["sessions_ended"] == 1
    assert third.get("/api/account").status_code == 401
    assert here.get("/api/account").status_code == 200


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
            "Safari, macOS",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome, Android"),
        ("curl/8.14.1", "curl/8.14.1"),
        ("", ""),
    ],
)
def test_a_browser_is_called_what_people_call_it(agent, name):
    assert browser_name(agent) == name
