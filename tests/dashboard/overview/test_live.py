"""The stream that says when there is something new."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from dashboard.web import live
from dashboard.web.live import follow_events
from service.storage import AdminRole
from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.workers import worker_fields


def _data(event: bytes) -> dict[str, Any]:
    kind, data = event.decode().strip().split("\n")
    assert kind == "event: seen"
    told: dict[str, Any] = orjson.loads(data.removeprefix("data: "))
    return told


def test_each_look_is_told_with_what_answers(dashboard: Dashboard) -> None:
    dashboard.report(**worker_fields(1))
    answer = dashboard.client(AdminRole.VIEWER).get("/api/live")
    assert answer.mimetype == "text/event-stream"
    events = iter(answer.response)
    assert next(events) == b"retry: 1000\n\n"
    first, second = _data(next(events)), _data(next(events))
    assert first["redis"] == "ok"
    assert first["at"] is None or second["at"] > first["at"]
    answer.close()


def test_one_more_than_there_are_seats_is_told_to_come_back(open_dashboard_with: OpenDashboard) -> None:
    dashboard = open_dashboard_with(dashboard_streams=1)
    client = dashboard.client()
    held = client.get("/api/live")
    refused = client.get("/api/live")
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "too_many_streams")
    assert int(refused.headers["Retry-After"]) > 0
    held.close()  # without a byte of it having been read
    again = client.get("/api/live")
    assert again.status_code == 200
    again.close()


def test_it_ends_with_the_session(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SESSION_SECONDS", 0.0)
    client = dashboard.client()
    events = follow_events(dashboard.parts.watch, dashboard.parts.sessions, client.session_id)
    next(events)
    _data(next(events))
    dashboard.parts.sessions.revoke(client.session_id, client.user.id)
    assert list(events) == [b"event: ended\ndata: {}\n\n"]


def test_it_ends_by_itself_so_that_none_is_forgotten(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LONGEST_SECONDS", 0.0)
    client = dashboard.client()
    assert len(list(follow_events(dashboard.parts.watch, dashboard.parts.sessions, client.session_id))) == 1


def test_it_ends_when_the_dashboard_leaves(dashboard: Dashboard) -> None:
    client = dashboard.client()
    events = follow_events(dashboard.parts.watch, dashboard.parts.sessions, client.session_id)
    next(events)
    _data(next(events))
    dashboard.parts.watch.close()
    assert list(events) == []


def test_nobody_gets_it_without_signing_in(dashboard: Dashboard) -> None:
    assert dashboard.client(None).get("/api/live").status_code == 401
