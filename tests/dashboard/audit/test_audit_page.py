"""The audit's page: what changed, found by a filter, saved as a file, and proved to be whole."""

from __future__ import annotations

import hashlib
import json

import pytest
from sqlalchemy import text

from dashboard.sight.audit_changes import MOST_CHANGES, Change, changes_between
from service.storage import AdminRole, AuditFilter


@pytest.fixture
def filled(dashboard):
    """A dashboard whose audit has five entries, by two people."""
    for number in range(4):
        dashboard.parts.audit.append(
            actor="ana" if number % 2 else "bo",
            action="pool.resize",
            subject=f"pool {number}",
            before={"max_size": number, "min_idle": 1},
            after={"max_size": number + 1, "min_idle": 1},
            address="192.0.2.7",
            request_id=f"request-{number}",
        )
    dashboard.parts.audit.append(actor="bo", action="odd.deed", subject="<i>x</i>", after={"text": "<script>"})
    return dashboard


def test_an_entry_shows_what_changed_and_nothing_that_stayed(filled):
    shown = filled.client(AdminRole.OPERATOR).get("/audit?subject=pool+3").text
    assert "<code>max_size</code>" in shown
    assert "min_idle" not in shown
    assert "192.0.2.7" in shown
    assert "pool 2" not in shown


def test_words_of_others_are_shown_as_text(filled):
    shown = filled.client().get("/audit?action=odd.deed").text
    assert "&lt;script&gt;" in shown
    assert "<i>x" not in shown


def test_the_filter_and_the_pages_of_the_api_lead_through_all_entries(filled):
    operator = filled.client(AdminRole.OPERATOR)
    first = operator.get("/api/audit?actor=bo&limit=2").json
    rest = operator.get(f"/api/audit?actor=bo&limit=2&cursor={first['next_cursor']}").json
    assert [entry["subject"] for entry in first["entries"] + rest["entries"]] == ["<i>x</i>", "pool 2", "pool 0"]
    assert rest["next_cursor"] is None
    assert operator.get("/api/audit?since=2999-01-01").json["entries"] == []
    assert len(operator.get("/api/audit?until=2999-01-01T00:00:00Z&action=pool.resize").json["entries"]) == 4


@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=0001-01-01T00:00:00%2B14:00", "cursor=x", "limit=0", "actor=" + "x" * 201]
)
def test_a_filter_that_makes_no_sense_is_refused_and_said_on_the_page(dashboard, query):
    operator = dashboard.client(AdminRole.OPERATOR)
    answer = operator.get(f"/api/audit?{query}")
    assert (answer.status_code, answer.json["error"]["param"]) == (400, query.partition("=")[0])
    assert operator.get(f"/audit?{query}").status_code == 200


def test_the_file_has_all_that_the_filter_lets_through_and_hashes_that_anybody_can_check(filled, monkeypatch):
    monkeypatch.setattr("dashboard.web.audit.MOST_ROWS", 2)
    answer = filled.client(AdminRole.OPERATOR).get("/api/audit/export?action=pool.resize")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="vocero-audit-')
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["sequence"] for line in lines] == [4, 3, 2, 1]
    for line in lines:
        claimed = line.pop("hash")
        covered = json.dumps(list(line.values()), ensure_ascii=True, separators=(",", ":"))
        assert hashlib.sha256(covered.encode()).hexdigest() == claimed
    noted = filled.parts.audit.search(AuditFilter(action="audit.exported")).items
    assert [json.loads(entry.after) for entry in noted] == [{"action": "pool.resize"}]


def test_a_whole_chain_is_verified_and_a_broken_one_is_named(filled):
    operator = filled.client(AdminRole.OPERATOR)
    whole = operator.get("/api/audit/verify").json
    newest = filled.parts.audit.search(AuditFilter(), limit=1).items[0]
    assert (whole["is_whole"], whole["entries"], whole["last_hash"]) == (True, 5, newest.hash)
    with filled.parts.database.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        for name in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
            connection.exec_driver_sql(f"DROP TRIGGER {name[0]}")
        connection.execute(text("UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 3"))
        connection.commit()
    broken = operator.get("/api/audit/verify").json
    assert (broken["is_whole"], broken["broken_at"]) == (False, 3)
    assert "was changed" in broken["problem"]


def test_fields_are_named_by_their_path_and_bounded():
    assert changes_between('{"a": {"b": 1, "c": 2}}', '{"a": {"b": 1, "c": "two"}}').shown == (
        Change("a.c", "2", "two"),
    )
    assert changes_between(None, '{"list": [1, {"x": null}]}').shown == (Change("list", None, '[1, {"x": null}]'),)
    assert changes_between("no json", None).shown == (Change("", "no json", None),)
    assert changes_between(None, None).shown == ()
    many = changes_between(None, json.dumps({str(number): "x" * 9_000 for number in range(MOST_CHANGES + 5)}))
    assert (len(many.shown), many.left_out) == (MOST_CHANGES, 5)
    assert max(len(change.after) for change in many.shown) < 500
