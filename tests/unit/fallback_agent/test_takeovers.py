"""What an agent says first that takes a conversation over: the rest of a broken answer, an answer, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.fallback.faq_dialogue import Reply
from service.fallback.local_agent_speech import Pace, SpokenAnswer
from service.fallback.spoken_piece import SpokenPiece, align
from service.fallback.takeover import Opening, Splice, Takeover
from service.fallback.talk_history import PastTurn
from tests.unit.fallback_agent.conftest import OpenTalk
from tests.unit.fallback_agent.talk import AT_ONCE, Talk, event_id

FULL = "We are open every day. On Sundays we close at two. Please come and see us."
REST = "we close at two. Please come and see us."


def _begin(start_talk: OpenTalk, opening: Opening, **fields: Any) -> Talk:
    options = fields.pop("options", {})
    talk = start_talk({"opening": opening, **options}, **fields)
    talk.wait_for("conversation_initiation_metadata")
    return talk


def _spoken(talk: Talk) -> str:
    return "".join("".join(each["audio_event"]["alignment"]["chars"]) for each in talk.events("audio"))


def test_the_rest_of_an_answer_is_spoken_at_once_and_its_text_is_not_sent_again(start_talk: OpenTalk) -> None:
    opening = Opening(splice=Splice(rest=REST, full_text=FULL))
    talk = _begin(start_talk, opening, options={"first_event_id": 7})
    talk.wait_until(lambda: _spoken(talk) == REST, "the rest")

    assert {event_id(each) for each in talk.events("audio")} == {7}
    assert talk.events("agent_response") == []


def test_a_text_that_the_client_was_never_told_is_announced_whole(start_talk: OpenTalk) -> None:
    talk = _begin(start_talk, Opening(splice=Splice(rest=REST, full_text=FULL, announce=True)))
    talk.wait_until(lambda: _spoken(talk) == REST, "the rest")

    assert talk.wait_for_answer(1) == FULL
    assert talk.kinds().index("agent_response") < talk.kinds().index("audio")


def test_an_interrupted_rest_is_corrected_with_what_was_heard_of_the_whole(start_talk: OpenTalk) -> None:
    talk = _begin(start_talk, Opening(splice=Splice(rest=REST, full_text=FULL)), options={"pace": Pace()})
    talk.wait_for("audio", 2)
    talk.write("Where are you?")
    correction = talk.wait_for("agent_response_correction")["agent_response_correction_event"]

    assert correction["original_agent_response"] == FULL
    heard = correction["corrected_agent_response"]
    assert heard.startswith("We are open every day. On Sundays")
    assert FULL.startswith(heard)
    assert len(heard) < len(FULL)
    assert talk.events("interruption")


def test_who_breaks_in_before_the_rest_has_a_sound_is_told_what_was_heard_before(start_talk: OpenTalk) -> None:
    class LateVoice:
        kind = "late"

        def speak(self, _text: str, **_: Any) -> Any:
            return iter(())

    talk = _begin(start_talk, Opening(splice=Splice(rest=REST, full_text=FULL)), options={"voice": LateVoice()})
    talk.send("user_message", text="What time is it on my device?")
    talk.wait_for("client_tool_call")

    corrections = talk.events("agent_response_correction")
    heard = [each["agent_response_correction_event"]["corrected_agent_response"] for each in corrections]
    assert heard in ([], ["We are open every day. On Sundays"])  # [] if the answer without a sound was over already


def test_sound_that_the_client_still_plays_is_not_counted_as_heard_of_the_rest() -> None:
    splice = Splice(rest=REST, full_text=FULL, unplayed_seconds=5.0)
    answer = SpokenAnswer(1, FULL, output_format="pcm_16000", pace=AT_ONCE, now=100.0, splice=splice)
    piece = SpokenPiece(REST, bytes(32_000 * 4), 16_000, align(REST, (), 4.0))
    answer.add(piece, answer.encoded(piece))
    answer.complete()
    assert list(answer.due(100.0))

    assert answer.heard_text(104.0) == "We are open every day. On Sundays"
    assert answer.heard_text(108.0).startswith("We are open every day. On Sundays we close")
    assert not answer.is_over(108.9)
    assert answer.heard_text(109.1) == FULL


def test_a_question_that_was_left_unanswered_is_answered_at_once(start_talk: OpenTalk) -> None:
    talk = _begin(start_talk, Opening(question="When do you open?", greets=True))

    assert "open" in talk.wait_for_answer(1)
    assert talk.events("user_transcript") == []


def test_a_conversation_between_two_turns_goes_on_in_silence(start_talk: OpenTalk) -> None:
    talk = _begin(start_talk, Opening())
    talk.write("When do you open?")

    assert "open" in talk.wait_for_answer(1)


def test_a_farewell_is_all_that_is_said(start_talk: OpenTalk) -> None:
    talk = _begin(start_talk, Opening(farewell="Goodbye.", question="When do you open?"))

    assert talk.wait_for_end()[0] == 1000
    assert [each["agent_response_event"]["agent_response"] for each in talk.events("agent_response")] == ["Goodbye."]


def test_a_written_rest_goes_on_where_it_broke_off(start_talk: OpenTalk) -> None:
    opening = Opening(splice=Splice(rest=REST, full_text=FULL, announce=True))
    talk = _begin(start_talk, opening, text_only=True)
    assert talk.wait_for_answer(1) == FULL

    parts = [each["text_response_part"] for each in talk.events("agent_chat_response_part")]
    assert [part["type"] for part in parts if part["type"] != "delta"] == ["stop"]
    assert "".join(part["text"] for part in parts) == REST


def test_the_dialogue_knows_what_both_have_said(start_talk: OpenTalk) -> None:
    asked: list[tuple[str, Sequence[PastTurn], Sequence[str]]] = []

    class Echo:
        def reply(self, question: str, *, history: Sequence[PastTurn], context: Sequence[str], **_: Any) -> Reply:
            asked.append((question, history, context))
            return Reply(f"Answer {len(asked)}.", None, "en", 1.0)

    history = (PastTurn("user", "Hello."), PastTurn("agent", "Good day."))
    options = {"history": history, "dialogue": Echo()}
    talk = _begin(start_talk, Opening(question="One?"), options=options, text_only=True, prompt="Be brief.")
    talk.wait_for_answer(1)
    talk.send("contextual_update", text="The user is in Lima.")
    talk.write("Two?")
    talk.wait_for_answer(2)

    assert asked[0] == ("One?", history, ["Be brief."])
    question, said, context = asked[1]
    assert question == "Two?"
    assert said == (*history, PastTurn("user", "One?"), PastTurn("agent", "Answer 1."))
    assert context == ["Be brief.", "The user is in Lima."]


def test_a_rest_of_nothing_is_no_splice() -> None:
    assert Takeover(agent_id="a", conversation_id="c", rest=" ").splice is None
    assert Takeover(agent_id="a", conversation_id="c", full_text="All said.").splice is None
