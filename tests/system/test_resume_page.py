"""The network drops while the page speaks: the talk goes on, and nothing is lost or said twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.system.cuttable_proxy import CuttableProxy
from tests.system.pages import answer_about, ask, begin, expect_whole, wait_until_heard


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=60_000)


@pytest.fixture
def line(service) -> Iterator[CuttableProxy]:
    with CuttableProxy(service.port) as proxy:
        yield proxy


def test_a_network_that_drops_in_the_middle_of_an_answer_loses_and_repeats_nothing(line, open_page):
    page = open_page(line.url)
    begin(page)
    line.cut_after(100_000)  # the answer's beginning: its text, and about two seconds of its voice
    answer = ask(page, "What are your opening hours?")
    wait_until_heard(page)
    expect_whole(answer, answer_about("opening-hours"))
    assert line.cuts == 1
    expect_whole(ask(page, "Where is the shop?"), answer_about("address"))
    expect(page.get_by_test_id("turn-user")).to_have_count(2)
    expect(page.get_by_test_id("turn-agent")).to_have_count(3)
    expect(page.get_by_test_id("turn-notice")).to_have_count(0)
    page.get_by_test_id("end").click()
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", "ended")


@pytest.mark.long  # tests/browser shows the same before a stand-in
def test_a_longer_loss_is_shown_and_what_was_written_meanwhile_is_answered(line, open_page):
    page = open_page(line.url)
    begin(page)
    with line.down():
        expect(page.get_by_test_id("outage")).to_be_visible()
        page.get_by_test_id("message").fill("Where is the shop?")
        page.get_by_test_id("message").press("Enter")
        expect(page.get_by_test_id("outage-left")).to_have_text("1:57")
    expect(page.get_by_test_id("returned")).to_be_visible()
    expect_whole(page.get_by_test_id("turn-agent").nth(1), answer_about("address"))
    expect(page.get_by_test_id("turn-user")).to_have_count(1)
    expect(page.get_by_test_id("turn-notice")).to_have_count(0)
    page.get_by_test_id("end").click()
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", "ended")
