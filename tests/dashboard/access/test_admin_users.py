"""`python -m scripts.admin_users`: the way in for the first user, and the way back for one who forgot."""

from __future__ import annotations

import io
import re

import pytest

from dashboard.access.first_user import FIRST_USER, first_admin, somebody_can_enter
from scripts import admin_users
from service.storage import AdminRole, AuditFilter
from tests.dashboard.dashboards import Dashboard


@pytest.fixture
def console(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> Dashboard:
    """A dashboard whose database and Redis the commands work on."""
    settings = dashboard.parts.settings
    monkeypatch.setenv("VOCERO_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("VOCERO_REDIS_URL", settings.redis_url)
    return dashboard


def test_a_user_is_made_with_a_password_that_is_shown_once(
    console: Dashboard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin_users.main(["create", "María", "--role", "operator"]) == 0
    said = capsys.readouterr().out
    [password] = re.findall(r"Password: (\S{20,})", said)
    user = console.parts.users.find("maría")
    assert user is not None
    assert user.role is AdminRole.OPERATOR
    assert console.parts.passwords.matches(user.password_hash, password)
    [entry] = console.parts.audit.search(AuditFilter()).items
    assert (entry.action, entry.subject, entry.actor.split(":")[0]) == ("user.create", "maría", "console")
    assert password not in str(entry)
    assert admin_users.main(["create", "maria", "--role", "admin"]) == 0
    assert admin_users.main(["create", "MARÍA"]) == 1
    assert "There is a user maría already" in capsys.readouterr().err


def test_a_password_comes_by_standard_input_and_has_to_be_good(
    console: Dashboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("too short\n"))
    assert admin_users.main(["create", "maria", "--password-stdin"]) == 1
    assert "at least 12 characters" in capsys.readouterr().err
    assert console.parts.users.list_all() == []
    monkeypatch.setattr("sys.stdin", io.StringIO("mi perra ladra a las 7\n"))
    assert admin_users.main(["create", "maria", "--password-stdin"]) == 0
    assert "mi perra" not in capsys.readouterr().out
    [user] = console.parts.users.list_all()
    assert (user.name, user.role) == ("maria", AdminRole.VIEWER)
    assert console.parts.passwords.matches(user.password_hash, "mi perra ladra a las 7")


def test_another_password_or_none_at_all_ends_the_users_sessions(
    console: Dashboard, capsys: pytest.CaptureFixture[str]
) -> None:
    client = console.client()
    assert admin_users.main(["reset-password", "admin"]) == 0
    assert "Sessions that ended: 1." in capsys.readouterr().out
    assert client.get("/api/account").status_code == 401
    user = console.parts.users.find("admin")
    assert user is not None
    client = console.sign_in(user)
    assert admin_users.main(["disable", "admin"]) == 0
    assert client.get("/api/account").status_code == 401
    assert not somebody_can_enter(console.parts.users)
    assert admin_users.main(["enable", "admin"]) == 0
    assert somebody_can_enter(console.parts.users)
    actions = [entry.action for entry in console.parts.audit.search(AuditFilter()).items]
    assert actions == ["user.enable", "user.disable", "user.password"]
    capsys.readouterr()
    assert admin_users.main(["list"]) == 0
    assert re.search(r"admin +\d{4}-\d\d-\d\d +good +admin", capsys.readouterr().out)


def test_a_name_that_nobody_has_is_said_to_be_so(console: Dashboard, capsys: pytest.CaptureFixture[str]) -> None:
    assert admin_users.main(["disable", "nobody"]) == 1
    assert "There is no user nobody." in capsys.readouterr().err


def test_a_lost_redis_keeps_no_password_from_being_reset(
    console: Dashboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_REDIS_URL", "unix:///nowhere/valkey.sock")
    console.user()
    assert admin_users.main(["reset-password", "admin"]) == 0
    assert "end by themselves" in capsys.readouterr().out


def test_the_first_user_is_made_once_and_only_where_there_is_none(dashboard: Dashboard) -> None:
    users = dashboard.parts.users
    assert not somebody_can_enter(users)
    password = first_admin(users)
    assert password is not None
    assert len(password) >= 20
    made = users.find(FIRST_USER)
    assert made is not None
    assert made.role is AdminRole.ADMIN
    assert dashboard.parts.passwords.matches(made.password_hash, password)
    assert first_admin(users) is None
    users.disable(made.id)
    assert first_admin(users) is None
    assert not somebody_can_enter(users)
