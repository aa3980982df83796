"""A sandbox without the real service's waits, shared by this folder and clean for each test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import servers
from tests.integration.sandbox.account import Account, open_account
from tests.parts import require_module


@pytest.fixture(scope="session")
def _quick_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    for name in ("av", "espeakng_loader"):
        require_module(name, "local")
    options = ("--latency-scale", "0", "--queue-seconds", "0.2", "--seed", "7")
    running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"), *options)
    with open_account(running.url) as account:
        yield account
    running.child.stop()


@pytest.fixture(scope="session")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account on the pro plan at the real service's pace, without ears; never stop it."""
    folder = tmp_path_factory.mktemp("sandbox")
    running = servers.start_sandbox(folder, "--plan", "pro", "--no-ears")
    with open_account(running.url) as account:
        yield replace(account, log_path=running.child.log_path)
    running.child.stop()


@pytest.fixture
def account(_quick_sandbox: Account) -> Account:
    """An account at a sandbox that nothing was asked of yet."""
    _quick_sandbox.reset()
    return _quick_sandbox
