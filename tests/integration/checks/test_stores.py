"""The checks of Redis and of the database, each with a real one that is not as it should be."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import make_url

from migrations import grants, runner
from service.checks import State, database_check, redis_check
from service.checks.finding import Finding, clock_finding, run_all
from service.config import Settings
from service.redis_keys import CACHE
from tests.servers import ROOT

USERS = ROOT / "deploy" / "valkey" / "users.acl.template"


# --- Redis


@pytest.fixture
def user(valkey: str) -> Iterator[redis.Redis]:
    """As administrator of the session's Valkey; users whose names begin with `check_` are taken away again."""
    with redis.Redis.from_url(valkey, decode_responses=True) as admin:
        yield admin
        for line in admin.acl_users():
            if line.startswith("check_"):
                admin.acl_deluser(line)


def _as(valkey: str, name: str) -> str:
    """The URL for a user whose password is its name."""
    return valkey.replace("unix://", f"unix://{name}:{name}@", 1)


def _rights_of_the_service() -> list[str]:
    text = "".join(line for line in USERS.read_text().splitlines(keepends=True) if not line.startswith("#"))
    described = re.search(r"^user vocero on (.*?)(?=^user |\Z)", text, re.MULTILINE | re.DOTALL)
    assert described is not None
    return [word for word in described[1].split() if not word.startswith("@")]


def _look(url: str) -> list[tuple[State, str]]:
    return [(finding.state, finding.said) for finding in redis_check.check_redis(url)]


def test_the_shipped_user_of_the_service_may_do_all_that_is_tried(valkey: str, user: redis.Redis) -> None:
    user.execute_command("ACL", "SETUSER", "check_service", ">check_service", "on", *_rights_of_the_service())
    found = _look(_as(valkey, "check_service"))
    assert found[0][0] is State.OK, found
    assert "at which our user may do all that it needs" in found[0][1]


def test_what_is_tried_is_what_the_shipped_user_may() -> None:
    tried = {str(call[0]).lower().replace(" ", "|") for call in redis_check.trials("key")}
    granted = {word[1:] for word in _rights_of_the_service() if word.startswith("+")}
    beside = {"select", "client|setinfo", "client|setname", "info"}  # the client's own, and tried elsewhere
    assert tried == granted - beside


def test_each_command_that_is_lacking_is_named(valkey: str, user: redis.Redis) -> None:
    rights = _rights_of_the_service()
    user.execute_command("ACL", "SETUSER", "check_some", ">check_some", "on", *rights, "-xadd", "-getdel", "-multi")
    found = _look(_as(valkey, "check_some"))
    assert found[0] == (State.FAILED, "our user may not: GETDEL, XADD, MULTI")


def test_a_user_for_other_keys_is_noticed(valkey: str, user: redis.Redis) -> None:
    user.execute_command("ACL", "SETUSER", "check_keys", ">check_keys", "on", "~other:*", "+@all")
    state, said = _look(_as(valkey, "check_keys"))[0]
    assert state is State.FAILED
    assert "SET" in said


def test_a_user_who_may_not_look_is_told_so(valkey: str, user: redis.Redis) -> None:
    rights = _rights_of_the_service()
    user.execute_command("ACL", "SETUSER", "check_blind", ">check_blind", "on", *rights, "-info")
    assert _look(_as(valkey, "check_blind")) == [
        (State.WARNING, "it answers; what it keeps cannot be seen, because our user may not INFO")
    ]


def test_a_wrong_password_is_told_without_showing_it(valkey: str) -> None:
    found = list(redis_check.check_redis(_as(valkey, "hunter2")))
    assert [finding.said for finding in found] == ["it refuses our user or password"]
    assert "hunter2" not in repr(found)


def test_what_a_full_server_would_throw_away_is_told(valkey: str, user: redis.Redis) -> None:
    before = {name: user.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy", "appendonly")}
    user.config_set("maxmemory", "1gb")
    user.config_set("maxmemory-policy", "allkeys-lru")
    try:
        said = [each for state, each in _look(valkey) if state is State.WARNING]
    finally:
        for name, value in before.items():
            user.config_set(name, value)
    assert "a full one throws away what is still needed (maxmemory-policy allkeys-lru)" in said
    assert before["appendonly"] == "yes" or any("append-only" in each for each in said)


def test_nothing_is_left_behind(valkey: str, user: redis.Redis) -> None:
    _look(valkey)
    assert list(user.scan_iter(f"{CACHE.prefix}check:*")) == []


# --- The database


@pytest.fixture
def owner_url(postgresql: str) -> str:
    """A database of PostgreSQL with our schema, as its owner."""
    server = make_url(postgresql)
    name = f"check_{secrets.token_hex(6)}"
    with _connected(postgresql) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = server.set(database=name).render_as_string(hide_password=False)
    runner.upgrade(url)
    return url


@pytest.fixture
def role(postgresql: str) -> str:
    """A role without any right."""
    name = f"check_{secrets.token_hex(6)}"
    with _connected(postgresql) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    return name


def _connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    server = make_url(url)
    return psycopg.connect(
        host=server.host, port=server.port, user=server.username, dbname=server.database, autocommit=True
    )


def _database(url: str) -> list[Finding]:
    return list(database_check.check_database(Settings.model_validate({"VOCERO_DATABASE_URL": url})))


def _role_url(url: str, role: str) -> str:
    return make_url(url).set(username=role).render_as_string(hide_password=False)


def test_the_rights_that_are_given_are_all_that_are_looked_for(owner_url: str, role: str) -> None:
    grants.grant(owner_url, role)
    (found,) = _database(_role_url(owner_url, role))
    assert found.state is State.OK
    assert re.fullmatch(r"PostgreSQL \d+\.\d+ with schema \d{4}, which may be written", found.said)
    assert frozenset(grants.READ_ONLY) == database_check.READ_ONLY
    assert frozenset(grants.APPEND_ONLY) == database_check.APPEND_ONLY


def test_a_right_that_is_lacking_is_named(owner_url: str, role: str) -> None:
    grants.grant(owner_url, role)
    with _connected(owner_url) as connection:
        connection.execute(sql.SQL("REVOKE UPDATE ON conversations FROM {}").format(sql.Identifier(role)))
    (found,) = _database(_role_url(owner_url, role))
    assert (found.state, found.said) == (State.FAILED, "our role has no right to UPDATE on conversations")
    assert "python -m migrations grant" in found.remedy


def test_a_role_that_is_made_to_read_only_is_told(owner_url: str, role: str) -> None:
    grants.grant(owner_url, role)
    with _connected(owner_url) as connection:
        identifier = sql.Identifier(role)
        connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(identifier))
    (found,) = _database(_role_url(owner_url, role))
    assert (found.state, found.said) == (State.FAILED, "it takes no writes (default_transaction_read_only)")


def test_a_superuser_is_told(owner_url: str) -> None:
    assert [finding.state for finding in _database(owner_url)] == [State.WARNING, State.OK]


def test_a_database_without_a_schema_says_what_to_run(tmp_path: Path) -> None:
    (found,) = _database(f"sqlite:///{tmp_path}/empty.db")
    assert (found.state, found.said) == (State.FAILED, "the database has no schema yet")
    assert found.remedy == "run: python -m migrations upgrade"


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, database_url: str) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(database_url.removeprefix("sqlite:///"), copy)
    (found,) = _database(f"sqlite:///file:{copy}?mode=ro&uri=true")
    assert found.state is State.FAILED
    assert "readonly" in found.said


def test_a_file_that_can_be_written_is_left_as_it_was(database_url: str) -> None:
    (found,) = _database(database_url)
    assert found.state is State.OK
    (again,) = _database(database_url)
    assert again == found


# --- How checks are run


def test_a_check_that_hangs_or_breaks_hides_no_other() -> None:
    never = threading.Event()

    def hang() -> list[Finding]:
        never.wait()
        return []

    def break_off() -> list[Finding]:
        raise RuntimeError("hunter2")

    found = run_all({"hangs": hang, "breaks": break_off, "good": lambda: [Finding("good", State.OK, "yes")]}, seconds=1)
    never.set()
    assert [(finding.what, finding.state) for finding in found] == [
        ("hangs", State.FAILED), ("breaks", State.FAILED), ("good", State.OK),
    ]  # fmt: skip
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("off", "state", "words"),
    [
        (3600.0, State.FAILED, "it is 60 min ahead"),
        (-40.0, State.WARNING, "it is 40 s behind"),
        (-86400.0, State.FAILED, "it is 24.0 h behind"),
    ],
)
def test_a_clock_that_is_off_is_named(off: float, state: State, words: str) -> None:
    found = clock_finding("redis", off)
    assert found.state is state
    assert words in found.said
