"""The overview as admins meet it: what stands on it, as a page and as JSON."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dashboard.sight.overview import see_overview
from dashboard.sight.watch import Snapshot
from scripts.launcher.waiting import wait_until
from service.maintenance import MAINTENANCE_KEY, Maintenance
from service.minute_history import MinuteCount, MinuteHistory
from service.minute_tally import MinuteTally
from service.storage import AdminRole, Capability, Override, OverrideMode
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.workers import breaker, limiter, worker, worker_fields

LIMIT = 10.0


def _page(dashboard: Dashboard, role: AdminRole = AdminRole.VIEWER, **headers: str) -> str:
    answer = dashboard.client(role).get("/", headers=headers)
    assert answer.status_code == 200
    return str(answer.get_data(as_text=True))


def _told(dashboard: Dashboard, path: str = "/api/overview") -> dict[str, Any]:
    answer = dashboard.client(AdminRole.VIEWER).get(path)
    assert answer.status_code == 200
    told: dict[str, Any] = answer.get_json()
    return told


def test_without_any_worker_it_says_so_and_what_to_do(dashboard: Dashboard) -> None:
    text = _page(dashboard)
    assert "No worker reports, so nobody is served." in text
    assert "Start the service" in text
    assert "Nothing was asked in the last hour." in text


def test_it_says_in_words_who_speaks_and_how_many_are_there(dashboard: Dashboard) -> None:
    for number in (1, 2, 5):
        dashboard.report(**worker_fields(number))
    text = _page(dashboard)
    assert "ElevenLabs speaks." in text
    assert "18 conversations with ElevenLabs" in text
    assert "of 2,400 places" in text
    assert text.count('data-testid="worker"') == 3
    assert 'id="overview-banners"' in text
    assert 'data-testid="banner-' not in text


def test_an_open_breaker_is_shown_with_its_fault_and_its_next_probe(dashboard: Dashboard) -> None:
    soon = time.time() + 30
    broken = breaker("conversation", state="open", last_fault="provider: timeout", last_fault_at=soon - 40,
                     probe_at=soon, opened_at=soon - 40)  # fmt: skip
    dashboard.report(**worker_fields(1, breakers=(broken, breaker("speech"))))
    dashboard.report(**worker_fields(2))
    text = _page(dashboard)
    assert "ElevenLabs and the backup speak." in text
    row = text[text.index('data-testid="provider-conversation-elevenlabs"') :].partition("</tr>")[0]
    assert "Down" in row
    assert "1 of 2 workers say so" in row
    assert "provider: timeout" in row
    assert 'data-moment="countdown"' in row


def test_orders_and_maintenance_stand_above_everything_with_their_reasons(dashboard: Dashboard) -> None:
    dashboard.report(**worker_fields(1, maintenance=True))
    dashboard.store.set(MAINTENANCE_KEY, Maintenance(reason="<b>disks</b>", by="ada", since=1.0).as_json())
    dashboard.parts.overrides.set(
        Capability.CONVERSATION, OverrideMode.DISABLED, reason="costs", author="eva", expected_version=0
    )
    client = dashboard.client(AdminRole.VIEWER)
    wait_until(lambda: "Conversations are switched off." in client.get("/").get_data(as_text=True), LIMIT)
    text = client.get("/").get_data(as_text=True)
    assert "&lt;b&gt;disks&lt;/b&gt;" in text
    assert "<b>disks" not in text
    assert "eva" in text


def test_the_last_hour_stands_in_words_and_as_a_table_beside_the_charts(dashboard: Dashboard) -> None:
    tally = MinuteTally()
    tally.add(MinuteCount.CONVERSATIONS, 3)
    tally.add(MinuteCount.REQUESTS, 40)
    tally.add(MinuteCount.ERRORS, 2)
    tally.add_first_audio(0.4)
    MinuteHistory(dashboard.store, tally).tell()
    text = _page(dashboard)
    assert "3 conversations began" in text
    assert "40 requests to ElevenLabs, 2 failed by its fault." in text
    history = _told(dashboard, "/api/history")
    assert len(history["starts"]) == len(history["errors"]) == 60
    assert (history["hour"]["errors"], history["error"]) == (2, None)


def test_what_workers_lack_and_a_lowered_limit_are_said(dashboard: Dashboard) -> None:
    lacking = {"redis": "TimeoutError", "database": "ok", "secrets": "expired: <sealed>"}
    slots = limiter("agents", cap=5, held=5, refusals=3)
    dashboard.report(**worker_fields(1, dependencies=lacking, limiters=(slots,), version="0.2.0"))
    dashboard.report(**worker_fields(2, limiters=()))
    text = _page(dashboard)
    assert "redis: 1 of 2 workers do without it." in text
    assert "expired: &lt;sealed&gt;" in text
    assert "lowered after refusals, the plan allows 10" in text
    assert "Workers run 2 different versions." in text


def test_the_json_has_what_the_page_has(dashboard: Dashboard) -> None:
    dashboard.report(**worker_fields(1))
    told = _told(dashboard)
    assert told["fleet"]["conversations"] == 6
    assert [voice["verdict"] for voice in told["voices"]] == ["primary", "primary"]
    assert told["fleet"]["nodes"][0]["workers"][0]["name"] == "node-1/1"
    assert told["limiters"][0]["headroom"] == 6
    assert told["secrets"]["state"] == "fresh"
    assert (told["redis_error"], told["database_error"], told["banners"]) == (None, None, [])


@pytest.mark.parametrize(("language", "expected"), [("en", "Who speaks now"), ("es", "Quién habla ahora")])
def test_it_speaks_the_readers_language(dashboard: Dashboard, language: str, expected: str) -> None:
    dashboard.report(**worker_fields(1))
    assert expected in _page(dashboard, **{"Accept-Language": language})


def test_what_freshens_the_page_is_its_changing_parts_alone(dashboard: Dashboard) -> None:
    dashboard.report(**worker_fields(1))
    text = _page(dashboard, **{"X-Fragment": "live"})
    assert 'id="node-table"' in text
    assert "<nav" not in text
    assert "<script" not in text


def test_without_redis_what_was_known_is_shown_with_its_age_and_orders_are_of_the_database(
    dashboard: Dashboard,
) -> None:
    override = Override(Capability.SPEECH, OverrideMode.FORCED_FALLBACK, 1, reason="try", author="ada", expires_at=None)
    overrides = (Override(Capability.CONVERSATION, OverrideMode.AUTO, 0), override)
    snapshot = Snapshot(
        at=1000.0, workers=(worker(1),), redis_error="ConnectionError", overrides=overrides, overrides_at=1500.0
    )
    held = [Override(capability, OverrideMode.AUTO, 0) for capability in Capability]
    seen = see_overview(snapshot, dashboard.parts.watch.minutes(), held, now=1500.0)
    assert (seen.seen_at, seen.redis_error, seen.fleet.workers) == (1000.0, "ConnectionError", 1)
    assert [(banner.kind.value, banner.subject) for banner in seen.banners] == [
        ("redis", "ConnectionError"),
        ("override", "speech.forced_fallback"),
    ]


def test_open_pages_share_what_freshens_them_until_the_workers_were_looked_at_again(dashboard: Dashboard) -> None:
    dashboard.report(**worker_fields(1))
    one, other = dashboard.client(AdminRole.VIEWER), dashboard.client(AdminRole.ADMIN)
    parts = {"X-Fragment": "live"}
    spanish = {**parts, "Accept-Language": "es"}
    assert one.get("/", headers=parts).status_code == 200
    assert "Quién habla ahora" in other.get("/", headers=spanish).get_data(as_text=True)
    dashboard.report(**worker_fields(1, speaking={"elevenlabs": 8}))
    wait_until(lambda: "8 conversations with" in other.get("/", headers=parts).get_data(as_text=True), LIMIT)
    assert one.get("/", headers=parts).headers["Content-Security-Policy"]
