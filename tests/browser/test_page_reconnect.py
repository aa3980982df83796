"""A connection that is lost, and the same conversation over the next one."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page_stand_in import StandIn, Talk

HURRY = "Math.random = () => 0.01"  # full jitter at its shortest
LATER = "Math.random = () => 2.5"  # the first try comes 1.25 s after the loss, when that has been noticed
NEVER = "Math.random = () => 1000"
LONG_ANSWER = "First we look for the parcel. Then we call the driver. Then we write to you. Then we wait together."
KEPT = "Your conversation is kept"


def state(page: Page, name: str) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", name)


def audible(page: Page) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", re.compile(r"0\.[1-9]"))


def agent_words(page: Page) -> list[str]:
    return page.get_by_test_id("turn-agent").locator(".words").all_inner_texts()


@pytest.fixture
def start_kept_talk(start_talk: Callable[..., Talk]) -> Callable[..., Talk]:
    """Begin a conversation that can be gone on with: two events have come, and a token."""

    def start(page: Page, jitter: str = HURRY, *, seconds: float = 120, by: str = "start-typing") -> Talk:
        page.evaluate(jitter)
        talk = start_talk(page, by=by)
        talk.give_token("conv_1.a", seconds)
        talk.send("ping", ping_event={"event_id": 1, "ping_ms": None})
        talk.expect("pong")  # the token has come, too
        return talk

    return start


def test_a_page_that_comes_back_says_how_far_it_has_heard_and_shows_no_ticket(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.send("something_of_tomorrow")
    talk.say("Yes.", 7)  # its text, and its audio in two chunks
    expect(page.get_by_test_id("turn-agent")).to_contain_text("Yes.")
    talk.drop()
    second = stand_in.next_talk()
    assert second.query == {"resume": "true", "vocero_events": "true"}
    assert second.expect("conversation_resume") == {
        "type": "conversation_resume",
        "token": "conv_1.a",
        "received": 6,  # metadata, ping, the unknown one, the answer, two of audio
        "last_event_id": 7,
    }
    assert second.count("conversation_initiation_client_data") == 0
    assert stand_in.tickets_asked == 1


def test_a_loss_that_is_mended_within_a_second_is_not_mentioned(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    page.evaluate(
        """() => {
            const main = document.querySelector("main");
            const states = [];
            const watch = new MutationObserver(() => states.push(main.dataset.state));
            watch.observe(main, {attributeFilter: ["data-state"]});
            window.states = states;
        }"""
    )
    for number in range(3):
        talk.drop()
        talk = stand_in.next_talk()
        assert talk.expect("conversation_resume")["token"] == f"conv_1.{'abc'[number]}"
        talk.resume(f"conv_1.{'bcd'[number]}", received=1)
    talk.transcribe("Are you there?", 9)
    state(page, "thinking")
    assert page.evaluate("window.states") == ["thinking"]
    assert page.get_by_test_id("turn-notice").count() == 0


def test_what_was_queued_is_heard_on_and_a_longer_loss_is_said_calmly_with_the_time_that_is_left(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, LATER)
    talk.say(LONG_ANSWER, 3, seconds=12, aligned=True)
    audible(page)
    talk.drop()
    state(page, "reconnecting")
    audible(page)
    expect(page.get_by_test_id("state-label")).to_have_text("Connection lost – reconnecting …")
    expect(page.get_by_test_id("outage-words")).to_contain_text(KEPT)
    expect(page.get_by_test_id("outage-left")).to_have_text(re.compile(r"1:5\d"))
    expect(page.get_by_test_id("announcer")).to_contain_text("Connection lost")
    second = stand_in.next_talk()
    second.resume("conv_1.b", received=1)
    expect(page.get_by_test_id("returned")).to_have_text("You are connected again.")
    expect(page.get_by_test_id("announcer")).to_contain_text("You are connected again.")
    expect(page.get_by_test_id("outage")).to_be_hidden()
    state(page, "speaking")
    audible(page)
    expect(page.get_by_test_id("caption-spoken")).to_contain_text("Then we call")
    assert page.get_by_test_id("turn-agent").count() == 1
    expect(page.get_by_test_id("returned")).to_be_hidden()  # it has been read by then


def test_an_answer_whose_middle_was_missed_is_heard_and_read_once_and_whole(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, LATER)
    half = LONG_ANSWER.index("Then we write")
    talk.send("agent_response", agent_response_event={"agent_response": LONG_ANSWER, "event_id": 4})
    talk.voice(4, 1, LONG_ANSWER[:half])
    state(page, "speaking")
    talk.drop()
    state(page, "reconnecting")
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", "0.000")  # all of it has been heard
    second = stand_in.next_talk()
    assert second.expect("conversation_resume")["received"] == 2 + 1 + 10
    second.resume("conv_1.b", received=1, replayed=10)
    second.voice(4, 1, LONG_ANSWER[half:])
    expect(page.get_by_test_id("turn-agent")).to_have_attribute("data-state", "done")
    assert agent_words(page) == [LONG_ANSWER]


def test_a_message_that_did_not_arrive_is_sent_again_and_one_that_did_is_not(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    page.get_by_test_id("message").fill("One")
    page.get_by_test_id("message").press("Enter")
    talk.expect("user_message")
    page.get_by_test_id("message").fill("Two")
    page.get_by_test_id("message").press("Enter")
    talk.expect("user_message")
    activity = talk.count("user_activity")
    talk.drop()
    second = stand_in.next_talk()
    second.expect("conversation_resume")
    second.resume("conv_1.b", received=1 + activity + 1)  # the pong, the first message, and that somebody writes
    assert second.expect("user_message")["text"] == "Two"
    page.get_by_test_id("message").fill("Three")
    page.get_by_test_id("message").press("Enter")
    assert second.expect("user_message")["text"] == "Three"
    assert second.count("user_message") == 0
    assert page.get_by_test_id("turn-user").locator(".words").all_inner_texts() == ["One", "Two", "Three"]


def test_what_is_written_while_there_is_no_connection_is_sent_when_there_is(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, "Math.random = () => 8")  # 4 s
    talk.drop()
    page.get_by_test_id("message").fill("Before it was noticed")
    page.get_by_test_id("message").press("Enter")
    state(page, "reconnecting")
    page.get_by_test_id("message").fill("And after")
    page.get_by_test_id("message").press("Enter")
    second = stand_in.next_talk()
    second.expect("conversation_resume")
    second.resume("conv_1.b", received=1)
    assert second.expect("user_message")["text"] == "Before it was noticed"
    assert second.expect("user_message")["text"] == "And after"
    assert page.get_by_test_id("turn-user").count() == 2


def test_the_microphone_stays_open_and_what_it_hears_meanwhile_is_not_sent_later(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, LATER, by="start-speaking")
    talk.expect_audio()
    talk.drop()
    state(page, "reconnecting")
    expect(page.get_by_role("radio", name="Hands-free")).to_be_checked()
    expect(page.get_by_test_id("chat")).to_have_attribute("data-input-level", re.compile("[1-9]"))
    second = stand_in.next_talk()
    second.expect("conversation_resume")
    assert second.count("user_audio_chunk") == 0
    second.resume("conv_1.b", received=1)
    assert len(second.expect_audio()) == 1600  # 50 ms as ever


def test_an_interruption_before_the_loss_still_holds_for_what_comes_late(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.say(LONG_ANSWER, 3, seconds=30, aligned=True)
    audible(page)
    talk.interrupt(3)
    state(page, "listening")
    talk.drop()
    second = stand_in.next_talk()
    second.resume("conv_1.b", received=1, replayed=20)
    second.voice(3, 2)
    second.send("ping", ping_event={"event_id": 2, "ping_ms": None})
    second.expect("pong")
    state(page, "listening")
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", "0.000")


def test_a_server_that_restarts_is_come_back_to_when_it_said(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    before = page.evaluate("performance.now()")
    talk.leave(1.5)
    state(page, "reconnecting")
    expect(page.get_by_test_id("outage-words")).to_contain_text("The service is restarting.")
    second = stand_in.next_talk()
    assert page.evaluate("performance.now()") - before >= 1500
    second.resume("conv_1.b", received=1)
    state(page, "listening")


def test_without_a_network_the_page_says_so_and_comes_back_with_it(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, "Math.random = () => 3")
    page.context.set_offline(True)
    talk.drop()
    state(page, "reconnecting")
    expect(page.get_by_test_id("outage-words")).to_contain_text("This device is offline.")
    page.evaluate(HURRY)
    page.context.set_offline(False)
    second = stand_in.next_talk()
    second.resume("conv_1.b", received=1)
    state(page, "listening")


def test_what_cannot_be_replayed_is_taken_from_the_history_and_the_page_says_that_words_may_be_missing(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.transcribe("When are you open?", 1)
    talk.say("From nine to six.", 2)
    expect(page.get_by_test_id("turn-agent")).to_have_attribute("data-state", "done")
    talk.transcribe("And on", 3, tentative=True)
    expect(page.get_by_test_id("turn-user").last).to_contain_text("And on")
    talk.drop()
    second = stand_in.next_talk()
    second.resume("conv_1.b", received=1)
    second.miss(
        ("user", "When are you open?"),
        ("agent", "From nine to six."),
        ("user", "And on Sundays?"),
        ("agent", "On Sundays we are closed."),
    )
    turns = page.get_by_test_id("transcript").locator("li .words")
    expect(turns).to_have_text(
        [
            "When are you open?",
            "From nine to six.",
            "And on Sundays?",
            "On Sundays we are closed.",
            "Some of what was said may be missing above.",
        ]
    )
    expect(page.get_by_test_id("announcer")).to_contain_text("may be missing")
    second.transcribe("Thank you.", 9)
    second.say("You are welcome.", 10)
    expect(page.get_by_test_id("turn-agent").last).to_contain_text("You are welcome.")


@pytest.mark.parametrize("reason", ["invalid_resume_token", "resume_token_used", "resume_token_expired"])
def test_a_refused_return_keeps_the_transcript_and_offers_one_new_conversation(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk], reason: str
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.transcribe("Where is my parcel?", 1)
    expect(page.get_by_test_id("turn-user")).to_be_visible()
    talk.drop()
    second = stand_in.next_talk()
    second.expect("conversation_resume")  # else the close is overtaken by a reset
    second.send("error", error_event={"code": 1008, "message": reason})
    second.close(1008, reason)
    state(page, "failed")
    expect(page.get_by_test_id("failure-reason")).to_contain_text("could not be taken up again")
    expect(page.get_by_test_id("failure-detail")).to_be_hidden()  # tokens are nothing that a person knows of
    expect(page.get_by_test_id("failure-id")).to_have_text("conv_1")
    expect(page.get_by_test_id("turn-user")).to_contain_text("Where is my parcel?")
    expect(page.get_by_test_id("start-typing")).to_be_hidden()
    page.get_by_role("button", name="Start a new conversation").click()
    third = stand_in.next_talk()
    third.hello("conv_2")
    expect(page.get_by_role("radio", name="Off")).to_be_checked()  # as it was before
    expect(page.get_by_test_id("turn-notice")).to_have_text(re.compile("New conversation"))


def test_a_server_that_said_why_it_ended_the_conversation_is_quoted_when_it_does_not_go_on(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.send("error", error_event={"code": 1011, "message": "The agent could not be reached."})
    talk.close(1011, "The agent could not be reached.")
    second = stand_in.next_talk()
    second.expect("conversation_resume")
    second.close(1008, "resume_token_expired")
    state(page, "failed")
    expect(page.get_by_test_id("failure-reason")).to_contain_text("The service has a problem")
    expect(page.get_by_test_id("failure-detail")).to_have_text("The agent could not be reached.")


def test_when_the_time_is_over_the_page_gives_up_with_the_transcript(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, NEVER, seconds=2)
    talk.transcribe("Where is my parcel?", 1)
    expect(page.get_by_test_id("turn-user")).to_be_visible()
    talk.drop()
    state(page, "reconnecting")
    state(page, "failed")
    expect(page.get_by_test_id("failure-reason")).to_contain_text("could not be made again")
    expect(page.get_by_test_id("outage")).to_be_hidden()
    expect(page.get_by_test_id("turn-user")).to_contain_text("Where is my parcel?")
    expect(page.get_by_role("button", name="Start a new conversation")).to_be_visible()
    assert stand_in.tickets_asked == 1


def test_a_maintenance_is_waited_for_as_long_as_the_conversation_is_kept_and_then_said(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, "Math.random = () => 1", seconds=4)
    talk.leave(0)
    for _ in range(2):
        refusing = stand_in.next_talk()
        refusing.expect("conversation_resume")
        refusing.close(1013, "The service is in maintenance; try again in a few minutes.")
    expect(page.get_by_test_id("outage-words")).to_contain_text("The service is being maintained.")
    state(page, "failed")
    expect(page.get_by_test_id("failure-title")).to_have_text("Back in a few minutes")


def test_a_busy_or_absent_server_is_tried_again(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.drop()
    for code in (1013, 1012, 1011):
        refusing = stand_in.next_talk()
        refusing.expect("conversation_resume")
        refusing.close(code, "not now")
    stand_in.next_talk().drop()
    last = stand_in.next_talk()
    last.resume("conv_1.b", received=1)
    last.transcribe("Hello?", 4)
    state(page, "thinking")


def test_who_does_not_want_to_wait_begins_anew(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, NEVER)
    talk.drop()
    state(page, "reconnecting")
    page.get_by_test_id("start-anew").click()
    second = stand_in.next_talk()
    assert second.query["conversation_signature"] == "cvtkn_1"
    second.hello("conv_2")
    state(page, "listening")
    expect(page.get_by_test_id("outage")).to_be_hidden()
    expect(page.get_by_test_id("chat")).to_have_attribute("data-conversation-id", "conv_2")


def test_who_ends_while_the_line_is_lost_is_left_in_peace(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page, NEVER)
    talk.drop()
    state(page, "reconnecting")
    page.get_by_test_id("end").click()
    state(page, "ended")
    expect(page.get_by_test_id("outage")).to_be_hidden()


def test_a_conversation_that_another_window_took_over_is_said_to_be_there(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.close(4409, "The conversation was resumed elsewhere.")
    state(page, "failed")
    expect(page.get_by_test_id("failure-title")).to_have_text("Continued in another window")
    expect(page.get_by_test_id("failure-reason")).to_have_text("The conversation goes on in another window.")
    expect(page.get_by_test_id("failure")).to_have_class("alert planned")
    assert stand_in.tickets_asked == 1


def test_an_agent_that_said_goodbye_during_the_loss_has_ended_the_conversation(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_kept_talk(page)
    talk.drop()
    second = stand_in.next_talk()
    second.resume("conv_1.b", received=1)
    second.say("Goodbye.", 5)
    second.close(1000, "end_call")
    state(page, "ended")
    expect(page.get_by_test_id("turn-agent")).to_contain_text("Goodbye.")


def test_a_spanish_page_reconnects_in_spanish(
    open_page: Callable[..., Page], stand_in: StandIn, start_kept_talk: Callable[..., Talk]
) -> None:
    page = open_page(locale="es-ES")
    talk = start_kept_talk(page, LATER)
    talk.drop()
    expect(page.get_by_test_id("state-label")).to_have_text("Conexión perdida: reconectando …")
    expect(page.get_by_test_id("outage-words")).to_contain_text("Tu conversación se conserva")
    stand_in.next_talk().resume("conv_1.b", received=1)
    expect(page.get_by_test_id("returned")).to_have_text("Vuelves a tener conexión.")
