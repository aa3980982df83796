from __future__ import annotations

import itertools
import sys
import threading

import numpy as np
import pytest

from service.fallback.local_voice import VOICE_VARIANTS, EspeakVoice, SpokenPiece, ToneVoice, Voice, open_voice

ENGLISH = "Delivery costs 3.50 euros. For orders above sixty euros it is free!"
SPANISH = "El envío cuesta 3,50 euros. ¿Desea saber algo más?"


@pytest.fixture(params=["espeak-ng", "tones"])
def voice(request: pytest.FixtureRequest) -> Voice:
    return ToneVoice() if request.param == "tones" else request.getfixturevalue("espeak")


def loudness(pcm: bytes) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.frombuffer(pcm, dtype="<i2").astype(float) ** 2)))


def pitch(pieces: list[SpokenPiece]) -> float:
    """The strongest period's frequency in Hz, median over the voiced 40 ms windows (autocorrelation)."""
    samples = np.frombuffer(b"".join(piece.pcm for piece in pieces), dtype="<i2").astype(float)
    rate = pieces[0].sample_rate
    size, shortest, longest = rate // 25, rate // 350, rate // 70
    found = []
    for begin in range(0, len(samples) - 2 * size, size):
        window = samples[begin : begin + 2 * size]
        if np.sqrt(np.mean(window**2)) > 1500:
            similar = np.correlate(window, window, "full")[len(window) - 1 :]
            found.append(rate / (shortest + int(np.argmax(similar[shortest:longest]))))
    return float(np.median(found))


@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "en"), (SPANISH, "es")])
def test_a_text_becomes_one_audible_piece_a_sentence_at_the_pace_of_speech(
    voice: Voice, text: str, language: str
) -> None:
    pieces = list(voice.speak(text, language=language))

    assert len(pieces) == 2
    assert "".join(piece.text for piece in pieces) == text
    for piece in pieces:
        assert 8 < len(piece.text) / piece.duration < 22  # characters a second; people speak at 12 to 18
        assert 1_000 < loudness(piece.pcm) < 12_000
        assert np.abs(np.frombuffer(piece.pcm, dtype="<i2").astype(int)).max() < 32_767  # not clipped


@pytest.mark.parametrize(
    "text",
    [ENGLISH, SPANISH, "Open 9:30-17:00, call 960 555 010!", "x", "...", "👍", "¿?", "a\0b", "中文。", "  Hi.\n\n"],
)
def test_the_alignment_covers_every_character_and_never_runs_backwards(voice: Voice, text: str) -> None:
    for piece in voice.speak(text):
        alignment = piece.alignment

        assert "".join(alignment.characters) == piece.text
        assert len(alignment.characters) == len(alignment.starts) == len(alignment.ends)
        assert alignment.starts[0] == 0
        assert alignment.ends[-1] == pytest.approx(piece.duration)
        assert all(first <= second for first, second in itertools.pairwise(alignment.starts))
        assert all(begin <= end for begin, end in zip(alignment.starts, alignment.ends, strict=True))
        assert alignment.ends[:-1] == alignment.starts[1:]


def test_the_alignment_finds_the_pause_after_a_comma(espeak: EspeakVoice) -> None:
    text = "Wait a moment, please tell me again."
    [piece] = espeak.speak(text)
    samples = np.frombuffer(piece.pcm, dtype="<i2").astype(float)
    window = int(0.05 * piece.sample_rate)
    inner = range(int(0.4 * piece.sample_rate), int(1.4 * piece.sample_rate), window // 4)
    quietest = min(inner, key=lambda begin: float(np.mean(samples[begin : begin + window] ** 2)))

    assert quietest / piece.sample_rate == pytest.approx(piece.alignment.starts[text.index("please")], abs=0.25)


def test_blank_text_is_silence_without_a_piece(voice: Voice) -> None:
    assert list(voice.speak(" \n ")) == []


def test_the_first_sentence_is_there_before_the_second_is_made(voice: Voice) -> None:
    pieces = voice.speak("One. " + "Two, and this is a long one. " * 1000)

    assert next(pieces).text == "One. "


def test_faster_speech_is_shorter(voice: Voice) -> None:
    def length(speed: float) -> float:
        return sum(piece.duration for piece in voice.speak(ENGLISH, speed=speed))

    assert length(1.2) < length(1.0) < length(0.7)


def test_variants_sound_different_and_men_lower_than_women(espeak: EspeakVoice) -> None:
    sounds = {name: list(espeak.speak(ENGLISH, variant=name)) for name in VOICE_VARIANTS}

    assert len({pieces[0].pcm for pieces in sounds.values()}) == len(VOICE_VARIANTS)
    heard = {name: pitch(pieces) for name, pieces in sounds.items()}
    women = [heard[name] for name, variant in VOICE_VARIANTS.items() if variant.gender == "female"]
    men = [heard[name] for name, variant in VOICE_VARIANTS.items() if variant.gender == "male"]
    assert min(women) > max(men)


def test_spanish_is_not_read_as_english(espeak: EspeakVoice) -> None:
    [english], [spanish] = (list(espeak.speak("Hola, buenos días.", language=tag)) for tag in ("en", "es-ES"))

    assert english.pcm != spanish.pcm


def test_an_unknown_language_is_read_as_english(espeak: EspeakVoice) -> None:
    # espeak-ng's pitch flutters, so two readings differ by some samples, those of two languages by thousands.
    [unknown], [english], [german] = (list(espeak.speak("Hello there.", language=tag)) for tag in ("xx", "en", "de"))

    assert unknown.duration == pytest.approx(english.duration, rel=0.005)
    assert unknown.duration != pytest.approx(german.duration, rel=0.005)


def test_an_unknown_variant_is_refused_with_the_names_that_there_are(voice: Voice) -> None:
    with pytest.raises(ValueError, match="calm-woman"):
        list(voice.speak("Hi.", variant="robot"))


def test_threads_speak_at_once_and_none_hears_another(espeak: EspeakVoice) -> None:
    texts = ["one " * (4 * number + 1) + "end." for number in range(8)]
    alone = [sum(piece.duration for piece in espeak.speak(text)) for text in texts]
    together: dict[int, float] = {}
    start = threading.Barrier(len(texts))

    def speak(number: int) -> None:
        start.wait(timeout=10)
        together[number] = sum(piece.duration for piece in EspeakVoice().speak(texts[number]))

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert [together[number] for number in range(len(texts))] == pytest.approx(alone, rel=0.005)


def test_without_the_extra_the_voice_is_tones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)

    assert open_voice().kind == "tones"


def test_with_the_extra_the_voice_is_speech(espeak: EspeakVoice) -> None:
    assert open_voice().kind == espeak.kind == "espeak-ng"
