"""Where the ElevenLabs key comes from: Vault or the environment; can it be read."""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from service.checks.finding import Finding, failed, ok, warning
from service.config import Settings
from service.errors import ConfigurationError, SecretsSourceError
from service.secret import Secret, SecretName
from service.secrets_sources import make_source

WHAT = "secrets"
log = structlog.get_logger(__name__)


def read_key(settings: Settings) -> tuple[Secret | None, list[Finding]]:
    """The key, if it can be had, and what was found on the way to it.

    A secret id that is wrapped is not unwrapped: that can be done once, and the service needs it.
    """
    if settings.vault_addr is not None and settings.vault_secret_id_wrapped:
        said = "Vault's secret id is wrapped, which can be unwrapped once: it is left for the service"
        return None, [warning(WHAT, said)]
    try:
        source = make_source(settings)
    except ConfigurationError as exc:
        return None, [failed(WHAT, str(exc).rstrip("."))]
    try:
        reading = source.read()
    except SecretsSourceError as exc:
        return None, [failed(WHAT, str(exc).rstrip("."), "docs/secrets.md")]
    finally:
        source.close()
    names = ", ".join(sorted(reading.values))
    if settings.vault_addr is None:
        said = "the ElevenLabs key is in the environment or a file of VOCERO_SECRETS_FOLDER"
        return reading.values[SecretName.ELEVENLABS_API_KEY], [ok(WHAT, said)]
    said = f"Vault lets us in and gives {names} (version {reading.version})"
    return reading.values[SecretName.ELEVENLABS_API_KEY], [ok(WHAT, said), *_notes(settings)]


def _notes(settings: Settings) -> Iterator[Finding]:
    if settings.elevenlabs_api_key is not None:
        yield warning(WHAT, "ELEVENLABS_API_KEY is set too, and not used", "take it away: it lies about for nothing")
    if settings.vault_token is not None and settings.vault_token.get_secret_value() == "root":
        yield warning(WHAT, "the token is a development server's root", "a token of the policy in deploy/vault")
