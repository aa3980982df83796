"""Where secrets come from: Vault if `VAULT_ADDR` is set, else the environment. There is no third way and no mixture.

The key decision: with Vault the environment is no fallback. A key that lies about in a variable would be used on the
very day on which Vault says no, and nobody would notice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import SecretStr

from service.errors import SecretsSourceError, SettingsError
from service.metrics import FailureCause
from service.secret import Secret, SecretName
from service.secrets_settings import SecretsSettings
from service.vault import login
from service.vault.client import Entry, VaultClient
from service.vault.node_memory import node_memory
from service.vault.token_keeper import TokenKeeper
from service.vault.unwrapped import UnwrappedSecretIds

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reading:
    """What a source has now; `version` is 0 where there is none."""

    values: Mapping[SecretName, Secret]
    version: int


class SecretsSource(Protocol):
    """Where `SecretsManager` reads; it is used by one thread."""

    name: str
    is_static: bool
    on_failure: Callable[[SecretsSourceError], None]
    """Hears of failures that reading survives."""

    def read(self) -> Reading:
        """What is there now.

        Raises:
            SecretsSourceError: it cannot be read, or makes no sense.
        """

    @property
    def seconds_to_upkeep(self) -> float:
        """Until it wants to be read for the sake of its own credentials; infinite if never."""

    @property
    def lease_seconds_left(self) -> float:
        """Of its own credentials; infinite if they do not end."""

    def close(self) -> None:
        """Close what it has open."""


class EnvironmentSource:
    """The one key of `ELEVENLABS_API_KEY`, which does not change while the process lives."""

    name = "environment"
    is_static = True
    seconds_to_upkeep = math.inf
    lease_seconds_left = math.inf

    def __init__(self, key: Secret) -> None:
        self._reading = Reading({SecretName.ELEVENLABS_API_KEY: key}, version=0)
        self.on_failure: Callable[[SecretsSourceError], None] = _ignore

    def read(self) -> Reading:
        """That key."""
        return self._reading

    def close(self) -> None:
        """Nothing is open."""


class VaultSource:
    """The entry at `path` of the KV engine at `mount`; `fields` says where in it each secret is."""

    name = "vault"
    is_static = False

    def __init__(
        self,
        client: VaultClient,
        log_in: login.LogIn,
        *,
        mount: str,
        path: str,
        fields: Mapping[SecretName, str],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._keeper = TokenKeeper(client, log_in, note_failure=self._note, clock=clock)
        self._mount, self._path = mount, path
        self._fields = fields
        self.on_failure: Callable[[SecretsSourceError], None] = _ignore

    @property
    def seconds_to_upkeep(self) -> float:
        """Until our token is to be renewed."""
        return self._keeper.seconds_to_upkeep

    @property
    def lease_seconds_left(self) -> float:
        """Until our token ends."""
        return self._keeper.seconds_left

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def read(self) -> Reading:
        """As `SecretsSource`; logs in first if need be."""
        try:
            return self._read()
        except SecretsSourceError as exc:
            error = exc.with_traceback(None)  # the frames that it came through hold the values
        raise error

    def _read(self) -> Reading:
        entry = self._entry()
        values = {name: self._value(entry, field) for name, field in self._fields.items()}
        return Reading(values, entry.version)

    def _entry(self) -> Entry:
        token = self._keeper.token()
        try:
            return self._client.read(token, mount=self._mount, path=self._path)
        except SecretsSourceError as exc:
            if exc.cause != FailureCause.DENIED:
                raise
        # 403 is what both an ended token and a policy say: a new token tells which.
        self._keeper.drop()
        return self._client.read(self._keeper.token(), mount=self._mount, path=self._path)

    def _value(self, entry: Entry, field: str) -> Secret:
        where = f"Field {field} of {self._mount}/{self._path} (version {entry.version})"
        if field not in entry.fields:
            raise SecretsSourceError(f"{where} is missing.", cause=FailureCause.MISSING_FIELD)
        return Secret.checked(where, entry.fields[field])

    def _note(self, error: SecretsSourceError) -> None:
        self.on_failure(error)


def _ignore(_: SecretsSourceError) -> None:
    pass


def make_source(
    settings: SecretsSettings, *, wanted: Collection[SecretName] = tuple(SecretName)
) -> EnvironmentSource | VaultSource:
    """The source that `settings` choose, of those secrets that are `wanted`. Nothing is asked of it yet.

    Raises:
        SettingsError: they choose none, or contradict each other.
    """
    clash = next(SecretsSettings.clashes(settings), None)
    if clash is not None:
        raise SettingsError(clash)
    if settings.vault_addr is not None:
        if settings.elevenlabs_api_key is not None:
            log.warning("ELEVENLABS_API_KEY is not used, because VAULT_ADDR is set")
        return _vault_source(settings, settings.vault_addr, wanted)
    if settings.elevenlabs_api_key is None:
        raise SettingsError(settings.lack_of_key())
    try:
        key = Secret.checked("ELEVENLABS_API_KEY", settings.elevenlabs_api_key.get_secret_value())
    except SecretsSourceError as exc:
        raise SettingsError(str(exc)) from None
    return EnvironmentSource(key)


def _vault_source(settings: SecretsSettings, address: str, wanted: Collection[SecretName]) -> VaultSource:
    client = VaultClient(
        address,
        namespace=settings.vault_namespace,
        ca_file=settings.vault_cacert,
        verify=not settings.vault_skip_verify,
        seconds=settings.vault_timeout_seconds,
    )
    fields = {
        SecretName.ELEVENLABS_API_KEY: settings.vault_elevenlabs_key_field,
        SecretName.DATABASE_PASSWORD: settings.vault_database_password_field,
        SecretName.TICKET_SIGNING_KEY: settings.vault_ticket_signing_key_field,
    }
    return VaultSource(
        client,
        _way_in(settings),
        mount=settings.vault_kv_mount,
        path=settings.vault_kv_path,
        fields={name: field for name, field in fields.items() if field is not None and name in wanted},
    )


def _way_in(settings: SecretsSettings) -> login.LogIn:
    if settings.vault_token is not None or settings.vault_token_file is not None:
        return login.with_token(login.given("VAULT_TOKEN", _secret(settings.vault_token), settings.vault_token_file))
    if settings.vault_kubernetes_role is not None:
        jwt = login.given("VAULT_KUBERNETES_TOKEN", None, settings.vault_kubernetes_token_file)
        return login.with_kubernetes(settings.vault_kubernetes_role, jwt, mount=settings.vault_kubernetes_mount)
    return _approle(settings)


def _approle(settings: SecretsSettings) -> login.LogIn:
    mount = settings.vault_approle_mount
    role_id = Secret(settings.vault_role_id) if settings.vault_role_id is not None else None
    read = login.given("VAULT_SECRET_ID", _secret(settings.vault_secret_id), settings.vault_secret_id_file)
    secret_id = login.plain_secret_id(read)
    if settings.vault_secret_id_wrapped:
        secret_id = login.wrapped_secret_id(read, UnwrappedSecretIds(node_memory()), mount=mount)
    return login.with_approle(
        login.given("VAULT_ROLE_ID", role_id, settings.vault_role_id_file), secret_id, mount=mount
    )


def _secret(value: SecretStr | None) -> Secret | None:
    return None if value is None else Secret(value.get_secret_value())
