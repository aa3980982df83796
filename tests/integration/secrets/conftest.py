"""Managers and services whose secrets lie in a real Vault API, and an ElevenLabs that notes the keys it sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from service.secrets_manager import SecretsManager
from service.secrets_settings import SecretsSettings
from service.secrets_sources import VaultSource, make_source
from tests.integration.elevenlabs.scripted_upstream import ScriptedUpstream
from tests.key_keeper import KeyKeeper
from tests.openbao import RunningOpenBao
from tests.servers import RunningService

LIMIT = 20.0
VOICE = "JBFqnCBsd6RMkjVDRZzb"

StartManager = Callable[..., SecretsManager]


@pytest.fixture
def path() -> Iterator[str]:
    """A path of the test's own in the shared server's KV engine."""
    return next(_PATHS)


_PATHS = (f"vocero-{number}" for number in itertools.count(1))


def vault_settings(openbao: RunningOpenBao, path: str = "vocero", **others: Any) -> dict[str, Any]:
    """The settings that lead to `path` there, without a way to log in."""
    found = {"VAULT_ADDR": openbao.url, "VAULT_KV_PATH": path, **others}
    if openbao.ca_file is not None:
        found.setdefault("VAULT_CACERT", str(openbao.ca_file))
    return found


@pytest.fixture
def start_manager() -> Iterator[StartManager]:
    """Start a manager: `start_manager(vault_settings(...) | {...}, poll_seconds=0.2)`. It ends with the test."""
    with ExitStack() as stack:

        def start(settings: dict[str, Any], **options: Any) -> SecretsManager:
            source = make_source(SecretsSettings(**settings))
            assert isinstance(source, VaultSource)
            manager = SecretsManager(source, **{"poll_seconds": 0.2, **options})
            stack.callback(manager.close)
            manager.start()
            return manager

        yield start


@pytest.fixture
def key_keeper() -> Iterator[tuple[KeyKeeper, str]]:
    """It, and its URL."""
    keeper = KeyKeeper()
    with ScriptedUpstream(keeper.script) as upstream:
        yield keeper, upstream.url


def speak(service: RunningService) -> requests.Response:
    """One request for speech."""
    url = f"{service.url}/v1/text-to-speech/{VOICE}"
    return requests.post(url, headers={"xi-api-key": service.api_key}, json={"text": "Good morning."}, timeout=LIMIT)


def readiness(service: RunningService) -> tuple[int, dict[str, str]]:
    """The status and the body of `/readyz`."""
    answer = requests.get(f"{service.url}/readyz", timeout=LIMIT)
    return answer.status_code, answer.json()
