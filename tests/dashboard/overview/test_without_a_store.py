"""Redis or the database is gone: the pages of the present say so, and show what they still know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.launcher import probes
from scripts.launcher import valkey as embedded_valkey
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from service.storage import AdminRole
from tests.dashboard.audit.test_without_a_database import take_the_database_away
from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.dashboards import Client, Dashboard
from tests.dashboard.workers import worker_fields
from tests.servers import READY_SECONDS, clean_environment

LIMIT = 10.0


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Child]:
    """A server that a test may end."""
    child = Child(
        "Valkey",
        embedded_valkey.server_command(tmp_path, embedded_valkey.socket_path(tmp_path)),
        environment=clean_environment(),
        log_path=tmp_path / "valkey.log",
        folder=tmp_path,
    )
    child.start()
    child.wait_until_ready(lambda: probes.accepts(str(embedded_valkey.socket_path(tmp_path))), READY_SECONDS)
    yield child
    child.stop()


def _says(client: Client, path: str, sentence: str) -> str:
    """The page as soon as it says `sentence`."""
    wait_until(lambda: sentence in client.get(path).get_data(as_text=True), LIMIT, what=sentence)
    return str(client.get(path).get_data(as_text=True))


def test_without_redis_the_workers_are_shown_as_they_were_and_nothing_is_ordered(
    open_dashboard_with: OpenDashboard, own_valkey: Child, tmp_path: Path
) -> None:
    dashboard = open_dashboard_with(redis_url=embedded_valkey.redis_url(embedded_valkey.socket_path(tmp_path)))
    dashboard.report(**worker_fields(1))
    client = dashboard.client(AdminRole.OPERATOR)
    _says(client, "/", "6 conversations with ElevenLabs")
    own_valkey.stop()
    text = _says(client, "/", "Redis does not answer")
    assert "6 conversations with ElevenLabs" in text
    assert "What stands here was read" in text
    assert "node-1" in _says(client, "/pool", "Nothing can be ordered now.")
    refill = {"action": "refill", "pool": "speech", "reason": "try it"}
    refused = client.post("/api/pool/orders", refill)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "redis_unavailable")


def test_without_the_database_the_workers_are_still_seen(dashboard: Dashboard) -> None:
    dashboard.report(**worker_fields(1))
    client = dashboard.client(AdminRole.VIEWER)
    _says(client, "/", "6 conversations with ElevenLabs")
    take_the_database_away(dashboard)
    text = _says(client, "/", "The database does not answer")
    dashboard.report(**worker_fields(1, speaking={"elevenlabs": 9}))
    assert "overrides cannot be set" in text
    _says(client, "/", "9 conversations with ElevenLabs")
