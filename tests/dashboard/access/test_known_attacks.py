"""What has broken other consoles, tried on this one: by kind, with the console in which it was found.

Those on the way by a provider of OpenID Connect are in `tests/dashboard/oidc`: a pattern that fits other names too
(Flower), and tokens that nobody checked (LiteLLM).
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest

from dashboard.access.next_page import next_page
from service import redis_keys
from service.storage import AuditFilter
from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.dashboards import PASSWORD, Dashboard

ELSEWHERE = [
    "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "https:evil.example",
    "///evil.example", "/%2f%2fevil.example", "/%5cevil.example", "%2f%2fevil.example", "/\t/evil.example",
    "/\n/evil.example", "javascript:alert(1)", "/javascript:alert(1)//", "data:text/html,x", "/pool//evil.example",
    "/.//evil.example", "/@evil.example", "/pool\r\nSet-Cookie: a=b", '/"><script>', "/pool?x=<b>", "pool", "",
    "/login?next=/login", "/" + "a" * 600, "/ pool", "/\u2028", "/pool#@evil.example",
]  # fmt: skip


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_an_open_redirect_after_signing_in_leads_to_our_overview(wanted: str) -> None:
    """Grafana: an address in `next` led to another host, or ran as a script."""
    assert next_page(wanted) == "/"


@pytest.mark.parametrize(
    "wanted",
    ["/", "/pool", "/conversations/conv_01-x.y?text=hola%20se%C3%B1or&limit=5", "/audit?since=2026-01-01T00:00"],
)
def test_an_address_of_ours_is_kept_after_signing_in(wanted: str) -> None:
    assert next_page(wanted) == wanted


def test_what_an_address_smuggles_in_is_in_no_answer(dashboard: Dashboard) -> None:
    dashboard.user()
    browser = dashboard.client(None)
    marker = '"><script>alert(1)</script>'
    page = browser.get(f"/login?next={quote('/' + marker)}")
    assert "<script>alert" not in page.text
    cookie = browser.get_cookie("vocero_login")
    assert cookie is not None
    form = {"name": marker, "password": "wrong", "csrf_token": cookie.value, "next": "//evil.example"}
    refused = browser.post("/login", data=form)
    assert "<script>alert" not in refused.text
    cookie = browser.get_cookie("vocero_login")
    assert cookie is not None
    form = {"name": "admin", "password": PASSWORD, "csrf_token": cookie.value, "next": "//evil.example"}
    assert browser.post("/login", data=form).location == "/"


OUT_OF_THE_FOLDER = [
    "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2e%2e%2fapp.py",
    "/static/js/../../app.py", "/static/..%5capp.py", "/static/....//app.py", "/static//app.py",
    "/static/%252e%252e/app.py", "/static/..;/app.py", "/static/" + "../" * 12 + "etc/passwd",
    "/static/%2fetc%2fpasswd", "/static/%00", "/static/../../setup.cfg",
]  # fmt: skip


def test_static_files_lead_nowhere_else(dashboard: Dashboard) -> None:
    """Grafana: `/public/plugins/x/../../../etc/passwd` read any file."""
    nobody = dashboard.client(None)
    for path in OUT_OF_THE_FOLDER:
        answer = nobody.get(path)
        assert answer.status_code in {308, 404}, path
        assert "create_app" not in answer.text
        assert "root:" not in answer.text


def test_a_page_of_another_origin_cannot_have_an_admin_drain_or_end_anything(dashboard: Dashboard) -> None:
    """Flower: a form on any page could shut workers down, because the browser sent the cookie along."""
    dashboard.report()
    client = dashboard.client()
    form = {"kind": "pool.drain", "pool": "agents", "reason": "none"}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        answer = client.flask.post("/api/pool/orders", data=form, headers=headers)
        assert answer.status_code == 403
        answer = client.flask.post("/api/conversations/conv_1/end", data='{"reason":"x"}', headers=headers)
        assert answer.status_code == 403
    assert client.flask.get("/api/pool/orders", query_string=form).status_code == 405
    assert dashboard.store.exists("vocero:orders") == 0


def test_another_name_than_ours_gets_nothing(dashboard: Dashboard) -> None:
    """LiteLLM and others: what the Host header said decided who may do what (and DNS rebinding brings any name)."""
    cookie = dashboard.client().flask.get_cookie("vocero_session")
    assert cookie is not None
    bare = dashboard.app.test_client(use_cookies=False)
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "localhost.evil.example:8002"):
        headers = {"Host": host, "X-Forwarded-Host": "localhost", "Cookie": f"vocero_session={cookie.value}"}
        assert bare.get("/api/account", headers=headers).status_code == 400, host


def test_a_header_that_anybody_can_send_makes_nobody_somebody(dashboard: Dashboard) -> None:
    nobody, client = dashboard.client(None), dashboard.client()
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "X-Remote-User"):
        assert nobody.get("/api/account", headers={header: "127.0.0.1"}).status_code == 401
        client.post("/api/account/sessions/revoke-all", headers={header: "203.0.113.9"})
    assert {entry.address for entry in dashboard.parts.audit.search(AuditFilter()).items} == {"127.0.0.1"}


def test_behind_a_proxy_of_ours_the_last_address_that_it_named_is_written_down(
    open_dashboard_with: OpenDashboard,
) -> None:
    dashboard = open_dashboard_with(dashboard_url="https://admin.example", dashboard_trusted_proxies=1)
    given = {"X-Forwarded-For": "203.0.113.7, 198.51.100.9", "X-Forwarded-Proto": "https"}
    dashboard.client().post("/api/account/sessions/revoke-all", headers=given)
    [entry] = dashboard.parts.audit.search(AuditFilter()).items
    assert entry.address == "198.51.100.9"


NAMES = ["admin' OR '1'='1", "admin'--", 'admin" OR ""="', "admin\x00", "%", "_____", "admin;DROP TABLE admin_users"]


def test_a_name_is_compared_and_never_part_of_a_statement(dashboard: Dashboard) -> None:
    """LiteLLM: a key was put into the SQL that looked it up."""
    dashboard.user()
    nobody = dashboard.client(None)
    for name in NAMES:
        body = {"name": name, "password": "' OR '1'='1"}
        answer = nobody.post("/login", json=body, headers={"X-Requested-By": "dashboard"})
        assert answer.status_code == 401, name
    assert [user.name for user in dashboard.parts.users.list_all()] == ["admin"]


def test_without_any_user_and_any_password_nobody_is_let_in(dashboard: Dashboard) -> None:
    """LiteLLM and others: with nothing configured, everything was open."""
    nobody = dashboard.client(None)
    assert nobody.get("/api/overview").status_code == 401
    for password in ("admin", "", "None"):
        body = {"name": "admin", "password": password}
        assert nobody.post("/login", json=body, headers={"X-Requested-By": "dashboard"}).status_code == 401
    dashboard.parts.users.create("by-oidc", dashboard.user().role)  # without a password
    body = {"name": "by-oidc", "password": "for nobody at all"}
    assert nobody.post("/login", json=body, headers={"X-Requested-By": "dashboard"}).status_code == 401


def test_a_forged_session_is_none(dashboard: Dashboard) -> None:
    """Unverified tokens: what a cookie claims was believed. Ours claims nothing, and has to be known."""
    client = dashboard.client()
    known = client.session_id
    forged = ["", "admin", known, known[:43], "x" * 43, "x" * 5000, "eyJhbGciOiJub25lIn0.eyJ1c2VyIjoiYWRtaW4ifQ.",
              f"of_user:{client.user.id}", f"confirmed:{known}", "*", "\x00", "ñ"]  # fmt: skip
    for value in forged:
        bare = dashboard.app.test_client(use_cookies=False)
        cookie = f"vocero_session={value}".encode().decode("latin-1")
        assert bare.get("/api/account", headers={"Cookie": cookie}).status_code == 401, value
    assert hashlib.sha256(known.encode()).hexdigest() != known
    assert dashboard.store.exists(f"{redis_keys.SESSION.prefix}{known}") == 1
