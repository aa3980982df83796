"""What goes wrong is told in the reader's language: the code is read for it, and the ways are walked."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import abort
from sqlalchemy import text
from werkzeug.test import TestResponse

from dashboard.access.permissions import ROUTES, Permission
from dashboard.words import all_words
from scripts.launcher.waiting import wait_until
from service import errors as error_classes
from service.errors import RequestError
from service.maintenance import MAINTENANCE_KEY
from service.orders import OrderAnswer, OrderKind
from service.orders.order import answers_key
from service.storage import AdminRole
from service.storage.audit_chain import ChainProblem
from tests.dashboard.audit.test_without_a_database import take_the_database_away
from tests.dashboard.conversations.talks import keep
from tests.dashboard.dashboards import OWN_NAME, PASSWORD, Client, Dashboard
from tests.dashboard.workers import pool_stats

ROOT = Path(__file__).parents[3]
RAISED = {
    name for name, found in vars(error_classes).items() if inspect.isclass(found) and issubclass(found, RequestError)
}


# --- In the code


def test_no_error_for_people_is_made_with_a_text_that_has_one_language() -> None:
    """A message is `Said(…)`, or a name that nothing else is given to."""
    found, bare = 0, []
    for path in sorted((ROOT / "dashboard").rglob("*.py")):
        tree = ast.parse(path.read_text())
        said = _names_of_words(tree)
        for message in _messages(tree):
            found += 1
            if not (_is_said(message) or (isinstance(message, ast.Name) and message.id in said)):
                bare.append(f"{path.relative_to(ROOT)}:{message.lineno}: {ast.unparse(message)}")
    assert bare == []
    assert found > 60


def _messages(tree: ast.AST) -> Iterator[ast.expr]:
    """What errors of ours are made with, also those that a class of the dashboard's own makes of one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and RAISED & {ast.unparse(base) for base in node.bases}:
            inner = (each for each in ast.walk(node) if isinstance(each, ast.Call))
            yield from (call.args[0] for call in inner if ast.unparse(call.func) == "super().__init__")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in RAISED:
            yield from node.args[:1]


def _names_of_words(tree: ast.AST) -> set[str]:
    """Names of this module that are given `Said(…)` and nothing else, and parameters that must be one."""
    given: dict[str, set[bool]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    given.setdefault(target.id, set()).add(_is_said(node.value))
        elif isinstance(node, ast.arg) and node.annotation is not None:
            given.setdefault(node.arg, set()).add(ast.unparse(node.annotation) == "Said")
    return {name for name, all_said in given.items() if all_said == {True}}


def _is_said(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "Said"


def test_what_is_named_by_others_has_words() -> None:
    known = all_words("en")
    deeds = [(ROOT / "service" / path).read_text() for path in ("order_deeds.py", "orders/taker.py")]
    sentences = [
        *re.findall(r'said=(?:"|.* else ")(\w+)"', "".join(deeds)),
        "secrets_changed",
        "bad_request",
        "pool_keeps_none",
        "no_agent",
    ]
    assert len(sentences) > 12
    wanted = {f"orders.{name}" for name in sentences} | {f"audit.problem_{each.value}" for each in ChainProblem}
    assert wanted - known.keys() == set()


# --- On every way


Ask = Callable[[dict[str, str]], TestResponse]
_VARIES = re.compile(r"[0-9a-f]{32}|[0-9]+")  # a request's id, and how long to wait


def message_of(answer: TestResponse) -> str:
    """What a page's script shows, or what the page says."""
    if answer.is_json:
        return str(answer.json["error"]["message"])
    if answer.mimetype == "text/plain":
        return answer.text
    (text,) = re.findall(r'<div class="problem bad">.*?<strong>(.*?)</strong>', answer.text, re.DOTALL)
    return str(text)


def told_in_one_language(ways: Mapping[str, Ask], *, statuses: Collection[int] = range(400, 500)) -> list[str]:
    """Walk each way as an English and as a Spanish reader; the result are those that tell both the same."""
    wrong = []
    for name, ask in ways.items():
        english, spanish = (ask({"Accept-Language": language}) for language in ("en", "es"))
        assert english.status_code == spanish.status_code, name
        assert spanish.status_code in statuses, (name, spanish.status_code)
        told = [_VARIES.sub("", message_of(answer)) for answer in (english, spanish)]
        if told[0] == told[1] or not all(told) or any(re.fullmatch(r"[a-z_.]+", text) for text in told):
            wrong.append(f"{name}: {told}")
    return wrong


def posting(client: Client, path: str, body: Any = None) -> Ask:
    return lambda headers: client.post(path, body, headers=headers)


def getting(client: Client, path: str) -> Ask:
    return lambda headers: client.get(path, headers=headers)


def test_fields_that_are_wrong(dashboard: Dashboard) -> None:
    admin = dashboard.client()
    keep(dashboard.parts.database, "talk_1")
    dashboard.report(pools=(pool_stats("speech"),))
    dashboard.user(AdminRole.OPERATOR)
    other = f"/api/users/{dashboard.user(AdminRole.VIEWER).id}"
    wrong = {
        "/api/keys": [
            {"name": ""}, {"name": "x", "expiry": 1}, {"name": "x", "expiry": "date"}, {"name": "x", "speech": 1},
            {"name": "x", "speech": False, "conversation": False}, {"name": "x", "max_concurrent": 0},
        ],
        "/api/users": [
            {"name": "\t"}, {"name": "x", "role": "king"}, {"name": "viewer", "role": "viewer"},
            *({"name": "x", "role": "viewer", "password": each} for each in (1, "short", "x" * 129, "a\tb" * 9)),
            {"name": "x", "role": "viewer", "password": "password1234"},
        ],
        other: [{"enabled": 1}],
        "/api/account/password": [{}, {"current": PASSWORD, "password": 7}, {"current": PASSWORD, "password": "kurz"}],
        "/api/pool/orders": [
            {}, {"action": "drain"}, {"action": "drain", "pool": "speech", "target": "x"},
            {"action": "drain", "pool": "speech"}, {"action": "resize", "pool": "speech", "reason": "why not"},
        ],
        "/api/fallback/conversation": [
            {}, {"mode": "auto"}, {"mode": "auto", "reason": "over"},
            {"mode": "disabled", "reason": "now", "version": 0},
        ],
        "/api/fallback/canary": [{}, {"capability": "speech", "provider": "nobody"}],
        "/api/conversations/talk_1/end": [{}, {"reason": "it is over"}],
        "/api/conversations/talk_1/erase": [{}],
        "/api/conversations/erase-user": [{}, {"user_id": "ana"}],
    }  # fmt: skip
    ways = {f"{path} {body}": posting(admin, path, body) for path, bodies in wrong.items() for body in bodies}
    for query in ("audit?limit=x", "audit?since=x", f"audit?actor={'x' * 201}", "audit?cursor=x",
                  "conversations?since=x", "conversations?limit=x", f"conversations?user={'x' * 257}",
                  "conversations?cursor=x", "conversations/talk_1/export?format=x"):  # fmt: skip
        ways[query] = getting(admin, f"/api/{query}")
    ways["the page of conversations"] = getting(admin, "/conversations?since=x")
    assert told_in_one_language(ways) == []
    assert "Un momento se escribe" in admin.get("/audit?since=x", headers={"Accept-Language": "es"}).text


def test_what_libraries_raise_and_what_is_our_own_fault(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = (400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 501, 503)
    paths = {f"{way}/raises/{status}": status for way in ("", "/api") for status in statuses} | {"/breaks": 0}
    for path, status in paths.items():
        view = (lambda status=status: abort(status)) if status else lambda: {}["nothing"]
        dashboard.app.add_url_rule(path, path.replace("/", " "), view)
        monkeypatch.setitem(ROUTES, ("GET", path), Permission.LOOK)
    admin = dashboard.client()
    ways = {path: getting(admin, path) for path in paths}
    assert told_in_one_language(ways, statuses=range(400, 600)) == []


def test_what_is_not_there_not_allowed_or_not_as_it_was(dashboard: Dashboard) -> None:
    admin, viewer, operator = (
        dashboard.client(),
        dashboard.client(AdminRole.VIEWER),
        dashboard.client(AdminRole.OPERATOR),
    )
    unsure, nobody = dashboard.client(confirmed=False), dashboard.client(None)
    keep(dashboard.parts.database, "talk_2")
    revoked, _ = dashboard.parts.api_keys.create("shop")
    dashboard.parts.api_keys.revoke(revoked.id)
    dashboard.report(chains={"conversation": ("elevenlabs",), "speech": ("elevenlabs",)})
    ordered = {"mode": "forced_primary", "reason": "a drill", "seconds": 900, "version": 0}
    assert admin.post("/api/fallback/speech", ordered).status_code == 200
    paths = ("/api/nowhere", "/nowhere", "/api/orders/x", "/conversations/x", "/api/conversations/x",
             "/api/fallback/x/preview", "/api/fallback/canary/x")  # fmt: skip
    ways = {path: getting(admin, path) for path in paths} | {
        "a key": posting(admin, "/api/keys/x/revoke"), "a key's limits": posting(admin, "/api/keys/x/limits"),
        "an ended key": posting(admin, f"/api/keys/{revoked.id}/limits"),
        "a session": posting(admin, "/api/account/sessions/x/revoke"), "a user": posting(admin, "/api/users/x"),
        "oneself": posting(admin, f"/api/users/{admin.user.id}", {"enabled": False}),
        "a talk's erasure": posting(admin, "/api/conversations/nobody/erase", {"confirmation": "nobody"}),
        "not so fast": posting(admin, "/api/fallback/speech", {**ordered, "mode": "auto"}),
        "nobody behind": posting(admin, "/api/fallback/conversation", {**ordered, "mode": "forced_fallback"}),
        "until further notice": posting(operator, "/api/fallback/conversation", {**ordered, "seconds": None}),
        "a talk that is over": posting(operator, "/api/conversations/talk_2/end", {"reason": "it is over"}),
        "not confirmed": posting(unsure, "/api/keys", {"name": "x"}),
        "another method": posting(admin, "/api/overview"), "another role": getting(viewer, "/users"),
        "another role's API": getting(viewer, "/api/users"), "words": getting(viewer, "/conversations?text=x"),
        "another origin": lambda headers: admin.post("/api/keys", headers={"Origin": "https://evil.org", **headers}),
        "no token": lambda headers: admin.post("/api/keys", headers={"X-CSRF-Token": "x", **headers}),
        "no session": lambda headers: nobody.get("/api/users", headers=headers, base_url=OWN_NAME),
        "another name": lambda headers: nobody.get("/login", headers=headers, base_url="http://evil.example"),
        "the same for a script": lambda headers: nobody.get("/api/pool", headers=headers, base_url="http://evil.org"),
        "no provider": lambda headers: nobody.get("/login/oidc", headers=headers, base_url=OWN_NAME),
        "no JSON": lambda headers: admin.flask.post(
            "/api/keys", data="x", base_url=OWN_NAME, headers={"X-CSRF-Token": admin.csrf_token, **headers}),
        "too much": posting(admin, "/api/keys", {"name": "x" * 70_000}), "no object": posting(admin, "/api/keys", [1]),
    }  # fmt: skip
    assert told_in_one_language(ways) == []


def test_a_spanish_viewer_signs_in_wrongly_too_often_and_too_late(dashboard: Dashboard) -> None:
    dashboard.user(AdminRole.VIEWER)
    by_form, by_script = dashboard.client(None), dashboard.client(None)

    def with_form(headers: dict[str, str], password: str = "wrong", *, stale: bool = False) -> TestResponse:
        page = by_form.get("/login", base_url=OWN_NAME).text
        token = "" if stale else re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
        form = {"name": "viewer", "password": password, "csrf_token": token}
        return by_form.post("/login", data=form, base_url=OWN_NAME, headers=headers)

    def with_script(headers: dict[str, str]) -> TestResponse:
        body, ours = {"name": "viewer", "password": "wrong"}, {"X-Requested-By": "dashboard"}
        return by_script.post("/login", json=body, base_url=OWN_NAME, headers={**ours, **headers})

    stale = {"a stale form": lambda headers: with_form(headers, stale=True)}
    assert told_in_one_language({"a wrong form": with_form, **stale}, statuses=(400, 401)) == []
    assert with_script({}).status_code == 401
    assert told_in_one_language({"a form too many": with_form, "a script too many": with_script}, statuses=[429]) == []
    assert "Demasiados intentos. Espere" in with_form({"Accept-Language": "es"}, PASSWORD).text
    viewer = dashboard.client(AdminRole.VIEWER)
    dashboard.parts.sessions.revoke(viewer.session_id, viewer.user.id)
    assert told_in_one_language({"an ended session": getting(viewer, "/api/pool")}, statuses=[401]) == []
    dashboard.parts.passwords._taken = 10**6
    for way in (with_form, with_script):
        dashboard.store.flushdb()
        assert told_in_one_language({"many at once": way}, statuses=[503]) == []


def test_what_is_gone(dashboard: Dashboard, open_dashboard_with: Any) -> None:
    admin = dashboard.client()
    assert admin.get("/pool").status_code == 200
    dashboard.store.set(MAINTENANCE_KEY, b'{"reason": "x", "by": "x", "since": 1}')
    wait_until(lambda: dashboard.parts.watch.snapshot().maintenance is not None, 5.0, "the maintenance is seen")
    ways = {"maintenance": posting(admin, "/api/conversations/erase-user", {"user_id": "x", "confirmation": "x"})}
    assert told_in_one_language(ways, statuses=[503]) == []
    take_the_database_away(dashboard)
    ways = {
        "the database": posting(admin, "/api/keys", {"name": "x"}), "its page": getting(admin, "/api/keys"),
        "a conversation": getting(admin, "/api/audit"),
        "an order": posting(admin, "/api/fallback/conversation", {"mode": "auto", "reason": "over", "version": 0}),
    }  # fmt: skip
    assert told_in_one_language(ways, statuses=[503]) == []
    dashboard.lose_redis()
    ways = {
        "Redis": posting(admin, "/api/keys", {"name": "x"}),
        "an order's end": getting(admin, f"/api/orders/{'0' * 16}"),
    }
    assert told_in_one_language(ways, statuses=[503]) == []
    full = open_dashboard_with(dashboard_streams=0).client()
    assert told_in_one_language({"streams": getting(full, "/api/live")}, statuses=[503]) == []


def test_what_workers_answer_and_what_the_chain_tells_is_in_the_readers_language(dashboard: Dashboard) -> None:
    admin = dashboard.client()
    order = dashboard.parts.orders.give(OrderKind.POOL_RESIZE, author="admin")
    details = {"min_idle": 2, "max_size": 9, "before": {}}
    answers = [
        OrderAnswer("node-1/11", True, "Pool speech: 2 to 9.", 1.0, details, "pool_resized"),
        OrderAnswer("node-1/12", False, "An old worker says this.", 1.0),
        OrderAnswer("node-1/13", False, "A strange one, too.", 1.0, {}, "no_such_sentence"),
    ]
    for answer in answers:
        dashboard.store.hset(answers_key(order.id), answer.worker, answer.as_json())
    told = admin.get(f"/api/orders/{order.id}", headers={"Accept-Language": "es"}).json["answers"]
    assert [each["text"] for each in told] == [
        "De 2 a 9 conexiones, hasta que termine este proceso.", "An old worker says this.", "A strange one, too."
    ]  # fmt: skip
    dashboard.parts.audit.append(actor="a", action="b", subject="c")
    with dashboard.parts.database.writing() as session:
        for trigger in session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            session.execute(text(f"DROP TRIGGER {trigger}"))
        session.execute(text("UPDATE audit_entries SET subject = 'd'"))
    broken = admin.get("/api/audit/verify", headers={"Accept-Language": "es"}).json
    assert broken["problem_kind"] == "changed"
    assert broken["problem"].startswith("la entrada fue cambiada")
