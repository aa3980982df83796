"""Answers that are put aside: some of all, whole or marked as a part, and never an interrupted one."""

from __future__ import annotations

from service.audio_quality.sample import MAX_SECONDS, Sample
from service.audio_quality.tap import MAX_MESSAGES, AnswerTap
from tests.unit.audio_quality import damage


def tap_for(samples: list[Sample], share: float = 1.0, chance: float = 0.5) -> AnswerTap:
    return AnswerTap(share, samples.append, capability="conversation", chance=lambda: chance)


def test_an_answer_is_handed_in_with_all_that_is_to_be_known_of_it() -> None:
    samples: list[Sample] = []
    tap = tap_for(samples)
    tap.begins("elevenlabs", "agent_1", "pcm_16000")
    assert tap.is_open
    tap.frame(b"one")
    tap.frame(b"two")
    tap.ends("Hello there.", 1.5)
    assert not tap.is_open
    assert samples == [
        Sample(
            provider="elevenlabs",
            capability="conversation",
            voice="agent_1",
            sound_format="pcm_16000",
            characters=12,
            messages=(b"one", b"two"),
            expected_seconds=1.5,
        )
    ]


def test_only_the_share_that_was_asked_for_is_taken() -> None:
    samples: list[Sample] = []
    for share, chance, is_taken in ((0.05, 0.049, True), (0.05, 0.05, False), (0.0, 0.0, False), (1.0, 0.999, True)):
        tap = tap_for(samples, share, chance)
        tap.begins("elevenlabs", "a", "pcm_16000")
        assert tap.is_open is is_taken


def test_of_an_answer_that_is_not_taken_nothing_is_kept() -> None:
    samples: list[Sample] = []
    tap = tap_for(samples, share=0.0)
    tap.begins("elevenlabs", "a", "pcm_16000")
    tap.frame(b"one")
    tap.ends("Hello.")
    assert samples == []


def test_a_format_that_cannot_be_judged_is_not_taken() -> None:
    samples: list[Sample] = []
    tap = tap_for(samples)
    for name in ("mp3_44100_128", "opus_48000_32", "", "nonsense"):
        tap.begins("elevenlabs", "a", name)
        assert not tap.is_open


def test_an_interrupted_answer_is_dropped_and_so_is_one_that_never_ended() -> None:
    samples: list[Sample] = []
    tap = tap_for(samples)
    tap.begins("elevenlabs", "a", "pcm_16000")
    tap.frame(b"one")
    tap.drop()
    assert not tap.is_open
    tap.ends("Hello.")
    tap.begins("elevenlabs", "a", "pcm_16000")
    tap.frame(b"two")
    tap.begins("elevenlabs", "a", "pcm_16000")
    tap.ends("Hello.")
    assert samples == []


def test_a_long_answer_is_cut_and_marked() -> None:
    samples: list[Sample] = []
    tap = tap_for(samples)
    tap.begins("elevenlabs", "a", "ulaw_8000")
    second = damage.audio_event(bytes(8000))
    calls = 0
    while tap.is_open and calls < 1000:
        tap.frame(second)
        calls += 1
    tap.frame(second)
    tap.ends("A long story.")
    (sample,) = samples
    assert sample.is_cut
    assert MAX_SECONDS <= len(sample.messages) < calls < 100


def test_many_small_messages_are_bounded() -> None:
    samples: list[Sample] = []
    tap = tap_for(samples)
    tap.begins("elevenlabs", "a", "pcm_16000")
    for _ in range(MAX_MESSAGES + 5):
        tap.frame(b"x")
    tap.ends("Hello.")
    assert len(samples[0].messages) == MAX_MESSAGES
    assert samples[0].is_cut
