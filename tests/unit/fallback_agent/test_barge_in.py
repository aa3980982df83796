"""What happens when the user takes the turn while the agent speaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from service.fallback.local_agent_speech import Pace, PlaybackClock
from tests.unit.fallback_agent.conftest import OpenTalk
from tests.unit.fallback_agent.talk import LONG_GREETING, Talk, event_id

REAL_PACE = Pace()


def _assert_nothing_after_the_interruption(talk: Talk) -> None:
    events = talk.events()
    interruption = talk.events("interruption")[0]
    later = events[events.index(interruption) + 1 :]
    interrupted = event_id(interruption)
    assert not [each for each in later if each["type"] == "audio" and event_id(each) <= interrupted]


def test_a_typed_message_stops_the_voice_and_tells_what_was_heard(open_talk: OpenTalk) -> None:
    talk = open_talk({"pace": REAL_PACE})
    talk.wait_for("audio", 3)
    talk.write("Where are you?")
    answer = talk.wait_for_answer(2)
    talk.wait_until(lambda: [e for e in talk.events("audio") if event_id(e) > 1], "sound of the new turn")

    _assert_nothing_after_the_interruption(talk)
    correction = talk.wait_for("agent_response_correction")["agent_response_correction_event"]
    assert correction["event_id"] == event_id(talk.events("interruption")[0]) == 1
    assert correction["original_agent_response"] == LONG_GREETING
    assert LONG_GREETING.startswith(correction["corrected_agent_response"])
    assert len(correction["corrected_agent_response"]) < len(LONG_GREETING)
    assert answer != LONG_GREETING


def test_speech_stops_the_voice(open_talk: OpenTalk, recording: Callable[[str], Path]) -> None:
    talk = open_talk({"pace": REAL_PACE})
    talk.wait_for("audio")
    talk.say(recording("barge-in-en"))
    talk.wait_for("agent_response_correction")

    _assert_nothing_after_the_interruption(talk)


def test_an_answer_that_was_sent_and_still_plays_counts_as_being_spoken(open_talk: OpenTalk) -> None:
    talk = open_talk()  # everything is sent at once
    talk.wait_until(lambda: _spoken(talk) == LONG_GREETING, "whole greeting")
    talk.write("Where are you?")
    correction = talk.wait_for("agent_response_correction")["agent_response_correction_event"]

    assert len(correction["corrected_agent_response"]) < len(LONG_GREETING) / 2


def _spoken(talk: Talk) -> str:
    return "".join("".join(each["audio_event"]["alignment"]["chars"]) for each in talk.events("audio"))


def test_what_is_not_speech_interrupts_nothing(open_talk: OpenTalk) -> None:
    talk = open_talk({"pace": REAL_PACE})
    talk.wait_for("audio")
    click = "AAAA" + "/38B" * 50 + "AAAA" * 400
    for _ in range(20):
        talk.agent.receive({"user_audio_chunk": click})
    talk.wait_until(lambda: _spoken(talk) == LONG_GREETING, "whole greeting")

    assert talk.events("interruption") == []


def test_the_correction_ends_with_a_whole_word(open_talk: OpenTalk) -> None:
    for chunks in (1, 4, 8):
        talk = open_talk({"pace": REAL_PACE})
        talk.wait_for("audio", chunks)
        talk.write("Where are you?")
        correction = talk.wait_for("agent_response_correction")["agent_response_correction_event"]
        heard = correction["corrected_agent_response"]
        assert heard == "" or LONG_GREETING[len(heard)].isspace()
        assert heard == heard.strip()


def test_a_player_that_ran_dry_has_not_heard_the_pause() -> None:
    clock = PlaybackClock()
    assert clock.heard_seconds(0.0) == 0.0
    clock.sent(1.0, now=10.0)
    assert abs(clock.heard_seconds(10.4) - 0.4) < 1e-9
    clock.sent(1.0, now=15.0)

    assert abs(clock.heard_seconds(15.5) - 1.5) < 1e-9
    assert clock.ends_at == 16.0
    assert clock.heard_seconds(99.0) == 2.0
