"""The guard: every route against the table of permissions, for everybody; and what no page of another origin can do."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Rule

from dashboard.access.permissions import GRANTED, ROUTES, Permission
from service.storage import AdminRole
from tests.dashboard.dashboards import Dashboard

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ROLES = (None, *AdminRole)
LET_IN = 418


def rules_of(dashboard: Dashboard) -> list[Rule]:
    return list(dashboard.app.url_map.iter_rules())


def example(rule: str) -> str:
    return re.sub(r"<[^>]+>", "no-such-thing", rule)


def needed_for(dashboard: Dashboard, method: str, path: str) -> Permission | None:
    """What the table says; None: it has no such row, or there is no such route."""
    asked = "GET" if method == "HEAD" else method
    try:
        rule, _ = dashboard.app.url_map.bind("localhost").match(path, method=asked, return_rule=True)
    except MethodNotAllowed:
        return None
    return ROUTES.get((asked, rule.rule))


def asking_as(dashboard: Dashboard, role: AdminRole | None) -> Callable[[str, str], int]:
    """Ask with a method for a path, and give the status of the answer."""
    client = dashboard.client(role)
    # A page that brings itself up to date is answered in JSON, and with 401 where a person is sent to sign in.
    headers = {"X-Fragment": "live"}
    if role is None:
        return lambda method, path: client.open(path, method=method, headers=headers).status_code
    headers["X-CSRF-Token"] = client.csrf_token
    return lambda method, path: client.flask.open(path, method=method, headers=headers).status_code


def test_every_route_is_in_the_table_and_every_row_of_the_table_is_a_route(dashboard: Dashboard) -> None:
    made = {
        (method, rule.rule) for rule in rules_of(dashboard) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert made == set(ROUTES)


@pytest.mark.parametrize("role", ROLES, ids=str)
def test_who_may_not_is_refused_and_who_may_is_let_in_on_every_route_and_method(
    dashboard: Dashboard, role: AdminRole | None
) -> None:
    for endpoint in dashboard.app.view_functions:  # what a page makes of the request is not asked here
        dashboard.app.view_functions[endpoint] = lambda **_: ("", LET_IN)
    granted = {Permission.PUBLIC} if role is None else GRANTED[role]
    refused = 403 if role is not None else 401
    ask = asking_as(dashboard, role)
    wrong = []
    for method, rule in itertools.product(METHODS, sorted({rule.rule for rule in rules_of(dashboard)})):
        needed = needed_for(dashboard, method, example(rule))
        status = ask(method, example(rule))
        expected = {403, 405} if needed is None else {LET_IN} if needed in granted else {refused}
        if status not in expected:
            wrong.append((method, rule, needed, status))
    assert wrong == []


def test_a_route_that_somebody_forgot_in_the_table_is_refused_to_admins_too(dashboard: Dashboard) -> None:
    dashboard.app.add_url_rule("/forgotten", view_func=lambda: "what nobody may see")
    answer = dashboard.client().get("/forgotten")
    assert answer.status_code == 403
    assert "what nobody may see" not in answer.text


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "https://localhost"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
]


def test_a_change_from_another_origin_is_refused_even_with_the_right_token(dashboard: Dashboard) -> None:
    client = dashboard.client()
    for headers in FOREIGN:
        answer = client.post("/api/account/sessions/revoke-all", headers=headers)
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "foreign_origin"), headers


def test_a_change_without_the_sessions_token_is_refused(dashboard: Dashboard) -> None:
    client = dashboard.client()
    for token in ("", "x", "ñ" * 40, client.session_id):
        headers = {"X-CSRF-Token": token.encode().decode("latin-1"), "Origin": "http://localhost"}
        answer = client.flask.post("/api/account/sessions/revoke-all", json={}, headers=headers)
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "wrong_csrf_token"), token


def test_another_sessions_token_is_refused(dashboard: Dashboard) -> None:
    one, other = dashboard.client(), dashboard.client()
    answer = one.post("/api/account/sessions/revoke-all", headers={"X-CSRF-Token": other.csrf_token})
    assert answer.status_code == 403


def test_our_own_page_may_change_something(dashboard: Dashboard) -> None:
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    answer = dashboard.client().post("/api/account/sessions/revoke-all", headers=headers)
    assert answer.status_code == 200


def test_behind_a_proxy_the_address_that_browsers_use_is_ours(open_dashboard_with: Any) -> None:
    dashboard = open_dashboard_with(dashboard_url="https://admin.example:8443", dashboard_trusted_proxies=1)
    client = dashboard.client()
    given = {"Origin": "https://admin.example:8443", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/account/sessions/revoke-all", headers=given).status_code == 200
    answer = client.get("/api/account")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    given = {"Origin": "https://evil.example"}
    assert client.post("/api/account/sessions/revoke-all", headers=given).status_code == 403
