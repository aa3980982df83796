"""Everything that an installation by Compose is given before it starts, made from one store (`store.py`).

The key decision: each password is made once and kept; what services read (a URL with the password in it, a file of
their own) is made from it at every start, so to change a password is to change it in one place.
"""

from __future__ import annotations

import base64
import getpass
import os
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.compose_setup import readers
from scripts.compose_setup.alerting import TOKENS, alertmanager_yml
from scripts.compose_setup.certificates import is_good, make_certificate, why_not
from scripts.compose_setup.readers import Reader, hand_over, own
from scripts.compose_setup.store import Store
from scripts.launcher.first_look import SANDBOX_AGENTS, SANDBOX_KEY

LONGEST_KEY = 4096
_HERE = ("localhost", "127.0.0.1", "::1")
_AGENT = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PRINTABLE = re.compile(r"[!-~]+")
_DATA = {
    "valkey": readers.VALKEY,
    "postgres": readers.POSTGRES,
    "vault": readers.VAULT,
    "vault-logs": readers.VAULT,
    "prometheus": readers.ALERTMANAGER,  # the same user in both images
    "alertmanager": readers.ALERTMANAGER,
    "grafana": readers.GRAFANA,
    "rollback": readers.OWNER,
}


class SetupError(Exception):
    """Something that was given cannot be used; nothing of it was taken, and the message says how to mend it."""


@dataclass(frozen=True)
class Installation:
    """Where things lie in setup's container, and what the operator has chosen.

    `given` is the folder for what somebody brings (a certificate, tokens for alerts); `sources` has this project's
    deploy/. `vault_is_for_development`: Vocero logs in with a token of our making, and not by AppRole.
    """

    store: Store
    secrets: Path
    data: Path
    given: Path
    sources: Path
    names: tuple[str, ...]
    alert_gateway: str | None = None
    vault_is_for_development: bool = True

    def hand_out(self) -> str:
        """Give every service its files; the result is what there is to say."""
        changed = {reader.name: self._give(reader, files) for reader, files in self._files().items()}
        for name, reader in _DATA.items():
            folder = self.data / name
            if folder.is_dir() and folder.stat().st_uid != reader.user:
                own(folder, reader)
        if (self.data / "approle").is_dir():
            own(self.data / "approle", readers.APPROLE, readers.SHARED_FOLDER_MODE)
        return self._report([name for name, files in changed.items() if files])

    def take_key(self, agent: str, key: str) -> None:
        """Keep an ElevenLabs key and the agent that the page talks to.

        Raises:
            SetupError: one of them cannot be one; nothing was changed.
        """
        if not self.vault_is_for_development:
            raise SetupError("in production the key goes straight into Vault, and nowhere else (docs/deployment.md).")
        if not _AGENT.fullmatch(agent):
            raise SetupError("that is no id of an agent: letters, digits, _ and - (agent_...).")
        if not key or len(key) > LONGEST_KEY or not _PRINTABLE.fullmatch(key):
            raise SetupError("that is no key: it is empty, too long, or has a blank in it. Nothing was changed.")
        self.store.put("elevenlabs_api_key", key)
        self.store.put("elevenlabs_agent_id", agent)

    def forget_key(self) -> None:
        """Use the sandbox again."""
        self.store.forget("elevenlabs_api_key")
        self.store.forget("elevenlabs_agent_id")

    def passwords(self) -> str:
        """What people need to sign in for the first time."""
        shown = [
            ("dashboard", "admin", self.store.get("admin_password"), "until it is changed there"),
            ("Grafana", "admin", self.store.get("grafana_password"), "until it is changed there"),
        ]
        if any(password is None for _, _, password, _ in shown):
            raise SetupError("nothing was made yet: docker compose up -d")
        return "\n".join(f"{where}: {user} / {password}   ({note})" for where, user, password, note in shown)

    def authority(self) -> str:
        """The certificate that whoever connects has to trust."""
        made = self.store.get("front_authority")
        if self._given_certificate() is not None or made is None:
            raise SetupError("the certificate is one that you gave, or none was made yet.")
        return made

    def _give(self, reader: Reader, files: dict[str, str]) -> list[str]:
        return hand_over(self.secrets / reader.name, reader, files)

    def _files(self) -> dict[Reader, dict[str, str]]:
        keep = self.store
        service, owner = keep.password("postgres_service_password"), keep.password("postgres_owner_password")
        valkey, ops = keep.password("valkey_vocero_password"), keep.password("valkey_ops_password")
        certificate, key = self._front_certificate()
        return {
            readers.VOCERO: {
                "VOCERO_REDIS_URL": f"redis://vocero:{valkey}@valkey:6379/0",
                "VOCERO_DATABASE_URL": f"postgresql+psycopg://vocero:{service}@postgres:5432/vocero",
                **self._vault_login(),
                **self._elevenlabs(),
            },
            readers.OWNER: {
                "VOCERO_REDIS_URL": f"redis://vocero_ops:{ops}@valkey:6379/0",
                "VOCERO_DATABASE_URL": f"postgresql+psycopg://vocero_owner:{owner}@postgres:5432/vocero",
                "admin_password": keep.password("admin_password"),
            },
            readers.VALKEY: {"valkey_vocero_password": valkey, "valkey_ops_password": ops},
            readers.POSTGRES: {
                "superuser_password": keep.password("postgres_superuser_password"),
                "owner_password": owner,
                "service_password": service,
            },
            readers.VAULT: self._vault(),
            readers.FRONT: {"front_certificate": certificate, "front_certificate_key": key},
            readers.GRAFANA: {"admin_password": keep.password("grafana_password")},
            readers.ALERTMANAGER: self._alerting(),
        }

    def _elevenlabs(self) -> dict[str, str]:
        """Settings that depend on whether there is a key; a variable of the environment wins over each."""
        if not self.vault_is_for_development:
            return {}  # the key is in Vault, and the agent in vocero.env
        agent = self.store.get("elevenlabs_agent_id")
        if agent is not None:
            return {"ELEVENLABS_AGENT_ID": agent}
        return {
            "ELEVENLABS_BASE_URL": "http://sandbox:8011",
            "ELEVENLABS_AGENT_ID": SANDBOX_AGENTS[0],
            "VOCERO_PUBLIC_AGENTS": ",".join(SANDBOX_AGENTS),
            "VOCERO_PAGE_LANGUAGES": "en,es",
            "VOCERO_SANDBOX": "true",
        }

    def _vault_login(self) -> dict[str, str]:
        if self.vault_is_for_development:
            return {"VAULT_TOKEN": self.store.password("vault_vocero_token")}
        return {"vault-authority.pem": self._vault_certificate()[0]}

    def _vault(self) -> dict[str, str]:
        if self.vault_is_for_development:
            return {
                "root_token": self.store.password("vault_root_token"),
                "vocero_token": self.store.password("vault_vocero_token"),
                "elevenlabs_api_key": self.store.get("elevenlabs_api_key") or SANDBOX_KEY,
                "ticket_signing_key": self.store.get_or_make("ticket_signing_key", _signing_key),
            }
        authority, certificate, key = self._vault_certificate()
        return {"vault_authority": authority, "vault_certificate": certificate, "vault_certificate_key": key}

    def _front_certificate(self) -> tuple[str, str]:
        given = self._given_certificate()
        return given or self._own_certificate("front", tuple(dict.fromkeys((*self.names, *_HERE))))[1:]

    def _vault_certificate(self) -> tuple[str, str, str]:
        return self._own_certificate("vault", ("vault", *_HERE))

    def _own_certificate(self, name: str, names: tuple[str, ...]) -> tuple[str, str, str]:
        """Authority, certificate and key, made if there are none or they are for other names or end soon."""
        keep = self.store
        kept = tuple(keep.get(f"{name}_{part}") for part in ("authority", "certificate", "key"))
        authority, certificate, key = kept
        if authority is not None and certificate is not None and key is not None and is_good(certificate, names):
            return authority, certificate, key
        made = make_certificate(names)
        # The certificate last: one that is kept without its key would be taken for good.
        keep.put(f"{name}_authority", made.authority)
        keep.put(f"{name}_key", made.key)
        keep.put(f"{name}_certificate", made.certificate)
        keep.made.append(f"{name}_certificate")
        return made.authority, made.certificate, made.key

    def _given_certificate(self) -> tuple[str, str] | None:
        certificate, key = self.given / "certificate.pem", self.given / "certificate-key.pem"
        if not certificate.exists() and not key.exists():
            return None
        if not certificate.exists() or not key.exists():
            raise SetupError("deploy/compose/given has one of certificate.pem and certificate-key.pem; give both.")
        pair = certificate.read_text(), key.read_text()
        wrong = why_not(*pair)
        if wrong is not None:
            raise SetupError(f"deploy/compose/given/certificate.pem and certificate-key.pem: {wrong}.")
        return pair

    def _alerting(self) -> dict[str, str]:
        source = (self.sources / "alertmanager" / "alertmanager.yml").read_text()
        files = {"alertmanager.yml": alertmanager_yml(source, self.alert_gateway)}
        for name in TOKENS:
            if (self.given / name).exists():
                files[name] = (self.given / name).read_text().strip()
        return files

    def _report(self, changed: list[str]) -> str:
        said = [f"Changed for {', '.join(changed)}." if changed else "Nothing to do: everything is as it was made."]
        if self.store.made:
            said.append("First passwords (dashboard, Grafana): docker compose run --rm setup passwords")
        is_sandbox = self.vault_is_for_development and self.store.get("elevenlabs_api_key") is None
        speaker = "the sandbox" if is_sandbox else "ElevenLabs"
        return "\n".join([*said, f"Who speaks: {speaker}."])


def from_environment() -> Installation:
    """As docker-compose.yml mounts it."""
    gateway = os.environ.get("VOCERO_ALERT_GATEWAY") or None
    names = (os.environ.get("VOCERO_FRONT_NAME"), os.environ.get("VOCERO_FRONT_DASHBOARD_NAME"))
    return Installation(
        store=Store(Path("/kept")),
        secrets=Path("/secrets"),
        data=Path("/data"),
        given=Path("/given"),
        sources=Path("/app/deploy"),
        names=tuple(name for name in names if name),
        alert_gateway=gateway,
        vault_is_for_development=os.environ.get("VOCERO_VAULT_MODE", "development") == "development",
    )


def read_key() -> str:
    """Ask for the key without showing it, or read it where there is no terminal."""
    if sys.stdin.isatty():
        return getpass.getpass("ElevenLabs key (it is not shown): ").strip()
    return sys.stdin.read(LONGEST_KEY + 2).strip()


def _signing_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
