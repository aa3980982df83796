"""One answer that is to be judged, as it came; and its sound.

The key decision: what a worker puts aside is the messages themselves, as they went to the client. Base64 and JSON are
read where the sound is judged, in another process.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from service.fallback import companding
from service.fallback.audio_formats import OUTPUT_FORMATS, OutputFormat

Floats = npt.NDArray[np.float32]
Event = dict[str, Any]

MAX_SECONDS = 20.0
"""Of an answer that are judged; of a longer one the begin."""

_FULL_SCALE = 32768.0
_LEAST_ALIGNED = 10  # characters; fewer may be a sign and a breath
_MOST_ALIGNED_SECONDS = 600.0
_SAMPLE_BYTES = {"pcm": 2, "ulaw": 1, "alaw": 1}


class UnreadableSoundError(ValueError):
    """A sample is not what it should be: nothing can be said of it. The message tells what, never the content."""


@dataclass(frozen=True)
class AnswerName:
    """Which answer of which conversation: that of its `turn`th turn, as traces count them, in its `leg`th leg.

    `began_at` (seconds since 1970) is when its first sound went to the client.
    """

    conversation_id: str
    leg: int
    turn: int
    began_at: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An answer of `voice` (a voice's or an agent's id) at `provider`.

    `messages` are audio events as a client gets them, in `sound_format` ("pcm_16000"). `expected_seconds` is how long
    the sound should be, if somebody knows; None: the messages' alignment says it, or else its text's `characters` do
    roughly. `is_cut`: of a longer answer this is the begin, so that its length tells nothing. `answer` is where what is
    found is to be kept; None: nowhere.
    """

    provider: str
    capability: str
    voice: str
    sound_format: str
    characters: int
    messages: tuple[bytes, ...]
    expected_seconds: float | None = None
    is_cut: bool = False
    answer: AnswerName | None = None


@dataclass(frozen=True)
class Sound:
    """Sound of one channel: `samples` between -1 and 1, `rate` a second."""

    samples: Floats
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Aligned:
    """What an answer's alignment says: so many `characters` take so many `seconds`."""

    seconds: float
    characters: int


def format_of(name: str) -> OutputFormat | None:
    """The format of this name if its sound can be judged: one without compression."""
    found = OUTPUT_FORMATS.get(name)
    return found if found is not None and found.codec in _SAMPLE_BYTES else None


def bytes_per_second(sound_format: OutputFormat) -> int:
    """Bytes that a second of such sound has."""
    return _SAMPLE_BYTES[sound_format.codec] * sound_format.sample_rate


def read_sample(sample: Sample) -> tuple[Sound, Aligned | None]:
    """Decode the first `MAX_SECONDS` of an answer. Returns its sound, and what its alignment says (None: nothing).

    Raises:
        UnreadableSoundError: an unknown format, or a message that is no audio event.
    """
    found = format_of(sample.sound_format)
    if found is None:
        raise UnreadableSoundError("a format that cannot be judged")
    events = [_event_of(message) for message in sample.messages]
    data = b"".join(_bytes_of(event) for event in events)
    data = data[: int(MAX_SECONDS * bytes_per_second(found))]
    if found.codec == "ulaw" or found.codec == "alaw":
        samples = companding.expand(data, found.codec)
    else:
        samples = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2")
    sound = Sound(samples.astype(np.float32) / np.float32(_FULL_SCALE), found.sample_rate)
    return sound, _aligned(events)


def _event_of(message: bytes) -> Event:
    try:
        event = orjson.loads(message)["audio_event"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        event = None
    if not isinstance(event, dict):
        raise UnreadableSoundError("a message that is no audio")
    return event


def _bytes_of(event: Event) -> bytes:
    try:
        return base64.b64decode(event["audio_base_64"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise UnreadableSoundError("audio that is no base64") from None


def _aligned(events: Iterable[Event]) -> Aligned | None:
    seconds, characters = 0.0, 0
    for event in events:
        try:
            alignment = event["alignment"]
            starts, durations = alignment["char_start_times_ms"], alignment["char_durations_ms"]
            # Times count from the message's begin or from the answer's; their difference is the same.
            seconds += (starts[-1] + durations[-1] - starts[0]) / 1000 if starts else 0.0
            characters += len(starts)
        except (KeyError, TypeError, IndexError):
            continue
    is_useful = characters >= _LEAST_ALIGNED and 0.0 < seconds < _MOST_ALIGNED_SECONDS
    return Aligned(seconds, characters) if is_useful else None
