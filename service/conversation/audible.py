"""Whether an answer can be heard at all: "200 but silent" is an outage that no status code tells of.

The key decision: only the first messages of an answer are looked at, in a few places each, and none once a voice was
found. Silence is digital, or so near to it that no loudspeaker tells (50 dB below full scale).
"""

from __future__ import annotations

import binascii
from array import array
from enum import StrEnum

from service.conversation.sound_format import SoundFormat

LOUD_SAMPLE = 100
"""Of 32,768: less is silence."""

SILENT_SECONDS = 2.0
"""So much sound without a voice in it is no pause before a word any more."""

_WINDOW_LETTERS = 64  # of base64: 24 samples of 16 bits
_WINDOWS = 16
_KEY = b'"audio_base_64"'


class Audibility(StrEnum):
    """What is known of an answer's sound."""

    UNKNOWN = "unknown"
    AUDIBLE = "audible"
    SILENT = "silent"


class AudibleCheck:
    """Listens to the begin of one answer in `sound_format`; nothing but `verdict` is of use once that is known."""

    __slots__ = ("_bytes", "_format", "verdict")

    def __init__(self, sound_format: SoundFormat) -> None:
        self._format = sound_format
        self._bytes = 0
        self.verdict = Audibility.UNKNOWN

    def listen(self, data: bytes | bytearray, begin: int, end: int) -> Audibility:
        """Take the message of audio in `data[begin:end]`; what is no sound counts for nothing."""
        start = data.find(_KEY, begin, end)
        start = data.find(b'"', start + len(_KEY), end) + 1 if start >= 0 else 0
        stop = data.find(b'"', start, end) if start else -1
        if self.verdict is Audibility.AUDIBLE or stop - start < 4:
            return self.verdict
        if self._has_voice(data, start, stop):
            self.verdict = Audibility.AUDIBLE
            return self.verdict
        self._bytes += (stop - start) * 3 // 4 - data.count(b"=", max(start, stop - 2), stop)
        if self._bytes >= SILENT_SECONDS * self._format.bytes_per_second:
            self.verdict = Audibility.SILENT
        return self.verdict

    def _has_voice(self, data: bytes | bytearray, start: int, stop: int) -> bool:
        letters = stop - start
        step = max(_WINDOW_LETTERS, letters // _WINDOWS // 4 * 4)
        return any(
            self._is_loud(bytes(data[at : min(at + _WINDOW_LETTERS, stop)]), self._bytes + (at - start) // 4 * 3)
            for at in range(start, stop, step)
        )

    def _is_loud(self, letters: bytes, offset: int) -> bool:
        """Whether a piece of base64 has a loud sample; `offset` is its place in the answer's bytes."""
        try:
            sound = binascii.a2b_base64(letters)
        except binascii.Error:
            return False
        if self._format.codec == "pcm":
            sound = sound[offset % 2 :]  # a sample may be cut in two between messages
            samples = array("h", sound[: len(sound) // 2 * 2])
            return bool(samples) and (max(samples) >= LOUD_SAMPLE or min(samples) <= -LOUD_SAMPLE)
        return any(code not in _QUIET_CODES[self._format.codec] for code in sound)


def _ulaw_magnitude(code: int) -> int:
    bits = ~code & 0x7F
    return (((bits & 15) << 3) + 0x84 << (bits >> 4)) - 0x84


def _alaw_magnitude(code: int) -> int:
    bits = (code ^ 0x55) & 0x7F
    exponent, mantissa = bits >> 4, ((bits & 15) << 4) + 8
    return mantissa if not exponent else (mantissa + 0x100) << (exponent - 1)


_QUIET_CODES = {
    "ulaw": frozenset(code for code in range(256) if _ulaw_magnitude(code) < LOUD_SAMPLE),
    "alaw": frozenset(code for code in range(256) if _alaw_magnitude(code) < LOUD_SAMPLE),
}
