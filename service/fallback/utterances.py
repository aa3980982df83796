"""Find what somebody says in a stream of sound: when it begins, and the whole of it when it has ended.

The key decision: begin and end are judged by counts over a short window, not by single frames, so that a noise burst
begins nothing and the gap within a word ends nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from service.fallback.voice_activity import FRAME_SECONDS, VoiceActivity

_BYTES_PER_SAMPLE = 2
_WINDOW_SLACK_FRAMES = 2  # of the frames before a begin, this many may be unvoiced: a plosive's gap


@dataclass(frozen=True)
class SpeechStarted:
    """Somebody has begun to speak: `at_seconds` from the stream's begin (stop talking now)."""

    at_seconds: float


@dataclass(frozen=True)
class SpeechEnded:
    """An utterance is complete.

    `pcm` is s16le mono at the stream's own rate, with the pre-roll before it and the hang-over after it. `bounded`
    is true when it was cut at the greatest length while the speaker went on; the rest follows as another utterance.
    """

    pcm: bytes
    bounded: bool = False


SpeechEvent = SpeechStarted | SpeechEnded


class UtteranceDetector:
    """Finds utterances in one stream of s16le mono sound; not for several threads at once."""

    def __init__(
        self,
        sample_rate: int,
        *,
        start_seconds: float = 0.16,
        hangover_seconds: float = 0.6,
        pre_roll_seconds: float = 0.3,
        max_seconds: float = 30.0,
        activity: VoiceActivity | None = None,
    ) -> None:
        """Take the stream's rate in Hz and how patient to be.

        `start_seconds` of voice begin an utterance, `hangover_seconds` without voice end it. The default start is
        0.16 because WebRTC's classifier stretches a 50 ms burst to 0.12 (measured).
        """
        self._sample_rate = sample_rate
        self._activity = activity or VoiceActivity(sample_rate)
        self._frame_bytes = round(sample_rate * FRAME_SECONDS) * _BYTES_PER_SAMPLE
        self._start_frames = _frames(start_seconds)
        self._hangover_frames = _frames(hangover_seconds)
        self._max_frames = _frames(max_seconds)
        window = self._start_frames + _WINDOW_SLACK_FRAMES
        self._recent: deque[bool] = deque(maxlen=window)
        self._before: deque[bytes] = deque(maxlen=window + _frames(pre_roll_seconds))
        self._rest = b""
        self._seen_frames = 0
        self._utterance: list[bytes] | None = None
        self._silent_frames = 0

    @property
    def speaking(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._utterance is not None

    def feed(self, pcm: bytes) -> list[SpeechEvent]:
        """Take sound of any length; return what became certain by it, in order."""
        data = self._rest + pcm
        whole = len(data) - len(data) % self._frame_bytes
        self._rest = data[whole:]
        events: list[SpeechEvent] = []
        for begin in range(0, whole, self._frame_bytes):
            events.extend(self._take(data[begin : begin + self._frame_bytes]))
        return events

    def flush(self) -> list[SpeechEvent]:
        """End the utterance now, as when a push-to-talk key is let go or the stream is over."""
        return [self._end(bounded=False)] if self.speaking else []

    def _take(self, frame: bytes) -> list[SpeechEvent]:
        self._seen_frames += 1
        voiced = self._activity.is_speech(frame)
        if self._utterance is None:
            return self._listen(frame, voiced)
        self._utterance.append(frame)
        self._silent_frames = 0 if voiced else self._silent_frames + 1
        if self._silent_frames >= self._hangover_frames:
            return [self._end(bounded=False)]
        if len(self._utterance) >= self._max_frames:
            return [self._end(bounded=True)]
        return []

    def _listen(self, frame: bytes, voiced: bool) -> list[SpeechEvent]:
        self._before.append(frame)
        self._recent.append(voiced)
        if not voiced or sum(self._recent) < self._start_frames:
            return []
        self._utterance = list(self._before)
        self._silent_frames = 0
        return [SpeechStarted((self._seen_frames - len(self._recent)) * FRAME_SECONDS)]

    def _end(self, *, bounded: bool) -> SpeechEnded:
        pcm = b"".join(self._utterance or [])
        self._utterance = None
        self._recent.clear()
        self._before.clear()
        return SpeechEnded(pcm, bounded)


def _frames(seconds: float) -> int:
    return max(1, round(seconds / FRAME_SECONDS))
