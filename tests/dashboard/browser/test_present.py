"""The pages of the present in a browser: the charts of the last hour, and a pool that is resized by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from service.metrics_platform import OrderKind
from service.orders.taker import Deed, Done, OrderTaker
from tests.dashboard.browser.conftest import DashboardPage, RunningDashboard


@pytest.fixture
def obedient_workers(running_dashboard: RunningDashboard) -> Iterator[None]:
    """The scene's workers, which take orders now."""
    behind = running_dashboard.behind
    deeds = {OrderKind.POOL_RESIZE: Deed(lambda order: Done(f"{order.arguments['max_size']} connections"))}
    names = [f"{report.node}/{report.worker}" for report in behind.parts.watch.snapshot().workers]
    takers = [OrderTaker(behind.store, worker=name, deeds=deeds) for name in names]
    for taker in takers:
        taker.start()
    yield
    for taker in takers:
        taker.close()


@pytest.mark.usefixtures("obedient_workers")
def test_a_pool_is_resized_with_a_reason_and_who_has_done_it_is_said(dashboard_page: DashboardPage) -> None:
    page = dashboard_page("operator", "/pool")
    page.locator("#pool-workers-1 > summary").press("Enter")
    expect(page.locator("#pool-workers-1 table")).to_be_visible()
    page.get_by_test_id("open-resize").click()
    largest = page.get_by_test_id("resize-max-size")
    expect(largest).not_to_have_value("1")  # the bounds that the pool has
    largest.fill("60000")
    page.get_by_test_id("resize-reason").fill("a launch")
    page.get_by_test_id("resize-submit").click()
    expect(page.get_by_test_id("pool-resize")).to_be_visible()  # the browser itself refuses it
    largest.fill("30")
    page.get_by_test_id("resize-min-idle").fill("31")
    page.get_by_test_id("resize-submit").click()
    expect(page.locator('[data-error-for="min_idle"]:visible')).to_contain_text("from 0 to 30")
    expect(page.get_by_test_id("resize-reason")).to_have_value("a launch")
    page.get_by_test_id("resize-min-idle").fill("2")
    page.get_by_test_id("resize-submit").click()
    expect(page.locator("#order-summary")).to_have_text("All 4 workers have done it.")
    expect(page.locator("#order-answers li")).to_have_count(4)
    expect(page.locator("#order-answers")).to_contain_text("30 connections")
    expect(page.locator("#pool-workers-1 table")).to_be_visible()  # what was opened stays, though all was freshened


def test_the_pools_last_hour_is_drawn_and_stands_in_a_table_too(dashboard_page: DashboardPage) -> None:
    page = dashboard_page("viewer", "/pool")
    for pool in ("agents", "speech"):
        for name in ("lent", "wait", "refused"):
            expect(page.locator(f"#chart-{pool}-{name} canvas")).to_be_visible()
    page.locator("#chart-agents-wait .u-over").hover()
    expect(page.locator("#chart-agents-wait .u-legend")).to_contain_text(" s")
    page.locator("#hour summary").click()
    expect(page.locator("#hour-table tbody tr")).to_have_count(12)


def test_the_last_hour_is_drawn_and_stands_in_words_beside_it(dashboard_page: DashboardPage) -> None:
    page = dashboard_page("viewer", "/")
    for name in ("first-audio", "errors", "failovers"):
        expect(page.locator(f"#chart-{name} canvas")).to_be_visible()
    page.locator("#chart-first-audio .u-over").hover()
    expect(page.locator("#chart-first-audio .u-legend")).to_contain_text(" s")
    expect(page.locator("#hour-words")).to_contain_text("conversations began")
    page.locator("#hour summary").click()
    expect(page.locator("#hour-table tbody tr")).to_have_count(12)
