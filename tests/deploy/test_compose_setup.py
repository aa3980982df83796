"""Setup: what it makes, that it makes it once, who reads it, and what it refuses."""

from __future__ import annotations

import os
import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from scripts.compose_setup import certificates, installation, readers
from scripts.compose_setup.alerting import ITS_GATEWAY, alertmanager_yml
from scripts.compose_setup.installation import Installation, SetupError
from scripts.compose_setup.store import Store
from scripts.launcher.first_look import SANDBOX_AGENTS
from service.config import load_settings
from tests.deploy.compose_files import ROOT
from tests.parts import require_program

SOURCE = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation that has not run yet. Whoever runs the tests stands for every reader."""
    given: list[tuple[Path, int, int]] = []
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "fchown", lambda *_: None)
        monkeypatch.setattr(os, "chown", lambda *given_to: given.append(given_to))
        monkeypatch.setattr(readers, "_FOLDER_MODE", 0o700)
    for name in ("kept", "given", "data", *(f"secrets/{reader.name}" for reader in readers.READERS)):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data/postgres").mkdir()
    return Installation(
        store=Store(tmp_path / "kept"),
        secrets=tmp_path / "secrets",
        data=tmp_path / "data",
        given=tmp_path / "given",
        sources=ROOT / "deploy",
        names=("voice.example.com", "admin.example.com"),
    )


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_second_run_changes_nothing(made: Installation, tmp_path: Path) -> None:
    assert "setup passwords" in made.hand_out()
    first = everything(tmp_path)
    again = Installation(**{**vars(made), "store": Store(tmp_path / "kept")})
    assert again.hand_out().startswith("Nothing to do")
    assert everything(tmp_path) == first


def test_a_reader_has_only_its_own_and_nobody_else_can_read_it(made: Installation, tmp_path: Path) -> None:
    made.hand_out()
    for path in (tmp_path / "secrets").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    if os.geteuid() == 0:
        for reader in readers.READERS:
            assert {path.stat().st_uid for path in (tmp_path / "secrets" / reader.name).iterdir()} == {reader.user}
        assert (tmp_path / "data/postgres").stat().st_uid == readers.POSTGRES.user
    owner = (tmp_path / "secrets/owner/VOCERO_DATABASE_URL").read_text()
    service = (tmp_path / "secrets/vocero/VOCERO_DATABASE_URL").read_text()
    assert "vocero_owner:" in owner
    assert "vocero_owner" not in service
    kept = {path.name: path.read_text() for path in (tmp_path / "kept").iterdir()}
    assert len({value for value in kept.values() if "\n" not in value}) == len(
        [v for v in kept.values() if "\n" not in v]
    )


def test_the_service_can_start_with_what_it_is_given(
    made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.hand_out()
    monkeypatch.setenv("VOCERO_SECRETS_FOLDER", str(tmp_path / "secrets/vocero"))
    monkeypatch.setenv("VAULT_ADDR", "http://vault:8200")
    monkeypatch.setenv("VOCERO_DEVELOPMENT", "true")
    settings = load_settings()
    assert settings.sandbox is True
    assert settings.elevenlabs_agent_id == SANDBOX_AGENTS[0]
    assert settings.database_url.get_secret_value().endswith("@postgres:5432/vocero")


def test_a_key_takes_the_place_of_the_sandbox_and_is_handed_to_vault_alone(made: Installation, tmp_path: Path) -> None:
    made.hand_out()
    made.take_key("agent_mine", "sk_" + "k" * 40)
    assert "Who speaks: ElevenLabs." in made.hand_out()
    vocero = {path.name: path.read_text() for path in (tmp_path / "secrets/vocero").iterdir()}
    assert vocero["ELEVENLABS_AGENT_ID"] == "agent_mine"
    assert not {"ELEVENLABS_BASE_URL", "VOCERO_SANDBOX", "VOCERO_PUBLIC_AGENTS"} & vocero.keys()
    files = [path for path in (tmp_path / "secrets").rglob("*") if path.is_file()]
    readers_of_it = {path.parent.name for path in files if "k" * 40 in path.read_text()}
    assert readers_of_it == {"vault"}
    made.forget_key()
    assert "the sandbox" in made.hand_out()


@pytest.mark.parametrize(
    ("agent", "key"),
    [("agent one", "k" * 20), ("", "k" * 20), ("agent", ""), ("agent", "k" * 9 + " " + "k" * 9), ("agent", "k" * 4097)],
)
def test_what_can_be_no_key_or_agent_is_refused_and_not_shown(made: Installation, agent: str, key: str) -> None:
    with pytest.raises(SetupError) as refused:
        made.take_key(agent, key)
    assert not key or key not in str(refused.value)
    assert made.store.get("elevenlabs_api_key") is None


def test_the_fronts_certificate_is_good_for_its_names_and_its_authority_has_no_key_left(
    made: Installation, tmp_path: Path
) -> None:
    made.hand_out()
    folder = tmp_path / "secrets/front"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "front_certificate", folder / "front_certificate_key")  # they belong together
    found = x509.load_pem_x509_certificate((folder / "front_certificate").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["voice.example.com", "admin.example.com", "localhost"]
    authority = x509.load_pem_x509_certificate(made.authority().encode())
    found.verify_directly_issued_by(authority)
    keys = [path for path in (tmp_path / "kept").iterdir() if "PRIVATE KEY" in path.read_text()]
    assert [path.name for path in keys] == ["front_key"]


def test_a_certificate_is_made_anew_for_other_names_and_before_it_ends(
    made: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.hand_out()
    first = made.store.get("front_certificate")
    assert first is not None
    other = Installation(**{**vars(made), "names": ("new.example.com",)})
    other.hand_out()
    second = made.store.get("front_certificate")
    assert second is not None
    assert first != second
    monkeypatch.setattr(certificates, "RENEW_DAYS", certificates.DAYS)
    other.hand_out()
    assert made.store.get("front_certificate") != second


def test_a_certificate_that_was_given_counts_and_a_wrong_one_is_refused(made: Installation, tmp_path: Path) -> None:
    mine, other = (certificates.make_certificate(("mine.example.com",)) for _ in range(2))
    (tmp_path / "given/certificate.pem").write_text(mine.certificate)
    with pytest.raises(SetupError, match="give both"):
        made.hand_out()
    (tmp_path / "given/certificate-key.pem").write_text(other.key)
    with pytest.raises(SetupError, match="not that of the first certificate"):
        made.hand_out()
    (tmp_path / "given/certificate-key.pem").write_text("-----BEGIN NOTHING-----")
    with pytest.raises(SetupError, match="no PEM"):
        made.hand_out()
    (tmp_path / "given/certificate-key.pem").write_text(mine.key)
    made.hand_out()
    assert (tmp_path / "secrets/front/front_certificate").read_text() == mine.certificate
    with pytest.raises(SetupError, match="you gave"):
        made.authority()


def test_a_certificate_that_has_ended_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificates.make_certificate(("mine.example.com",))

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=certificates.DAYS + 1)

    monkeypatch.setattr(certificates, "datetime", Later)
    assert "ended on" in (certificates.why_not(made.certificate, made.key) or "")


def test_in_production_vocero_gets_no_token_and_vault_a_certificate(made: Installation, tmp_path: Path) -> None:
    production = Installation(**{**vars(made), "vault_is_for_development": False})
    made.hand_out()  # an installation that was for development first
    (tmp_path / "data/approle").mkdir()
    production.hand_out()
    vocero = {path.name for path in (tmp_path / "secrets/vocero").iterdir()}
    assert vocero == {"VOCERO_REDIS_URL", "VOCERO_DATABASE_URL", "vault-authority.pem"}
    vault = {path.name for path in (tmp_path / "secrets/vault").iterdir()}
    assert vault == {"vault_authority", "vault_certificate", "vault_certificate_key"}
    used = set((ROOT / "deploy/vault/server.hcl").read_text().split('"'))
    assert {"/run/secrets/vault_certificate", "/run/secrets/vault_certificate_key"} <= used
    assert stat.S_IMODE((tmp_path / "data/approle").stat().st_mode) == readers.SHARED_FOLDER_MODE
    with pytest.raises(SetupError, match="straight into Vault"):
        production.take_key("agent_mine", "k" * 20)


def test_first_passwords_are_shown_once_they_are_made(made: Installation) -> None:
    with pytest.raises(SetupError, match="nothing was made yet"):
        made.passwords()
    made.hand_out()
    shown = made.passwords()
    assert made.store.get("admin_password") in shown.split()
    assert made.store.get("grafana_password") in shown.split()


@pytest.mark.parametrize("gateway", [None, "http://gateway:9000/alerts"])
def test_alertmanager_takes_what_is_made_of_its_configuration(gateway: str | None, tmp_path: Path) -> None:
    text = alertmanager_yml(SOURCE, gateway)
    found, original = yaml.safe_load(text), yaml.safe_load(SOURCE)
    assert found["route"] == original["route"]
    assert found["inhibit_rules"] == original["inhibit_rules"]
    assert SOURCE.count(ITS_GATEWAY) == len(original["receivers"])
    assert ITS_GATEWAY not in text
    assert text.count("http://gateway:9000/alerts/") == (0 if gateway is None else len(original["receivers"]))
    path = tmp_path / "alertmanager.yml"
    path.write_text(text)
    amtool = require_program("amtool", remedy="Debian's prometheus-alertmanager")
    done = subprocess.run([amtool, "check-config", path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_readers_of_a_file_see_the_old_or_the_new_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.password("one") == store.password("one")
    assert len(store.password("one")) == 40
    assert store.password("two") != store.password("one")
    assert store.made == ["one", "two"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one", "two"]
    assert installation.LONGEST_KEY == 4096
