"""What of a conversation is put aside: answers that were said to their end, with their words; and nothing else."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from service.audio_quality.answer_sampling import AnswerSampling, TakeCopy
from service.audio_quality.sample import Sample
from service.audio_quality.tap import MAX_MESSAGES, AnswerTap
from service.storage import Leg


class Talk:
    """A conversation, as far as sampling sees it."""

    def __init__(self, share: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self.take: TakeCopy | None = None
        tap = AnswerTap(share, self.samples.append, capability="conversation")
        self.sampling = AnswerSampling(tap, voice="agent_1", copy_audio_to=self._copy_to)
        self.sampling.leg_begins("elevenlabs", "pcm_16000")

    def _copy_to(self, take: TakeCopy | None) -> None:
        self.take = take

    def audio(self, *messages: bytes) -> None:
        for message in messages:
            if self.take is not None:
                self.take(message)

    def says(self, text: str) -> None:
        self.sampling.from_agent("agent_response", {"agent_response_event": {"agent_response": text}})


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_each_answer_is_handed_in_with_its_own_sound_and_words(talk: Talk) -> None:
    for text, sound in (("Hello.", b"1"), ("We open at nine.", b"2")):
        talk.says(text)
        talk.audio(sound)
        talk.sampling.turn_ended(is_answered=True)
    assert [(each.messages, each.characters) for each in talk.samples] == [((b"1",), 6), ((b"2",), 16)]
    assert {(each.provider, each.voice) for each in talk.samples} == {("elevenlabs", "agent_1")}


def test_an_answer_is_named_by_its_conversation_leg_and_turn_and_by_when_it_began(talk: Talk) -> None:
    before = time.time()
    talk.audio(b"1", b"2")
    after = time.time()
    leg = Leg("conv_1", 2, "local", datetime.now(UTC))
    talk.sampling.turn_ended(is_answered=True, leg=leg, turn=7)
    (name,) = [each.answer for each in talk.samples]
    assert name is not None
    assert (name.conversation_id, name.leg, name.turn) == ("conv_1", 2, 7)
    assert before <= name.began_at <= after


def test_an_interrupted_answer_is_not_judged_and_the_next_one_is(talk: Talk) -> None:
    talk.audio(b"1")
    talk.sampling.from_agent("interruption", {})
    assert talk.take is None
    talk.audio(b"late")
    talk.sampling.turn_ended(is_answered=False)
    talk.audio(b"2")
    talk.says("Yes.")
    talk.sampling.turn_ended(is_answered=True)
    assert [each.messages for each in talk.samples] == [(b"2",)]


def test_an_answer_that_failed_is_not_judged(talk: Talk) -> None:
    talk.audio(b"1")
    talk.sampling.turn_ended(is_answered=False)
    assert talk.samples == []


def test_a_change_of_the_leg_drops_what_the_one_before_has_begun(talk: Talk) -> None:
    talk.audio(b"1")
    talk.sampling.leg_begins("local", "ulaw_8000")
    talk.audio(b"2")
    talk.sampling.turn_ended(is_answered=True)
    assert [(each.provider, each.sound_format, each.messages) for each in talk.samples] == [
        ("local", "ulaw_8000", (b"2",))
    ]


def test_the_rest_of_an_answer_that_another_has_begun_is_not_judged(talk: Talk) -> None:
    talk.audio(b"1")
    talk.sampling.leg_begins("local", "pcm_16000", midway=True)
    talk.audio(b"rest")
    talk.sampling.turn_ended(is_answered=True)
    talk.audio(b"2")
    talk.sampling.turn_ended(is_answered=True)
    assert [each.messages for each in talk.samples] == [(b"2",)]


def test_an_answer_without_sound_is_none(talk: Talk) -> None:
    talk.says("Only text.")
    talk.sampling.turn_ended(is_answered=True)
    assert talk.samples == []


def test_when_an_answer_is_long_enough_no_more_is_copied(talk: Talk) -> None:
    talk.audio(*[b"x"] * (MAX_MESSAGES + 1))
    assert talk.take is None
    talk.sampling.turn_ended(is_answered=True)
    assert talk.samples[0].is_cut
    assert talk.take is not None


def test_at_the_conversations_end_what_was_begun_is_dropped(talk: Talk) -> None:
    talk.audio(b"1")
    talk.sampling.ends()
    assert talk.take is None
    assert talk.samples == []


def test_without_a_share_nothing_is_ever_copied() -> None:
    talk = Talk(share=0.0)
    for _ in range(50):
        assert talk.take is None
        talk.sampling.turn_ended(is_answered=True)
    assert talk.samples == []
