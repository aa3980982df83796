"""Pages that freshen themselves: what changes, what stays, and what is said when nothing comes any more."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from service.pool_reports import INDEX_KEY
from service.storage import AdminRole
from tests.dashboard.browser.conftest import DashboardPage, RunningDashboard, ready
from tests.dashboard.browser.scene import report_all
from tests.dashboard.dashboards import PASSWORD


def live_mark(page: Page, state: str) -> None:
    expect(page.get_by_test_id("live-mark")).to_have_attribute("data-state", state)


def test_an_outage_is_seen_to_end_without_a_hand_on_the_page(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    report_all(running_dashboard.behind)
    page = dashboard_page("viewer", viewport={"width": 1280, "height": 800})
    live_mark(page, "live")
    providers = page.locator("#providers")
    expect(providers).to_contain_text("system_busy")
    link = page.locator("#secrets a").first  # within what is freshened
    link.focus()
    report_all(running_dashboard.behind, outage=False)
    expect(providers).not_to_contain_text("system_busy")
    expect(link).to_be_focused()
    report_all(running_dashboard.behind)
    expect(providers).to_contain_text("system_busy")


def test_what_was_opened_is_open_when_its_workers_come_back(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    page = dashboard_page("viewer", "/pool")
    page.locator("#pool-workers-1 > summary").press("Enter")
    expect(page.locator("#pool-workers-1 table")).to_be_visible()
    running_dashboard.behind.store.delete(INDEX_KEY)
    expect(page.locator("#no-pools")).to_be_visible()
    report_all(running_dashboard.behind)
    expect(page.locator("#pool-workers-1 table")).to_be_visible()
    expect(page.locator("#pool-rest-1 table")).to_be_hidden()


def test_a_time_is_the_viewers_own_and_has_the_exact_utc_behind_it(dashboard_page: DashboardPage) -> None:
    page = dashboard_page(path="/conversations/talk_03", timezone_id="Pacific/Kiritimati")
    moment = page.locator('main time[data-moment="full"]').first
    utc = moment.get_attribute("title") or ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", utc)
    hour = (int(utc[11:13]) + 14) % 24  # fourteen hours ahead of it
    expect(moment).to_contain_text(f"{hour:02}:{utc[14:16]}")


def test_a_dashboard_that_does_not_answer_leaves_a_page_that_says_it_is_old(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    page = dashboard_page("operator")
    live_mark(page, "live")
    page.context.set_offline(True)  # what is open stays open: only what is asked anew finds nobody
    page.route("**/*", lambda route: route.abort())
    live_mark(page, "stale")
    expect(page.locator("#announcer")).to_contain_text("may be old")
    page.unroute("**/*")
    page.context.set_offline(False)
    live_mark(page, "live")
    expect(page.locator("#announcer")).to_contain_text("live again")


def test_a_session_that_ends_while_somebody_types_loses_nothing(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    parts = running_dashboard.behind.parts
    page = dashboard_page("operator", "/fallback")
    # By these the page would know before the click: what it hears, and what it looks for when it hears nothing.
    page.route("**/api/live", lambda route: route.abort())
    page.route(
        "**/fallback", lambda route: route.abort() if "x-fragment" in route.request.headers else route.continue_()
    )
    page.reload()
    ready(page)
    page.get_by_test_id("switch-conversation").locator("> summary").click()
    page.get_by_test_id("mode-conversation-forced_fallback").check()
    reason = page.get_by_test_id("reason-conversation")
    reason.fill("ElevenLabs is slow today")
    parts.sessions.revoke_all(running_dashboard.behind.user(AdminRole.OPERATOR).id)
    page.get_by_test_id("order-submit-conversation").click()
    again = page.get_by_test_id("sign-in-again")
    page.get_by_test_id("again-password").fill("not the password")
    page.get_by_test_id("again-submit").click()
    expect(again).to_contain_text("not right")
    page.unroute("**/api/live")
    page.unroute("**/fallback")
    page.get_by_test_id("again-password").fill(PASSWORD)
    page.get_by_test_id("again-submit").click()
    expect(again).to_be_hidden()
    page.get_by_test_id("confirm-yes").click()
    expect(page.get_by_test_id("notice-good")).to_be_visible()
    expect(page.locator("#standing-conversation")).to_contain_text("ElevenLabs is slow today")
    live_mark(page, "live")
