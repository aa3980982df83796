"""One conversation: its page, its words and who reads them, its export."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboard.sight.conversations import ConversationState
from dashboard.web import conversation_words
from dashboard.web.kinds import DEFECTS
from dashboard.words import LANGUAGES, all_words
from service.audio_quality.defects import FAULTS
from service.conversation.timeline import MomentKind, TurnResult
from service.metrics_fallback import FailoverCause
from service.metrics_quality import Defect
from service.storage import (
    AdminRole,
    AuditFilter,
    ConversationCost,
    ConversationCosts,
    Conversations,
    EndedBy,
    JudgedAnswer,
    JudgedAnswers,
    Speaker,
    Utterance,
)
from service.storage.conversation_export import as_document, as_text
from tests.dashboard.conversations.talks import NOON, begun, keep, note_in_ledger, without_database
from tests.dashboard.dashboards import Dashboard

EVIL = '<script>alert("x")</script> https://evil.example \u202etxt.exe'


def test_a_page_shows_facts_legs_timeline_and_words(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", words=("Where is my parcel?", "It comes today."), switched=True, code=1006)
    cost = ConversationCost("talk_1", datetime.now(UTC), characters=None, credits=1234, call_seconds=65)
    ConversationCosts(dashboard.parts.database).put(cost)
    shown = dashboard.client().get("/conversations/talk_1").text
    for expected in (
        "talk_1", "ana@example.com", "Ended badly", "by the caller: the connection was lost (1006)",
        "the first sound came too late", "Backup voice speaks", "conv_of_talk_1", "1,234", "1 turn",
        "after 2.00 s", "Where is my parcel?", "It comes today.", "Audio is never stored",
    ):  # fmt: skip
        assert expected in shown, expected
    assert "data-live" not in shown.split("<main", 1)[1]  # it has ended: nothing of it changes
    in_spanish = dashboard.client().get("/conversations/talk_1", headers={"Accept-Language": "es"}).text
    assert "tras 2,00 s" in in_spanish
    assert "2,0 s de mediana" in in_spanish


def test_what_people_said_is_text_and_never_markup(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", agent_id=EVIL, user_id=EVIL, words=(EVIL,), code=None)
    for path in ("/conversations", "/conversations/talk_1"):
        shown = dashboard.client().get(path).text
        assert "<script>alert" not in shown
        assert 'href="https://evil' not in shown
        assert "<bdi>&lt;script&gt;" in shown


def test_a_viewer_sees_no_words_anywhere(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", words=("my card is 4711",))
    client = dashboard.client(AdminRole.VIEWER)
    shown = client.get("/conversations/talk_1").text
    answered = client.get("/api/conversations/talk_1").text
    assert "4711" not in shown + answered
    assert "What people said is shown to operators and admins." in shown
    for control in ("export-json", "end-open", "erase-open"):
        assert control not in shown
    for path in ("transcript", "export"):
        assert client.get(f"/api/conversations/talk_1/{path}").status_code == 403
    assert dashboard.parts.audit.search(AuditFilter(action="conversation.read")).items == ()


def test_reading_is_written_down_once_for_each_reader_and_conversation(dashboard: Dashboard) -> None:
    for name in ("talk_1", "talk_2"):
        keep(dashboard.parts.database, name, words=("hello",))
    for role in (AdminRole.OPERATOR, AdminRole.ADMIN):
        client = dashboard.client(role)
        for path in ("/conversations/talk_1", "/conversations/talk_1", "/api/conversations/talk_1/transcript"):
            assert "hello" in client.get(path).text
        client.get("/conversations/talk_2")
    entries = dashboard.parts.audit.search(AuditFilter(action="conversation.read")).items
    assert sorted((entry.actor, entry.subject) for entry in entries) == [
        ("admin", "talk_1"), ("admin", "talk_2"), ("operator", "talk_1"), ("operator", "talk_2"),
    ]  # fmt: skip


def test_words_that_nobody_can_note_the_reading_of_are_not_shown(dashboard: Dashboard) -> None:
    client = dashboard.client()
    assert client.get("/conversations").status_code == 200  # so that the user is known
    said = Utterance("talk_1", 1, Speaker.USER, "my card is 4711", NOON, "elevenlabs")
    note_in_ledger(dashboard.store, "talk_1", begun("talk_1"), said)
    without_database(dashboard)
    shown = client.get("/conversations/talk_1").text
    assert "This is what Redis still has of it" in shown
    assert "What was said is not shown now." in shown
    assert "4711" not in shown
    assert client.get("/api/conversations/talk_1/transcript").status_code == 503


def test_the_newest_words_of_one_that_goes_on_come_from_redis(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", began=datetime.now(UTC), words=("hello",), code=None)
    newest = Utterance("talk_1", 2, Speaker.AGENT, "good morning", datetime.now(UTC), "elevenlabs")
    note_in_ledger(dashboard.store, "talk_1", begun("talk_1"), newest)
    client = dashboard.client(AdminRole.OPERATOR)
    shown = client.get("/conversations/talk_1").text
    assert "hello" in shown
    assert "good morning" in shown
    assert 'data-live="conversation-transcript"' in shown
    assert client.get("/api/conversations/talk_1").json["state"] == ConversationState.LIVE


def test_a_page_tells_how_sampled_answers_sounded(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", words=("hello",))
    answers, at = JudgedAnswers(dashboard.parts.database), NOON + timedelta(seconds=7)
    answers.put(JudgedAnswer("talk_1", 1, 2, at, "elevenlabs", defects=("gaps", "odd"), score=2.61, deviation=-1.04))
    answers.put(JudgedAnswer("talk_1", 2, 3, at, "local", defects=()))
    client = dashboard.client(AdminRole.VIEWER)
    panel = (
        client.get("/conversations/talk_1").text.partition('id="conversation-quality"')[2].partition("</section>")[0]
    )
    for expected in ("0:07", "2.6 of 5", "1.0 below the usual", "has gaps", "odd", "Backup voice", "nothing found"):
        assert expected in panel, expected
    in_spanish = client.get("/conversations/talk_1", headers={"Accept-Language": "es"}).text
    assert "1,0 por debajo de lo habitual" in in_spanish
    answered = client.get("/api/conversations/talk_1").json["judged_answers"]
    assert [(one["turn"], one["score"], one["defects"]) for one in answered] == [
        (2, 2.61, ["gaps", "odd"]),
        (3, None, []),
    ]
    exported = dashboard.client(AdminRole.OPERATOR).get("/api/conversations/talk_1/export").json
    assert exported["judged_answers"] == answered


def test_where_nothing_was_judged_the_page_says_that_only_a_sample_is(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1")
    shown = dashboard.client().get("/conversations/talk_1").text
    assert "None of its answers was judged." in shown
    assert "Only a sample is: 5 % of the answers" in shown
    note_in_ledger(dashboard.store, "talk_2", begun("talk_2"))
    without_database(dashboard)
    client = dashboard.client()
    assert "Nobody can say now which answers were judged." in client.get("/conversations/talk_2").text
    assert client.get("/api/conversations/talk_2").json["judged_answers"] is None


def test_an_unknown_one_is_not_found(dashboard: Dashboard) -> None:
    client = dashboard.client()
    assert client.get("/conversations/nobody").status_code == 404
    assert client.get("/api/conversations/nobody").json["error"]["code"] == "conversation_not_found"
    assert client.get("/api/conversations/nobody/export").status_code == 404


def test_an_export_is_the_commands_and_is_written_down(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, 'talk "1"\\..;é', words=("¿Qué hora es?",))
    client = dashboard.client(AdminRole.OPERATOR)
    path = "/api/conversations/talk%20%221%22%5C..%3B%C3%A9/export"
    as_json, text = client.get(path), client.get(f"{path}?format=text")
    assert as_json.headers["Content-Disposition"] == 'attachment; filename="conversation-talk-1.json"'
    assert text.headers["Content-Disposition"] == 'attachment; filename="conversation-talk-1.txt"'
    assert text.content_type == "text/plain; charset=utf-8"
    record = Conversations(dashboard.parts.database).get('talk "1"\\..;é')
    assert record is not None
    assert as_json.json == as_document(record)
    assert text.text == as_text(record)
    entries = dashboard.parts.audit.search(AuditFilter(action="conversation.exported")).items
    assert [entry.after for entry in entries] == ['{"format": "text"}', '{"format": "json"}']
    assert client.get(f"{path}?format=html").status_code == 422


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_that_records_may_have_is_said_in_words(language: str) -> None:
    words = all_words(language)
    keys = [f"cause.{cause}" for cause in FailoverCause]
    keys += [f"by.{by}" for by in EndedBy] + [f"speaker_{speaker}" for speaker in Speaker]
    keys += [f"result_{result}" for result in TurnResult] + [kind.value for kind in MomentKind]
    keys += [f"state_{state}" for state in ConversationState] + [f"defect.{defect}" for defect in Defect]
    assert [key for key in keys if f"conversations.{key}" not in words] == []
    assert {defect for defect, kind in DEFECTS.items() if kind == "bad"} == FAULTS
    assert DEFECTS.keys() == set(Defect)


def test_a_code_without_a_word_is_shown_as_it_is(dashboard: Dashboard) -> None:
    with dashboard.app.test_request_context():
        assert conversation_words.cause_in_words("something_new") == "something_new"
        assert conversation_words.cause_in_words("agent 4999") == "by the agent: closed with a code of its own (4999)"
        assert conversation_words.provider_name("acme") == "acme"


def test_a_time_is_written_as_minutes_and_seconds() -> None:
    assert [conversation_words.clock(seconds) for seconds in (0, 59.99, 247, 3603)] == [
        "0:00",
        "0:59",
        "4:07",
        "1:00:03",
    ]
    assert conversation_words.clock(247.38, tenths=True) == "4:07.3"
