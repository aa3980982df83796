"""The database's password, where it comes from somewhere else than the URL and may change while we run."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text

from migrations import runner
from migrations.__main__ import main as migrate
from scripts.launcher.waiting import wait_until
from service.config import load_settings
from service.errors import ConfigurationError, SecretsUnavailableError, ServiceUnavailableError
from service.secret import Secret
from service.storage import Database, check_schema, database_url, open_database
from tests.unit.secrets.scripted_vault import LOOKUP, READING, TOKEN, Answer, ScriptedVault, entry, refusal
from tests.unit.secrets.shown import is_one_line, shown_of

CANARY = "canary_of_the_password_19fe"
AWKWARD = "p@ss/w:rd%41?#&[]=+'\"\\"
LOOKED_UP: Answer = (200, {"data": {"ttl": 3600, "renewable": True, "expire_time": "2030-01-01T00:00:00Z"}})


@dataclass
class Role:
    """A role that PostgreSQL lets in with its password only."""

    name: str
    url: str
    """Without any password."""
    server: psycopg.Connection

    def set_password(self, password: str) -> None:
        self.server.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(self.name), sql.Literal(password))
        )


@pytest.fixture
def role(postgresql: str) -> Iterator[Role]:
    """The server trusts everybody else: a line before the others is for this one."""
    url = make_url(postgresql)
    name = f"role_{secrets.token_hex(6)}"
    server = psycopg.connect(host=url.host, port=url.port, user=url.username, dbname="postgres", autocommit=True)
    with server, _asked_for_its_password(server, name):
        server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        role = Role(name, url.set(username=name).render_as_string(hide_password=False), server)
        wait_until(lambda: not _may_enter(role.url), 10.0, "the new line")
        yield role


@contextmanager
def _asked_for_its_password(server: psycopg.Connection, name: str) -> Iterator[None]:
    found = server.execute("SHOW hba_file").fetchone()
    assert found is not None
    path = Path(found[0])
    before = path.read_text()
    path.write_text(f"host all {name} 127.0.0.1/32 scram-sha-256\n{before}")
    server.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        path.write_text(before)
        server.execute("SELECT pg_reload_conf()")
        server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def _may_enter(url: str) -> bool:
    database = open_database(url)
    try:
        return _me(database) != ""
    except ServiceUnavailableError:
        return False
    finally:
        database.close()


def _me(database: Database) -> str:
    with database.reading() as session:
        return str(session.execute(text("SELECT current_user")).scalar_one())


class Passwords:
    """The password of now; none: Vault is away."""

    def __init__(self, now: str | None) -> None:
        self.now = now
        self.asked = 0

    def __call__(self) -> Secret:
        self.asked += 1
        if self.now is None:
            raise SecretsUnavailableError("The service has no keys now; try again.")
        return Secret(self.now)


@pytest.fixture
def open_with(role: Role) -> Iterator[Callable[[Passwords], Database]]:
    with ExitStack() as stack:

        def open_it(passwords: Passwords, url: str | None = None) -> Database:
            database = open_database(url or role.url, password=passwords)
            stack.callback(database.close)
            return database

        yield open_it


# --- Connections


@pytest.mark.parametrize("password", [CANARY, AWKWARD])
def test_a_new_connection_is_made_with_the_password_of_now_and_not_that_of_the_url(
    role: Role, open_with: Callable[..., Database], password: str
) -> None:
    role.set_password(password)
    wrong = make_url(role.url).set(password="wrong").render_as_string(hide_password=False)
    assert not _may_enter(wrong)
    passwords = Passwords(password)
    assert _me(open_with(passwords, wrong)) == role.name


def test_it_is_asked_for_once_for_each_connection_and_not_before_there_is_one(
    role: Role, open_with: Callable[..., Database]
) -> None:
    role.set_password(CANARY)
    passwords = Passwords(CANARY)
    database = open_with(passwords)
    assert passwords.asked == 0
    for _ in range(3):
        _me(database)
    assert passwords.asked == 1


def test_after_a_change_the_old_connections_serve_on_and_new_ones_use_the_new_password(
    role: Role, open_with: Callable[..., Database]
) -> None:
    role.set_password("old")
    passwords = Passwords("old")
    database = open_with(passwords)
    with database.reading() as session:
        session.execute(text("SELECT 1"))
        role.set_password(CANARY)
        with pytest.raises(ServiceUnavailableError):
            _me(database)
        passwords.now = CANARY
        assert _me(database) == role.name
        assert session.execute(text("SELECT current_user")).scalar_one() == role.name
    database.engine.dispose()
    assert _me(database) == role.name


def test_without_a_password_the_database_is_unavailable_and_comes_back_by_itself(
    role: Role, open_with: Callable[..., Database]
) -> None:
    role.set_password(CANARY)
    passwords = Passwords(None)
    database = open_with(passwords)
    for _ in range(12):  # more than the pool has connections
        with pytest.raises(SecretsUnavailableError):
            _me(database)
    passwords.now = CANARY
    assert _me(database) == role.name


def test_a_refused_password_is_in_no_message(
    role: Role, open_with: Callable[..., Database], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    role.set_password("another")
    database = open_with(Passwords(CANARY))
    with pytest.raises(ServiceUnavailableError) as caught:
        _me(database)
    shown = "".join(traceback.format_exception(caught.value))
    assert "password authentication failed" in shown, "whoever looks for the cause must find it"
    assert CANARY not in shown + caplog.text + repr(database.engine) + repr(vars(database))


def test_a_file_has_no_password(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url)
    passwords = Passwords(None)
    database = open_database(url, password=passwords)
    check_schema(database)
    database.close()
    assert passwords.asked == 0


# --- For a command that runs once


@pytest.fixture
def vault() -> Iterator[ScriptedVault]:
    with ScriptedVault({LOOKUP: LOOKED_UP, READING: entry(elevenlabs_api_key="sk", db=CANARY)}) as vault:
        yield vault


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, vault: ScriptedVault) -> Callable[..., None]:
    """Set the variables of a service whose database password is in Vault; None unsets one."""

    def set_all(url: str, **variables: str | None) -> None:
        ours = {
            "VOCERO_DATABASE_URL": url,
            "VAULT_ADDR": vault.url,
            "VAULT_TOKEN": TOKEN,
            "VAULT_DATABASE_PASSWORD_FIELD": "db",
            "VAULT_ROLE_ID": None,
            "VAULT_TOKEN_FILE": None,
            **variables,
        }
        for name, value in ours.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return set_all


POSTGRESQL = "postgresql+psycopg://vocero@db.example:5432/vocero?sslmode=require"


@pytest.mark.parametrize("password", [CANARY, AWKWARD])
@pytest.mark.parametrize("url", [POSTGRESQL, POSTGRESQL.replace("vocero@", "vocero:old@")])
def test_the_url_of_a_command_has_the_password_from_vault_in_it(
    settings_of: Callable[..., None], vault: ScriptedVault, url: str, password: str
) -> None:
    vault.answers[READING] = entry(elevenlabs_api_key="sk", db=password)
    settings_of(url)
    found = make_url(database_url(load_settings()))
    assert found.password == password
    assert found.set(password="x") == make_url(POSTGRESQL).set(password="x")


def test_a_url_without_a_user_loses_no_password_in_silence(settings_of: Callable[..., None]) -> None:
    """The user may come from PGUSER; SQLAlchemy writes a password only behind a user."""
    settings_of(POSTGRESQL.replace("vocero@", ""))
    try:
        url = make_url(database_url(load_settings()))
    except ConfigurationError as exc:
        assert "VOCERO_DATABASE_URL" in str(exc)
    else:
        _, parameters = url.get_dialect()().create_connect_args(url)
        assert parameters.get("password") == CANARY


@pytest.mark.parametrize(
    "unset",
    [{"VAULT_ADDR": None, "ELEVENLABS_API_KEY": "sk"}, {"VAULT_DATABASE_PASSWORD_FIELD": None}, {"VAULT_ADDR": ""}],
)
def test_a_password_that_is_not_in_vault_is_that_of_the_url_and_vault_is_not_asked(
    settings_of: Callable[..., None], vault: ScriptedVault, unset: dict[str, str | None]
) -> None:
    url = POSTGRESQL.replace("vocero@", "vocero:old@")
    settings_of(url, **unset)
    assert database_url(load_settings()) == url
    assert vault.accepted == 0


def test_a_file_gets_no_password_from_vault_either(settings_of: Callable[..., None], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vocero.db"
    settings_of(url)
    assert database_url(load_settings()) == url


@pytest.mark.parametrize(
    ("url", "answer", "words"),
    [
        (POSTGRESQL, refusal(503, "Vault is sealed"), "it is sealed"),
        (POSTGRESQL, entry(elevenlabs_api_key="sk"), "Field db of secret/vocero (version 3) is missing"),
        (POSTGRESQL, entry(elevenlabs_api_key="sk", db=f"{CANARY}\n"), "line break"),
        (f"{CANARY}", entry(elevenlabs_api_key="sk", db=CANARY), "VOCERO_DATABASE_URL"),
        (f"postgresql://vocero:{CANARY}@db:port/x", entry(elevenlabs_api_key="sk", db=CANARY), "VOCERO_DATABASE_URL"),
    ],
)
def test_a_password_that_is_not_to_be_had_is_one_line_without_any(
    settings_of: Callable[..., None], vault: ScriptedVault, url: str, answer: Answer, words: str
) -> None:
    vault.answers[READING] = answer
    settings_of(url)
    with pytest.raises(ConfigurationError) as caught:
        database_url(load_settings())
    assert words in str(caught.value)
    assert is_one_line(str(caught.value))
    assert CANARY not in shown_of(caught.value)


@pytest.fixture
def own_database(role: Role) -> Iterator[str]:
    """The URL of an empty database that the role owns."""
    name = f"test_{secrets.token_hex(6)}"
    owner, database = sql.Identifier(role.name), sql.Identifier(name)
    role.server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
    yield make_url(role.url).set(database=name).render_as_string(hide_password=False)
    role.server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


def test_a_command_migrates_with_the_password_from_vault(
    settings_of: Callable[..., None],
    vault: ScriptedVault,
    role: Role,
    own_database: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    role.set_password(AWKWARD)
    vault.answers[READING] = entry(elevenlabs_api_key="sk", db=AWKWARD)
    settings_of(own_database)
    assert migrate(["upgrade", "0001"]) == 0
    assert migrate(["current"]) == 0
    shown = "".join(capsys.readouterr())
    assert "0001" in shown
    assert AWKWARD not in shown


def test_a_role_that_only_owns_its_database_can_migrate_it(role: Role, own_database: str) -> None:
    """In production it is no superuser, unlike the one of the other tests."""
    role.set_password(CANARY)
    url = make_url(own_database).set(password=CANARY).render_as_string(hide_password=False)
    runner.upgrade(url)
    runner.downgrade(url, "base")
