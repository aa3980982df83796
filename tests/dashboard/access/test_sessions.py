"""Sessions: when they end, and that nothing brings an ended one back."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from dashboard.access.passwords import hash_now
from dashboard.access.sessions import MOST_OF_A_USER, Sessions
from scripts.launcher.waiting import wait_until
from service import redis_keys
from service.storage import AdminRole
from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.dashboards import Dashboard

SOON = 0.15


def test_redis_never_holds_what_a_cookie_opens_with(dashboard: Dashboard) -> None:
    cookie, session = dashboard.parts.sessions.begin(dashboard.user(), address="10.0.0.1", agent="x" * 1000)
    keys = [key for key in dashboard.store.scan_iter() if b"of_user" not in key]
    kept = b" ".join([key + (dashboard.store.get(key) or b"") for key in keys])
    assert cookie.encode() not in kept
    assert cookie not in repr(session)
    assert len(session.agent) < 200


def test_a_session_ends_when_nobody_does_anything(open_dashboard_with: OpenDashboard) -> None:
    dashboard = open_dashboard_with(dashboard_idle_seconds=SOON)
    client = dashboard.client()
    # What a page does by itself keeps no session going.
    live = {"X-Fragment": "live"}
    wait_until(lambda: client.get("/api/account", headers=live).status_code == 401, 10, "the end of the session")
    assert dashboard.parts.sessions.of_user(client.user.id) == []


def test_whoever_does_something_goes_on_and_still_ends_with_the_whole_time(
    open_dashboard_with: OpenDashboard,
) -> None:
    dashboard = open_dashboard_with(dashboard_idle_seconds=60, dashboard_session_seconds=SOON)
    client = dashboard.client()
    wait_until(lambda: client.get("/api/account").status_code == 401, 10, "the end of the session")


def test_each_request_of_a_person_begins_the_idle_time_anew(dashboard: Dashboard) -> None:
    client = dashboard.client()
    key = f"{redis_keys.SESSION.prefix}{client.session_id}"
    dashboard.store.pexpire(key, 5000)
    client.get("/api/account", headers={"X-Fragment": "live"})
    assert dashboard.store.pttl(key) <= 5000
    client.get("/api/account")
    assert dashboard.store.pttl(key) > 5000


def test_a_session_may_be_ended_alone_and_only_by_its_user(dashboard: Dashboard) -> None:
    sessions = dashboard.parts.sessions
    one, other = dashboard.client(), dashboard.client()
    assert not sessions.revoke(one.session_id, "somebody else")
    assert sessions.goes_on(one.session_id)
    assert sessions.revoke(one.session_id, one.user.id)
    assert not sessions.revoke(one.session_id, one.user.id)
    assert one.get("/api/account").status_code == 401
    assert other.get("/api/account").status_code == 200


def test_all_sessions_of_a_user_end_but_the_one_that_asks(dashboard: Dashboard) -> None:
    clients = [dashboard.client() for _ in range(3)]
    bystander = dashboard.client(AdminRole.VIEWER)
    assert dashboard.parts.sessions.revoke_all(clients[0].user.id, but=clients[0].session_id) == 2
    assert [each.get("/api/account").status_code for each in clients] == [200, 401, 401]
    assert bystander.get("/api/account").status_code == 200


def test_an_ended_session_is_not_brought_back_by_what_comes_late(dashboard: Dashboard) -> None:
    client = dashboard.client()
    dashboard.parts.sessions.revoke(client.session_id, client.user.id)
    dashboard.parts.sessions.confirm(client.session_id)
    assert client.get("/api/account").status_code == 401
    assert dashboard.parts.sessions.of_user(client.user.id) == []


def test_the_list_shows_where_and_when_and_drops_what_has_expired(dashboard: Dashboard) -> None:
    user, sessions = dashboard.user(), dashboard.parts.sessions
    sessions.begin(user, address="10.0.0.1", agent="Firefox")
    _, gone = sessions.begin(user, address="10.0.0.2", agent="Chrome")
    dashboard.store.delete(f"{redis_keys.SESSION.prefix}{gone.id}")
    [left] = sessions.of_user(user.id)
    assert (left.address, left.agent) == ("10.0.0.1", "Firefox")
    assert abs(left.began_at - time.time()) < 60
    assert left.seen_at == left.began_at


def test_a_user_has_a_bounded_number_of_sessions(dashboard: Dashboard) -> None:
    sessions, user = dashboard.parts.sessions, dashboard.user()
    cookies = [sessions.begin(user, address="", agent="")[0] for _ in range(MOST_OF_A_USER + 1)]
    assert len(sessions.of_user(user.id)) == MOST_OF_A_USER
    assert sessions.find(cookies[0]) is None
    assert sessions.find(cookies[-1]) is not None


def test_a_disabled_user_is_out_at_the_next_look_at_the_database(dashboard: Dashboard) -> None:
    client = dashboard.client()
    assert client.get("/api/account").status_code == 200
    dashboard.parts.users.disable(client.user.id)
    dashboard.parts.known_users.forget(client.user.id)
    assert client.get("/api/account").status_code == 401
    dashboard.parts.users.enable(client.user.id)
    dashboard.parts.known_users.forget(client.user.id)
    assert client.get("/api/account").status_code == 401  # that session is over


def test_another_role_holds_at_once_and_another_password_ends_the_session(dashboard: Dashboard) -> None:
    client = dashboard.client()
    assert client.get("/api/users").status_code == 200
    dashboard.parts.users.set_role(client.user.id, AdminRole.VIEWER)
    dashboard.parts.known_users.forget(client.user.id)
    assert client.get("/api/users").status_code == 403
    dashboard.parts.users.set_password_hash(client.user.id, hash_now("another good one"))
    dashboard.parts.known_users.forget(client.user.id)
    assert client.get("/api/account").status_code == 401


def test_a_session_with_a_newer_password_than_is_remembered_goes_on(dashboard: Dashboard) -> None:
    client = dashboard.client()
    client.get("/api/account")
    dashboard.parts.users.set_password_hash(client.user.id, hash_now("another good one"))
    user = dashboard.parts.users.get(client.user.id)
    assert user is not None
    assert dashboard.sign_in(user).get("/api/account").status_code == 200


def test_while_the_database_does_not_answer_who_was_known_goes_on(dashboard: Dashboard) -> None:
    client, late = dashboard.client(), dashboard.client(AdminRole.VIEWER)
    assert client.get("/pool").status_code == 200
    with dashboard.parts.database.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE admin_users RENAME TO admin_users_away")
        connection.exec_driver_sql("COMMIT")
    dashboard.parts.known_users._known[client.user.id] = (0.0, client.user)  # long ago
    assert client.get("/pool").status_code == 200
    refused = late.get("/pool")
    assert refused.status_code == 503
    assert "The database does not answer" in refused.text


def test_the_times_are_those_of_redis(dashboard: Dashboard) -> None:
    """Two nodes whose clocks differ must agree when a session is over."""
    sessions = Sessions(dashboard.parts.redis, idle_seconds=60, whole_seconds=60)
    _, session = sessions.begin(dashboard.user(), address="", agent="")
    seconds, _ = dashboard.store.time()
    assert abs(session.began_at - seconds) < 30
    assert datetime.fromtimestamp(session.began_at, UTC).year >= 2024
