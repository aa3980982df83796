"""The campaign's oracle: what it must find wrong in what a client heard, and what it must let pass."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.campaign.transcript import BYTES_A_SECOND, Answer, Transcript

TEXT = "We are open until six."
SECONDS = 0.1


def audio(characters: str, *, loud: bool = True, cut_seconds: float = 0.0) -> dict[str, Any]:
    """A message of audio, a tenth of a second for each character; `cut_seconds` of the last one are missing."""
    sound = (b"\1" if loud else b"\0") * int(BYTES_A_SECOND * (SECONDS * len(characters) - cut_seconds))
    alignment = {
        "chars": list(characters),
        "char_start_times_ms": [round(1000 * SECONDS * number) for number in range(len(characters))],
        "char_durations_ms": [round(1000 * SECONDS)] * len(characters),
    }
    encoded = base64.b64encode(sound).decode()
    return {"type": "audio", "audio_event": {"audio_base_64": encoded, "event_id": 1, "alignment": alignment}}


def response(text: str = TEXT, event_id: int = 1) -> dict[str, Any]:
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def changed() -> dict[str, Any]:
    event = {"from": "elevenlabs", "to": "local", "cause": "connection_lost", "spliced": True}
    return {"type": "agent_changed", "agent_changed_event": event}


def heard(*events: dict[str, Any]) -> Answer:
    """The one answer of these events."""
    transcript = Transcript()
    for event in events:
        transcript.take(event, 1_000.0)
    (answer,) = transcript.answers
    return answer


def test_an_answer_that_was_spoken_is_whole() -> None:
    answer = heard(response(), audio("We are open "), audio("until six."))
    assert answer.is_whole
    assert answer.mismatch() == ""


def test_sound_may_come_before_its_text() -> None:
    assert heard(audio("We are open "), response(), audio("until six.")).is_whole


def test_an_answer_that_stops_is_not_whole() -> None:
    answer = heard(response(), audio("We are open until"))
    assert not answer.is_whole
    assert answer.mismatch() == ""


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        ("We are open ", "until six."),  # between two words
        ("We are open", "until six."),  # behind a word's last letter
        ("We are op", "open until six."),  # within a word: it comes again whole
        ("", "We are open until six."),  # before the first
        ("We are open until six", ""),  # only a full stop is missing
    ],
)
def test_the_next_voice_goes_on_with_the_next_word(first: str, rest: str) -> None:
    answer = heard(response(), *([audio(first)] if first else []), changed(), *([audio(rest)] if rest else []))
    assert answer.mismatch() == ""
    assert answer.is_whole


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        ("We are open ", "open until six."),  # a word twice
        ("We are open ", "six."),  # a word left out
        ("We are op", "until six."),  # half a word left out
        ("We are open until six.", "six."),  # more than there is
        ("We were ", "open until six."),  # another word
    ],
)
def test_a_word_that_is_lost_or_repeated_is_found(first: str, rest: str) -> None:
    assert heard(response(), audio(first), changed(), audio(rest)).mismatch() != ""


@pytest.mark.parametrize("rest", ["open until six.", "until six."])
def test_a_letter_whose_sound_was_cut_may_count_or_not(rest: str) -> None:
    assert heard(response(), audio("We are open", cut_seconds=0.05), changed(), audio(rest)).is_whole


def test_what_was_silent_was_not_spoken() -> None:
    silent = audio("We are open until six.", loud=False)
    assert heard(response(), silent, changed(), audio("We are open until six.")).is_whole
    assert heard(response(), silent, changed(), audio("until six.")).mismatch() != ""


def test_ids_that_fall_are_told() -> None:
    transcript = Transcript()
    transcript.take(response(event_id=5), 0.0)
    transcript.take(response(event_id=4), 0.0)
    assert transcript.problems == ["event id 4 came behind 5"]


def test_an_answer_that_the_user_broke_off_may_be_short() -> None:
    transcript = Transcript()
    transcript.take(response(), 0.0)
    transcript.take(audio("We are"), 0.0)
    transcript.user_asks()
    assert transcript.answers[0].may_be_short
    assert not transcript.answers[0].is_whole
