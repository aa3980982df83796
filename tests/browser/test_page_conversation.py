"""A conversation on the page, from both sides of its socket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.browser.page_stand_in import StandIn, Talk

ANSWER = "We are open from nine to six. On Sundays we are closed."
NOTE_STATES = """() => {
    const chat = document.querySelector("main");
    window.states = [];
    new MutationObserver(() => window.states.push([chat.dataset.state, performance.now()]))
        .observe(chat, {attributeFilter: ["data-state"]});
}"""
LONG_ANSWER = "First we look for the parcel. Then we call the driver. Then we write to you. Then we wait together."


def state(page: Page, name: str) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", name)


def audible(page: Page) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", re.compile(r"0\.[1-9]"))


def silent(page: Page) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", "0.000")


def loudest_within(page: Page, *, milliseconds: int) -> float:
    """Listen for a while: that nothing is heard takes a window to show."""
    return float(
        page.evaluate(
            """async (milliseconds) => {
                const main = document.querySelector("main");
                main.dataset.outputPeak = "0";
                await new Promise((resolve) => setTimeout(resolve, milliseconds));
                return main.dataset.outputPeak;
            }""",
            milliseconds,
        )
    )


def test_a_question_passes_through_every_state_and_its_answer_is_heard_and_read(
    open_page: Callable[..., Page], stand_in: StandIn
) -> None:
    page = open_page()
    state(page, "idle")
    page.get_by_test_id("start-speaking").click()
    talk = stand_in.next_talk()
    state(page, "connecting")
    talk.hello("conv_7")
    state(page, "listening")
    talk.transcribe("When are you", 1, tentative=True)
    expect(page.get_by_test_id("turn-user")).to_have_attribute("data-state", "tentative")
    talk.transcribe("When are you open?", 1)
    state(page, "thinking")
    expect(page.get_by_test_id("turn-user")).to_contain_text("When are you open?")
    talk.say(ANSWER, 2)
    state(page, "speaking")
    audible(page)
    state(page, "listening")
    expect(page.get_by_test_id("turn-agent")).to_contain_text(ANSWER)
    expect(page.get_by_test_id("chat")).to_have_attribute("data-conversation-id", "conv_7")
    assert float(page.get_by_test_id("chat").get_attribute("data-output-peak") or 0) > 0.4


def test_the_page_introduces_itself_in_address_and_first_frame_and_asks_for_our_own_events(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    talk = start_talk(open_page())
    first = talk.expect("conversation_initiation_client_data")
    assert first["source_info"] == {"source": "vocero_page", "version": "0.1.0"}
    assert talk.query["source"] == "vocero_page"
    assert talk.query["vocero_events"] == "true"
    assert talk.query["conversation_signature"] == "cvtkn_1"


@pytest.mark.parametrize(("locale", "asked"), [("es-MX", "es"), ("fr-FR", "fr"), ("en-GB", None), ("de-DE", None)])
def test_the_agent_is_asked_for_the_browsers_language_where_it_may_be(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk], locale: str, asked: str | None
) -> None:
    """An override that an agent does not allow ends the conversation, so only listed languages are asked for."""
    first = start_talk(open_page(locale=locale)).expect("conversation_initiation_client_data")
    override = {"agent": {"language": asked}} if asked else None
    assert first.get("conversation_config_override") == override


def test_a_ping_is_answered_with_its_own_id_and_unknown_events_do_no_harm(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.send("something_of_tomorrow", payload=[1])
    talk.send("audio", audio_event={"event_id": "not a number"})
    talk.send("ping", ping_event={"event_id": 41, "ping_ms": None})
    assert talk.expect("pong")["event_id"] == 41
    state(page, "listening")


def test_captions_follow_the_characters_times_and_the_record_holds_only_what_was_heard(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.say(LONG_ANSWER, 1, seconds=6, aligned=True)
    expect(page.get_by_test_id("caption-spoken")).to_have_text(re.compile("Then we call"))
    heard = page.get_by_test_id("turn-agent").locator(".words").inner_text()
    assert LONG_ANSWER.startswith(heard)
    assert len(heard) < len(LONG_ANSWER)
    expect(page.get_by_test_id("announcer")).to_contain_text("First we look for the parcel.")
    expect(page.get_by_test_id("turn-agent")).to_contain_text("Then we wait together.")


def test_a_barge_in_silences_the_voice_and_drops_what_was_late_and_lets_the_next_answer_be_heard(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.say(LONG_ANSWER, 3, seconds=30, aligned=True)
    audible(page)
    expect(page.get_by_test_id("caption-spoken")).not_to_be_empty()
    talk.interrupt(3)
    state(page, "listening")
    silent(page)
    talk.voice(3, 2)  # late audio of the interrupted turn
    talk.send("ping", ping_event={"event_id": 1, "ping_ms": None})
    talk.expect("pong")  # so the late audio has been received by now
    assert loudest_within(page, milliseconds=500) == 0
    expect(page.get_by_test_id("turn-agent")).to_have_attribute("data-state", "interrupted")
    correction = {
        "original_agent_response": LONG_ANSWER,
        "corrected_agent_response": "First we look",
        "event_id": 3,
    }
    talk.send("agent_response_correction", agent_response_correction_event=correction)
    expect(page.get_by_test_id("turn-agent").locator(".words")).to_have_text("First we look …")
    talk.transcribe("Stop, please.", 4)
    talk.say("Of course.", 5, seconds=4)
    audible(page)
    expect(page.get_by_test_id("turn-agent").last).to_contain_text("Of course.")


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_a_voice_of_another_rate_is_heard_as_well(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk], rate: int
) -> None:
    page = open_page()
    talk = start_talk(page, output=f"pcm_{rate}")
    talk.voice(1, 5, rate=rate)
    state(page, "speaking")
    audible(page)


def test_an_agent_that_only_writes_is_read_as_it_writes(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    page.get_by_test_id("message").fill("Hello")
    page.get_by_test_id("message").press("Enter")
    talk.expect("user_message")
    for kind, text in (("start", ""), ("delta", "Good "), ("delta", "morning.")):
        part = {"text": text, "type": kind, "event_id": 2}
        talk.send("agent_chat_response_part", text_response_part=part)
    expect(page.get_by_test_id("turn-agent")).to_contain_text("Good morning.")
    expect(page.get_by_test_id("state-label")).to_have_text("Answering")
    talk.send("agent_chat_response_part", text_response_part={"text": "", "type": "stop", "event_id": 2})
    talk.send("agent_response", agent_response_event={"agent_response": "Good morning.", "event_id": 2})
    state(page, "listening")
    expect(page.get_by_test_id("turn-agent")).to_have_count(1)


def test_writing_sends_the_message_and_tells_now_and_then_that_somebody_writes(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    page.get_by_test_id("message").press_sequentially("Where is my parcel?")
    page.get_by_test_id("message").press("Enter")
    assert talk.expect("user_message")["text"] == "Where is my parcel?"
    assert talk.count("user_activity") == 1
    state(page, "thinking")
    expect(page.get_by_test_id("message")).to_have_value("")
    expect(page.get_by_test_id("turn-user")).to_contain_text("Where is my parcel?")


def test_the_agent_may_ask_for_the_local_time_and_is_told_that_other_tools_do_not_exist(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    talk = start_talk(open_page(timezone_id="Europe/Madrid"))
    for name in ("get_local_time", "open_the_door"):
        call: dict[str, Any] = {"tool_name": name, "tool_call_id": name, "parameters": {}, "event_id": 1}
        talk.send("client_tool_call", client_tool_call=call)
    time_result = talk.expect("client_tool_result")
    assert (time_result["tool_call_id"], time_result["is_error"]) == ("get_local_time", False)
    assert json.loads(time_result["result"])["time_zone"] == "Europe/Madrid"
    other = talk.expect("client_tool_result")
    assert (other["tool_call_id"], other["is_error"]) == ("open_the_door", True)


def test_a_thumb_is_sent_for_the_answer_it_stands_under_and_a_second_press_takes_it_back(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.say("Yes.", 9)
    thumb = page.get_by_role("button", name="Good answer")
    thumb.click()
    sent = talk.expect("feedback")
    assert (sent["event_id"], sent["score"]) == (9, "like")
    expect(thumb).to_have_attribute("aria-pressed", "true")
    thumb.click()
    assert talk.expect("feedback")["score"] is None


def test_the_microphone_is_sent_at_the_servers_rate_and_in_its_encoding(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    for format_name, chunk_bytes in (("pcm_16000", 1600), ("pcm_48000", 4800), ("ulaw_8000", 400)):
        page = open_page()
        talk = start_talk(page, by="start-speaking", input=format_name)
        assert len(talk.expect_audio()) == chunk_bytes  # 50 ms
        expect(page.get_by_test_id("chat")).to_have_attribute("data-input-level", re.compile("[1-9]"))
        page.close()


def expect_voice(page: Page) -> None:
    """The meter moves, if only for the moment of a beep: every frame is looked at, not every half second."""
    moves = "() => document.querySelector('[data-testid=input-meter]').ariaValueNow !== '0'"
    try:
        page.wait_for_function(moves, polling="raf", timeout=30_000)
    except TimeoutError as exc:
        pressed = page.get_by_test_id("hold").get_attribute("aria-pressed")
        level = page.get_by_test_id("chat").get_attribute("data-input-level")
        pytest.fail(f"No voice while the button is held: aria-pressed {pressed}, level {level}: {exc}")


def expect_silence(talk: Talk) -> None:
    """Silence comes, and not nothing: the server hears the utterance's end. What was recorded before is still under
    way, and the microphone beeps once a second: so it has to be silent for longer than that."""
    silent = 0
    for _ in range(100):
        silent = 0 if any(talk.expect_audio()) else silent + 1
        if silent * 0.05 > 1.2:
            return
    pytest.fail("The microphone is heard though the button is not held.")


def test_hold_to_talk_sends_silence_until_the_space_bar_or_the_button_is_held(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page, by="start-speaking")
    talk.expect_audio()
    page.get_by_role("radio", name="Hold to talk").check()
    hold = page.get_by_test_id("hold")
    expect(hold).to_be_visible()
    meter = page.get_by_test_id("input-meter")
    expect(meter).to_have_attribute("aria-valuenow", "0")
    expect_silence(talk)
    page.keyboard.down("Space")
    expect(hold).to_have_attribute("aria-pressed", "true")
    expect_voice(page)
    page.keyboard.up("Space")
    expect(meter).to_have_attribute("aria-valuenow", "0")
    box = hold.bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    expect_voice(page)
    page.mouse.up()
    expect(meter).to_have_attribute("aria-valuenow", "0")


def test_the_space_bar_writes_a_space_while_the_field_has_the_focus(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    start_talk(page, by="start-speaking")
    page.get_by_role("radio", name="Hold to talk").check()
    page.get_by_test_id("message").press_sequentially("a b")
    expect(page.get_by_test_id("message")).to_have_value("a b")
    expect(page.get_by_test_id("hold")).to_have_attribute("aria-pressed", "false")


def test_mute_and_volume_govern_what_is_heard(open_page: Callable[..., Page], start_talk: Callable[..., Talk]) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.say(LONG_ANSWER, 1, seconds=30)
    audible(page)
    page.get_by_role("button", name="Mute the voice").click()
    silent(page)
    page.get_by_role("button", name="Unmute the voice").click()
    audible(page)
    page.get_by_role("slider", name="Volume").fill("0")
    silent(page)
    state(page, "speaking")


def test_the_transcript_is_copied_with_names_and_times(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    talk.transcribe("Are you there?", 1)
    talk.say("Yes.", 2)
    expect(page.get_by_test_id("turn-agent")).to_have_attribute("data-state", "done")
    page.get_by_test_id("copy").click()
    expect(page.get_by_test_id("copy")).to_have_attribute("data-copied", "true")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"\[[\d:]{8}\] You: Are you there\?\n\[[\d:]{8}\] Agent: Yes\.", copied)


def test_ending_closes_the_socket_properly_and_gives_the_microphone_back(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page, by="start-speaking")
    talk.expect_audio()
    page.get_by_test_id("end").click()
    state(page, "ended")
    assert talk.expect_close() == 1000
    expect(page.get_by_test_id("start-speaking")).to_have_text("Start a new conversation")
    expect(page.get_by_test_id("chat")).to_have_attribute("data-input-level", "0.000")


def test_an_agent_that_says_goodbye_is_heard_to_the_end(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page()
    talk = start_talk(page)
    page.evaluate(NOTE_STATES)  # a busy machine looks too late
    talk.say("Goodbye and thank you.", 1, seconds=3)
    talk.close(1000, "end_call")
    state(page, "ended")
    (speaking, began), (ended, at) = page.evaluate("states")
    assert (speaking, ended) == ("speaking", "ended")
    assert at - began > 1_500  # milliseconds of the three seconds
    expect(page.get_by_test_id("turn-agent")).to_contain_text("Goodbye and thank you.")
