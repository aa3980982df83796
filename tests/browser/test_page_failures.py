"""What the page does and says when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page_stand_in import StandIn, Talk

HURRY = "Math.random = () => 0.01"  # full jitter at its shortest; the bounds have unit tests


def state(page: Page, name: str) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", name)


def refusal(message: str, request_id: str) -> dict[str, Any]:
    detail = {"type": "x", "code": "x", "message": message, "status": "x", "request_id": request_id}
    return {"detail": detail}


def test_a_refused_ticket_gives_a_readable_reason_the_id_and_another_try(
    open_page: Callable[..., Page], stand_in: StandIn
) -> None:
    page = open_page()
    stand_in.ticket_answers.append((429, refusal("20 conversations a minute are allowed.", "req_42")))
    page.get_by_test_id("start-speaking").click()
    state(page, "failed")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("All lines are busy just now.")
    expect(alert).to_contain_text("20 conversations a minute are allowed.")
    expect(page.get_by_test_id("failure-id")).to_have_text("req_42")
    page.get_by_role("button", name="Try again").click()
    stand_in.next_talk().hello()
    state(page, "listening")
    expect(alert).to_be_hidden()


def test_a_server_error_that_is_not_ours_is_still_explained(open_page: Callable[..., Page], stand_in: StandIn) -> None:
    page = open_page()
    stand_in.ticket_answers.append((502, "<html>bad gateway</html>"))
    page.get_by_test_id("start-typing").click()
    state(page, "failed")
    expect(page.get_by_test_id("failure-reason")).to_contain_text("The service has a problem")
    expect(page.get_by_test_id("failure-reference")).to_be_hidden()


@pytest.mark.parametrize(
    ("locale", "title", "words"),
    [
        ("en-GB", "Back in a few minutes", "The service is being maintained just now"),
        ("es-ES", "Volvemos en unos minutos", "El servicio está en mantenimiento"),
    ],
)
def test_a_maintenance_is_said_in_words_and_not_tried_again(
    open_page: Callable[..., Page],
    stand_in: StandIn,
    start_talk: Callable[..., Talk],
    locale: str,
    title: str,
    words: str,
) -> None:
    page = open_page(locale=locale)
    page.evaluate(HURRY)
    talk = start_talk(page)
    talk.transcribe("Where is my parcel?", 1)
    expect(page.get_by_test_id("turn-user")).to_contain_text("Where is my parcel?")
    closed = refusal("The service is in maintenance; try again in a few minutes.", "req_7")
    closed["detail"]["code"] = "maintenance"
    stand_in.ticket_answers.extend([(503, closed)] * 20)
    talk.close(1012, "The service is going into maintenance; come back in a few minutes.")
    state(page, "failed")
    assert stand_in.tickets_asked == 2, "one look whether there is another server, and no more"
    reason = page.get_by_test_id("failure-reason")
    expect(reason).to_contain_text(words)
    expect(page.get_by_test_id("failure-title")).to_have_text(title)
    expect(page.get_by_test_id("failure")).to_have_class("alert planned")
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
    expect(page.get_by_test_id("failure-detail")).to_be_hidden()
    expect(page.get_by_test_id("failure-id")).to_have_text("req_7")
    expect(page.get_by_test_id("turn-user")).to_contain_text("Where is my parcel?")
    fits = reason.evaluate("element => element.scrollWidth <= element.clientWidth")
    assert fits, "the sentence is not cut off"
    stand_in.ticket_answers.clear()
    page.get_by_test_id("start-speaking").click()
    stand_in.next_talk().hello()
    state(page, "listening")


def test_a_server_out_of_reach_is_said_to_be_so(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.route("**/chat/tickets", lambda route: route.abort("connectionrefused"))
    page.get_by_test_id("start-typing").click()
    state(page, "failed")
    expect(page.get_by_test_id("failure-reason")).to_contain_text("could not be reached")


def test_a_closing_error_is_shown_with_the_conversations_id_and_is_not_tried_again(
    open_page: Callable[..., Page], stand_in: StandIn, start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page, conversation_id="conv_lost")
    talk.send("error", error_event={"code": 1002, "message": "This request exceeds your quota limit."})
    talk.close(1002, "This request exceeds your quota limit.")
    state(page, "failed")
    expect(page.get_by_test_id("failure-reason")).to_contain_text("quota")
    expect(page.get_by_test_id("failure-detail")).to_have_text("This request exceeds your quota limit.")
    expect(page.get_by_test_id("failure-id")).to_have_text("conv_lost")
    assert stand_in.tickets_asked == 1


def test_a_lost_connection_is_made_again_honestly_and_the_transcript_is_kept(
    open_page: Callable[..., Page], stand_in: StandIn, start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    page.evaluate(HURRY)
    talk = start_talk(page)
    talk.transcribe("Where is my parcel?", 1)
    stand_in.ticket_answers.append((503, refusal("restarting", "req_1")))
    talk.drop()
    state(page, "reconnecting")
    second = stand_in.next_talk()
    second.hello("conv_2")
    state(page, "listening")
    assert stand_in.tickets_asked == 3  # the first, the refused one, and a new one: a ticket is used once
    expect(page.get_by_test_id("turn-notice")).to_contain_text("The agent does not know what was said before")
    expect(page.get_by_test_id("turn-user")).to_contain_text("Where is my parcel?")
    expect(page.get_by_test_id("announcer")).to_contain_text("a new conversation was started")
    second.say("Hello again.", 1)
    expect(page.get_by_test_id("turn-agent")).to_contain_text("Hello again.")


def test_a_server_that_leaves_for_a_restart_is_followed(
    open_page: Callable[..., Page], stand_in: StandIn, start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    page.evaluate(HURRY)
    talk = start_talk(page)
    for conversation in range(3):
        talk.close(1012, "service restart")
        talk = stand_in.next_talk()
        talk.hello(f"conv_{conversation}")
        state(page, "listening")


def test_after_six_tries_the_page_gives_up_and_says_why(
    open_page: Callable[..., Page], stand_in: StandIn, start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    page.evaluate(HURRY)
    talk = start_talk(page)
    stand_in.ticket_answers.extend([(503, refusal("No line is free.", "req_9"))] * 20)
    talk.drop()
    state(page, "failed")
    assert stand_in.tickets_asked == 1 + 6
    expect(page.get_by_test_id("failure-id")).to_have_text("req_9")


def test_who_ends_while_reconnecting_is_left_in_peace(
    open_page: Callable[..., Page], stand_in: StandIn, start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    page.evaluate("Math.random = () => 1")
    talk = start_talk(page)
    talk.drop()
    state(page, "reconnecting")
    page.get_by_test_id("end").click()
    state(page, "ended")
    page.wait_for_function("start => performance.now() - start > 1000", arg=page.evaluate("performance.now()"))
    assert stand_in.tickets_asked == 1


def test_a_refused_microphone_is_explained_and_writing_goes_on_with_the_voice_still_heard(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page(microphone=False)
    talk = start_talk(page, by="start-speaking")
    expect(page.get_by_test_id("microphone-advice")).to_contain_text("The microphone is blocked")
    expect(page.get_by_role("radio", name="Off")).to_be_checked()
    expect(page.get_by_test_id("state-label")).to_have_text("Your turn to write")
    page.get_by_test_id("message").fill("Hello")
    page.get_by_test_id("message").press("Enter")
    assert talk.expect("user_message")["text"] == "Hello"
    talk.say("Good morning to you.", 2, seconds=3)
    state(page, "speaking")
    state(page, "listening")
    assert float(page.get_by_test_id("chat").get_attribute("data-output-peak") or 0) > 0.4
    assert talk.count("user_audio_chunk") == 0


def test_an_audio_format_that_the_page_cannot_play_is_a_clear_failure(
    open_page: Callable[..., Page], stand_in: StandIn
) -> None:
    page = open_page()
    page.get_by_test_id("start-typing").click()
    stand_in.next_talk().hello("conv_5", output="mp3_44100")
    state(page, "failed")
    expect(page.get_by_test_id("failure-detail")).to_contain_text("mp3_44100")
    expect(page.get_by_test_id("failure-id")).to_have_text("conv_5")


def test_a_browser_without_audio_worklets_shows_the_answers_as_text(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    page.evaluate("Object.defineProperty(BaseAudioContext.prototype, 'audioWorklet', {get: () => undefined})")
    talk = start_talk(page)
    expect(page.get_by_test_id("microphone-advice")).to_contain_text("cannot play the voice")
    talk.say("You can read me.", 1)
    expect(page.get_by_test_id("turn-agent")).to_contain_text("You can read me.")
    state(page, "listening")
