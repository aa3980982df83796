"""Where a conversation stands at moments at which it is easily mistaken."""

from __future__ import annotations

from service.conversation.turns import TurnTracker
from tests.unit.turns.talks import Clock, aligned, audio, voice

GREETING, ANSWER = "Hello, this is the shop.", "You can return anything within thirty days."


def opened(clock: Clock) -> TurnTracker:
    """A conversation whose agent has told its greeting, and not spoken yet."""
    tracker = TurnTracker(clock=clock)
    tracker.output_format = "pcm_16000"
    tracker.from_client({"type": "conversation_initiation_client_data"})
    metadata = {"conversation_id": "conv_1"}
    tell(tracker, "conversation_initiation_metadata", conversation_initiation_metadata_event=metadata)
    respond(tracker, 1, GREETING)
    return tracker


def tell(tracker: TurnTracker, kind: str, **fields: object) -> None:
    tracker.from_agent(kind, {"type": kind, **fields})


def respond(tracker: TurnTracker, event_id: int, text: str) -> None:
    tell(tracker, "agent_response", agent_response_event={"agent_response": text, "event_id": event_id})


def speak(tracker: TurnTracker, event_id: int, text: str) -> None:
    message = audio(event_id, voice(0.06 * len(text)), aligned(text))
    tracker.audio(message, 0, len(message), event_id)


def test_a_greeting_that_was_told_and_not_spoken_is_spoken_by_the_next_leg() -> None:
    clock = Clock()
    tracker = opened(clock)
    clock.tick(0.5)
    left = tracker.takeover(clock.now)
    assert (left.rest, left.said, left.announced) == (GREETING, "", True)


def test_a_text_that_nobody_speaks_is_written_and_is_not_spoken_later() -> None:
    clock = Clock()
    tracker = opened(clock)
    clock.tick(5.0)
    assert tracker.takeover(clock.now).rest is None


def test_who_types_before_the_greetings_first_sound_gets_an_answer_that_can_be_spliced() -> None:
    clock = Clock()
    tracker = opened(clock)
    tracker.from_client({"type": "user_message", "text": "How do returns work?"})
    speak(tracker, 1, GREETING)
    tell(tracker, "interruption", interruption_event={"event_id": 1})
    correction = {"original_agent_response": GREETING, "corrected_agent_response": "", "event_id": 1}
    tell(tracker, "agent_response_correction", agent_response_correction_event=correction)
    clock.tick(0.1)
    respond(tracker, 2, ANSWER)
    speak(tracker, 2, ANSWER[:15])
    left = tracker.takeover(clock.now)
    assert (left.question, left.said, left.rest) == (None, ANSWER[:15], ANSWER[15:])


def test_an_agent_that_is_known_to_speak_is_late_with_its_greetings_sound_too() -> None:
    clock = Clock()
    written, spoken = opened(clock), TurnTracker(clock=clock)
    spoken.expect_voice()
    tell(spoken, "conversation_initiation_metadata", conversation_initiation_metadata_event={"conversation_id": "c"})
    respond(spoken, 1, GREETING)
    clock.tick(2.9)
    assert spoken.due(clock.now, 3.0, 1.0) is None, "its first sound has the time of a first sound"
    clock.tick(0.2)
    assert written.due(clock.now, 3.0, 1.0) is None, "it may be an agent that only writes"
    assert spoken.due(clock.now, 3.0, 1.0) is not None
    assert spoken.takeover(clock.now).rest == GREETING


def test_sound_that_a_typed_word_calls_off_is_not_waited_for() -> None:
    clock = Clock()
    tracker = opened(clock)
    speak(tracker, 1, GREETING * 8)
    tracker.from_client({"type": "user_message", "text": "How do returns work?"})
    tell(tracker, "interruption", interruption_event={"event_id": 1})
    respond(tracker, 2, ANSWER)
    speak(tracker, 2, ANSWER[:15])
    played = 0.06 * 15
    clock.tick(played + 0.9)
    assert tracker.due(clock.now, 3.0, 1.0) is None
    clock.tick(0.2)
    assert tracker.due(clock.now, 3.0, 1.0) is not None
    assert tracker.takeover(clock.now).unplayed_seconds == 0.0
