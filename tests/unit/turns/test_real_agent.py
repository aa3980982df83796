"""Conversations with a real agent, the one that the sandbox runs, as a tracker sees them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from service.conversation.turns import TalkSoFar, TurnTracker
from service.fallback.faq_dialogue import FaqDialogue
from service.fallback.local_agent_speech import Pace
from service.fallback.local_voice import EspeakVoice, Voice
from service.fallback.spoken_piece import SpokenPiece
from tests.parts import require_module
from tests.servers import ROOT
from tests.unit.fallback_agent.talk import AT_ONCE, LIMIT, LONG_GREETING, Talk, event_id, profile, sound_of
from tests.unit.turns.talks import PATIENCE, Told

OpenTalk = Callable[..., "Watched"]
QUESTIONS = ("Where are you?", "When are you open?", "What does it cost?", "Do you sell maps?")
QUICKER = 20


class QuickVoice:
    """A voice that says everything in a twentieth of the time, so that nobody has to wait until it was played."""

    kind = "quick"

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def speak(self, text: str, **options: Any) -> Iterator[SpokenPiece]:
        for piece in self._voice.speak(text, **options):
            starts, ends = ([at / QUICKER for at in times] for times in (piece.alignment.starts, piece.alignment.ends))
            alignment = replace(piece.alignment, starts=tuple(starts), ends=tuple(ends))
            length = len(piece.pcm) // QUICKER // 2 * 2
            yield replace(piece, pcm=piece.pcm[length * 4 : length * 5], alignment=alignment)


class BrokenVoice:
    """A voice that is silent, or breaks off after a share of what it was to say."""

    kind = "broken"

    def __init__(self, voice: Voice, *, share: float = 1.0, is_silent: bool = False) -> None:
        self._voice = voice
        self._share = share
        self._is_silent = is_silent

    def speak(self, text: str, **options: Any) -> Iterator[SpokenPiece]:
        pieces = list(self._voice.speak(text, **options))
        left = int(sum(len(piece.pcm) for piece in pieces) * self._share)
        for piece in pieces:
            sound = piece.pcm[: left // 2 * 2]
            left -= len(sound)
            if sound:
                yield replace(piece, pcm=bytes(len(sound)) if self._is_silent else sound)


class Watched:
    """A talk, and a tracker that is told of it event by event and in order."""

    def __init__(self, voice: Voice, dialogue: FaqDialogue, *, pace: Pace = AT_ONCE, **fields: Any) -> None:
        self.tracker = TurnTracker()
        self.talk = Talk(profile(**fields), dialogue=dialogue, voice=voice, pace=pace)
        self._count = 0
        self.talk.open()

    def write(self, text: str) -> None:
        self.catch_up()
        self.tracker.from_client({"type": "user_message", "text": text})
        self.talk.write(text)

    def catch_up(self) -> None:
        """Tell the tracker what has come, as the relay does: audio as bytes."""
        events = self.talk.events()
        for event in events[self._count :]:
            if event["type"] == "audio":
                data = json.dumps(event, separators=(",", ":")).encode()
                self.tracker.audio(data, 0, len(data))
            else:
                self.tracker.from_agent(event["type"], event)
        self._count = len(events)

    def wait_until_said(self, text: str) -> None:
        """Wait until all of a text's sound has come."""
        self.talk.wait_until(lambda: spoken_text(self.talk).endswith(text), f"sound of {text!r}")
        self.catch_up()

    def wait_until_idle(self) -> None:
        wait_until(lambda: self.tracker.is_idle(time.monotonic()), LIMIT)

    def due(self, seconds_later: float = 0.0) -> str | None:
        """What is overdue after so many seconds in which nothing comes."""
        return self.tracker.due(time.monotonic() + seconds_later, PATIENCE)

    def words(self) -> list[tuple[str, str]]:
        return [(turn.speaker, turn.text) for turn in self.left().history]

    def left(self) -> TalkSoFar:
        return self.tracker.takeover(time.monotonic())


def newest_sound(talk: Talk) -> int:
    """The id of the latest sound."""
    return max(event_id(each) for each in talk.events("audio"))


def spoken_seconds(talk: Talk) -> float:
    return sum(len(sound_of(each)) for each in talk.events("audio")) / 32_000


def spoken_text(talk: Talk) -> str:
    return "".join("".join(each["audio_event"]["alignment"]["chars"]) for each in talk.events("audio"))


@pytest.fixture(scope="module")
def voice() -> Voice:
    require_module("espeakng_loader", "local")
    return EspeakVoice()


@pytest.fixture(scope="module")
def dialogue() -> FaqDialogue:
    return FaqDialogue.load(ROOT / "sandbox" / "faq.yaml")


@pytest.fixture
def watch(voice: Voice, dialogue: FaqDialogue) -> Iterator[OpenTalk]:
    watched: list[Watched] = []

    def start(adapt: Callable[[Voice], Voice] = lambda voice: voice, **fields: Any) -> Watched:
        watched.append(Watched(adapt(voice), dialogue, **fields))
        return watched[-1]

    yield start
    for each in watched:
        each.talk.close()


def test_a_talk_to_the_end(watch: OpenTalk) -> None:
    watched = watch(QuickVoice)
    watched.wait_until_said(LONG_GREETING)
    expected = [("agent", LONG_GREETING)]
    for number, question in enumerate(QUESTIONS, start=2):
        watched.wait_until_idle()
        watched.write(question)
        answer = watched.talk.wait_for_answer(number)
        watched.wait_until_said(answer)
        assert watched.tracker.take_answer_seconds() is not None
        assert watched.due(60.0) is None
        expected += [("user", question), ("agent", answer)]
    watched.wait_until_idle()
    assert watched.words() == expected


@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.85])
def test_a_truncated_answer_is_found_and_its_rest_is_known(watch: OpenTalk, voice: Voice, share: float) -> None:
    watched = watch(lambda whole: BrokenVoice(whole, share=share))
    seconds = share * sum(piece.duration for piece in voice.speak(LONG_GREETING)) - 0.01
    watched.talk.wait_until(lambda: spoken_seconds(watched.talk) >= seconds, "all that is to come")
    watched.catch_up()
    assert watched.due(60.0) == "answer_stalled"
    left = watched.left()
    assert left.rest is not None
    assert left.said + left.rest == LONG_GREETING
    assert abs(len(left.said) / len(LONG_GREETING) - share) < 0.12


def test_a_silent_answer_is_found(watch: OpenTalk) -> None:
    watched = watch(lambda whole: BrokenVoice(whole, is_silent=True))
    watched.wait_until_said(LONG_GREETING)
    assert watched.due() == "silent"
    assert watched.left().rest == LONG_GREETING


def test_writers_who_break_in_and_use_tools_are_never_let_down(watch: OpenTalk) -> None:
    watched = watch(pace=Pace(factor=50.0))
    watched.talk.wait_for("audio")
    dice = random.Random(4)
    for number in range(2, 14):
        seen = len(watched.talk.events())
        more = seen + dice.randrange(4)
        watched.talk.wait_until(lambda: len(watched.talk.events()) >= more or spoken_text(watched.talk), "more")  # noqa: B023
        is_tool = number % 4 == 0
        watched.write("What time is it on my device?" if is_tool else dice.choice(QUESTIONS))
        if is_tool:
            call = watched.talk.wait_for("client_tool_call", number // 4)["client_tool_call"]
            watched.catch_up()
            assert watched.due(20.0) is None
            result = {"type": "client_tool_result", "tool_call_id": call["tool_call_id"], "result": "noon"}
            watched.tracker.from_client(result)
            watched.talk.agent.receive({**result, "is_error": False})
        watched.talk.wait_for_answer(number)
        watched.talk.wait_until(lambda: newest_sound(watched.talk) >= number, "sound")  # noqa: B023
        watched.catch_up()
        assert watched.due() is None
        assert watched.left().question is None
    assert watched.tracker.has_answered


def test_what_was_heard_before_a_voice_broke_in_is_what_the_agent_says(
    watch: OpenTalk, recording: Callable[[str], Path]
) -> None:
    watched = watch(QuickVoice, pace=Pace(factor=1.5, lead_seconds=0.3, chunk_seconds=0.05))
    watched.talk.wait_until(lambda: spoken_seconds(watched.talk) > 0.3, "a word or two")
    watched.talk.say(recording("barge-in-en"))
    heard = watched.talk.wait_for("agent_response_correction")["agent_response_correction_event"]
    watched.catch_up()
    corrected = heard["corrected_agent_response"]
    assert watched.words() == ([("agent", corrected)] if corrected else []), "on a slow machine not a word was heard"
    assert watched.due(60.0) is None
    assert watched.left().rest is None


@pytest.fixture
def recording() -> Callable[[str], Path]:
    """The path of a spoken question."""
    return lambda name: ROOT / "tests" / "data" / f"{name}.wav"


def test_a_written_talk(watch: OpenTalk) -> None:
    watched = watch(text_only=True)
    watched.tracker.text_only = True
    watched.talk.wait_for_answer(1)
    watched.catch_up()
    watched.wait_until_idle()
    watched.write(QUESTIONS[0])
    answer = watched.talk.wait_for_answer(2)
    watched.catch_up()
    watched.wait_until_idle()
    assert watched.words()[1:] == [("user", QUESTIONS[0]), ("agent", answer)]


def test_without_an_alignment_the_place_is_right_to_a_few_words(watch: OpenTalk) -> None:
    watched = watch()
    watched.wait_until_said(LONG_GREETING)
    messages = watched.talk.events("audio")
    for count in range(4, len(messages) - 4, 3):
        told = Told()
        told.agent(watched.talk.events("agent_response")[0])
        text = "".join("".join(each["audio_event"]["alignment"]["chars"]) for each in messages[:count])
        for each in messages[:count]:
            event = {key: value for key, value in each["audio_event"].items() if key != "alignment"}
            told.agent(json.dumps({"type": "audio", "audio_event": event}, separators=(",", ":")).encode())
        left = told.tracker.takeover(told.clock.now)
        assert abs(len(left.said.split()) - len(text.split())) <= 4
