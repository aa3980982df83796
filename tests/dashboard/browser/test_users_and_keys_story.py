"""An admin makes a user and a key in a real browser: each secret is seen once, and the list shows what became of it."""

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
    row.get_by_test_id("revoke").click()
    page.get_by_test_id("confirm-yes").click()
    expect(page.locator("#ended-table").get_by_test_id(f"key-{made.id}")).to_contain_text("revoked")
    expect(page.get_by_test_id("notices")).to_contain_text("The key is revoked")
