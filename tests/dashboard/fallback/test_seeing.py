"""What the page shows: each provider's standing, who obeys, who would feel an order, and what has happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from dashboard.sight.providers import see_capability
from dashboard.sight.switches import TOGETHER, gathered
from dashboard.sight.watch import Snapshot
from scripts.launcher.waiting import wait_until
from service import redis_keys
from service.minute_history import MinuteHistory
from service.minute_tally import MinuteCount, MinuteTally
from service.pool_reports import INDEX_KEY, WorkerReport
from service.storage import AdminRole, Capability, Conversations, Leg, LegChange, Override, OverrideMode
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.fallback.conftest import CHAINS, breaker

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def seen(dashboard: Dashboard, capability: str = "conversation") -> dict[str, Any]:
    answer = dashboard.client(AdminRole.VIEWER).get("/api/fallback").json
    return next(each for each in answer["capabilities"] if each["capability"] == capability)


def standings(dashboard: Dashboard) -> list[str]:
    return [each["standing"] for each in seen(dashboard)["providers"]]


def order(dashboard: Dashboard, mode: OverrideMode, *, version: int = 0) -> None:
    given = {"reason": "a drill", "author": "ana", "expected_version": version}
    dashboard.parts.overrides.set(Capability.CONVERSATION, mode, **given)


def test_where_workers_differ_the_worst_opinion_is_shown_and_how_many_share_it(fleet: Dashboard) -> None:
    primary, backup = seen(fleet)["providers"]
    assert (primary["standing"], primary["breaker"]["states"]) == ("down", {"closed": 1, "open": 1})
    assert primary["breaker"]["last_fault"] == "server_error: system_busy (provider)"
    assert primary["breaker"]["next_probe_at"]
    assert (backup["standing"], backup["breaker"]) == ("ready", None)
    page = fleet.client(AdminRole.VIEWER).get("/fallback").text
    assert "1 of 2 workers: left alone" in page
    assert "It answered with a server error." in page
    assert "<code>silent: read_timeout (provider)</code>" in page, "the last check and why it failed"


@pytest.mark.parametrize(
    ("state", "standing"),
    [("closed", "ready"), ("open", "down"), ("half_open", "probing"), ("ramp", "ramping"), ("unheard of", "down")],
)
def test_a_breaker_is_told_in_haproxys_words(state: str, standing: str) -> None:
    report = WorkerReport("north", "11", 0.0, (), chains=CHAINS, breakers=(breaker(state),))
    view = see_capability(
        Snapshot(at=1.0, workers=(report,)), Override(Capability.CONVERSATION, OverrideMode.AUTO, 0), now=1.0
    )
    assert [each.standing for each in view.providers] == [standing, "ready"]


def test_who_is_not_asked_by_order_is_drained_and_then_in_maintenance(fleet: Dashboard) -> None:
    order(fleet, OverrideMode.FORCED_FALLBACK)
    assert standings(fleet) == ["drain", "ready"]
    order(fleet, OverrideMode.FORCED_PRIMARY, version=1)
    assert standings(fleet) == ["down", "drain"]
    fleet_without_talks = {"chains": CHAINS, "breakers": (breaker(),)}
    for node in ("north", "south"):
        fleet.report(node=node, **fleet_without_talks)
    order(fleet, OverrideMode.DISABLED, version=2)
    watch = fleet.parts.watch
    watch.wait_for_look(watch.snapshot().looks, timeout=5.0)
    assert standings(fleet) == ["maintenance", "maintenance"]


def test_it_is_told_how_many_workers_obey_and_which_do_not(fleet: Dashboard) -> None:
    order(fleet, OverrideMode.FORCED_FALLBACK)
    fleet.report(node="north", chains=CHAINS, modes={"conversation": 1})
    fleet.report(node="west", version="0.0.9")
    assert seen(fleet)["workers"] == {"all": 2, "obeying": 1, "behind": ["south/11"], "silent": 1}
    page = fleet.client(AdminRole.VIEWER).get("/fallback").text
    assert "1 of 2 workers obey" in page
    assert "south/11" in page
    assert "One worker of an earlier version does not tell." in page


def test_before_an_order_it_is_said_whom_it_concerns(fleet: Dashboard) -> None:
    def preview(mode: str, capability: str = "conversation") -> dict[str, Any]:
        answer: dict[str, Any] = (
            fleet.client(AdminRole.VIEWER).get(f"/api/fallback/{capability}/preview?mode={mode}").json
        )
        return answer

    forced = preview("forced_fallback")
    assert forced["conversations"] == {"all": 5, "by_provider": {"elevenlabs": 4, "local": 1}}
    assert (forced["moving"], forced["to"]) == (4, "local")
    assert "5 people talk now (ElevenLabs: 4, Backup: 1)." in forced["text"]
    assert "4 of them move to Backup at their next turn." in forced["text"]
    assert "That one moves to ElevenLabs" in preview("forced_primary")["text"]
    assert "All 5 are told so" in preview("disabled")["text"]
    assert preview("auto")["moving"] == 0
    assert preview("forced_fallback", "speech")["conversations"]["all"] == 0
    assert fleet.client().get("/api/fallback/speech/preview?mode=x").status_code == 422


def test_without_workers_nobody_claims_to_know_whom_it_concerns(dashboard: Dashboard) -> None:
    answer = dashboard.client().get("/api/fallback/conversation/preview?mode=disabled").json
    assert (answer["is_known"], answer["text"]) == (
        False,
        "No worker tells who talks now, so nobody can say whom it concerns.",
    )
    assert "No worker has told whom it asks." in dashboard.client().get("/fallback").text


def test_an_outage_is_one_event_with_some_of_its_conversations() -> None:
    changes = [
        LegChange(f"c{number}", 2, "elevenlabs", "local", "connection_lost", NOON - timedelta(seconds=number))
        for number in range(9)
    ]
    back = LegChange("c0", 3, "local", "elevenlabs", "returned", NOON + timedelta(minutes=5))
    earlier = LegChange("c99", 2, "elevenlabs", "local", "connection_lost", NOON - timedelta(seconds=9) - TOGETHER)
    returned, outage, one = gathered([back, *changes, earlier])
    assert (returned.count, returned.cause) == (1, "returned")
    assert (outage.count, outage.at, outage.since) == (9, NOON, NOON - timedelta(seconds=8))
    assert outage.conversations == ("c0", "c1", "c2", "c3", "c4")
    assert one.conversations == ("c99",)


def test_switches_and_orders_stand_in_one_list_with_their_causes(fleet: Dashboard) -> None:
    conversations = Conversations(fleet.parts.database)
    conversations.start("conv_1", agent_id="agent", started_at=NOON)
    conversations.put_leg(Leg("conv_1", 1, "elevenlabs", NOON, ended_at=NOON, end_cause="first_audio_late"))
    conversations.put_leg(Leg("conv_1", 2, "local", NOON))
    order(fleet, OverrideMode.FORCED_FALLBACK)
    viewer = fleet.client(AdminRole.VIEWER)
    ordered, switched = viewer.get("/api/fallback").json["happened"]
    assert (ordered["kind"], ordered["author"], ordered["previous"]) == ("ordered", "ana", "auto")
    assert (switched["from"], switched["to"], switched["examples"]) == ("elevenlabs", "local", ["conv_1"])
    page = viewer.get("/fallback", headers={"Accept-Language": "es"}).text
    assert "/conversations/conv_1" in page
    assert "Su respuesta no empezó a tiempo." in page


def test_how_many_began_in_the_last_minute_is_told(fleet: Dashboard) -> None:
    tally = MinuteTally()
    tally.add(MinuteCount.CONVERSATIONS, 7)
    MinuteHistory(fleet.store, tally).tell()
    now = fleet.parts.orders.now()
    key = f"{redis_keys.CACHE.prefix}minutes:{{}}"
    for minute in (now // 60, now // 60 + 1):  # the clock may be just before the next one
        if fleet.store.exists(key.format(int(minute))):
            fleet.store.copy(key.format(int(minute)), key.format(int(minute) - 1))
    answer = fleet.client().get("/api/fallback/conversation/preview?mode=auto").json
    assert answer["began_in_the_last_minute"] == 7
    assert "7 conversations began in the last minute." in answer["text"]


def test_with_what_workers_tell_gone_the_last_of_it_is_shown_and_the_switch_still_works(fleet: Dashboard) -> None:
    client = fleet.client()
    assert client.get("/api/fallback").json["redis_error"] is None
    fleet.store.delete(INDEX_KEY)
    fleet.store.set(INDEX_KEY, "somebody else's")
    wait_until(lambda: client.get("/api/fallback").json["redis_error"], what="the outage")
    page = client.get("/fallback").text
    assert "Redis does not answer, so the workers are not seen." in page
    assert "1 of 2 workers: left alone" in page
    wanted = {"mode": "forced_fallback", "reason": "an outage", "seconds": 900, "version": 0}
    assert client.post("/api/fallback/conversation", wanted).status_code == 200


def test_with_the_database_gone_the_page_says_why_nothing_can_be_ordered(fleet: Dashboard) -> None:
    client = fleet.client()
    order(fleet, OverrideMode.FORCED_PRIMARY)
    with fleet.parts.database.writing() as session:
        session.execute(text("DROP TABLE overrides"))
        session.execute(text("DROP TABLE legs"))
    wait_until(lambda: client.get("/api/fallback").json["database_error"], what="the outage")
    page = client.get("/fallback").text
    assert "The database does not answer, so nothing can be ordered." in page
    assert seen(fleet)["mode"] == "forced_primary", "what is in force is still known"
    wanted = {"mode": "auto", "reason": "an outage", "version": 1}
    refused = client.post("/api/fallback/conversation", wanted)
    assert (refused.status_code, refused.json["error"]["code"]) == (503, "database_unavailable")
