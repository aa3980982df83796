"""Which checks there are, and what each is given."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from service import unknown_variables
from service.checks import machine_checks, optional_checks
from service.checks.database_check import check_database
from service.checks.elevenlabs_check import check_elevenlabs
from service.checks.finding import Check, Finding, ok, run_all, warning
from service.checks.redis_check import check_redis
from service.checks.secrets_check import read_key
from service.config import Settings
from service.secret import Secret
from service.secrets_settings import is_this_machine

SECONDS = 20.0
"""For all of them together: each has its own bounds, which are less."""


def run_checks(settings: Settings, *, seconds: float = SECONDS) -> list[Finding]:
    """Try everything at once."""
    checks: dict[str, Check] = {
        "configuration": lambda: check_configuration(settings),
        "ports": lambda: machine_checks.check_ports(settings),
        "redis": lambda: check_redis(settings.redis_url),
        "database": lambda: check_database(settings),
        "upstream": lambda: _check_upstream(settings),
        "backup": lambda: machine_checks.check_backup(settings),
        "openai": lambda: optional_checks.check_openai(settings),
        "collector": lambda: optional_checks.check_collector(settings),
        "machine": lambda: machine_checks.check_machine(settings),
    }
    return run_all(checks, seconds=seconds)


def _check_upstream(settings: Settings) -> Iterator[Finding]:
    """One after the other: ElevenLabs is asked with the key that the secrets hold."""
    key, findings = read_key(settings)
    yield from findings
    yield from check_elevenlabs(settings, key)
    second_key = settings.elevenlabs_2_api_key
    if "elevenlabs_2" in settings.fallback_chain and second_key is not None:
        yield from check_elevenlabs(_second(settings), Secret(second_key.get_secret_value()), what="elevenlabs_2")


def _second(settings: Settings) -> Settings:
    """The settings as they are for the second account."""
    agent = settings.elevenlabs_agent_id or ""
    return settings.model_copy(
        update={
            "elevenlabs_base_url": settings.elevenlabs_2_base_url or settings.elevenlabs_base_url,
            "elevenlabs_agent_id": (settings.elevenlabs_2_agents or {}).get(agent, agent) or None,
        }
    )


def check_configuration(settings: Settings) -> Iterator[Finding]:
    """What is allowed and still will not be what somebody meant; wrong settings never get here."""
    complaints = [warning("configuration", said.rstrip(".")) for said in unknown_variables.complaints()]
    complaints += _doubts(settings)
    yield from complaints or [ok("configuration", "every variable is known and allowed")]


def _doubts(settings: Settings) -> Iterator[Finding]:
    public = urlsplit(settings.public_url or "")
    if public.scheme == "http" and not is_this_machine(public.hostname or ""):
        yield warning(
            "configuration",
            "VOCERO_PUBLIC_URL is plain http: browsers give no microphone to such a page",
            "https, by the front in deploy/nginx or one of yours",
        )
    if public.scheme == "https" and not settings.trusted_proxies:
        yield warning(
            "configuration",
            "VOCERO_PUBLIC_URL is https and VOCERO_TRUSTED_PROXIES is 0: to us all clients have the proxy's address",
            "VOCERO_TRUSTED_PROXIES=1",
        )
    if settings.development:
        yield warning("configuration", "VOCERO_DEVELOPMENT allows what production must not", "take it away there")
    if settings.pool_agents_timeout_seconds < settings.upstream_connect_seconds:
        yield warning(
            "configuration",
            "VOCERO_POOL_AGENTS_TIMEOUT_SECONDS is less than VOCERO_UPSTREAM_CONNECT_SECONDS, which it has to wait for",
        )
