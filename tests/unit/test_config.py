"""Settings: documented, bounded, and wrong ones named without showing their value."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from dashboard.settings import DashboardSettings
from scripts import env_example
from scripts.launcher.plan import LauncherSettings
from scripts.reversal.options import RollbackSettings
from service.config import Settings, load_settings
from service.errors import ConfigurationError
from service.setting_groups import HEADINGS, grouped
from service.variables import OURS
from tests.servers import ROOT

SOURCES = ("service", "dashboard", "sandbox", "scripts", "migrations", "grafana")
READERS = {"os.environ.get", "os.environ.setdefault", "os.environ.pop", "os.getenv", "find"}
DEVELOPERS = {"CI", "PATH"}
GIVEN_BY_COMPOSE = {"VOCERO_VAULT_MODE"}  # which of the two files' Vault it is; nobody chooses it
"""What only the scripts read that prepare a test run."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)


def test_the_example_file_is_what_the_settings_say() -> None:
    assert env_example.TARGET.read_text() == env_example.text(), "run: python -m scripts.env_example"


def test_the_example_file_lists_each_variable_once_and_nothing_else() -> None:
    lines = env_example.TARGET.read_text().splitlines()
    listed = [found[1] for line in lines if (found := re.match(r"# ([A-Z][A-Z0-9_]*)=", line))]
    others = [name for name in env_example.variables(DashboardSettings) if name not in env_example.variables(Settings)]
    read_alone = [name for kind in (LauncherSettings, RollbackSettings) for name in env_example.variables(kind)]
    assert listed == [*env_example.variables(Settings), *others, *read_alone, *env_example.OTHERS]
    assert listed[:3] == ["ELEVENLABS_API_KEY", "VAULT_ADDR", "VAULT_TOKEN"], "what everybody looks for stands first"


def test_every_heading_is_over_a_setting() -> None:
    assert HEADINGS.keys() <= Settings.model_fields.keys()
    assert env_example.DASHBOARD_HEADINGS.keys() <= DashboardSettings.model_fields.keys()
    assert all(title for title, _ in grouped(Settings.model_fields))


def test_the_code_reads_no_variable_that_the_example_file_does_not_have() -> None:
    files = (env_example.TARGET, ROOT / "deploy" / "compose" / ".env.example")
    listed = {name for file in files for name in re.findall(r"^# ?([A-Z][A-Z0-9_]*)=", file.read_text(), re.MULTILINE)}
    read = {name for folder in SOURCES for path in (ROOT / folder).rglob("*.py") for name in _read_by_itself(path)}
    assert "VOCERO_REDIS_URL" in read, "the launcher does; else nothing is found any more"
    assert read - listed == DEVELOPERS | GIVEN_BY_COMPOSE


def _read_by_itself(path: Path) -> Iterator[str]:
    """Names of variables that a module gets without a setting: os.environ[...], os.environ.get(...), os.getenv(...)."""
    for node in ast.walk(ast.parse(path.read_text())):
        name: ast.expr | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            name = node.slice
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in READERS and node.args:
            name = node.args[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value
        elif name is not None and not isinstance(name, ast.Name | ast.Attribute):
            raise AssertionError(f"{path}: a variable's name that cannot be read: {ast.unparse(name)}")


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
