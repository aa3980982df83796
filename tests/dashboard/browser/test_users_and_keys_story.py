"""An admin makes a user and a key in a real browser: each secret is seen once, limits change by keyboard."""

from __future__ import annotations

from playwright.sync_api import expect

from service.storage import ApiKeyLimits, ApiScope
from tests.dashboard.browser.conftest import DashboardPage, RunningDashboard, ready


def test_what_an_admin_makes_is_shown_once_and_a_revoked_key_is_among_those_that_ended(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    parts = running_dashboard.behind.parts
    page = dashboard_page("admin", "/users")
    page.get_by_test_id("new-user-open").click()
    page.get_by_test_id("new-name").fill("marta")
    page.get_by_test_id("new-submit").click()
    expect(page.get_by_test_id("shown-value")).not_to_have_value("")
    password = page.get_by_test_id("shown-value").input_value()
    user = parts.users.find("marta")
    assert user is not None
    assert parts.passwords.matches(user.password_hash, password)
    page.get_by_test_id("shown-done").click()
    expect(page.get_by_test_id("user-marta")).to_contain_text("Viewer")
    assert password not in page.content()

    page = dashboard_page("admin", "/keys")
    page.get_by_test_id("new-key-open").click()
    page.get_by_test_id("key-name").fill("an integrator")
    page.get_by_test_id("key-conversation").uncheck()
    page.get_by_test_id("key-concurrent").fill("3")
    page.get_by_test_id("key-characters").fill("5000")
    page.get_by_test_id("key-submit").click()
    expect(page.get_by_test_id("shown-value")).not_to_have_value("")
    key = page.get_by_test_id("shown-value").input_value()
    made = parts.api_keys.verify(key)
    assert made is not None
    assert made.limits == ApiKeyLimits(frozenset({ApiScope.SPEECH}), 3, 5000)
    page.get_by_test_id("shown-done").click()
    row = page.get_by_test_id(f"key-{made.id}")
    expect(row).to_contain_text("good until")
    expect(row.get_by_test_id("scopes")).to_have_text("speech")
    expect(row.get_by_test_id("limits")).to_contain_text("3 at the same time")
    expect(row.get_by_test_id("limits")).to_contain_text("0 of 5,000 characters today (UTC)")
    ready(page)
    assert key not in page.content()

    page.set_viewport_size({"width": 375, "height": 740})
    row.get_by_test_id("limits-open").press("Enter")
    dialog = page.get_by_test_id(f"limits-{made.id}")
    places = dialog.get_by_label("At the same time")
    expect(places).to_have_value("3")
    expect(dialog.get_by_label("conversations")).not_to_be_checked()
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert dialog.evaluate("(each) => each.scrollWidth <= each.clientWidth")
    places.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    dialog.get_by_label("conversations").press("Space")
    dialog.get_by_label("Characters a day").press("ControlOrMeta+a")
    page.keyboard.type("7000")
    page.keyboard.press("Enter")
    expect(row.get_by_test_id("limits")).to_have_text("0 of 7,000 characters today (UTC)")
    expect(row.get_by_test_id("scopes")).to_have_text("conversations, speech")
    expect(page.get_by_test_id("notices")).to_contain_text("The limits were changed")
    assert parts.api_keys.list_all()[-1].limits == ApiKeyLimits(characters_per_day=7000)
    ready(page)
    page.set_viewport_size({"width": 1280, "height": 740})
    row.get_by_test_id("revoke").click()
    page.get_by_test_id("confirm-yes").click()
    expect(page.locator("#ended-table").get_by_test_id(f"key-{made.id}")).to_contain_text("revoked")
    expect(page.get_by_test_id("notices")).to_contain_text("The key is revoked")
