"""Where the secrets come from: which source is chosen, what is refused at the start, and what reading does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.errors import ConfigurationError
from service.secret import Secret, SecretName
from service.secrets_sources import EnvironmentSource, VaultSource
from tests.unit.secrets.asking import canaries_in, reading_failure_of, revealed
from tests.unit.secrets.scripted_vault import (
    LOOKUP,
    OTHER_VALUE,
    READING,
    SECRET_ID,
    TOKEN,
    VALUE,
    Answer,
    ScriptedVault,
    entry,
    refusal,
)
from tests.unit.secrets.shown import is_one_line, shown_of

StartVault = Callable[..., ScriptedVault]
MakeSource = Callable[..., EnvironmentSource | VaultSource]
LOOKED_UP: Answer = (200, {"data": {"ttl": 3600, "renewable": True, "expire_time": "2030-01-01T00:00:00Z"}})
KUBERNETES_LOGIN = "auth/kubernetes/login"


# --- The choice


def test_without_vault_the_key_is_that_of_the_environment_and_does_not_change(source_for: MakeSource) -> None:
    source = source_for(ELEVENLABS_API_KEY=VALUE)
    assert (source.name, source.is_static) == ("environment", True)
    assert revealed(source) == {SecretName.ELEVENLABS_API_KEY: VALUE}
    assert source.read().version == 0
    assert (source.seconds_to_upkeep, source.lease_seconds_left) == (math.inf, math.inf)


def test_with_vault_the_environment_is_no_fallback_and_a_key_in_it_is_warned_of_by_name(
    source_for: MakeSource, start_vault: StartVault
) -> None:
    vault = start_vault(
        {LOOKUP: LOOKED_UP, READING: [entry(elevenlabs_api_key=VALUE), refusal(503, "Vault is sealed")]}
    )
    with capture_logs() as logs:
        source = source_for(VAULT_ADDR=vault.url, VAULT_TOKEN=TOKEN, ELEVENLABS_API_KEY=OTHER_VALUE)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "ELEVENLABS_API_KEY" in logs[0]["event"]
    assert "VAULT_ADDR" in logs[0]["event"]
    assert OTHER_VALUE not in repr(logs)
    assert (source.name, source.is_static) == ("vault", False)
    assert revealed(source) == {SecretName.ELEVENLABS_API_KEY: VALUE}
    reading_failure_of(source)


def test_an_empty_variable_is_as_good_as_none(source_for: MakeSource) -> None:
    assert source_for(VAULT_ADDR="", VAULT_TOKEN="", ELEVENLABS_API_KEY=VALUE).name == "environment"


def test_choosing_asks_nobody(source_for: MakeSource, start_vault: StartVault, tmp_path: Path) -> None:
    vault = start_vault()
    source = source_for(
        VAULT_ADDR=vault.url, VAULT_ROLE_ID_FILE=str(tmp_path / "none"), VAULT_SECRET_ID_FILE=str(tmp_path / "none")
    )
    assert vault.accepted == 0
    assert source.lease_seconds_left == 0.0


VAULT = {"VAULT_ADDR": "https://vault.example.com:8200"}
WITH_TOKEN = {**VAULT, "VAULT_TOKEN": TOKEN}
ROLE = {"VAULT_ROLE_ID": "role"}
APPROLE = {**VAULT, **ROLE, "VAULT_SECRET_ID": SECRET_ID}
KUBERNETES = {"VAULT_KUBERNETES_ROLE": "vocero"}

WRONG: list[tuple[str, dict[str, str], list[str]]] = [
    ("nothing", {}, ["ELEVENLABS_API_KEY", "VAULT_ADDR"]),
    ("no way in", VAULT, ["VAULT_TOKEN", "VAULT_ROLE_ID", "VAULT_KUBERNETES_ROLE"]),
    ("a secret id alone", {**VAULT, "VAULT_SECRET_ID": SECRET_ID}, ["VAULT_ROLE_ID"]),
    ("token and role", {**APPROLE, "VAULT_TOKEN": TOKEN}, ["VAULT_TOKEN", "VAULT_ROLE_ID"]),
    ("token file and role", {**APPROLE, "VAULT_TOKEN_FILE": "/run/token"}, ["VAULT_TOKEN_FILE", "VAULT_ROLE_ID"]),
    ("token and Kubernetes", {**WITH_TOKEN, **KUBERNETES}, ["VAULT_TOKEN", "VAULT_KUBERNETES_ROLE"]),
    ("role and Kubernetes", {**APPROLE, **KUBERNETES}, ["VAULT_ROLE_ID", "VAULT_KUBERNETES_ROLE"]),
    ("all three", {**APPROLE, **KUBERNETES, "VAULT_TOKEN": TOKEN}, ["VAULT_TOKEN", "VAULT_KUBERNETES_ROLE"]),
    ("a role without secret id", {**VAULT, **ROLE}, ["VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE"]),
    # "Set one of these" says the description of each; the one in the file would win in silence.
    ("a token twice", {**WITH_TOKEN, "VAULT_TOKEN_FILE": "/run/token"}, ["VAULT_TOKEN", "VAULT_TOKEN_FILE"]),
    ("a role twice", {**APPROLE, "VAULT_ROLE_ID_FILE": "/run/role"}, ["VAULT_ROLE_ID", "VAULT_ROLE_ID_FILE"]),
    ("a secret id twice", {**APPROLE, "VAULT_SECRET_ID_FILE": "/run/id"}, ["VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE"]),
    ("http to another machine", {**WITH_TOKEN, "VAULT_ADDR": "http://vault.example.com:8200"}, ["VAULT_ADDR", "https"]),
    ("http to an address", {**WITH_TOKEN, "VAULT_ADDR": "http://10.0.0.7:8200"}, ["VAULT_ADDR"]),
    ("http to a look-alike", {**WITH_TOKEN, "VAULT_ADDR": "http://localhost.example.com"}, ["VAULT_ADDR"]),
    ("http to another look-alike", {**WITH_TOKEN, "VAULT_ADDR": "http://127.0.0.1.example.com"}, ["VAULT_ADDR"]),
    ("http to no address", {**WITH_TOKEN, "VAULT_ADDR": "http://[::1:8200"}, ["VAULT_ADDR"]),
    ("https to no address", {**WITH_TOKEN, "VAULT_ADDR": "https://[::1:8200"}, ["VAULT_ADDR"]),
    ("a port that is none", {**WITH_TOKEN, "VAULT_ADDR": "https://vault.example.com:82000"}, ["VAULT_ADDR"]),
    ("no check", {**WITH_TOKEN, "VAULT_SKIP_VERIFY": "true"}, ["VAULT_SKIP_VERIFY", "VOCERO_DEVELOPMENT"]),
    ("a key of two lines", {"ELEVENLABS_API_KEY": f"{VALUE}\n{VALUE}"}, ["ELEVENLABS_API_KEY", "line break"]),
    ("a key with its line's end", {"ELEVENLABS_API_KEY": f"{VALUE}\n"}, ["ELEVENLABS_API_KEY", "line break"]),
    ("a key with a blank", {"ELEVENLABS_API_KEY": f" {VALUE}"}, ["ELEVENLABS_API_KEY", "blank"]),
    ("a key that is no ASCII", {"ELEVENLABS_API_KEY": f"{VALUE}\u2026"}, ["ELEVENLABS_API_KEY", "another character"]),
    ("a key that is no text", {"ELEVENLABS_API_KEY": f"{VALUE}\udcff"}, ["ELEVENLABS_API_KEY", "another character"]),
    ("a book", {"ELEVENLABS_API_KEY": VALUE * 4_000}, ["ELEVENLABS_API_KEY", "characters"]),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "names"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_does_not_fit_together_is_one_line_that_names_the_variables_and_no_value(
    source_for: MakeSource, variables: dict[str, str], names: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        source_for(**variables)
    message = str(caught.value)
    assert not [name for name in names if name not in message], message
    assert is_one_line(message)
    assert not canaries_in(shown_of(caught.value))


@pytest.mark.parametrize(
    "content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\n!\n", bytes(range(256))]
)
def test_a_file_of_authorities_that_cannot_be_used_is_one_line(
    source_for: MakeSource, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        source_for(**WITH_TOKEN, VAULT_CACERT=str(path))
    assert str(caught.value).startswith(f"VAULT_CACERT: {path} ")
    assert is_one_line(str(caught.value))


def test_a_folder_in_place_of_the_authorities_is_one_line(source_for: MakeSource, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^VAULT_CACERT: .* \(.*\)\.$"):
        source_for(**WITH_TOKEN, VAULT_CACERT=str(tmp_path))


@pytest.mark.parametrize(
    "address", ["http://localhost:8200", "http://LOCALHOST", "http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:1"]
)
def test_plain_http_within_this_machine_is_allowed(source_for: MakeSource, address: str) -> None:
    assert source_for(VAULT_ADDR=address, VAULT_TOKEN=TOKEN).name == "vault"


def test_development_may_use_plain_http_and_leave_the_certificate_unchecked(source_for: MakeSource) -> None:
    source_for(VAULT_ADDR="http://vault.example.com:8200", VAULT_TOKEN=TOKEN, VOCERO_DEVELOPMENT="true")
    source_for(**WITH_TOKEN, VAULT_SKIP_VERIFY="true", VOCERO_DEVELOPMENT="true")


def test_nothing_that_is_given_can_be_seen_in_the_source(source_for: MakeSource) -> None:
    source = source_for(ELEVENLABS_API_KEY=VALUE)
    assert VALUE not in repr(vars(source))
    assert Secret(VALUE) == source.read().values[SecretName.ELEVENLABS_API_KEY]
