"""Ending a conversation and erasing one: by whom, how it is proven, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from dashboard.web import conversations as pages
from service.maintenance import MAINTENANCE_KEY
from service.orders import Order, OrderKind
from service.orders.taker import Deed, Done, OrderTaker
from service.redis_keys import conversation_key
from service.storage import AdminRole, AuditFilter, Conversations, SubjectKind, Tombstones, subject_hash
from tests.dashboard.conversations.talks import begun, keep, note_in_ledger
from tests.dashboard.dashboards import Dashboard

END = "/api/conversations/talk_1/end"
ERASE = "/api/conversations/talk_1/erase"


@pytest.fixture
def ended(dashboard: Dashboard) -> Iterator[list[str]]:
    """A worker that has `talk_1`, takes orders from Redis, and notes here what it has ended."""
    done: list[str] = []

    def end(order: Order) -> Done | None:
        if order.arguments["conversation_id"] != "talk_1":
            return None
        done.append(order.author)
        return Done("Ended.")

    taker = OrderTaker(dashboard.store, worker="node-1/11", deeds={OrderKind.CONVERSATION_END: Deed(end)})
    taker.start()
    yield done
    taker.close()


def test_the_worker_that_has_it_ends_it_and_is_named(dashboard: Dashboard, ended: list[str]) -> None:
    keep(dashboard.parts.database, "talk_1", began=datetime.now(UTC), code=None)
    answer = dashboard.client(AdminRole.OPERATOR).post(END, {"reason": "abuse of the line"})
    assert (answer.json["is_ended"], answer.json["worker"]) == (True, "node-1/11")
    assert ended == ["operator"]
    (entry,) = dashboard.parts.audit.search(AuditFilter(action="conversation.end")).items
    assert (entry.subject, entry.after) == ("talk_1", '{"reason": "abuse of the line"}')


def test_it_is_said_when_no_worker_has_it(
    dashboard: Dashboard, ended: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ANSWER_SECONDS", 0.1)
    keep(dashboard.parts.database, "talk_2", began=datetime.now(UTC), code=None)
    answer = dashboard.client().post("/api/conversations/talk_2/end", {"reason": "is it there?"})
    assert answer.json["is_ended"] is False
    assert ended == []


def test_an_end_needs_a_reason_a_live_conversation_and_an_operator(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", began=datetime.now(UTC), code=None)
    keep(dashboard.parts.database, "talk_2")
    client = dashboard.client()
    for reason in ("", "  a ", "x" * 501, 7, None):
        answer = client.post(END, {"reason": reason})
        assert (answer.status_code, answer.json["error"]["param"]) == (422, "reason")
    over = client.post("/api/conversations/talk_2/end", {"reason": "too late"})
    assert (over.status_code, over.json["error"]["code"]) == (409, "conversation_ended")
    assert dashboard.client(AdminRole.VIEWER).post(END, {"reason": "may I?"}).status_code == 403
    assert dashboard.parts.audit.search(AuditFilter(action="conversation.end")).items == ()


def test_an_erased_one_is_gone_from_both_stores_and_on_the_list_for_elevenlabs(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", words=("my card is 4711",))
    note_in_ledger(dashboard.store, "talk_1", begun("talk_1"))
    client = dashboard.client()
    answer = client.post(ERASE, {"confirmation": "talk_1"})
    assert answer.status_code == 200, answer.text
    assert (answer.json["conversations"], answer.json["provider_copies"]) == (1, 1)
    assert Conversations(dashboard.parts.database).get("talk_1") is None
    assert not dashboard.store.exists(conversation_key("talk_1", "ledger"))
    assert client.get("/conversations/talk_1").status_code == 404
    digest = subject_hash(SubjectKind.CONVERSATION, "talk_1")
    entries = dashboard.parts.audit.search(AuditFilter(subject=digest)).items
    assert {(entry.actor, entry.action) for entry in entries} == {
        ("admin", "erasure.requested"),
        ("admin", "conversation.erased"),
    }


def test_an_erasure_needs_an_admin_the_password_and_the_end_of_the_id(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1")
    typed = {"confirmation": "talk_1"}
    assert dashboard.client(AdminRole.OPERATOR).post(ERASE, typed).status_code == 403
    unconfirmed = dashboard.client(confirmed=False).post(ERASE, typed)
    assert (unconfirmed.status_code, unconfirmed.json["error"]["code"]) == (403, "confirmation_needed")
    wrong = dashboard.client().post(ERASE, {"confirmation": "talk_2"})
    assert (wrong.status_code, wrong.json["error"]["param"]) == (422, "confirmation")
    assert Conversations(dashboard.parts.database).get("talk_1") is not None


def test_nothing_is_erased_in_a_maintenance(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1")
    dashboard.store.set(MAINTENANCE_KEY, '{"reason": "rollback", "started_at": 1}')
    answer = dashboard.client().post(ERASE, {"confirmation": "talk_1"})
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "maintenance")
    assert Conversations(dashboard.parts.database).get("talk_1") is not None


def test_a_users_conversations_are_ordered_to_be_erased_for_the_service_to_do(dashboard: Dashboard) -> None:
    keep(dashboard.parts.database, "talk_1", user_id="eva")
    client = dashboard.client()
    path, body = "/api/conversations/erase-user", {"user_id": "eva", "confirmation": "eva"}
    assert "erase-user-open" in client.get("/conversations?user=eva").text
    assert client.post(path, {"user_id": "eva", "confirmation": "ana"}).status_code == 422
    assert dashboard.client(AdminRole.OPERATOR).post(path, body).status_code == 403
    assert client.post(path, body).json == {"ordered": True, "has_conversations": True}
    order = Tombstones(dashboard.parts.database).get(SubjectKind.USER, "eva")
    assert order is not None
    assert order.applied_at is None
