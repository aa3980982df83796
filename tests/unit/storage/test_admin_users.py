"""Users of the dashboard: one for each name, whatever way it is written."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.errors import ServiceUnavailableError
from service.storage import AdminRole, AdminUser, AdminUsers, Database, UserExistsError


def test_a_user_is_found_by_id_and_by_name(database: Database) -> None:
    users = AdminUsers(database)
    ana = users.create("Ana@Example.com", AdminRole.OPERATOR, password_hash="$argon2id$x")
    assert (ana.name, ana.role, ana.is_enabled) == ("ana@example.com", AdminRole.OPERATOR, True)
    assert ana.password_changed_at == ana.created_at
    assert users.get(ana.id) == users.find(" ANA@example.com ") == ana
    assert users.get("nobody") is None
    assert users.find("nobody") is None
    assert users.find("") is None


def test_a_hash_is_not_shown(database: Database) -> None:
    ana = AdminUsers(database).create("ana", AdminRole.ADMIN, password_hash="$argon2id$canary")
    assert ana.password_hash == "$argon2id$canary"
    assert "canary" not in repr(ana)


def test_a_user_without_a_password_comes_by_oidc(database: Database) -> None:
    ben = AdminUsers(database).create("ben", AdminRole.VIEWER)
    assert (ben.password_hash, ben.password_changed_at) == (None, None)


@pytest.mark.parametrize("again", ["josé", "JOSÉ", " josé ", "jose\u0301", "ｊｏｓé"])
def test_two_names_that_look_alike_are_one(database: Database, again: str) -> None:
    users = AdminUsers(database)
    users.create("José", AdminRole.ADMIN)
    with pytest.raises(UserExistsError, match="a user josé already"):
        users.create(again, AdminRole.VIEWER)
    assert len(users.list_all()) == 1


def test_a_refused_user_leaves_the_rest_of_the_block_standing(database: Database) -> None:
    users = AdminUsers(database)
    users.create("ana", AdminRole.ADMIN)
    with database.writing() as session:
        users.create("ben", AdminRole.ADMIN, within=session)
        with pytest.raises(UserExistsError):
            users.create("ana", AdminRole.ADMIN, within=session)
        users.create("cyd", AdminRole.ADMIN, within=session)
    assert [user.name for user in users.list_all()] == ["ana", "ben", "cyd"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_a_name_of_no_use_is_refused(database: Database, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 200 characters"):
        AdminUsers(database).create(name, AdminRole.ADMIN)


def test_a_user_is_changed(database: Database) -> None:
    users = AdminUsers(database)
    ana = users.create("ana", AdminRole.ADMIN, password_hash="old")
    other = users.create("ben", AdminRole.VIEWER)
    assert users.set_role(ana.id, AdminRole.VIEWER)
    assert users.set_password_hash(ana.id, "new")
    changed = found(users, ana)
    assert (changed.role, changed.password_hash) == (AdminRole.VIEWER, "new")
    assert changed.password_changed_at is not None
    assert changed.password_changed_at >= ana.created_at
    assert found(users, other) == other


def test_a_user_is_shut_out_once_and_let_in_again(database: Database) -> None:
    users = AdminUsers(database)
    ana = users.create("ana", AdminRole.ADMIN)
    assert users.disable(ana.id)
    first = found(users, ana).disabled_at
    assert first is not None
    assert users.disable(ana.id)
    assert found(users, ana).disabled_at == first
    assert users.enable(ana.id)
    assert found(users, ana).is_enabled


def test_what_is_asked_of_an_unknown_user_says_so(database: Database) -> None:
    users = AdminUsers(database)
    assert not users.set_role("nobody", AdminRole.ADMIN)
    assert not users.set_password_hash("nobody", "x")
    assert not users.disable("nobody")
    assert not users.enable("nobody")


def test_the_database_itself_refuses_a_role_that_there_is_not(database: Database) -> None:
    AdminUsers(database).create("ana", AdminRole.ADMIN)
    with pytest.raises(IntegrityError), database.writing() as session:
        session.execute(text("UPDATE admin_users SET role = 'root'"))


def found(users: AdminUsers, user: AdminUser) -> AdminUser:
    again = users.get(user.id)
    assert again is not None
    return again


def test_two_who_each_take_a_right_away_if_another_admin_is_left_leave_one(database: Database) -> None:
    users = AdminUsers(database)
    admins = [users.create(name, AdminRole.ADMIN, password_hash="$argon2id$x") for name in ("ana", "ben")]
    both_are_ready = threading.Barrier(2)

    def take_from(user: AdminUser) -> None:
        both_are_ready.wait(10)
        with suppress(ServiceUnavailableError), database.writing() as session:  # SQLite waits for a moment only
            if sum(each.role is AdminRole.ADMIN for each in users.hold_all(session)) > 1:
                users.set_role(user.id, AdminRole.VIEWER, within=session)

    threads = [threading.Thread(target=take_from, args=(admin,)) for admin in admins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(user.role for user in users.list_all()) == [AdminRole.ADMIN, AdminRole.VIEWER]
