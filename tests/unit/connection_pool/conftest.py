"""A far end for each test, and pools of real sockets to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.connection_pool import ConnectionPool
from tests.unit.connection_pool.equations import assert_reconciled
from tests.unit.connection_pool.killable_proxy import (
    EchoServer,
    KillableProxy,
    close_socket,
    is_silent,
    open_socket,
)

MakePool = Callable[..., ConnectionPool[socket.socket]]


@pytest.fixture
def server() -> Iterator[EchoServer]:
    running = EchoServer()
    yield running
    running.close()


@pytest.fixture
def proxy(server: EchoServer) -> Iterator[KillableProxy]:
    running = KillableProxy(server.port)
    yield running
    running.close()


@pytest.fixture
def make_pool(proxy: KillableProxy) -> Iterator[MakePool]:
    """Make a started pool of sockets to the proxy; in the end it is closed and its numbers must fit together."""
    made: list[ConnectionPool[socket.socket]] = []

    def make(**options: Any) -> ConnectionPool[socket.socket]:
        chosen = {
            "name": "test",
            "close_connection": close_socket,
            "is_healthy": is_silent,
            "min_idle": 0,
            "max_size": 4,
            "max_waiting": 100,
            "timeout": 10.0,
            "max_idle": 60.0,
            "max_lifetime": 600.0,
            **options,
        }
        opener = chosen.pop("open_connection", lambda: open_socket(proxy.port))
        pool: ConnectionPool[socket.socket] = ConnectionPool(opener, **chosen)
        pool.start()
        made.append(pool)
        return pool

    yield make
    for pool in made:
        pool.close()
        assert_reconciled(pool.stats())
