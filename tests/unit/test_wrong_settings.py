"""Each variable wrong once, and each pair that cannot be: one line that says what is allowed, and shows no value.

The wrong values are made from the fields' own types and bounds, so a new setting is tried too.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dashboard.settings import DashboardSettings
from scripts.launcher.plan import LauncherSettings
from scripts.reversal.options import RollbackSettings
from service import unknown_variables
from service.config import Settings, load, load_service_settings
from service.errors import SettingsError
from service.variables import OURS, VariablesSettings

ODD = "hunter2 # 77123"
"""No number, no address, no name of a choice; if it is ever shown, a test sees it."""

OWN_CHECKS = {
    "VOCERO_DATABASE_URL": [ODD, "mysql://u:hunter2@h/d", "hunter2"],
    "VOCERO_FALLBACK_CHAIN": ["elevenlabs,hunter2", "local,local"],
    "VOCERO_FALLBACK_VOICES": [ODD, '["hunter2"]', '{"hunter2": 1}', '{"a": {"b": {"hunter2": 1}}}'],
    "VOCERO_ELEVENLABS_2_AGENTS": [ODD, "hunter2=", "=hunter2"],
    "VOCERO_OIDC_ISSUER": ["https://hunter2.example"],  # without a client
}
NEVER_WRONG = (Path, SecretStr, str, frozenset)
"""Of these any text is a value, unless the field says more."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)


def _kind(field: FieldInfo) -> object:
    kinds = [kind for kind in typing.get_args(field.annotation) if kind is not type(None)]
    is_optional = len(kinds) == 1 and type(None) in typing.get_args(field.annotation)
    return kinds[0] if is_optional else field.annotation


def _beyond(field: FieldInfo) -> Iterator[str]:
    for rule in field.metadata:
        if isinstance(rule, Ge):
            yield str(typing.cast("float", rule.ge) - 1)
        if isinstance(rule, Gt):
            yield str(rule.gt)
        if isinstance(rule, Le):
            yield str(typing.cast("float", rule.le) + 1)
        if isinstance(rule, MaxLen):
            yield "hunter2" * rule.max_length


def _wrong(field: FieldInfo) -> list[str]:
    name, kind = field.alias or "", _kind(field)
    wrong = list(OWN_CHECKS.get(name, []))
    has_pattern = any(getattr(rule, "pattern", None) for rule in field.metadata)
    if kind in {int, float, bool} or typing.get_origin(kind) is typing.Literal or has_pattern:
        wrong.append(ODD)
    if kind is int:
        wrong.append("1.5")
    if kind is float:
        wrong += ["nan", "inf", "-inf"]
    return wrong + list(_beyond(field))


KINDS: tuple[type[VariablesSettings], ...] = (DashboardSettings, LauncherSettings, RollbackSettings)
FIELDS = [(kind, field) for kind in KINDS for field in kind.model_fields.values()]
CASES = [(kind, field, value) for kind, field in FIELDS for value in _wrong(field)]


@pytest.mark.parametrize(
    ("kind", "field", "value"), CASES, ids=[f"{field.alias}-{number}" for number, (_, field, _) in enumerate(CASES)]
)
def test_a_wrong_value_is_one_line_that_says_what_is_allowed(
    kind: type[VariablesSettings], field: FieldInfo, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert field.alias is not None
    monkeypatch.setenv(field.alias, value)
    with pytest.raises(SettingsError) as caught:
        load(kind)
    message = str(caught.value)
    assert message.startswith(f"{field.alias}: ")
    assert " must " in message or "set VOCERO_" in message
    assert message.endswith(".")
    assert len(message) < 400
    for hidden in ("\n", "hunter2", "77123", "None", "pydantic"):
        assert hidden not in message
    assert caught.value.exit_code == 78
    assert caught.value.__suppress_context__, "a traceback would show the value"


def test_every_setting_is_tried_unless_any_text_is_good_for_it() -> None:
    untried = {field.alias: _kind(field) for _, field in FIELDS if not _wrong(field)}
    for name, kind in untried.items():
        assert kind in NEVER_WRONG or typing.get_origin(kind) in NEVER_WRONG, name


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("VOCERO_PORT", "70000", "must be a whole number from 1 to 65535, and is a whole number that is too large."),
        ("VOCERO_PORT", '"8000"', "and is text in quotation marks, which are not taken off."),
        ("VOCERO_PORT", "tcp://10.0.0.1:8000", "(enableServiceLinks: false keeps it away)."),
        ("VOCERO_PORT", "\udcff", "must be a whole number from 1 to 65535, and is text that is not UTF-8."),
        (
            "VOCERO_IDLE_SECONDS",
            "0",
            "must be a number above 0, 3600 at most, and is a whole number that is too small.",
        ),
        ("VOCERO_IDLE_SECONDS", "4000.5", "and is a number with decimals that is too large."),
        ("VOCERO_COST_FETCH", "maybe", "must be true or false, and is text of 5 characters."),
        ("VOCERO_LOG_LEVEL", "INFO", "must be one of debug, info, warning, error, and is text of 4 characters."),
        ("VOCERO_PUBLIC_URL", "https://a.example/", "begins with https:// and has a slash at the end."),
        ("VAULT_ADDR", "https://me:hunter2@vault", "begins with https:// and has a user's name."),
        ("VOCERO_DATABASE_URL", "mysql://u:hunter2@h/d", "USER:PASSWORD@HOST/DATABASE, and is something else."),
        ("VOCERO_CANARY_VOICE_ID", "x" * 101, "must be text of 1 to 100 characters, and is text of 101 characters,"),
    ],
)
def test_the_line_says_what_the_value_looks_like(
    name: str, value: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(DashboardSettings)
    assert str(caught.value).startswith(f"{name}: ")
    assert line in str(caught.value)


def test_others_that_are_wrong_are_named_in_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCERO_PORT", "x")
    monkeypatch.setenv("VOCERO_WORKERS", "x")
    monkeypatch.setenv("VOCERO_LOG_LEVEL", "x")
    with pytest.raises(SettingsError) as caught:
        load(DashboardSettings)
    assert str(caught.value).endswith("Wrong too: VOCERO_WORKERS, VOCERO_LOG_LEVEL.")


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        ({"VOCERO_PORT": "8001"}, ("VOCERO_OPS_PORT", "VOCERO_PORT")),
        ({"VOCERO_DASHBOARD_PORT": "8000"}, ("VOCERO_DASHBOARD_PORT", "VOCERO_PORT")),
        ({"VOCERO_DASHBOARD_PORT": "8001"}, ("VOCERO_DASHBOARD_PORT", "VOCERO_OPS_PORT")),
        (
            {"VOCERO_POOL_AGENTS_MIN_IDLE": "3", "VOCERO_POOL_AGENTS_MAX_SIZE": "2"},
            ("VOCERO_POOL_AGENTS_MIN_IDLE", "VOCERO_POOL_AGENTS_MAX_SIZE"),
        ),
        (
            {"VOCERO_POOL_SPEECH_MIN_IDLE": "3", "VOCERO_POOL_SPEECH_MAX_IDLE_SECONDS": "0"},
            ("VOCERO_POOL_SPEECH_MIN_IDLE", "VOCERO_POOL_SPEECH_MAX_IDLE_SECONDS"),
        ),
        (
            {"VOCERO_FALLBACK_CHAIN": "elevenlabs,elevenlabs_2"},
            ("VOCERO_FALLBACK_CHAIN", "VOCERO_ELEVENLABS_2_API_KEY"),
        ),
        ({"VOCERO_SANDBOX": "true"}, ("VOCERO_SANDBOX", "ELEVENLABS_BASE_URL")),
        ({"VAULT_ADDR": "https://vault"}, ("VAULT_ADDR", "VAULT_TOKEN")),
        ({"VAULT_ADDR": "https://vault", "VAULT_TOKEN": "x", "VAULT_ROLE_ID": "y"}, ("VAULT_TOKEN", "VAULT_ROLE_ID")),
        (
            {"VAULT_ADDR": "https://vault", "VAULT_TOKEN": "x", "VAULT_TOKEN_FILE": "y"},
            ("VAULT_TOKEN", "VAULT_TOKEN_FILE"),
        ),
        ({"VAULT_ADDR": "https://vault", "VAULT_ROLE_ID": "y"}, ("VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE")),
        (
            {"VAULT_ADDR": "https://vault", "VAULT_TOKEN": "x", "VAULT_SKIP_VERIFY": "true"},
            ("VAULT_SKIP_VERIFY", "VOCERO_DEVELOPMENT"),
        ),
        ({"VAULT_ADDR": "http://vault", "VAULT_TOKEN": "x"}, ("VAULT_ADDR", "https")),
        ({"VOCERO_DASHBOARD_URL": "http://admin.example"}, ("VOCERO_DASHBOARD_URL", "VOCERO_DEVELOPMENT")),
    ],
    ids="-".join,
)
def test_what_cannot_be_together_is_one_line_with_both_names(
    settings: dict[str, str], both: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(DashboardSettings)
    assert all(name in str(caught.value) for name in both)
    assert "\n" not in str(caught.value)


def test_the_service_needs_a_key_or_somewhere_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^ELEVENLABS_API_KEY is not set: .*VAULT_ADDR"):
        load_service_settings()
    monkeypatch.setenv("ELEVENLABS_API_KEY", "key")
    load_service_settings()


def test_variables_that_others_read_are_known() -> None:
    theirs = {field.alias for _, field in FIELDS}
    ours = {field.alias for field in Settings.model_fields.values()}
    assert theirs - ours == unknown_variables.ELSEWHERE


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("VOCERO_PROT", "VOCERO_PORT"),
        ("VOCERO_WORKER", "VOCERO_WORKERS"),
        ("vocero_port", "VOCERO_PORT"),
        ("VOCERO_DATABSE_URL", "VOCERO_DATABASE_URL"),
        ("VOCERO_OIDC_CLIENT_SECERT", "VOCERO_OIDC_CLIENT_SECRET"),
    ],
)
def test_an_unknown_variable_is_told_with_what_may_have_been_meant(name: str, meant: str) -> None:
    (said,) = unknown_variables.complaints({name: "hunter2", meant: "1", "PATH": "/"})
    assert said == f"{name} is no variable of Vocero's and does nothing; did you mean {meant}?"


def test_an_unknown_variable_that_resembles_none_is_told_without_a_guess() -> None:
    assert unknown_variables.complaints({"VOCERO_ZZZZ": "hunter2"}) == [
        "VOCERO_ZZZZ is no variable of Vocero's and does nothing."
    ]


def test_an_unknown_file_of_secrets_is_told_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "VOCERO_DATABASE_URI").write_text("hunter2")
    (tmp_path / "something-else").write_text("hunter2")
    (said,) = unknown_variables.complaints({"VOCERO_SECRETS_FOLDER": str(tmp_path)})
    assert said == (
        f"VOCERO_DATABASE_URI (a file in {tmp_path}) is no variable of Vocero's and does nothing; did you mean"
        " VOCERO_DATABASE_URL?"
    )


def test_kubernetes_service_links_are_told_once() -> None:
    links = {
        "VOCERO_SERVICE_HOST": "10.0.0.1",
        "VOCERO_SERVICE_PORT_HTTP": "8000",
        "VOCERO_PORT_8000_TCP_ADDR": "10.0.0.1",
        "VOCERO_DASHBOARD_PORT_8002_TCP": "tcp://10.0.0.2:8002",
    }
    (said,) = unknown_variables.complaints(links)
    assert said.startswith("4 variables such as VOCERO_DASHBOARD_PORT_8002_TCP are Kubernetes' service links")
