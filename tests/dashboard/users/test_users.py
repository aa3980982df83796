"""The users of the dashboard: who may change whom, and that somebody is always left who can."""

from __future__ import annotations

import threading

from dashboard.access.oidc.accounts import id_of
from service.storage import AdminRole, AuditFilter
from tests.dashboard.dashboards import PASSWORD, Dashboard

GIVEN = "a word, two words, three"


def names_in(dashboard: Dashboard, action: str) -> list[str]:
    return [entry.subject for entry in dashboard.parts.audit.search(AuditFilter(action=action)).items]


def test_a_new_user_gets_a_password_that_is_shown_this_once_and_opens_the_door(dashboard):
    admin = dashboard.client()
    answer = admin.post("/api/users", {"name": "Ana", "role": "operator"})
    assert answer.status_code == 201
    made, password = answer.json["user"], answer.json["password"]
    assert made["role"] == "operator"
    assert dashboard.parts.passwords.matches(dashboard.parts.users.find("ana").password_hash, password)
    assert password not in admin.get("/api/users").text + admin.get("/users").text
    assert password not in repr(dashboard.parts.audit.search(AuditFilter()).items)
    assert names_in(dashboard, "user.create") == ["ana"]


def test_a_password_that_is_given_is_not_shown_again_and_must_be_fit(dashboard):
    admin = dashboard.client()
    refused = admin.post("/api/users", {"name": "ana", "role": "viewer", "password": "short"})
    assert (refused.status_code, refused.json["error"]["param"]) == (400, "password")
    made = admin.post("/api/users", {"name": "ana", "role": "viewer", "password": GIVEN})
    assert made.json["password"] is None
    assert admin.post("/api/users", {"name": "ANA", "role": "viewer"}).status_code == 409
    assert admin.post("/api/users", {"name": "bo", "role": "owner"}).json["error"]["param"] == "role"
    assert admin.post("/api/users", {"name": " ", "role": "viewer"}).json["error"]["param"] == "name"
    assert (
        admin.post("/api/users", {"name": "bo", "role": "viewer", "password": 12}).json["error"]["param"] == "password"
    )


def test_another_role_holds_at_once_in_a_session_that_is_open(dashboard):
    admin, viewer = dashboard.client(), dashboard.client(AdminRole.VIEWER)
    assert viewer.get("/audit").status_code == 403
    changed = admin.post(f"/api/users/{viewer.user.id}", {"role": "operator"})
    assert (changed.status_code, changed.json["role"]) == (200, "operator")
    assert viewer.get("/audit").status_code == 200
    entry = dashboard.parts.audit.search(AuditFilter(action="user.role")).items[0]
    assert '"role": "viewer"' in entry.before
    assert '"role": "operator"' in entry.after


def test_a_disabled_user_is_out_at_once_and_in_again_when_enabled(dashboard):
    admin, viewer = dashboard.client(), dashboard.client(AdminRole.VIEWER)
    assert admin.post(f"/api/users/{viewer.user.id}", {"enabled": False}).json["sessions_ended"] == 1
    assert viewer.get("/api/account").status_code == 401
    assert admin.post(f"/api/users/{viewer.user.id}", {"enabled": True}).json["enabled"] is True
    assert dashboard.sign_in(viewer.user).get("/api/account").status_code == 200


def test_a_password_that_an_admin_resets_ends_the_sessions_of_before(dashboard):
    admin, viewer = dashboard.client(), dashboard.client(AdminRole.VIEWER)
    password = admin.post(f"/api/users/{viewer.user.id}/password", {}).json["password"]
    assert viewer.get("/api/account").status_code == 401
    stored = dashboard.parts.users.get(viewer.user.id).password_hash
    assert dashboard.parts.passwords.matches(stored, password)
    assert not dashboard.parts.passwords.matches(stored, PASSWORD)


def test_an_admin_ends_the_sessions_of_another_user(dashboard):
    admin, viewer = dashboard.client(), dashboard.client(AdminRole.VIEWER)
    assert admin.post(f"/api/users/{viewer.user.id}/sessions/revoke").json["sessions_ended"] == 1
    assert viewer.get("/api/account").status_code == 401


def test_nobody_changes_their_own_role_state_or_password_here(dashboard):
    admin = dashboard.client()
    for path, body in (("", {"role": "viewer"}), ("", {"enabled": False}), ("/password", {}), ("/sessions/revoke", {})):
        answer = admin.post(f"/api/users/{admin.user.id}{path}", body)
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "own_user")


def test_two_admins_who_take_the_right_from_each_other_at_once_leave_one(dashboard):
    first = dashboard.client()
    second = dashboard.sign_in(
        dashboard.parts.users.create("second", AdminRole.ADMIN, password_hash=dashboard.user().password_hash)
    )
    dashboard.parts.users.create("without a password", AdminRole.ADMIN)
    both_are_ready, answers = threading.Barrier(2), []

    def take_from(admin, other, body):
        both_are_ready.wait(10)
        answers.append(admin.post(f"/api/users/{other.user.id}", body))

    threads = [
        threading.Thread(target=take_from, args=(first, second, {"role": "viewer"})),
        threading.Thread(target=take_from, args=(second, first, {"enabled": False})),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert 200 in {answer.status_code for answer in answers}
    # Who comes second is refused: as the last admin's enemy, or because the right is gone already.
    assert sorted(answer.status_code for answer in answers)[1] in {401, 403, 409}
    left = [user for user in dashboard.parts.users.list_all() if user.role is AdminRole.ADMIN and user.is_enabled]
    assert len([user for user in left if user.password_hash]) == 1


def test_the_last_admin_who_can_sign_in_stays_one(dashboard):
    other = dashboard.parts.users.create("other", AdminRole.ADMIN, password_hash=dashboard.user().password_hash)
    admin = dashboard.client()
    # As if somebody with a right of before came late: the one who asks cannot sign in any more.
    dashboard.parts.known_users.get(admin.user.id)
    dashboard.parts.users.disable(admin.user.id)
    answer = admin.post(f"/api/users/{other.id}", {"role": "viewer"})
    assert answer.status_code == 401 or answer.json["error"]["code"] == "last_admin"
    assert dashboard.parts.users.get(other.id).role is AdminRole.ADMIN


def test_every_change_of_a_user_needs_the_password_again(dashboard):
    admin, viewer = dashboard.client(confirmed=False), dashboard.user(AdminRole.VIEWER)
    for path in ("", f"/{viewer.id}", f"/{viewer.id}/password", f"/{viewer.id}/sessions/revoke"):
        answer = admin.post(f"/api/users{path}", {"role": "admin", "name": "x"})
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "confirmation_needed")
    assert dashboard.parts.users.get(viewer.id).role is AdminRole.VIEWER


def test_a_user_who_is_not_there_is_said_so(dashboard):
    admin = dashboard.client()
    for path in ("", "/password", "/sessions/revoke"):
        assert admin.post(f"/api/users/0123456789abcdef{path}", {"role": "viewer"}).status_code == 404


def test_the_page_shows_every_user_as_text(dashboard):
    admin = dashboard.client()
    admin.post("/api/users", {"name": "<b>ana</b>", "role": "viewer", "password": GIVEN})
    shown = admin.get("/users").text
    assert "&lt;b&gt;ana&lt;/b&gt;" in shown
    assert "<b>ana" not in shown


def test_what_is_wrong_is_said_in_the_readers_language(dashboard):
    admin, spanish = dashboard.client(), {"Accept-Language": "es"}
    short = admin.post("/api/users", {"name": "ana", "role": "viewer", "password": "corta"}, headers=spanish)
    assert short.json["error"] == {
        "code": "password_too_short",
        "message": "Una contraseña tiene 12 caracteres como mínimo; bastan unas palabras.",
        "param": "password",
    }
    own = admin.post(f"/api/users/{admin.user.id}", {"enabled": False}, headers=spanish)
    assert own.json["error"]["message"].startswith("Nadie cambia su propio rol")


def test_who_comes_by_the_provider_gets_neither_role_nor_password_here_but_can_be_disabled(dashboard):
    admin = dashboard.client()
    ana = dashboard.parts.users.create("ana · 12345678", AdminRole.ADMIN, user_id=id_of("https://id.example", "ana"))
    page = admin.get("/users").text
    assert f'data-action="POST /api/users/{ana.id}/password"' not in page
    for path, body in (("", {"role": "viewer"}), ("/password", {})):
        answer = admin.post(f"/api/users/{ana.id}{path}", body)
        assert (answer.status_code, answer.json["error"]["code"]) == (409, "by_provider")
    herself = dashboard.sign_in(ana)
    assert 'data-testid="password-form"' not in herself.get("/account").text
    assert herself.post("/api/account/password", {"current": PASSWORD, "password": GIVEN}).status_code == 409
    assert admin.post(f"/api/users/{ana.id}", {"enabled": False}).json["sessions_ended"] == 1
