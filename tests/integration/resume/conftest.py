"""Workers' resume offices on a real Valkey; and a Valkey of the test's own, which it may stop and empty."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from service.conversation.resume_tokens import ResumeOffice
from service.quick_redis import quick_redis
from tests.integration.account_limiter.conftest import OwnValkey, own_valkey  # noqa: F401 (fixture)

MakeOffice = Callable[..., ResumeOffice]


def client(url: str) -> redis.Redis:
    """With the timeouts that the service uses."""
    return quick_redis(url)


@pytest.fixture
def conversation_id() -> str:
    """One that no other test has."""
    return f"conv_{secrets.token_hex(8)}"


@pytest.fixture
def make_office(valkey: str) -> Iterator[MakeOffice]:
    """Make and start a worker's office on the session's Valkey or at `url`; it is as old as if it had run for long."""
    made: list[ResumeOffice] = []
    clients = ExitStack()

    def make(*, url: str = valkey, heartbeat_seconds: float = 0.1, resume_seconds: float = 120.0) -> ResumeOffice:
        store = clients.enter_context(client(url))
        office = ResumeOffice(
            store,
            node="node",
            worker=str(len(made)),
            resume_seconds=resume_seconds,
            heartbeat_seconds=heartbeat_seconds,
        )
        made.append(office)
        office.start()
        return office

    yield make
    for office in made:
        office.close()
    clients.close()
