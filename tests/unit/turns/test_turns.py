"""Whose turn it is, who is late, and what the next leg is told, event by event."""

from __future__ import annotations

import pytest

from service.conversation.turns import TurnTracker
from service.fallback.takeover import Takeover
from service.fallback.talk_history import PastTurn
from tests.unit.turns.talks import (
    METADATA,
    PATIENCE,
    Told,
    audio,
    correction,
    interruption,
    part,
    response,
    spoken,
    tentative,
    tool,
    transcript,
    voice,
)

GREETING = "Hello, how can I help you?"
ANSWER = "We are open from nine to five, every day but Sunday."
LONG_ENOUGH = PATIENCE + 0.1


def greeted() -> Told:
    """A conversation after its greeting."""
    told = Told()
    told.agent(response(1, GREETING), *spoken(1, GREETING))
    told.play_out()
    return told


def asked(question: str = "When are you open?") -> Told:
    told = greeted()
    told.agent(tentative(2, question), transcript(2, question))
    return told


def taken_over(told: Told, **given: object) -> Takeover:
    """As the next leg is opened with."""
    left = told.tracker.takeover(told.clock.now)
    fields: dict[str, object] = {
        "history": left.history, "rest": left.rest, "full_text": left.full_text, "announce": not left.announced,
        "question": left.question,
    }  # fmt: skip
    return Takeover(agent_id="agent", conversation_id="conv", **{**fields, **given})  # type: ignore[arg-type]


# --- The usual course


def test_a_greeting_is_nobodys_answer_and_then_all_is_quiet():
    told = Told()
    assert not told.is_idle  # it may come yet
    told.agent(response(1, GREETING), *spoken(1, GREETING))
    assert not told.is_idle
    assert told.due(60.0) is None
    assert told.is_idle
    assert told.words() == [("agent", GREETING)]


def test_who_waits_for_the_user_is_idle_when_there_is_no_greeting():
    told = Told()
    told.clock.tick(5.0)
    assert told.is_idle


def test_an_answer_in_time_is_measured_and_is_no_fault():
    told = asked()
    assert told.tracker.awaiting_since == told.clock.now
    assert not told.is_idle
    told.clock.tick(0.8)
    told.agent(response(2, ANSWER), *spoken(2, ANSWER))
    assert told.tracker.take_answer_seconds() == pytest.approx(0.8)
    assert told.tracker.take_answer_seconds() is None
    assert told.due(60.0) is None
    assert told.is_idle
    assert told.tracker.has_answered
    assert told.words() == [("agent", GREETING), ("user", "When are you open?"), ("agent", ANSWER)]


def test_an_answer_that_does_not_come_is_late_after_the_patience():
    told = asked()
    assert told.due(PATIENCE - 0.1) is None
    assert told.due(0.2) == "first_audio_late"
    left = told.tracker.takeover(told.clock.now)
    assert (left.question, left.rest) == ("When are you open?", None)
    assert left.history == (PastTurn("agent", GREETING),)
    assert left.turns == (PastTurn("agent", GREETING), PastTurn("user", "When are you open?"))


def test_a_written_message_waits_for_its_answer_too():
    told = greeted()
    told.types("Where are you?")
    assert told.due(LONG_ENOUGH) == "first_audio_late"


def test_the_way_to_the_agent_is_not_the_agents_time():
    told = Told(is_open=False)
    told.types("Hello?")
    told.clock.tick(20.0)
    assert told.due() is None
    told.agent(METADATA, tentative(1, "hm"))
    assert told.due(PATIENCE - 1.0) is None


def test_text_without_its_sound_is_late_and_is_all_still_to_be_said():
    told = asked()
    told.agent(response(2, ANSWER))
    assert told.due(LONG_ENOUGH) == "first_audio_late"
    left = told.tracker.takeover(told.clock.now)
    assert (left.rest, left.full_text, left.announced, left.question) == (ANSWER, ANSWER, True, None)
    assert left.history[-1] == PastTurn("user", "When are you open?")


def test_several_things_that_the_user_says_are_one_question():
    told = asked("When are you open?")
    told.clock.tick(1.0)
    told.agent(tentative(3, "On Sunday"), transcript(3, "On Sundays, I mean."))
    assert told.due(PATIENCE - 0.1) is None
    assert told.tracker.takeover(told.clock.now).question == "When are you open? On Sundays, I mean."


# --- Silence


def test_a_silent_answer_is_found_by_its_sound():
    told = asked()
    told.agent(response(2, ANSWER), *[audio(2, bytes(16_000))] * 5)
    assert told.due() == "silent"
    left = told.tracker.takeover(told.clock.now)
    assert (left.rest, left.said) == (ANSWER, "")
    assert left.unplayed_seconds == pytest.approx(2.5, abs=0.01)


def test_a_little_silence_is_found_when_the_time_is_over():
    told = asked()
    told.agent(response(2, ANSWER), audio(2, bytes(16_000)))
    assert told.due() is None
    assert told.due(LONG_ENOUGH) == "silent"


def test_a_greeting_can_be_silent_too():
    told = Told()
    told.agent(response(1, GREETING), *[audio(1, bytes(16_000))] * 5)
    assert told.due() == "silent"


# --- Breaks


@pytest.mark.parametrize("messages", range(1, 13))
def test_an_answer_that_stops_is_found_when_the_client_has_run_out_of_sound(messages):
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:messages])
    playing = told.tracker.takeover(told.clock.now).unplayed_seconds
    assert told.due(playing + PATIENCE - 0.1) is None
    assert not told.is_idle
    assert told.due(0.2) == "answer_stalled"
    left = told.tracker.takeover(told.clock.now)
    assert left.rest is not None
    assert left.said + left.rest == left.full_text == ANSWER
    assert left.question is None
    assert left.history[-1] == PastTurn("user", "When are you open?")


def test_a_gap_has_a_patience_of_its_own():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:4])
    now = told.clock.tick(told.tracker.takeover(told.clock.now).unplayed_seconds + 1.1)
    assert told.tracker.due(now, PATIENCE) is None
    assert told.tracker.due(now, PATIENCE, 1.0) == "answer_stalled"


def test_an_agent_that_says_it_is_done_too_soon_has_cut_its_answer():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:4], {"type": "agent_response_complete"})
    assert told.due(20.0) == "truncated"


def test_an_answer_that_was_cut_before_the_user_typed_on_is_a_fault():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:4])
    told.clock.tick(told.tracker.takeover(told.clock.now).unplayed_seconds + 0.5)
    told.types("And on Sundays?")
    assert told.due() == "truncated"
    left = told.tracker.takeover(told.clock.now)
    assert (left.question, left.rest) == ("And on Sundays?", None)
    assert left.history[-1] == PastTurn("agent", "We are open from")


def test_without_a_splice_what_was_said_is_history():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:4])
    left = told.tracker.takeover(told.clock.now, splice=False)
    assert left.rest is None
    assert left.history[-2:] == (PastTurn("user", "When are you open?"), PastTurn("agent", "We are open from"))


def test_sound_whose_text_never_came_cannot_be_gone_on_with_so_the_question_is_asked_again():
    told = asked()
    told.agent(*spoken(2, ANSWER)[:4])
    left = told.tracker.takeover(told.clock.now)
    assert (left.question, left.rest) == ("When are you open?", None)
    assert left.history[-1] == PastTurn("agent", "We are open from")


def test_an_answer_that_was_said_and_played_is_not_said_again():
    told = asked()
    told.agent(
        response(2, ANSWER), *[audio(2, voice(0.5))] * 6
    )  # by time alone: three seconds of about three and a half
    told.play_out()
    assert told.is_idle
    left = told.tracker.takeover(told.clock.now)
    assert (left.question, left.rest) == (None, None)
    assert left.history[-1].speaker == "agent"


# --- Breaking in


def test_who_breaks_in_by_voice_has_heard_what_was_played_and_is_waited_for():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER))
    told.clock.tick(1.3)
    told.agent(interruption(2))
    assert told.due(60.0) is None
    assert told.words()[-1] == ("agent", "We are open from nine")
    told.agent(correction(2, ANSWER, "We are open from..."))
    assert told.words()[-1] == ("agent", "We are open from...")
    told.agent(transcript(3, "And on Sundays?"))
    assert told.due(PATIENCE - 0.1) is None
    assert told.due(0.2) == "first_audio_late"
    assert told.tracker.takeover(told.clock.now).question == "And on Sundays?"


@pytest.mark.parametrize("with_interruption", [True, False])
@pytest.mark.parametrize("late", [0, 3])
def test_who_breaks_in_by_writing_waits_for_the_new_answer(with_interruption, late):
    """The agent's interruption comes behind the message, and sound of the old answer until then."""
    told = asked()
    messages = spoken(2, ANSWER)
    told.agent(response(2, ANSWER), *messages[:6])
    told.clock.tick(0.5)
    told.types("And on Sundays?")
    told.clock.tick(0.1)
    told.agent(*messages[6 : 6 + late])
    assert told.tracker.take_answer_seconds() is not None  # the old one's
    if with_interruption:
        told.agent(interruption(2), correction(2, ANSWER, "We are"))
    assert told.tracker.awaiting_since is not None
    told.clock.tick(0.4)
    told.agent(response(3, "Closed."), *spoken(3, "Closed."))
    assert told.tracker.take_answer_seconds() is not None
    assert told.due(60.0) is None
    words = told.words()
    assert words[-2:] == [("user", "And on Sundays?"), ("agent", "Closed.")]
    assert words[-3][1] == "We are" if with_interruption else words[-3][1].startswith("We are open from ")


def test_nothing_comes_behind_a_written_message_that_broke_in():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:6])
    told.types("And on Sundays?")
    told.agent(interruption(2))
    assert told.due(LONG_ENOUGH) == "first_audio_late"


def test_who_speaks_on_while_the_agent_thinks_has_one_question():
    told = asked("When are you open?")
    told.agent(interruption(2))
    assert told.due(60.0) is None
    told.agent(transcript(3, "On Sundays?"))
    assert told.tracker.takeover(told.clock.now).question == "When are you open? On Sundays?"


def test_an_answer_of_which_nothing_was_heard_leaves_the_question_open():
    told = asked("When are you open?")
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:2], interruption(2), correction(2, ANSWER, ""))
    told.agent(transcript(3, "On Sundays?"))
    assert told.tracker.takeover(told.clock.now).question == "When are you open? On Sundays?"
    assert told.words() == [("agent", GREETING)]


def test_a_false_alarm_of_the_ears_makes_nobody_late():
    told = greeted()
    told.agent(interruption(1), tentative(2, "uh"))
    assert told.due(60.0) is None
    assert told.is_idle


@pytest.mark.parametrize("messages", [5, 100])
def test_the_transcript_may_come_before_the_interruption(messages):
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:messages])
    told.clock.tick(0.7)
    told.agent(transcript(3, "And on Sundays?"))
    told.clock.tick(0.1)
    told.agent(interruption(2), correction(2, ANSWER, "We are"))
    assert told.tracker.awaiting_since is not None
    told.agent(response(3, "Closed."), *spoken(3, "Closed."))
    assert told.due(60.0) is None
    assert told.words()[-3:] == [("agent", "We are"), ("user", "And on Sundays?"), ("agent", "Closed.")]


def test_who_breaks_in_between_the_text_and_its_sound_is_waited_for():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    told.types("And on Sundays?")
    told.agent(interruption(2), response(3, "Closed."), interruption(3))
    assert told.due(60.0) is None


# --- What is nobody's fault


@pytest.mark.parametrize("text", ["", "   ", None])
def test_an_empty_message_asks_for_nothing(text):
    told = greeted()
    told.types(text)
    assert told.due(60.0) is None
    assert told.is_idle


@pytest.mark.parametrize("text", ["...", "", "…"])
def test_a_transcript_without_words_asks_for_nothing(text):
    told = greeted()
    told.agent(transcript(2, text))
    assert told.due(60.0) is None


def test_a_user_who_goes_on_speaking_is_waited_for():
    told = asked()
    for _ in range(20):
        told.clock.tick(1.0)
        told.agent({"type": "vad_score", "vad_score_event": {"vad_score": 0.9}})
        assert told.due() is None
    for _ in range(20):
        told.clock.tick(1.0)
        told.agent(tentative(3, "and then I would"))
        assert told.due() is None
    assert told.due(LONG_ENOUGH) == "first_audio_late"


def test_a_clients_tool_is_waited_for_and_what_comes_of_it_is_the_agents_affair():
    told = asked()
    told.agent(tool("agent_tool_request", "t1"), tool("client_tool_call", "t1"))
    assert told.due(60.0) is None
    assert told.tracker.takeover(told.clock.now).tool_call_id == "t1"
    told.tracker.from_client({"type": "client_tool_result", "tool_call_id": "t1", "result": "", "is_error": False})
    told.agent(tool("agent_tool_response", "t1"))
    assert not told.is_idle
    assert told.due(60.0) is None
    left = told.tracker.takeover(told.clock.now)
    assert (left.question, left.tool_call_id) == ("When are you open?", None)
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:4])
    assert told.due(20.0) == "answer_stalled"


def test_words_before_a_tool_do_not_answer_the_question():
    told = asked()
    told.agent(response(2, "Let me see."), *spoken(2, "Let me see."), tool("client_tool_call", "t1"))
    told.clock.tick(5.0)
    left = told.tracker.takeover(told.clock.now)
    assert (left.question, left.rest) == ("When are you open?", None)
    assert left.history[-1] == PastTurn("agent", "Let me see.")


@pytest.mark.parametrize("name", ["skip_turn", "end_call", "transfer_to_number"])
def test_an_agent_that_chooses_to_say_nothing_owes_nothing(name):
    told = asked()
    for kind in ("agent_tool_request", "agent_tool_response"):
        told.agent(tool(kind, "t1", tool_type="system", name=name))
    assert told.due(60.0) is None
    assert told.is_idle


def test_words_while_a_tool_works_are_not_the_agents_to_answer():
    told = asked()
    told.agent(tool("client_tool_call", "t1"), transcript(3, "Are you there?"))
    assert told.due(20.0) is None


def test_people_take_their_time():
    told = greeted()
    told.agent({"type": "external_agent_connected"}, transcript(2, "Hello?"))
    assert told.due(600.0) is None
    told.agent({"type": "external_agent_disconnected"}, transcript(3, "Hello?"))
    assert told.due(LONG_ENOUGH) == "first_audio_late"


# --- Orders of events


def test_sound_may_come_before_its_text():
    told = asked()
    messages = spoken(2, ANSWER)
    told.agent(*messages[:3], response(2, ANSWER), *messages[3:])
    assert told.due(60.0) is None
    assert told.is_idle


def test_text_may_come_behind_all_of_its_sound():
    told = asked()
    told.agent(*spoken(2, ANSWER), response(2, ANSWER))
    assert told.due(60.0) is None
    assert told.words()[-1] == ("agent", ANSWER)


def test_a_transcript_may_come_behind_the_answer():
    told = greeted()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER), transcript(2, "When are you open?"))
    assert told.due(60.0) is None
    assert told.is_idle
    assert told.words()[-2:] == [("user", "When are you open?"), ("agent", ANSWER)]


def test_the_same_transcript_once_more_is_no_other_question():
    told = asked("When are you")
    told.agent(transcript(2, "When are you open?"))
    assert told.tracker.takeover(told.clock.now).question == "When are you open?"


def test_an_agent_may_speak_again_of_itself():
    told = greeted()
    told.clock.tick(7.0)
    told.agent(response(2, "Are you still there?"), *spoken(2, "Are you still there?"))
    assert told.due(60.0) is None
    assert told.words() == [("agent", GREETING), ("agent", "Are you still there?")]


def test_a_nudge_that_breaks_off_is_gone_on_with():
    told = greeted()
    told.agent(response(2, "Are you still there?"), *spoken(2, "Are you still there?")[:3])
    assert told.due(20.0) == "answer_stalled"
    left = told.tracker.takeover(told.clock.now)
    assert (left.rest, left.history) == ("still there?", (PastTurn("agent", GREETING),))


def test_an_answer_in_several_texts_is_said_to_the_end():
    told = asked()
    told.agent(response(2, "Let me see."), *spoken(2, "Let me see.")[:2])
    told.agent(response(3, ANSWER), *spoken(2, "me see.")[1:], *spoken(3, ANSWER)[:3])
    left = told.tracker.takeover(told.clock.now)
    assert left.rest is not None
    assert left.rest.endswith("every day but Sunday.")
    assert told.due(20.0) == "answer_stalled"


def test_an_id_that_is_used_again_after_an_interruption_is_another_answer():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    told.clock.tick(1.0)
    told.agent(interruption(2), transcript(2, "No, on Sundays?"))
    told.agent(response(2, "Closed."), *spoken(2, "Closed."))
    assert told.due(60.0) is None
    assert told.words()[-2:] == [("user", "No, on Sundays?"), ("agent", "Closed.")]


@pytest.mark.parametrize(
    "kind", ["user_transcript", "agent_response", "interruption", "client_tool_call", "vad_score", "no_such_event"]
)
@pytest.mark.parametrize("inner", [None, 1, "text", [], {}, {"event_id": "x", "tool_call_id": 3, "vad_score": "loud"}])
def test_what_makes_no_sense_changes_nothing(kind, inner):
    told = greeted()
    told.tracker.from_agent(kind, {"type": kind, f"{kind}_event": inner, kind: inner})
    told.tracker.from_client({"type": kind, "text": inner})
    assert told.due(60.0) is None


# --- Text without sound


@pytest.mark.parametrize("is_known", [True, False])
def test_where_there_is_no_sound_the_text_is_the_answer(is_known):
    told = Told()
    told.tracker.text_only = is_known
    told.agent(response(1, GREETING))
    told.types("When are you open?")
    told.clock.tick(0.5)
    told.agent(part(2, "start"), part(2, "delta", "We are "))
    assert told.tracker.take_answer_seconds() == pytest.approx(0.5)
    assert not told.is_idle
    told.agent(part(2, "delta", "open."), part(2, "stop"), response(2, "We are open."))
    assert told.due(60.0) is None
    assert told.is_idle
    assert told.words() == [("agent", GREETING), ("user", "When are you open?"), ("agent", "We are open.")]
    told.types("Really?")
    assert told.due(LONG_ENOUGH) == "first_audio_late"


def test_a_written_answer_that_stops_in_the_middle_is_asked_for_again():
    told = Told()
    told.tracker.text_only = True
    told.types("When are you open?")
    told.agent(part(2, "start"), part(2, "delta", "We are "))
    assert told.due(4.0) is None
    assert told.due(4.0) == "answer_stalled"


# --- Legs


def test_the_next_leg_finishes_the_answer_and_may_break_too():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    takeover = taken_over(told)
    told.tracker.begin_leg(takeover)
    assert takeover.rest is not None
    assert not told.is_idle
    assert not told.tracker.has_answered
    told.agent(*spoken(2, takeover.rest)[:4])
    assert told.tracker.has_answered
    again = taken_over(told)
    assert again.full_text == ANSWER
    assert again.rest is not None
    assert ANSWER.endswith(again.rest)
    assert len(again.rest) < len(takeover.rest)
    told.tracker.begin_leg(again)
    told.agent(*spoken(2, again.rest))
    assert told.due(60.0) is None
    assert told.is_idle
    assert told.words()[-2:] == [("user", "When are you open?"), ("agent", ANSWER)]


def test_a_next_leg_that_does_not_finish_the_answer_is_late():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    told.tracker.begin_leg(taken_over(told))
    assert told.due(20.0) == "answer_stalled"
    assert taken_over(told).rest is not None


def test_the_next_leg_is_given_its_time_for_the_question():
    told = asked()
    assert told.due(LONG_ENOUGH) == "first_audio_late"
    told.tracker.begin_leg(taken_over(told))
    assert told.due(PATIENCE - 0.1) is None
    told.agent(response(2, ANSWER), *spoken(2, ANSWER))
    assert told.due(60.0) is None
    assert told.words()[-2:] == [("user", "When are you open?"), ("agent", ANSWER)]


def test_a_tool_call_dies_with_its_leg():
    told = asked()
    told.agent(tool("client_tool_call", "t1"))
    assert told.tracker.begin_leg(taken_over(told)) == {"t1"}
    assert told.due(LONG_ENOUGH) == "first_audio_late"


def test_a_leg_between_two_turns_begins_with_nothing_to_do():
    told = greeted()
    told.tracker.begin_leg(taken_over(told))
    assert told.is_idle
    assert told.due(60.0) is None
    told.agent(transcript(1, "When are you open?"))
    assert told.due(LONG_ENOUGH) == "first_audio_late"


def test_another_leg_counts_its_turns_anew():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER))
    told.play_out()
    told.tracker.begin_leg(taken_over(told))
    told.agent(transcript(2, "And on Sundays?"))
    assert told.due(LONG_ENOUGH) == "first_audio_late"
    assert told.tracker.takeover(told.clock.now).question == "And on Sundays?"


def test_last_words_are_not_the_agents_answer():
    told = asked()
    told.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    goodbye = "We are closed for today."
    told.tracker.begin_leg(taken_over(told, rest=goodbye, full_text=goodbye, announce=True, question=None))
    assert not told.is_idle
    told.agent(response(3, goodbye), *spoken(3, goodbye))
    assert not told.is_idle
    told.play_out()
    assert told.is_idle
    assert told.tracker.has_answered
    assert told.words()[-3:] == [
        ("user", "When are you open?"), ("agent", "We are open from"), ("agent", goodbye),
    ]  # fmt: skip


def test_another_worker_goes_on_with_what_was_said():
    told = Told(is_open=False)
    told.tracker.restore([PastTurn("user", "Hi"), PastTurn("agent", "Hello")])
    told.tracker.begin_leg(taken_over(told, question="And now?"))
    assert told.due(LONG_ENOUGH) == "first_audio_late"
    assert told.words() == [("user", "Hi"), ("agent", "Hello")]


def test_what_is_kept_is_bounded():
    told = greeted()
    for turn in range(2, 120):
        told.agent(transcript(turn, "word " * 200), response(turn, "answer " * 100), *spoken(turn, "answer"))
        told.agent(interruption(turn), correction(turn, "answer " * 100, "answer " * 100))
    left = told.tracker.takeover(told.clock.now)
    assert len(left.history) <= 50
    assert 15_000 < sum(len(turn.text) for turn in left.history) <= 20_000
    assert isinstance(told.tracker, TurnTracker)
