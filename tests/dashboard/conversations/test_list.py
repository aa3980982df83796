"""The list: what is found, page by page, and who may look for words."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dashboard.sight.conversations import ConversationSight, ConversationState
from service.storage import AdminRole, AuditFilter, ConversationFilter, Conversations, EndedBy, Leg
from tests.dashboard.conversations.talks import NOON, begun, keep, note_in_ledger, without_database
from tests.dashboard.dashboards import Dashboard


def ids(dashboard: Dashboard, role: AdminRole = AdminRole.OPERATOR, **asked: str) -> list[str]:
    answer = dashboard.client(role).get(f"/api/conversations?{urlencode(asked)}")
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json["conversations"]]


def test_each_filter_leaves_what_meets_it(dashboard: Dashboard) -> None:
    database = dashboard.parts.database
    keep(database, "c1", agent_id="other", words=("Where is Łódź?",))
    keep(database, "c2", began=NOON + timedelta(hours=1), user_id="eva", code=1011)
    keep(database, "c3", began=NOON + timedelta(hours=2), switched=True, code=None)
    assert ids(dashboard) == ["c3", "c2", "c1"]
    assert ids(dashboard, agent="other") == ["c1"]
    assert ids(dashboard, user=" eva ") == ["c2"]
    assert ids(dashboard, provider_id="conv_of_c3") == ["c3"]
    assert ids(dashboard, since="2026-03-01T13:00Z", until="2026-03-01T14:00+00:00") == ["c2"]
    long_ago = {"since": "2026-01-01"}
    assert ids(dashboard, text="łódź", **long_ago) == ["c1"]
    assert ids(dashboard, badly="1", **long_ago) == ["c2"]
    assert ids(dashboard, switched="1", **long_ago) == ["c3"]
    assert ids(dashboard, live="1", **long_ago) == ["c3"]


def test_what_no_index_serves_is_looked_for_in_a_week_and_the_page_says_so(dashboard: Dashboard) -> None:
    now = datetime.now(UTC)
    keep(dashboard.parts.database, "new", began=now - timedelta(days=1), code=1011)
    keep(dashboard.parts.database, "old", began=now - timedelta(days=8), code=1011)
    client = dashboard.client(AdminRole.VIEWER)
    answer = client.get("/api/conversations?badly=1").json
    assert [each["id"] for each in answer["conversations"]] == ["new"]
    assert answer["searched_since"] is not None
    assert "Say since when" in client.get("/conversations?badly=1").text
    assert "Say since when" not in client.get("/conversations").text


def test_pages_follow_each_other_without_a_gap_and_keep_the_filters(dashboard: Dashboard) -> None:
    for number in range(5):
        keep(dashboard.parts.database, f"c{number}", began=NOON + timedelta(hours=number), user_id="eva")
    keep(dashboard.parts.database, "another", began=NOON + timedelta(hours=9))
    client = dashboard.client(AdminRole.VIEWER)
    path, seen = "/conversations?user=eva&limit=2", []
    while path:
        shown = client.get(path).text
        seen += re.findall(r'href="/conversations/([^"]+)"><bdi>', shown)
        older = re.search(r'href="([^"]+)" rel="next"', shown)
        path = older[1].replace("&amp;", "&") if older else ""
        assert not path or "user=eva" in path
    assert seen == ["c4", "c3", "c2", "c1", "c0"]
    assert client.get("/api/conversations?cursor=%00nonsense").status_code == 400


def test_parameters_that_make_no_sense_are_named(dashboard: Dashboard) -> None:
    client = dashboard.client()
    for name, value in (
        ("since", "yesterday"),
        ("limit", "201"),
        ("limit", "-1"),
        ("agent", "a" * 257),
        ("text", "t" * 201),
    ):
        answer = client.get(f"/api/conversations?{urlencode({name: value})}")
        assert (answer.status_code, answer.json["error"]["param"]) == (422, name)


def test_a_viewer_has_the_list_but_cannot_look_for_words(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", words=("my card is 4711",))
    client = dashboard.client(AdminRole.VIEWER)
    assert client.get("/api/conversations?text=4711").status_code == 403
    refused = client.get("/conversations?text=4711")
    assert refused.status_code == 403
    assert "talk_1" not in refused.text
    shown = client.get("/conversations").text
    assert "talk_1" in shown
    assert 'name="text"' not in shown


def test_that_words_were_looked_for_is_written_down_once_and_without_them(dashboard: Dashboard) -> None:
    ids(dashboard, text="secret illness")
    ids(dashboard, text="secret illness")
    entries = dashboard.parts.audit.search(AuditFilter(action="conversation.searched")).items
    assert len(entries) == 1
    assert "illness" not in repr(entries)


def test_one_goes_on_only_if_redis_has_a_sign_of_it(dashboard: Dashboard) -> None:
    database, store = dashboard.parts.database, dashboard.store
    now = datetime.now(UTC)
    for name in ("live", "lost", "left", "just_ended"):
        keep(database, name, began=now, code=None)
    for name in ("live", "left"):
        note_in_ledger(store, name, begun(name))
    Conversations(database).put_leg(Leg("left", 1, "elevenlabs", now, ended_at=now, end_cause="service 1012"))
    beginning = begun("just_ended")
    end = replace(beginning, ended_at=now, ended_by=EndedBy.AGENT, end_code=1000)
    note_in_ledger(store, "just_ended", beginning, end)
    answer = dashboard.client().get("/api/conversations").json
    assert {each["id"]: each["state"] for each in answer["conversations"]} == {
        "live": "live",
        "lost": "silent",
        "left": "silent",
        "just_ended": "ended",
    }
    assert "Goes on" in dashboard.client().get("/conversations").text


def test_without_redis_none_is_said_to_go_on(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "c1", code=None)
    keep(dashboard.parts.database, "c2")
    with redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0)) as nobody:
        found = ConversationSight(dashboard.parts.database, store=nobody).find(ConversationFilter())
    assert {item.summary.id: item.state for item in found.items} == {
        "c1": ConversationState.UNSURE,
        "c2": ConversationState.ENDED,
    }
    assert found.redis_error == "ConnectionError"


def test_without_the_database_those_are_shown_that_redis_still_has_for_it(dashboard: Dashboard) -> None:
    client = dashboard.client()
    assert client.get("/conversations").status_code == 200  # so that the user is known
    note_in_ledger(dashboard.store, "waits", begun("waits"))
    without_database(dashboard)
    shown = client.get("/conversations").text
    assert "The database does not answer." in shown
    assert "waits" in shown
    answer = client.get("/api/conversations").json
    assert [(each["id"], each["state"]) for each in answer["conversations"]] == [("waits", "live")]
    assert answer["database_error"] == "ServiceUnavailableError"


def test_an_empty_list_says_what_to_do_next(dashboard: Dashboard) -> None:
    client = dashboard.client(AdminRole.VIEWER)
    assert "There is no conversation yet." in client.get("/conversations").text
    assert "Take a filter away" in client.get("/conversations?user=nobody").text
    in_spanish = client.get("/conversations", headers={"Accept-Language": "es"}).text
    assert "Todavía no hay ninguna conversación." in in_spanish
