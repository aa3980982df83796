"""ElevenLabs: is there a way to it, does it take our key, and what time is it there. It costs nothing."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from service.checks.finding import Finding, clock_finding, failed, ok, warning
from service.config import Settings
from service.elevenlabs.pool_options import PoolOptions
from service.elevenlabs.transport import HttpTransport, make_tls_context
from service.elevenlabs.vocabulary import SIGNED_URL_PATH
from service.errors import (
    SettingsError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamPolicyError,
    UpstreamRequestError,
)
from service.secret import Secret

WHAT = "elevenlabs"
SECONDS = 5.0
TOLERATED_CLOCK_SECONDS = 30.0
_MODELS_PATH = "/v1/models"
_LARGEST_ANSWER = 4 * 1024 * 1024


def check_elevenlabs(settings: Settings, key: Secret | None, *, what: str = WHAT) -> Iterator[Finding]:
    """Ask with the key, if there is one: for a signed URL of the page's agent, or else for the list of models."""
    host = urlsplit(settings.elevenlabs_base_url).hostname or ""
    try:
        socket.getaddrinfo(host, None)
    except OSError as exc:
        yield failed(what, f"the name {host} is not known here ({exc.strerror})", "see the DNS of this machine")
        return
    if key is None:
        yield warning(what, f"the name {host} is known; nothing was asked, as there is no key")
        return
    yield from _ask(settings, key, what)


def _ask(settings: Settings, key: Secret, what: str) -> Iterator[Finding]:
    try:
        transport = HttpTransport(
            settings.elevenlabs_base_url,
            tls_context=_tls_context(settings),
            connect_seconds=SECONDS,
            read_seconds=SECONDS,
            options=PoolOptions(max_size=1),
        )
    except SettingsError as exc:
        yield failed(what, str(exc).rstrip("."))
        return
    agent = settings.elevenlabs_agent_id
    path = SIGNED_URL_PATH if agent else _MODELS_PATH
    query = {"agent_id": agent} if agent else {}
    before = time.time()
    try:
        transport.start()
        answer = transport.send("GET", path, key=key, query=query)
        after = time.time()
        date = answer.headers.get("date", "")
        answer.read_all(_LARGEST_ANSWER)
    except UpstreamError as exc:
        yield _fault(exc, what, asked_agent=agent is not None)
        return
    finally:
        transport.close()
    yield ok(what, f"it takes our key{' and lets us talk to the agent' if agent else ''} ({after - before:.2f} s)")
    if not agent:
        yield warning(what, "ELEVENLABS_AGENT_ID is not set: the chat page has nobody to talk to")
    yield from _clock(date, (before + after) / 2, what)


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.elevenlabs_base_url.startswith("https:"):
        return None
    return make_tls_context(settings.upstream_ca_file)


def _fault(exc: UpstreamError, what: str, *, asked_agent: bool) -> Finding:
    code = f" ({exc.code})" if exc.code else ""
    if isinstance(exc, UpstreamConnectError):
        remedy = (
            "see ELEVENLABS_BASE_URL, the way out of this network, VOCERO_UPSTREAM_CA_FILE and this machine's clock"
        )
        return failed(what, f"no connection comes about{code}", remedy)
    if exc.code == "missing_permissions":
        return warning(what, "it knows our key, which may not do what was asked", "give the key its permissions")
    if isinstance(exc, UpstreamKeyError):
        return failed(what, f"it refuses our key{code}", "a new key in ELEVENLABS_API_KEY, or in Vault")
    if isinstance(exc, UpstreamRequestError | UpstreamPolicyError) and asked_agent:
        return failed(what, f"it takes our key and refuses the agent{code}", "see ELEVENLABS_AGENT_ID")
    return failed(what, f"it fails{code}", "https://status.elevenlabs.io")


def _clock(date: str, now: float, what: str) -> Iterator[Finding]:
    try:
        off = parsedate_to_datetime(date).timestamp() + 0.5 - now  # the header has whole seconds
    except (TypeError, ValueError):
        return
    if abs(off) > TOLERATED_CLOCK_SECONDS:
        yield clock_finding(what, off)
