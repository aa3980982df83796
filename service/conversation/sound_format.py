"""The conversation's sound formats as far as counting needs them: how many bytes a second of sound has.

The key decision: the name alone is read ("pcm_16000", "ulaw_8000"), since one that is unknown must cost nobody a
conversation: it is counted as the one that ElevenLabs uses unless told otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_FORMAT = "pcm_16000"
_SAMPLE_BYTES = {"pcm": 2, "ulaw": 1, "alaw": 1}


class SoundFormat(NamedTuple):
    """One format: `codec` is pcm (16 bits, little endian, one channel), ulaw or alaw; `sample_rate` in Hz."""

    codec: str
    sample_rate: int

    @property
    def bytes_per_second(self) -> int:
        """Bytes of a second of sound."""
        return _SAMPLE_BYTES[self.codec] * self.sample_rate


def read_sound_format(name: str) -> SoundFormat:
    """The format of this name; the default for one that is not known."""
    codec, _, rate = name.partition("_")
    if codec not in _SAMPLE_BYTES or not rate.isdecimal() or not 4_000 <= int(rate) <= 192_000:
        codec, _, rate = DEFAULT_FORMAT.partition("_")
    return SoundFormat(codec, int(rate))
