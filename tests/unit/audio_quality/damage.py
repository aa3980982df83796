"""Speech that is well, and what can be done to it; the same each time."""

from __future__ import annotations

import base64
import json
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr

from service.audio_quality.sample import Floats, Sample, Sound
from service.fallback import companding

DATA = Path(__file__).parents[2] / "data"
RECORDINGS = ("barge-in-en", "question-hours-en", "question-hours-es", "question-price-en")
PACKET_SECONDS = 0.02


def recording(name: str) -> Sound:
    """One of the recorded questions, of some three seconds."""
    with wave.open(str(DATA / f"{name}.wav")) as file:
        return Sound(_floats(file.readframes(file.getnframes())), file.getframerate())


def _floats(pcm: bytes) -> Floats:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)


def pcm_of(sound: Sound) -> bytes:
    return np.clip(np.rint(sound.samples * 32767), -32768, 32767).astype("<i2").tobytes()


def clipped(sound: Sound, times: float) -> Sound:
    return Sound(np.clip(sound.samples * np.float32(times), -1, 1), sound.rate)


def with_drops(sound: Sound, share: float, seed: int = 1) -> Sound:
    """Of the packets of 20 ms, `share` are lost, and silence stands in their place."""
    samples, size, chance = sound.samples.copy(), round(PACKET_SECONDS * sound.rate), np.random.default_rng(seed)
    for begin in range(0, len(samples) - size, size):
        if chance.random() < share:
            samples[begin : begin + size] = 0
    return Sound(samples, sound.rate)


def with_noise(sound: Sound, below_db: float, seed: int = 2) -> Sound:
    """With white noise that is `below_db` quieter than the speech."""
    level = np.sqrt(np.mean(np.square(sound.samples))) * 10 ** (-below_db / 20)
    noise = np.random.default_rng(seed).normal(size=len(sound.samples)) * level
    return Sound(np.clip(sound.samples + noise, -1, 1).astype(np.float32), sound.rate)


def silent(sound: Sound) -> Sound:
    return Sound(np.zeros_like(sound.samples), sound.rate)


def noise(sound: Sound) -> Sound:
    samples = np.random.default_rng(3).normal(size=len(sound.samples)) * 0.1
    return Sound(np.clip(samples, -1, 1).astype(np.float32), sound.rate)


def tone(sound: Sound) -> Sound:
    times = np.arange(len(sound.samples)) / sound.rate
    return Sound((0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32), sound.rate)


def half_rate(sound: Sound) -> Sound:
    """Half as many samples as there should be: it is played twice as fast, and twice as high."""
    return Sound(soxr.resample(sound.samples, sound.rate, sound.rate // 2), sound.rate)


def double_rate(sound: Sound) -> Sound:
    """Twice as many samples: twice as slow, and twice as low."""
    return Sound(soxr.resample(sound.samples, sound.rate, sound.rate * 2), sound.rate)


def truncated(sound: Sound, share: float) -> Sound:
    return Sound(sound.samples[: int(share * len(sound.samples))], sound.rate)


def quieter(sound: Sound, by_db: float) -> Sound:
    return Sound((sound.samples * 10 ** (-by_db / 20)).astype(np.float32), sound.rate)


def telephone(sound: Sound) -> Sound:
    """As µ-law of 8 kHz has it."""
    narrow = Sound(soxr.resample(sound.samples, sound.rate, 8000), 8000)
    coded = companding.compress(np.frombuffer(pcm_of(narrow), dtype="<i2"), "ulaw")
    return Sound(companding.expand(coded, "ulaw").astype(np.float32) / 32768, 8000)


def swapped_bytes(sound: Sound) -> Sound:
    return Sound(_floats(np.frombuffer(pcm_of(sound), dtype="<i2").byteswap().tobytes()), sound.rate)


def pcm_as_telephone(sound: Sound) -> Sound:
    return Sound(companding.expand(pcm_of(sound), "ulaw").astype(np.float32) / 32768, sound.rate)


def telephone_as_pcm(sound: Sound) -> Sound:
    narrow = Sound(soxr.resample(sound.samples, sound.rate, 8000), 8000)
    coded = companding.compress(np.frombuffer(pcm_of(narrow), dtype="<i2"), "ulaw")
    return Sound(_floats(coded[: len(coded) // 2 * 2]), sound.rate)


def audio_event(data: bytes, *, characters: int = 0, seconds: float = 0.0) -> bytes:
    """A message of audio; with `characters`, their alignment says that they take so many seconds."""
    event: dict[str, object] = {"audio_base_64": base64.b64encode(data).decode(), "event_id": 1}
    if characters:
        each = 1000 * seconds / characters
        event["alignment"] = {
            "chars": ["a"] * characters,
            "char_start_times_ms": [round(each * place) for place in range(characters)],
            "char_durations_ms": [round(each)] * characters,
        }
    return json.dumps({"type": "audio", "audio_event": event}).encode()


def messages_of(sound: Sound, *, aligned_seconds: float | None = None, characters: int = 36) -> tuple[bytes, ...]:
    """An answer as a client gets it, in four messages."""
    data = pcm_of(sound)
    size = max(2, len(data) // 4 // 2 * 2)
    pieces: Sequence[bytes] = [data[begin : begin + size] for begin in range(0, len(data), size)] or [b""]
    if aligned_seconds is None:
        return tuple(audio_event(piece) for piece in pieces)
    share = aligned_seconds / len(pieces)
    return tuple(audio_event(piece, characters=characters // len(pieces), seconds=share) for piece in pieces)


def sample_of(
    sound: Sound,
    *,
    aligned_seconds: float | None = None,
    characters: int = 36,
    provider: str = "elevenlabs",
    voice: str = "voice",
    is_cut: bool = False,
) -> Sample:
    """An answer of pcm in the sound's rate."""
    return Sample(
        provider=provider,
        capability="conversation",
        voice=voice,
        sound_format=f"pcm_{sound.rate}",
        characters=characters,
        messages=messages_of(sound, aligned_seconds=aligned_seconds, characters=characters),
        is_cut=is_cut,
    )
