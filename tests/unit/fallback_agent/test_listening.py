"""Speech in: transcripts when there are ears, an honest word when there are none, and never a stalled agent."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.fallback.local_agent_profile import LINES
from service.fallback.local_ears import EarsError, Transcript
from tests.unit.fallback_agent.conftest import OpenTalk
from tests.unit.fallback_agent.talk import LIMIT, Talk, event_id, read_wav

Recording = Callable[[str], Path]


class ListedEars:
    """Ears that hear what the test says they hear; each utterance waits for `open_gate`."""

    def __init__(self, *texts: str | None) -> None:
        self._texts = list(texts)
        self.gate = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.languages: list[str | None] = []

    def transcribe(self, pcm: bytes, sample_rate: int, language: str | None = None) -> Transcript:
        self.waiting.release()
        self.languages.append(language)
        assert len(pcm) > sample_rate * 2 * 0.5
        assert self.gate.wait(LIMIT)
        text = self._texts.pop(0)
        if text is None:
            raise EarsError("out of order")
        return Transcript(text, "en", 0.9)


@pytest.fixture
def listed_ears() -> Iterator[Callable[..., ListedEars]]:
    made: list[ListedEars] = []

    def make(*texts: str | None) -> ListedEars:
        made.append(ListedEars(*texts))
        return made[-1]

    yield make
    for ears in made:
        ears.gate.set()


def test_without_ears_each_utterance_gets_one_honest_answer(open_talk: OpenTalk, recording: Recording) -> None:
    talk = open_talk(first_messages={})
    talk.say(recording("question-price-en"))

    assert talk.wait_for_answer(1) == LINES["en"].cannot_hear
    assert talk.events("user_transcript") == []


def test_an_utterance_becomes_a_transcript_and_then_an_answer(
    open_talk: OpenTalk, recording: Recording, listed_ears: Callable[..., ListedEars]
) -> None:
    ears = listed_ears("What are your opening hours?")
    ears.gate.set()
    talk = open_talk({"ears": ears}, first_messages={})
    talk.say(recording("question-price-en"))
    talk.wait_for("audio")

    order = [kind for kind in talk.kinds() if kind.endswith(("transcript", "response"))]
    assert order == ["tentative_user_transcript", "user_transcript", "agent_response"]
    assert {event_id(talk.events(kind)[0]) for kind in order} == {1}
    assert ears.languages == ["en"]


def test_a_slow_transcription_delays_neither_pings_nor_typed_questions(
    open_talk: OpenTalk, recording: Recording, listed_ears: Callable[..., ListedEars]
) -> None:
    ears = listed_ears("Where are you?")
    talk = open_talk({"ears": ears, "ping_seconds": 0.02}, first_messages={})
    talk.say(recording("question-price-en"))
    assert ears.waiting.acquire(timeout=LIMIT)
    pings = len(talk.events("ping"))
    talk.wait_for("ping", pings + 3)
    talk.write("Do you have parking?")

    assert "park" in talk.wait_for_answer(1)
    ears.gate.set()
    talk.wait_for("user_transcript")
    talk.wait_for("interruption")  # the answer to what was said takes the place of the one that was being said


def test_a_pause_within_a_question_makes_no_second_answer(
    open_talk: OpenTalk, recording: Recording, listed_ears: Callable[..., ListedEars]
) -> None:
    ears = listed_ears("I have a question.", "What are your opening hours?")
    talk = open_talk({"ears": ears}, first_messages={})
    talk.say(recording("question-price-en"))
    assert ears.waiting.acquire(timeout=LIMIT)
    _begin_to_speak(talk, recording("question-hours-es"))
    ears.gate.set()
    talk.wait_for("user_transcript", 1)
    assert talk.events("agent_response") == []
    talk.say(recording("question-hours-es"))
    talk.wait_for("user_transcript", 2)
    talk.wait_for("audio")

    assert len(talk.events("agent_response")) == 1


def _begin_to_speak(talk: Talk, path: Path) -> None:
    """Send the first second and a half of a recording, so that an utterance has begun and not ended."""
    sound, rate = read_wav(path)
    talk.agent.receive({"user_audio_chunk": base64.b64encode(sound[: rate * 3]).decode()})


@pytest.mark.parametrize("heard", ["", None])
def test_what_was_not_understood_is_not_answered_and_the_talk_goes_on(
    open_talk: OpenTalk, recording: Recording, listed_ears: Callable[..., ListedEars], heard: str | None
) -> None:
    ears = listed_ears(heard)
    ears.gate.set()
    talk = open_talk({"ears": ears}, first_messages={})
    talk.say(recording("question-price-en"))
    assert ears.waiting.acquire(timeout=LIMIT)
    talk.write("Do you have parking?")

    assert "park" in talk.wait_for_answer(1)
    assert talk.events("user_transcript") == []


def test_closing_does_not_wait_for_a_transcription(
    open_talk: OpenTalk, recording: Recording, listed_ears: Callable[..., ListedEars]
) -> None:
    ears = listed_ears("Where are you?")
    talk = open_talk({"ears": ears}, first_messages={})
    talk.say(recording("question-price-en"))
    assert ears.waiting.acquire(timeout=LIMIT)
    talk.close()  # the gate is still shut

    assert talk.events("user_transcript") == []


def test_voice_scores_are_told_to_those_who_asked_for_them(open_talk: OpenTalk, recording: Recording) -> None:
    talk = open_talk(first_messages={}, client_events=frozenset({"vad_score"}))
    talk.say(recording("question-price-en"))
    _begin_to_speak(talk, recording("question-price-en"))

    scores = [event["vad_score_event"]["vad_score"] for event in talk.events("vad_score")]
    talk.wait_for("vad_score")
    assert all(0.0 <= score <= 1.0 for score in scores)
