"""What every answer tells the browser, and what it never says."""

from __future__ import annotations

import re

from werkzeug.datastructures import Headers

from service import __version__
from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.dashboards import Dashboard

PATHS = ["/login", "/", "/livez", "/static/dashboard.css", "/static/nothing", "/nothing", "/api/account"]


def test_every_answer_has_its_headers(dashboard: Dashboard) -> None:
    browser = dashboard.client(None)
    for path in PATHS:
        check(browser.get(path, buffered=True).headers, is_file=path == "/static/dashboard.css")


def check(headers: Headers, *, is_file: bool) -> None:
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["X-Request-ID"]
    assert "Strict-Transport-Security" not in headers
    assert (headers["Cache-Control"] == "no-store") is not is_file


def test_each_page_has_a_nonce_of_its_own_and_every_script_bears_it(dashboard: Dashboard) -> None:
    client = dashboard.client()
    nonces = set()
    for _ in range(2):
        answer = client.get("/account")
        [nonce] = re.findall(r"script-src 'nonce-([\w-]{20,})'", answer.headers["Content-Security-Policy"])
        scripts = [tag for tag in re.findall(r"<script[^>]*>", answer.text) if "application/json" not in tag]
        assert scripts
        assert all(f'nonce="{nonce}"' in tag for tag in scripts)
        assert " onclick=" not in answer.text
        assert " style=" not in answer.text
        nonces.add(nonce)
    assert len(nonces) == 2


def test_nobody_is_told_the_version_before_signing_in(dashboard: Dashboard) -> None:
    browser = dashboard.client(None)
    for path in PATHS:
        answer = browser.get(path, buffered=True)
        assert __version__ not in answer.text
        assert __version__ not in str(answer.headers)


def test_cookies_are_for_us_alone(dashboard: Dashboard, open_dashboard_with: OpenDashboard) -> None:
    plain = dashboard.client(None).get("/login").headers["Set-Cookie"]
    assert plain.startswith("vocero_login=")
    for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in plain
    assert "Domain" not in plain
    behind_https = open_dashboard_with(dashboard_url="https://admin.example")
    secure = behind_https.client(None).get("/login", base_url="https://admin.example").headers["Set-Cookie"]
    assert secure.startswith("__Host-vocero-login=")
    for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in secure


def test_a_request_larger_than_any_of_ours_is_refused(dashboard: Dashboard) -> None:
    answer = dashboard.client().post("/api/keys", {"name": "x" * 70_000})
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "request_too_large")


def test_what_is_no_json_object_is_refused_in_words(dashboard: Dashboard) -> None:
    client = dashboard.client()
    headers = {"X-CSRF-Token": client.csrf_token, "Content-Type": "application/json"}
    for body in ("", "{", "[1]", '"x"', "null", "NaN"):
        answer = client.flask.post("/api/keys", data=body, headers=headers)
        assert (answer.status_code, answer.json["error"]["code"]) == (400, "not_json")


def test_a_script_is_told_in_the_readers_language_what_a_page_will_show(dashboard: Dashboard) -> None:
    answer = dashboard.client(None).get("/api/account", headers={"Accept-Language": "es"})
    assert answer.json["error"]["message"].startswith("Su sesión ha terminado")


def test_a_page_that_is_not_there_says_so_in_the_readers_language(dashboard: Dashboard) -> None:
    answer = dashboard.client().get("/nothing", headers={"Accept-Language": "es"})
    assert answer.status_code == 404
    assert "No existe esa página" in answer.text
    assert dashboard.client().get("/api/nothing").json["error"]["code"] == "not_found"


def test_what_goes_wrong_inside_is_not_shown(dashboard: Dashboard) -> None:
    def fail(**_: object) -> str:
        raise ZeroDivisionError("what is inside")

    dashboard.app.view_functions["account.show"] = fail
    answer = dashboard.client().get("/account")
    assert answer.status_code == 500
    assert "what is inside" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.text
