"""Settings: documented, bounded, and wrong ones named without showing their value."""

from __future__ import annotations

import os

import pytest
from pydantic_settings import BaseSettings

from dashboard.settings import DashboardSettings
from scripts import env_example
from scripts.launcher.plan import LauncherSettings
from scripts.reversal.options import RollbackSettings
from service.config import Settings, load_settings
from service.errors import ConfigurationError
from tests.servers import OURS


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)


def test_the_example_file_is_what_the_settings_say() -> None:
    assert env_example.TARGET.read_text() == env_example.text(), "run: python -m scripts.env_example"


def test_the_example_file_lists_each_variable_once_and_nothing_else() -> None:
    lines = env_example.TARGET.read_text().splitlines()
    listed = [line.removeprefix("# ").partition("=")[0] for line in lines if line.removeprefix("# ").startswith(OURS)]
    listed = [name for name in listed if name.isupper() and " " not in name]
    others = [name for name in env_example.variables(DashboardSettings) if name not in env_example.variables(Settings)]
    read_alone = [name for kind in (LauncherSettings, RollbackSettings) for name in env_example.variables(kind)]
    assert listed == [*env_example.variables(Settings), *others, *read_alone]


def test_the_example_file_as_it_stands_changes_nothing() -> None:
    lines = env_example.TARGET.read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_defaults_in_the_example_file_are_accepted_and_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_settings()
    for line in env_example.TARGET.read_text().splitlines():
        name, _, value = line.removeprefix("# ").partition("=")
        if name in env_example.variables(Settings) and value:
            monkeypatch.setenv(name, value)
    assert load_settings() == before


@pytest.mark.parametrize("settings", [Settings, LauncherSettings, RollbackSettings])
def test_every_setting_says_what_it_means_and_names_its_unit(settings: type[BaseSettings]) -> None:
    for name, field in settings.model_fields.items():
        assert field.alias, name
        assert field.description, name
        assert field.description.endswith("."), name
        if name.endswith("_seconds"):
            assert field.alias.endswith("_SECONDS")
            assert "second" in field.description.lower(), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VOCERO_PORT", "hunter2"),
        ("VOCERO_PORT", "0"),
        ("VOCERO_PORT", "65536"),
        ("VOCERO_OPS_PORT", "-77123"),
        ("VOCERO_OPS_PORT", "65536"),
        ("VOCERO_WORKERS", "-77123"),
        ("VOCERO_IDLE_SECONDS", "hunter2"),
        ("VOCERO_IDLE_SECONDS", "nan"),
        ("VOCERO_IDLE_SECONDS", "inf"),
        ("VOCERO_REDIS_URL", "http://:hunter2@host"),
        ("VOCERO_SANDBOX", "hunter2"),
        ("VOCERO_LOG_LEVEL", "hunter2"),
        ("VOCERO_PUBLIC_URL", "hunter2"),
        ("VOCERO_PUBLIC_URL", "https://host/?key=hunter2"),
        ("ELEVENLABS_BASE_URL", "https://hunter2.example/"),
        ("VAULT_ADDR", "hunter2"),
        ("VAULT_ADDR", "https://user:hunter2@vault:8200"),
        ("VAULT_KV_MOUNT", "/hunter2/"),
        ("VAULT_ELEVENLABS_KEY_FIELD", "hunter2 hunter2"),
        ("VOCERO_TRANSCRIPT_DAYS", "-1"),
        ("VOCERO_CONVERSATION_DAYS", "0"),
        ("VOCERO_AUDIT_DAYS", "29"),
        ("VOCERO_TOMBSTONE_DAYS", "34"),
        ("VOCERO_RETENTION_INTERVAL_SECONDS", "0.5"),
        ("VOCERO_COST_FETCH", "hunter2"),
        ("SECRETS_POLL_SECONDS", "0.5"),
        ("SECRETS_GRACE_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable_and_not_the_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    assert "hunter2" not in message
    assert "77123" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "a traceback would show the value"


def test_an_empty_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ELEVENLABS_API_KEY", "ELEVENLABS_AGENT_ID", "VOCERO_PUBLIC_URL"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert settings.elevenlabs_api_key is None
    assert settings.elevenlabs_agent_id is None
    assert settings.public_url is None


def test_names_are_split_at_commas_without_their_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCERO_PUBLIC_AGENTS", " agent_a, agent_b ,,")
    assert load_settings().public_agents == {"agent_a", "agent_b"}


def test_secrets_are_not_in_the_settings_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "hunter2")
    monkeypatch.setenv("VOCERO_DATABASE_URL", "postgresql+psycopg://vocero:hunter2@db/vocero")
    monkeypatch.setenv("VAULT_TOKEN", "hunter2")
    monkeypatch.setenv("VAULT_SECRET_ID", "hunter2")
    assert "hunter2" not in repr(load_settings())
    assert "hunter2" not in str(load_settings().model_dump())
