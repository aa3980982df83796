"""Another voice that goes on when the usual one fails."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.page_stand_in import Talk

TEXT = "We are open from nine to six every day. On Sundays we are closed. In August we are on holiday."
NOTICE = "Our usual voice is not available; another one goes on."


def state(page: Page, name: str) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", name)


def test_the_backup_voice_is_announced_and_shown_until_the_usual_voice_is_back(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.change_agent("local")
    expect(page.get_by_test_id("chat")).to_have_attribute("data-voice", "backup")
    expect(page.get_by_test_id("backup-badge")).to_be_visible()
    expect(page.get_by_test_id("turn-notice")).to_contain_text(NOTICE)
    expect(page.get_by_test_id("announcer")).to_contain_text(NOTICE)
    talk.change_agent("elevenlabs")
    expect(page.get_by_test_id("backup-badge")).to_be_hidden()
    expect(page.get_by_test_id("turn-notice").last).to_contain_text("The usual voice is back.")
    expect(page.get_by_test_id("announcer")).to_contain_text("The usual voice is back.")


def test_the_change_is_told_in_spanish_to_who_reads_spanish(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page(locale="es-ES")
    talk = start_talk(page)
    talk.change_agent("elevenlabs_2")
    expect(page.get_by_test_id("backup-badge")).to_have_text("Voz de reserva")
    expect(page.get_by_test_id("turn-notice")).to_contain_text("Nuestra voz habitual no está disponible; sigue otra.")


def test_a_sentence_that_another_voice_finishes_is_one_answer_with_captions_that_keep_step(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.transcribe("When are you open?", 1)
    talk.send("agent_response", agent_response_event={"agent_response": TEXT, "event_id": 2})
    half = TEXT.index("every day")
    talk.voice(2, 1.5, TEXT[:half])
    state(page, "speaking")
    answer = page.get_by_test_id("turn-agent")
    expect(answer.locator(".words")).to_have_text("We are open from nine to six")
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", "0.000")  # and then it was silent
    talk.change_agent("local", spliced=True)
    talk.voice(3, 6, TEXT[half:])
    state(page, "speaking")
    expect(page.get_by_test_id("caption-spoken")).to_have_text(re.compile(r"^On Sundays"))
    read = answer.locator(".words").inner_text()
    assert TEXT.startswith(read)
    assert half < len(read) < len(TEXT)
    expect(answer.locator(".words")).to_have_text(TEXT)
    expect(answer).to_have_attribute("data-state", "done")
    expect(answer).to_have_count(1)
    announced = page.get_by_test_id("announcer").inner_text()
    assert announced.count("On Sundays we are closed.") == 1


def test_the_backup_can_be_interrupted_in_the_rest_that_it_speaks(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.send("agent_response", agent_response_event={"agent_response": TEXT, "event_id": 2})
    half = TEXT.index("every day")
    talk.voice(2, 1, TEXT[:half])
    talk.change_agent("local", spliced=True)
    talk.voice(3, 30, TEXT[half:])
    expect(page.get_by_test_id("caption-spoken")).to_have_text(re.compile(r"every day"))
    talk.interrupt(3)
    correction = {
        "original_agent_response": TEXT,
        "corrected_agent_response": "We are open from nine to six every day",
        "event_id": 3,
    }
    talk.send("agent_response_correction", agent_response_correction_event=correction)
    answer = page.get_by_test_id("turn-agent")
    expect(answer.locator(".words")).to_have_text("We are open from nine to six every day …")
    expect(answer).to_have_attribute("data-state", "interrupted")
