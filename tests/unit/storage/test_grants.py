"""The service's own role on a real PostgreSQL: it can do what it needs, and nothing to the audit or the schema."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from migrations import __main__ as command_line
from migrations import grants, runner
from service.errors import ConfigurationError, ServiceUnavailableError
from service.storage import (
    ApiKeys,
    AuditFilter,
    AuditLog,
    Conversations,
    Database,
    JudgedAnswer,
    JudgedAnswers,
    check_schema,
    open_database,
)
from tests.unit.storage.conftest import create_on
from tests.unit.storage.everything import do_everything
from tests.unit.storage.test_audit_log import write_old


@pytest.fixture
def owner_url(postgresql: str, migrated_template: str) -> str:
    """The URL of a database of the test's own, as its owner."""
    return create_on(postgresql, template=migrated_template)


@pytest.fixture
def role(postgresql: str, owner_url: str) -> Iterator[str]:
    """A role that may enter, and no more; with a name that has to be quoted."""
    server = make_url(postgresql)
    name = f'ser"vi:ce %s {secrets.token_hex(6)}'
    entered = {"host": server.host, "port": server.port, "user": server.username, "autocommit": True}
    with psycopg.connect(**entered, dbname="postgres") as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield name
    with psycopg.connect(**entered, dbname=make_url(owner_url).database) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def owner(owner_url: str) -> Iterator[Database]:
    database = open_database(owner_url)
    yield database
    database.close()


@pytest.fixture
def service(owner_url: str, role: str) -> Iterator[Database]:
    """The database as the service's role sees it."""
    grants.grant(owner_url, role)
    database = as_role(owner_url, role)
    yield database
    database.close()


def as_role(url: str, role: str) -> Database:
    return open_database(make_url(url).set(username=role).render_as_string(hide_password=False))


def test_without_rights_the_role_sees_nothing(owner_url: str, role: str) -> None:
    database = as_role(owner_url, role)
    with pytest.raises(ProgrammingError, match="permission denied"), database.reading() as session:
        session.execute(text("SELECT * FROM api_keys"))
    database.close()


def test_everything_that_the_service_does_works(service: Database) -> None:
    check_schema(service)
    do_everything(service)


def test_the_service_prunes_the_audit_though_it_may_delete_nothing(owner: Database, service: Database) -> None:
    write_old(owner, [400.0] * 3 + [1.0])
    assert AuditLog(service).prune(datetime.now(UTC) - timedelta(days=365), actor="retention") == 3
    assert AuditLog(service).verify_chain().is_whole
    assert len(AuditLog(service).search(AuditFilter()).items) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'nobody'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_entries_refuse_change ON audit_entries",
        "DROP TABLE audit_entries",
        "DROP TABLE api_keys",
        "DROP FUNCTION prune_audit_entries(bigint, integer)",
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "ALTER TABLE conversations DROP COLUMN user_id",
        "ALTER TABLE conversations ADD COLUMN x integer",
        "CREATE TABLE mine (x integer)",
        "CREATE INDEX ix ON conversations (language)",
        "TRUNCATE conversations CASCADE",
        "UPDATE alembic_version SET version_num = '0001'",
        "DELETE FROM deployments",
        "SET SESSION AUTHORIZATION postgres",
    ],
)
def test_nothing_of_the_schema_or_the_audit_can_be_undone(owner: Database, service: Database, statement: str) -> None:
    entries = write_old(owner, [400.0, 1.0])
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        service.writing() as session,
    ):
        session.execute(text("SET LOCAL vocero.audit_pruning = 'on'"))  # knowing the way does not open it
        session.execute(text(statement))
    assert list(AuditLog(owner).search(AuditFilter()).items) == entries[::-1]


def test_a_table_of_ones_own_does_not_stand_in_for_the_audit(owner: Database, service: Database) -> None:
    """What a function runs with its owner's rights must not look where its caller can put something."""
    write_old(owner, [400.0, 1.0])
    with pytest.raises(Exception, match="no entry records a pruning"), service.writing() as session:
        session.execute(text("CREATE TEMPORARY TABLE audit_entries AS SELECT * FROM public.audit_entries"))
        session.execute(text("INSERT INTO audit_entries SELECT 9, at, actor, 'audit.pruned', '2' FROM audit_entries"))
        session.execute(text("SELECT public.prune_audit_entries(2, 9)"))


def test_rights_given_again_are_the_same_and_what_was_too_much_is_taken_back(
    owner: Database, owner_url: str, role: str, service: Database
) -> None:
    with owner.writing() as session:
        quoted = role.replace('"', '""').replace(":", "\\:")
        session.execute(text(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{quoted}"'))
        session.execute(text(f'GRANT ALL ON SCHEMA public TO "{quoted}"'))
    grants.grant(owner_url, role)
    for statement in ("DELETE FROM audit_entries", "CREATE TABLE mine (x integer)"):
        with pytest.raises(ProgrammingError, match="permission denied"), service.writing() as session:
            session.execute(text(statement))
    AuditLog(service).append(actor="ana", action="a", subject="s")


def test_rights_after_an_upgrade_reach_the_new_tables(postgresql: str, role: str) -> None:
    url = create_on(postgresql)
    runner.upgrade(url, "0002")
    grants.grant(url, role)
    runner.upgrade(url)
    database = as_role(url, role)
    with pytest.raises(ProgrammingError, match="permission denied"), database.reading() as session:
        session.execute(text("SELECT * FROM api_key_limits"))
    with pytest.raises(ServiceUnavailableError):  # and no key does more than it should
        ApiKeys(database).verify("vocero_" + "a" * 43)
    grants.grant(url, role)
    check_schema(database)
    AuditLog(database).append(actor="ana", action="a", subject="s")
    database.close()
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string()) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))


def test_until_the_rights_are_given_verdicts_on_answers_are_not_known_and_nothing_else_fails(
    owner_url: str, role: str
) -> None:
    runner.downgrade(owner_url, "0007")
    grants.grant(owner_url, role)
    runner.upgrade(owner_url)
    database = as_role(owner_url, role)
    conversations, now = Conversations(database), datetime.now(UTC)
    assert conversations.start("c1", agent_id="a", started_at=now)
    assert JudgedAnswers(database).put(JudgedAnswer("c1", 1, 1, now, "elevenlabs", score=3.5))
    record = conversations.get("c1")
    assert record is not None
    assert record.judged_answers is None
    assert conversations.prune(now + timedelta(days=1)).conversations == 1
    database.close()


def test_what_no_rights_can_bind_is_refused_with_the_reason(
    owner_url: str, empty_url: str, kind: str, role: str
) -> None:
    for url, name, said in [
        (owner_url, "postgres", "superuser"),
        (owner_url, "nobody at all", "no role nobody at all"),
        (empty_url, role, "no roles" if kind == "sqlite" else "no schema yet"),
    ]:
        with pytest.raises(ConfigurationError, match=said):
            grants.grant(url, name)


def test_the_command_shows_the_sql_and_changes_nothing_or_gives_the_rights(
    owner_url: str, role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", owner_url)
    assert command_line.main(["grant", role, "--print"]) == 0
    shown = capsys.readouterr().out
    assert "GRANT SELECT, INSERT ON public.audit_entries TO" in shown
    assert shown.strip().endswith(";")
    database = as_role(owner_url, role)
    with pytest.raises(ProgrammingError), database.reading() as session:
        session.execute(text("SELECT * FROM api_keys"))
    assert command_line.main(["grant", role]) == 0
    assert capsys.readouterr().out == f"rights: given to {role}\n"
    assert ApiKeys(database).list_all() == []
    database.close()
    assert command_line.main(["grant", "nobody at all"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
