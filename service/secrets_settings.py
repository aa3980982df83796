"""The settings of our secrets: where they come from, how we get at them there, for how long they are good.

The key decision: the names that Vault's own programs read (`VAULT_ADDR`, `VAULT_TOKEN`, `VAULT_NAMESPACE`,
`VAULT_CACERT`, `VAULT_SKIP_VERIFY`) mean here what they mean there.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from service.allowed_values import allow
from service.variables import VariablesSettings

_FIELD = r"^[A-Za-z0-9_.-]{1,128}$"
_WAYS = "VAULT_TOKEN or VAULT_TOKEN_FILE, VAULT_ROLE_ID or VAULT_ROLE_ID_FILE, or VAULT_KUBERNETES_ROLE"
_FIELD_WORDS = "up to 128 letters, digits, _, . and -"
_PATH_WORDS = "a path without blanks, ? and #, and without a slash at its ends"
_PATH = r"^[^/?#\s][^?#\s]*[^/?#\s]$|^[^/?#\s]$"


class SecretsSettings(VariablesSettings):
    """The part of the effective configuration that concerns secrets."""

    elevenlabs_api_key: SecretStr | None = Field(
        None,
        alias="ELEVENLABS_API_KEY",
        description="The key of your ElevenLabs account, for development; it is not read when VAULT_ADDR is set. It"
        " never leaves the server.",
    )

    # --- Vault
    vault_addr: str | None = Field(
        None,
        alias="VAULT_ADDR",
        json_schema_extra=allow("http:// or https:// with a host, and no user's name, path or query"),
        pattern=r"^https?://[^/?#@\s]+/?$",
        description="Vault (or OpenBao), where the secrets are then read from, and from nowhere else. Plain http is"
        " for this machine only, unless VOCERO_DEVELOPMENT is set.",
        examples=["https://vault.example.com:8200"],
    )
    vault_token: SecretStr | None = Field(
        None,
        alias="VAULT_TOKEN",
        description="A token of Vault's that may read the secrets. One of this, VAULT_TOKEN_FILE, VAULT_ROLE_ID and"
        " VAULT_KUBERNETES_ROLE is how we log in.",
    )
    vault_token_file: Path | None = Field(
        None,
        alias="VAULT_TOKEN_FILE",
        description="File with such a token, read again whenever the one of before ends (Vault agent's sink).",
        examples=["/run/vault/token"],
    )
    vault_role_id: str | None = Field(None, alias="VAULT_ROLE_ID", description="The id of our AppRole in Vault.")
    vault_role_id_file: Path | None = Field(
        None, alias="VAULT_ROLE_ID_FILE", description="File with the id of our AppRole."
    )
    vault_secret_id: SecretStr | None = Field(
        None, alias="VAULT_SECRET_ID", description="The secret id of our AppRole."
    )
    vault_secret_id_file: Path | None = Field(
        None,
        alias="VAULT_SECRET_ID_FILE",
        description="File with the secret id of our AppRole, read again at each login.",
        examples=["/run/secrets/vault-secret-id"],
    )
    vault_secret_id_wrapped: bool = Field(
        False,
        alias="VAULT_SECRET_ID_WRAPPED",
        description="What is given as the secret id is a response-wrapping token with it: it is unwrapped once, and"
        " when somebody did that before us, a security event is logged.",
    )
    vault_approle_mount: str = Field(
        "approle",
        alias="VAULT_APPROLE_MOUNT",
        json_schema_extra=allow(_PATH_WORDS),
        pattern=_PATH,
        description="Where Vault has the AppRole method.",
    )
    vault_kubernetes_role: str | None = Field(
        None, alias="VAULT_KUBERNETES_ROLE", description="Our role in Vault's Kubernetes method."
    )
    vault_kubernetes_mount: str = Field(
        "kubernetes",
        alias="VAULT_KUBERNETES_MOUNT",
        json_schema_extra=allow(_PATH_WORDS),
        pattern=_PATH,
        description="Where Vault has the Kubernetes method.",
    )
    vault_kubernetes_token_file: Path = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        alias="VAULT_KUBERNETES_TOKEN_FILE",
        description="File with the service account's token, read again at each login.",
    )
    vault_namespace: str | None = Field(
        None,
        alias="VAULT_NAMESPACE",
        json_schema_extra=allow("a name without blanks, ? and #"),
        pattern=r"^[^\s?#]+$",
        description="Our namespace in Vault, if it has any.",
    )
    vault_cacert: Path | None = Field(
        None,
        alias="VAULT_CACERT",
        description="File of CA certificates (PEM) that Vault's certificate is checked against. Unset: certifi's.",
        examples=["/etc/ssl/certs/company.pem"],
    )
    vault_skip_verify: bool = Field(
        False,
        alias="VAULT_SKIP_VERIFY",
        description="Do not check Vault's certificate; refused unless VOCERO_DEVELOPMENT is set.",
    )
    vault_kv_mount: str = Field(
        "secret",
        alias="VAULT_KV_MOUNT",
        json_schema_extra=allow(_PATH_WORDS),
        pattern=_PATH,
        description="Mount of the KV engine (version 2).",
    )
    vault_kv_path: str = Field(
        "vocero",
        alias="VAULT_KV_PATH",
        json_schema_extra=allow(_PATH_WORDS),
        pattern=_PATH,
        description="Path of our secrets in that mount.",
    )
    vault_elevenlabs_key_field: str = Field(
        "elevenlabs_api_key",
        alias="VAULT_ELEVENLABS_KEY_FIELD",
        json_schema_extra=allow(_FIELD_WORDS),
        pattern=_FIELD,
        description="Field with the key of the ElevenLabs account.",
    )
    vault_database_password_field: str | None = Field(
        None,
        alias="VAULT_DATABASE_PASSWORD_FIELD",
        json_schema_extra=allow(_FIELD_WORDS),
        pattern=_FIELD,
        description="Field with the password for VOCERO_DATABASE_URL, used for each new connection. Unset: not from"
        " Vault.",
        examples=["database_password"],
    )
    vault_ticket_signing_key_field: str | None = Field(
        None,
        alias="VAULT_TICKET_SIGNING_KEY_FIELD",
        json_schema_extra=allow(_FIELD_WORDS),
        pattern=_FIELD,
        description="Field with the key that tickets are signed with, so that nobody can make one who can only write"
        " to Redis. Unset: they are not signed.",
        examples=["ticket_signing_key"],
    )
    vault_timeout_seconds: float = Field(
        5.0,
        alias="VAULT_TIMEOUT_SECONDS",
        gt=0,
        le=60,
        description="Seconds that Vault may take for an answer.",
    )

    # --- Secrets as files
    secrets_folder: Path | None = Field(
        None,
        alias="VOCERO_SECRETS_FOLDER",
        description="Folder whose files bear the names of variables and hold their values, as orchestrators mount"
        " secrets. A variable that the environment has is not looked for there.",
        examples=["/run/secrets"],
    )

    # --- For how long they are good
    secrets_poll_seconds: float = Field(
        30.0,
        alias="SECRETS_POLL_SECONDS",
        ge=1,
        le=3600,
        description="Seconds after which the secrets are read again at the latest; some workers do it a fifth earlier.",
    )
    secrets_grace_seconds: float = Field(
        3600.0,
        alias="SECRETS_GRACE_SECONDS",
        ge=0,
        le=604_800,
        description="Seconds for which secrets are used that cannot be read again. Then the service is not ready.",
    )
    secrets_overlap_seconds: float = Field(
        600.0,
        alias="SECRETS_OVERLAP_SECONDS",
        ge=0,
        le=86_400,
        description="Seconds for which the value of before is kept when a secret has changed, for what still needs it.",
    )
    development: bool = Field(
        False,
        alias="VOCERO_DEVELOPMENT",
        description="Allow what only development may: Vault over plain http on another machine, or unchecked.",
    )

    def clashes(self) -> Iterator[str]:
        """As the base class says."""
        yield from super().clashes()
        if self.vault_addr is not None:
            yield from self._transport_clashes(self.vault_addr)
            yield from self._login_clashes()

    def lack_of_key(self) -> str | None:
        """What to do if nothing tells the ElevenLabs key; None: something does."""
        if self.vault_addr is not None or self.elevenlabs_api_key is not None:
            return None
        return (
            "ELEVENLABS_API_KEY is not set: give the key of your ElevenLabs account (or VAULT_ADDR, where it is kept),"
            " or use `make run`, which starts a sandbox when there is none."
        )

    def _transport_clashes(self, address: str) -> Iterator[str]:
        try:
            parts = urlsplit(address)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            yield "VAULT_ADDR: this is no address, as https://vault.example.com:8200 is."
            return
        if self.development:
            return
        if self.vault_skip_verify:
            yield "VAULT_SKIP_VERIFY is for development: set VOCERO_DEVELOPMENT=true with it, or neither."
        if address.startswith("http://") and not is_this_machine(host):
            yield "VAULT_ADDR: plain http to another machine shows the keys to whoever is on the way: use https."

    def _login_clashes(self) -> Iterator[str]:
        approle = self.vault_role_id is not None or self.vault_role_id_file is not None
        ways = (
            self.vault_token is not None or self.vault_token_file is not None,
            approle,
            self.vault_kubernetes_role is not None,
        )
        if sum(ways) != 1:
            yield f"VAULT_ADDR needs one way to log in, and {'more than one' if any(ways) else 'none'} is set: {_WAYS}."
        for variable, value, file in (
            ("VAULT_TOKEN", self.vault_token, self.vault_token_file),
            ("VAULT_ROLE_ID", self.vault_role_id, self.vault_role_id_file),
            ("VAULT_SECRET_ID", self.vault_secret_id, self.vault_secret_id_file),
        ):
            if value is not None and file is not None:
                yield f"{variable} and {variable}_FILE are both set; set one of them."
        if approle and self.vault_secret_id is None and self.vault_secret_id_file is None:
            yield "VAULT_SECRET_ID or VAULT_SECRET_ID_FILE is missing: an AppRole needs its secret id."


def is_this_machine(host: str) -> bool:
    """Whether an address's host is a loopback one."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
