from __future__ import annotations

import sys

import numpy as np
import pytest

from service.fallback.audio_formats import resample
from service.fallback.utterances import SpeechEnded, SpeechEvent, SpeechStarted, UtteranceDetector
from service.fallback.voice_activity import VoiceActivity
from tests.parts import require_module
from tests.unit.fallback.conftest import recording

RATE = 16_000
RECORDINGS = ("question-hours-en.wav", "question-price-en.wav", "question-hours-es.wav", "barge-in-en.wav")


@pytest.fixture(params=["classifier", "energy alone"])
def classifier(request: pytest.FixtureRequest) -> bool:
    if request.param == "classifier":
        require_module("webrtcvad", "local")
    return request.param == "classifier"


def silence(seconds: float, rate: int = RATE) -> bytes:
    return bytes(2 * round(seconds * rate))


def noise(seconds: float, level: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE))


def pcm(samples: np.ndarray) -> bytes:
    return samples.clip(-32_768, 32_767).astype("<i2").tobytes()


def with_noise(sound: bytes, level: float) -> bytes:
    samples = np.frombuffer(sound, dtype="<i2").astype(float)
    return pcm(samples + np.random.default_rng(3).normal(0, level, len(samples)))


def heard(detector: UtteranceDetector, sound: bytes, size: int = 800) -> list[SpeechEvent]:
    return [event for begin in range(0, len(sound), size) for event in detector.feed(sound[begin : begin + size])]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("level", [0, 60, 200])
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_spoken_question_is_one_utterance_with_silence_or_noise_around_it(
    name: str, level: int, rate: int, classifier: bool
) -> None:
    sound = resample(with_noise(silence(2) + recording(name) + silence(2), level), source_rate=RATE, target_rate=rate)
    events = heard(UtteranceDetector(rate, activity=VoiceActivity(rate, classifier=classifier)), sound, rate // 20)

    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded]
    started, ended = events
    assert isinstance(started, SpeechStarted)
    assert isinstance(ended, SpeechEnded)
    assert 2.2 < started.at_seconds < 2.6  # the recordings have 0.3 s of silence at their begin
    assert 2.0 < len(ended.pcm) / 2 / rate < 3.5
    assert not ended.bounded


def test_the_utterance_holds_the_sound_from_before_its_begin_to_after_its_end(classifier: bool) -> None:
    sound = silence(2) + recording("barge-in-en.wav") + silence(2)
    events = heard(UtteranceDetector(RATE, activity=VoiceActivity(RATE, classifier=classifier)), sound)

    [ended] = [event for event in events if isinstance(event, SpeechEnded)]
    place = sound.index(ended.pcm)
    loud = np.flatnonzero(np.abs(np.frombuffer(sound, dtype="<i2").astype(int)) > 500) * 2
    assert place < loud[0]
    assert place + len(ended.pcm) > loud[-1]


def test_the_size_of_the_pieces_changes_nothing(classifier: bool) -> None:
    sound = silence(1) + recording("question-price-en.wav") + silence(1)

    def events(size: int) -> list[SpeechEvent]:
        return heard(UtteranceDetector(RATE, activity=VoiceActivity(RATE, classifier=classifier)), sound, size)

    assert events(333) == events(8_000) == events(len(sound))


@pytest.mark.parametrize("milliseconds", [1, 10, 50, 80])
def test_a_noise_burst_begins_nothing(milliseconds: int, classifier: bool) -> None:
    sound = noise(6, 5)
    for second in (1, 3, 5):
        burst = noise(milliseconds / 1000, 12_000, seed=second)
        sound[second * RATE : second * RATE + len(burst)] += burst
    detector = UtteranceDetector(RATE, activity=VoiceActivity(RATE, classifier=classifier))

    assert heard(detector, pcm(sound)) == []


@pytest.mark.parametrize("kind", ["digital silence", "hiss", "loud hiss", "mains hum"])
def test_steady_sound_begins_nothing(kind: str, classifier: bool) -> None:
    times = np.arange(10 * RATE) / RATE
    sounds = {
        "digital silence": np.zeros(10 * RATE),
        "hiss": noise(10, 300),
        "loud hiss": noise(10, 3_000),
        "mains hum": 2_000 * np.sin(2 * np.pi * 50 * times) + 800 * np.sin(2 * np.pi * 100 * times),
    }
    detector = UtteranceDetector(RATE, activity=VoiceActivity(RATE, classifier=classifier))

    assert heard(detector, pcm(sounds[kind])) == []


def test_two_questions_with_a_pause_are_two_utterances(classifier: bool) -> None:
    question = recording("question-hours-en.wav")
    sound = silence(1) + question + silence(1) + question + silence(1)
    events = heard(UtteranceDetector(RATE, activity=VoiceActivity(RATE, classifier=classifier)), sound)

    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded] * 2


def test_a_patient_detector_takes_them_as_one(classifier: bool) -> None:
    question = recording("question-hours-en.wav")
    sound = silence(1) + question + silence(1) + question + silence(4)
    activity = VoiceActivity(RATE, classifier=classifier)
    events = heard(UtteranceDetector(RATE, hangover_seconds=2.5, activity=activity), sound)

    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded]


def test_an_endless_talker_is_cut_at_the_bound_and_heard_on(classifier: bool) -> None:
    question = np.frombuffer(recording("question-price-en.wav"), dtype="<i2")[5_000:32_000]  # its speech alone
    sound = silence(1) + question.tobytes() * 8 + silence(1)
    activity = VoiceActivity(RATE, classifier=classifier)
    events = heard(UtteranceDetector(RATE, max_seconds=5.0, activity=activity), sound)

    ends = [event for event in events if isinstance(event, SpeechEnded)]
    assert [event.bounded for event in ends] == [True, True, False]
    assert all(len(event.pcm) / 2 / RATE <= 5.0 for event in ends)


def test_nothing_is_kept_of_endless_silence() -> None:
    detector = UtteranceDetector(RATE)
    for _ in range(120):
        assert detector.feed(silence(1)) == []

    assert not detector.speaking
    assert detector.flush() == []


def test_letting_go_of_the_key_ends_the_utterance_at_once(classifier: bool) -> None:
    detector = UtteranceDetector(RATE, activity=VoiceActivity(RATE, classifier=classifier))
    [started] = heard(detector, silence(0.5) + recording("question-price-en.wav")[: 3 * RATE])
    assert isinstance(started, SpeechStarted)
    assert detector.speaking

    [ended] = detector.flush()
    assert isinstance(ended, SpeechEnded)
    assert len(ended.pcm) > RATE
    assert not detector.speaking


def test_without_the_extra_energy_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    events = heard(UtteranceDetector(RATE), silence(1) + recording("question-hours-es.wav") + silence(1))

    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded]
