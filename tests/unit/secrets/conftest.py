"""Vault as a test wants it, and nothing of ours in the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.secrets_settings import SecretsSettings
from service.secrets_sources import EnvironmentSource, VaultSource, make_source
from service.variables import OURS
from service.vault.client import VaultClient
from tests.integration.elevenlabs.scripted_upstream import Script, ScriptedUpstream
from tests.servers import ROOT, clean_environment
from tests.unit.secrets.scripted_vault import Answer, ScriptedVault


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # where hvac would look for ~/.vault-token


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_vault(stack: ExitStack) -> Callable[..., ScriptedVault]:
    """`start_vault({path: answer, ...})`; it ends with the test."""

    def start(answers: dict[str, Answer | list[Answer]] | None = None, **options: Any) -> ScriptedVault:
        return stack.enter_context(ScriptedVault(answers or {}, **options))

    return start


@pytest.fixture
def start_upstream(stack: ExitStack) -> Callable[..., ScriptedUpstream]:
    """`start_upstream(script)`: for what does not even speak HTTP."""

    def start(script: Script, **options: Any) -> ScriptedUpstream:
        return stack.enter_context(ScriptedUpstream(script, **options))

    return start


@pytest.fixture
def make_client(stack: ExitStack) -> Callable[..., VaultClient]:
    """A client of ours for an address; it is closed with the test."""

    def make(address: str, **options: Any) -> VaultClient:
        client = VaultClient(address, **{"namespace": None, **options})
        stack.callback(client.close)
        return client

    return make


@pytest.fixture
def source_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EnvironmentSource | VaultSource]]:
    """`source_for(VAULT_ADDR=...)`: the source that these variables choose."""
    made: list[EnvironmentSource | VaultSource] = []

    def make(**variables: str) -> EnvironmentSource | VaultSource:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        made.append(make_source(SecretsSettings()))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.fixture
def run_workers(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Run a scenario of `forked_workers` in an empty folder; the result is what it found."""

    def run(scenario: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.unit.secrets.forked_workers", scenario],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=clean_environment(PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1"),
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run
