"""The database of VOCERO_DATABASE_URL for a command that runs once: with its password, wherever that is kept."""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from service.config import Settings
from service.errors import ConfigurationError, SecretsSourceError, SettingsError
from service.secret import SecretName
from service.secrets_sources import make_source


def database_url(settings: Settings) -> str:
    """The URL, with the password from Vault in it if VAULT_DATABASE_PASSWORD_FIELD says so. Print it nowhere.

    Raises:
        SettingsError: the URL is none, or names no user.
        ConfigurationError: the password is not to be had.
    """
    url = settings.database_url.get_secret_value()
    if settings.vault_addr is None or settings.vault_database_password_field is None:
        return url
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("VOCERO_DATABASE_URL: this is not a database URL.") from None
    if parsed.get_backend_name() == "sqlite":
        return url
    if parsed.username is None:  # SQLAlchemy would leave the password away
        raise SettingsError("VOCERO_DATABASE_URL: name the user; the password from Vault is his.")
    source = make_source(settings, wanted={SecretName.DATABASE_PASSWORD})
    try:
        password = source.read().values[SecretName.DATABASE_PASSWORD]
        return parsed.set(password=password.reveal()).render_as_string(hide_password=False)
    except SecretsSourceError as exc:
        raise ConfigurationError(f"The database's password cannot be read. {exc}") from None
    finally:
        source.close()
