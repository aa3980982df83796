"""Keys of integrators, made, shown once and revoked by the dashboard."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import text

from service.key_limits import KeyLimits
from service.orders import OrderKind
from service.orders.taker import Deed, Done, OrderTaker
from service.storage import ApiKeyLimits, ApiKeys, ApiScope, AuditFilter
from tests.dashboard.openapi.test_openapi import validator


@contextmanager
def worker_that_forgets(dashboard, keys: ApiKeys, *, name: str = "11"):
    """What a worker does with the order: it looks its keys up again (`ApiKeys.forget`)."""
    dashboard.report(worker=name)

    def forget(_order):
        keys.forget()
        return Done("Keys are looked up again.")

    taker = OrderTaker(dashboard.store, worker=f"node-1/{name}", deeds={OrderKind.KEYS_FORGET: Deed(forget)})
    taker.start()
    try:
        yield
    finally:
        taker.close()


def test_a_key_is_shown_once_and_opens_until_it_ends(dashboard):
    admin = dashboard.client()
    answer = admin.post("/api/keys", {"name": "shop", "expiry": "30"})
    key, told = answer.json["secret"], answer.json["key"]
    assert answer.status_code == 201
    assert (told["state"], told["last_characters"]) == ("good", key[-4:])
    assert dashboard.parts.api_keys.verify(key).name == "shop"
    ends = datetime.fromisoformat(told["expires_at"])
    assert timedelta(days=29) < ends - datetime.now(UTC) <= timedelta(days=30)
    seen = admin.get("/keys").text + admin.get("/api/keys").text + repr(dashboard.parts.audit.search(AuditFilter()))
    assert "shop" in seen
    assert key not in seen


def test_a_revoked_key_opens_nothing_in_a_worker_that_has_just_used_it(dashboard):
    admin, in_a_worker = dashboard.client(), ApiKeys(dashboard.parts.database)
    made = admin.post("/api/keys", {"name": "shop", "expiry": "never"}).json
    with worker_that_forgets(dashboard, in_a_worker):
        assert in_a_worker.verify(made["secret"]) is not None  # and remembers it for five seconds
        answer = admin.post(f"/api/keys/{made['key']['id']}/revoke").json
        assert answer == {"id": made["key"]["id"], "workers": 1, "confirmed": 1, "within_seconds": 0.0}
        assert in_a_worker.verify(made["secret"]) is None
    assert admin.get("/api/keys").json["keys"][0]["state"] == "revoked"
    assert [entry.subject for entry in dashboard.parts.audit.search(AuditFilter(action="api_key.revoke")).items] == [
        made["key"]["id"]
    ]


def test_workers_that_do_not_answer_are_not_said_to_have_forgotten(dashboard, monkeypatch):
    monkeypatch.setattr("dashboard.web.api_keys.FORGET_SECONDS", 0.2)
    dashboard.report()
    admin = dashboard.client()
    made = admin.post("/api/keys", {"name": "shop"}).json["key"]
    answer = admin.post(f"/api/keys/{made['id']}/revoke").json
    assert (answer["workers"], answer["confirmed"], answer["within_seconds"]) == (1, 0, 5.0)
    assert admin.get("/api/keys").json["keys"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "x", "expiry": "7"}, "expiry"),
        ({"name": "x", "expiry": ["30"]}, "expiry"),
        ({"name": "x", "expiry": "date"}, "last_day"),
        ({"name": "x", "expiry": "date", "last_day": "2020-01-01"}, "last_day"),
        ({"name": "x", "expiry": "date", "last_day": "9999-12-31"}, "last_day"),
        ({"name": "x", "conversation": False, "speech": False}, "speech"),
        ({"name": "x", "conversation": "yes"}, "conversation"),
        ({"name": "x", "max_concurrent": 0}, "max_concurrent"),
        ({"name": "x", "max_concurrent": True}, "max_concurrent"),
        ({"name": "x", "characters_per_day": 1.5}, "characters_per_day"),
        ({"name": "x", "characters_per_day": 10**12 + 1}, "characters_per_day"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_by_the_name_of_the_field(dashboard, body, param):
    answer = dashboard.client().post("/api/keys", body)
    assert (answer.status_code, answer.json["error"]["param"]) == (422, param)
    assert dashboard.parts.api_keys.list_all() == []


def test_a_key_can_end_with_a_day(dashboard):
    day = (datetime.now(UTC) + timedelta(days=3)).date()
    made = dashboard.client().post("/api/keys", {"name": "x", "expiry": "date", "last_day": day.isoformat()}).json
    assert made["key"]["expires_at"] == f"{day + timedelta(days=1)}T00:00:00+00:00"


def test_making_changing_and_revoking_needs_the_password_again(dashboard):
    admin = dashboard.client(confirmed=False)
    made, _ = dashboard.parts.api_keys.create("kept")
    for path in ("", f"/{made.id}/limits", f"/{made.id}/revoke"):
        body = {"name": "x", "max_concurrent": 1}
        assert admin.post(f"/api/keys{path}", body).json["error"]["code"] == "confirmation_needed"
    assert dashboard.parts.api_keys.list_all() == [made]


def test_a_key_that_is_not_there_or_has_ended_is_said_so(dashboard):
    admin = dashboard.client()
    revoked, _ = dashboard.parts.api_keys.create("shop")
    dashboard.parts.api_keys.revoke(revoked.id)
    for way in ("revoke", "limits"):
        assert admin.post(f"/api/keys/0123456789abcdef/{way}").status_code == 404
    answer = admin.post(f"/api/keys/{revoked.id}/limits", {"max_concurrent": 1})
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "key_ended")
    assert dashboard.parts.api_keys.list_all()[0].limits == ApiKeyLimits()


def test_changed_limits_hold_in_a_worker_that_has_just_used_the_key_and_the_audit_has_both(dashboard):
    admin, in_a_worker = dashboard.client(), ApiKeys(dashboard.parts.database)
    made = admin.post("/api/keys", {"name": "shop", "max_concurrent": 3, "characters_per_day": 5000}).json
    path = f"/api/keys/{made['key']['id']}/limits"
    with worker_that_forgets(dashboard, in_a_worker):
        assert in_a_worker.verify(made["secret"]).limits.max_concurrent == 3  # and remembers it for five seconds
        answer = admin.post(path, {"max_concurrent": 7, "conversation": False}).json
        assert in_a_worker.verify(made["secret"]).limits == ApiKeyLimits(frozenset({ApiScope.SPEECH}), 7, None)
        assert admin.post(path, {"max_concurrent": 7, "conversation": False}).status_code == 200  # changes nothing
    assert (answer["workers"], answer["confirmed"], answer["within_seconds"]) == (1, 1, 0.0)
    validator({"$ref": "#/components/schemas/Key"}).validate(answer["key"])
    changed = {"scopes": ["speech"], "max_concurrent": 7, "characters_per_day": None}
    assert answer["key"].items() >= changed.items()
    [entry] = dashboard.parts.audit.search(AuditFilter(action="api_key.limits")).items
    was = {"scopes": ["conversation", "speech"], "max_concurrent": 3, "characters_per_day": 5000}
    assert (entry.actor, entry.subject) == ("admin", made["key"]["id"])
    assert json.loads(entry.before).items() >= was.items()
    assert json.loads(entry.after).items() >= changed.items()


@pytest.mark.parametrize(
    "wrong", [{"max_concurrent": 0}, {"characters_per_day": "9"}, {"speech": False, "conversation": False}]
)
def test_limits_that_make_no_sense_change_nothing(dashboard, wrong):
    kept, _ = dashboard.parts.api_keys.create("shop", limits=ApiKeyLimits(max_concurrent=3))
    answer = dashboard.client().post(f"/api/keys/{kept.id}/limits", wrong)
    assert (answer.status_code, answer.json["error"]["param"]) == (422, next(iter(wrong)))
    assert dashboard.parts.api_keys.list_all() == [kept]


def test_a_key_is_made_for_what_it_may_be_used_for_and_its_use_is_shown(dashboard):
    admin = dashboard.client()
    asked = {"name": "shop", "conversation": False, "max_concurrent": 3, "characters_per_day": 5000}
    made = admin.post("/api/keys", asked).json
    limits = {"scopes": ["speech"], "max_concurrent": 3, "characters_per_day": 5000}
    assert made["key"].items() >= limits.items()
    kept = dashboard.parts.api_keys.verify(made["secret"]).limits
    assert kept == ApiKeyLimits(frozenset({ApiScope.SPEECH}), 3, 5000)
    [entry] = dashboard.parts.audit.search(AuditFilter(action="api_key.create")).items
    assert json.loads(entry.after).items() >= limits.items()

    KeyLimits(dashboard.store).begin_speech(dashboard.parts.api_keys.verify(made["secret"]), 1200)
    assert admin.get("/api/keys").json["keys"][0]["characters_today"] == 1200
    said = admin.get("/keys").text
    assert "3 at the same time" in said
    assert "1,200 of 5,000 characters today (UTC)" in said


def test_what_is_not_asked_for_is_not_limited(dashboard):
    made = dashboard.client().post("/api/keys", {"name": "shop"}).json
    assert dashboard.parts.api_keys.verify(made["secret"]).limits == ApiKeyLimits()
    assert made["key"]["scopes"] == ["conversation", "speech"]
    assert (made["key"]["max_concurrent"], made["key"]["characters_today"]) == (None, None)


def test_without_redis_the_keys_and_their_limits_are_shown_all_the_same(dashboard, monkeypatch):
    admin = dashboard.client()
    admin.post("/api/keys", {"name": "shop", "characters_per_day": 5000})

    def fail(*_arguments):
        raise redis.ConnectionError

    monkeypatch.setattr("dashboard.web.api_keys.characters_used", fail)
    assert admin.get("/api/keys").json["keys"][0]["characters_today"] is None
    assert "5,000 characters a day" in admin.get("/keys").text


def test_on_a_schema_that_keeps_no_limits_the_answer_says_what_to_run(dashboard):
    dashboard.parts.database.revision = "0006"
    with dashboard.parts.database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0006'"))
    admin = dashboard.client()
    answer = admin.post("/api/keys", {"name": "shop", "max_concurrent": 1})
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "schema_too_old")
    assert "python -m migrations upgrade 0007" in answer.json["error"]["message"]
    assert dashboard.parts.api_keys.list_all() == []
    made = admin.post("/api/keys", {"name": "shop"})
    assert made.status_code == 201
    path = f"/api/keys/{made.json['key']['id']}/limits"
    assert admin.post(path, {"characters_per_day": 1}).json["error"]["code"] == "schema_too_old"
    assert admin.post(path).status_code == 200
