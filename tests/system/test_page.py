"""The chat page against the real service and the sandbox: a spoken question is heard, answered, and can be cut off."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

LIMIT_MILLISECONDS = 40_000
AUDIBLE = re.compile(r"0\.(0[5-9]|[1-9]).*|1.*")
"""At least 0.05 of full scale; the sandbox's voice peaks at about 0.5, silence at 0."""


@pytest.fixture(autouse=True)
def patience() -> None:
    expect.set_options(timeout=LIMIT_MILLISECONDS)


def expect_turn(page: Page, speaker: str, words: str) -> None:
    """A turn with these words is in the transcript; others may follow it ("Are you still there?")."""
    expect(
        page.get_by_test_id(f"turn-{speaker}").filter(has_text=re.compile(words, re.IGNORECASE)).first
    ).to_be_visible()


def wait_until_heard(page: Page) -> None:
    """The level that the speaker measures in what it plays, not in what it was given."""
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", AUDIBLE)


def test_a_spoken_question_is_transcribed_answered_audibly_and_captioned(service, open_page, ears):
    page = open_page(service.url, recording="question-hours-en.wav")
    expect(page.get_by_test_id("sandbox-banner")).to_be_visible()
    page.get_by_test_id("start-speaking").click()
    expect_turn(page, "user", "opening hours")
    expect_turn(page, "agent", "Monday")
    wait_until_heard(page)
    expect(page.get_by_test_id("caption-spoken")).to_contain_text("We are open")
    violations = Axe().run(page).response["violations"]
    assert [violation["id"] for violation in violations] == []
    page.get_by_test_id("end").click()
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", "ended")


@pytest.mark.long  # the page in Spanish, and Spanish heard and spoken, are tested one by one
def test_a_spanish_browser_asks_and_is_answered_in_spanish(service, open_page, ears):
    page = open_page(service.url, recording="question-hours-es.wav", locale="es-ES")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    page.get_by_test_id("start-speaking").click()
    expect_turn(page, "agent", "tienda")
    expect_turn(page, "user", "horario")
    expect_turn(page, "agent", "lunes")
    wait_until_heard(page)


def test_speaking_while_the_agent_speaks_stops_it_at_once(service, open_page, ears):
    page = open_page(service.url)
    page.get_by_test_id("start-typing").click()
    # Else the question may come before the greeting, whose turn then stands between it and its answer.
    expect(page.get_by_test_id("turn-agent").first).to_be_visible()
    page.get_by_test_id("message").fill("How do returns work?")
    page.get_by_test_id("message").press("Enter")
    # By its place, not by its words: the interruption cuts the text to what was heard.
    question = page.get_by_test_id("turn-user").filter(has_text="How do returns work?")
    answer = question.locator("xpath=following-sibling::*[@data-testid='turn-agent'][1]")
    expect(answer).to_contain_text("return")
    wait_until_heard(page)
    page.get_by_test_id("message").fill("Where is the shop?")
    page.get_by_test_id("message").press("Enter")
    expect(answer).to_have_attribute("data-state", "interrupted")


def test_a_barge_in_by_voice_interrupts_the_agent(service, open_page, ears):
    page = open_page(service.url, recording="barge-in-en.wav")
    # The recording starts with the capture, in the middle of the agent's first sentence.
    page.get_by_test_id("start-speaking").click()
    expect_turn(page, "user", "stop")
    expect(page.get_by_test_id("turn-agent").first).to_have_attribute("data-state", "interrupted")
    wait_until_heard(page)


def test_without_a_microphone_the_talk_goes_on_by_keyboard_and_the_answer_is_heard(service, open_page):
    page = open_page(service.url, permissions=[])
    page.get_by_test_id("start-typing").click()
    page.get_by_test_id("message").fill("How much does delivery cost?")
    page.get_by_test_id("message").press("Enter")
    expect_turn(page, "agent", "euros")
    wait_until_heard(page)


def test_an_agent_that_cannot_be_reached_is_explained_with_an_id(start_service, open_page):
    service = start_service(ELEVENLABS_BASE_URL="http://127.0.0.1:1")
    page = open_page(service.url)
    page.get_by_test_id("start-typing").click()
    expect(page.get_by_test_id("failure")).to_be_visible()
    expect(page.get_by_test_id("failure-reason")).not_to_be_empty()
