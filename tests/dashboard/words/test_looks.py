"""What every page has: its language, its theme, its rail by role, and its live parts without a frame."""

from __future__ import annotations

import re

import pytest

from service.storage import AdminRole
from tests.dashboard.dashboards import OWN_NAME, Dashboard


@pytest.mark.parametrize(
    ("wanted", "language"),
    [("es-MX,es;q=0.9", "es"), ("fr,es;q=0.5", "es"), ("fr-CA", "en"), ("en-US,es;q=0.9", "en"), ("", "en")],
)
def test_a_page_speaks_what_the_browser_prefers_of_what_we_speak(
    dashboard: Dashboard, wanted: str, language: str
) -> None:
    page = dashboard.client(None).get("/login", base_url=OWN_NAME, headers={"Accept-Language": wanted})
    assert f'<html lang="{language}"' in page.text


@pytest.mark.parametrize(
    ("wanted", "place"),
    [("/pool?pool=agents", "/pool?pool=agents"), ("//evil.example", "/"), ("/\\evil.example", "/"),
     ("https://evil.example", "/"), ("javascript:alert(1)", "/"), ("", "/")],
)  # fmt: skip
def test_a_language_that_is_chosen_stays_and_leads_back_to_a_page_of_ours(
    dashboard: Dashboard, wanted: str, place: str
) -> None:
    browser = dashboard.client(None)
    answer = browser.post("/language", data={"language": "es", "next": wanted}, base_url=OWN_NAME)
    assert (answer.status_code, answer.location) == (303, place)
    page = browser.get("/login", base_url=OWN_NAME, headers={"Accept-Language": "en"})
    assert '<html lang="es"' in page.text


def test_cookies_that_say_nothing_we_know_are_as_if_they_were_not_there(dashboard: Dashboard) -> None:
    browser = dashboard.client(None)
    browser.set_cookie("vocero_theme", '"><script>')
    browser.set_cookie("vocero_language", "../../etc")
    page = browser.get("/login", base_url=OWN_NAME).text
    assert '<html lang="en" data-theme="auto"' in page


def test_the_rail_leads_only_where_a_role_may_go(dashboard: Dashboard) -> None:
    def led_to(role: AdminRole) -> list[str]:
        return re.findall(r'data-testid="go-(\w+)"', dashboard.client(role).get("/").text)

    common = ["overview", "pool", "fallback", "conversations", "secrets"]
    assert led_to(AdminRole.VIEWER) == [*common, "account"]
    assert led_to(AdminRole.OPERATOR) == [*common, "audit", "account"]
    assert led_to(AdminRole.ADMIN) == [*common, "keys", "users", "audit", "account"]


def test_what_freshens_itself_comes_without_the_frame(dashboard: Dashboard) -> None:
    whole = dashboard.client().get("/pool").text
    parts = dashboard.client().get("/pool", headers={"X-Fragment": "live"}).text
    ids = re.compile(r'id="([\w-]+)"[^>]* data-live=')
    assert ids.findall(parts) == ids.findall(whole) != []
    assert "<nav" in whole
    assert "<nav" not in parts


def test_no_page_has_an_inline_style_or_handler_which_the_policy_would_refuse(dashboard: Dashboard) -> None:
    admin = dashboard.client()
    for path in ("/", "/pool", "/fallback", "/conversations", "/secrets", "/keys", "/users", "/audit", "/account"):
        assert re.findall(r"<[^>]*\s(?:style|on\w+)=[^>]*>", admin.get(path).text) == [], path
