"""What an agent and a client say to each other, as a test writes it down, and a clock that goes when it is told to."""

from __future__ import annotations

import base64
import functools
import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.conversation.turns import TurnTracker

RATE = 16_000
PATIENCE = 3.0
LETTER_SECONDS = 0.06

Event = dict[str, Any]


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> float:
        self.now += seconds
        return self.now


@functools.cache
def _second(loudness: int) -> bytes:
    return array("h", (int(loudness * math.sin(index / 9)) for index in range(RATE))).tobytes()


def voice(seconds: float, *, loudness: int = 8_000) -> bytes:
    """A tone, s16le."""
    size = round(seconds * RATE) * 2
    return (_second(loudness) * (size // (RATE * 2) + 1))[:size]


def audio(event_id: int, sound: bytes, alignment: Mapping[str, Any] | None = None) -> bytes:
    """A message of audio, in ElevenLabs' order of fields."""
    event: Event = {"audio_base_64": base64.b64encode(sound).decode(), "event_id": event_id}
    if alignment is not None:
        event["alignment"] = alignment
    return json.dumps({"type": "audio", "audio_event": event}, separators=(",", ":")).encode()


def aligned(characters: Sequence[str], begin: float = 0.0, step: float = LETTER_SECONDS) -> Event:
    """Characters that sound one after the other, `step` seconds each."""
    return {
        "chars": list(characters),
        "char_start_times_ms": [round((begin + index * step) * 1000) for index in range(len(characters))],
        "char_durations_ms": [round(step * 1000)] * len(characters),
    }


def spoken(event_id: int, text: str, *, letters_a_message: int = 4) -> list[bytes]:
    """The messages in which a text is spoken."""
    parts = [text[begin : begin + letters_a_message] for begin in range(0, len(text), letters_a_message)]
    return [audio(event_id, voice(len(part) * LETTER_SECONDS), aligned(part)) for part in parts]


def response(event_id: int, text: str) -> Event:
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def part(event_id: int, kind: str, text: str = "") -> Event:
    return {
        "type": "agent_chat_response_part",
        "text_response_part": {"text": text, "type": kind, "event_id": event_id},
    }


def transcript(event_id: int, text: str) -> Event:
    return {"type": "user_transcript", "user_transcription_event": {"user_transcript": text, "event_id": event_id}}


def tentative(event_id: int, text: str) -> Event:
    fields = {"user_transcript": text, "event_id": event_id}
    return {"type": "tentative_user_transcript", "tentative_user_transcription_event": fields}


def interruption(event_id: int) -> Event:
    return {"type": "interruption", "interruption_event": {"event_id": event_id}}


def correction(event_id: int, original: str, heard: str) -> Event:
    fields = {"original_agent_response": original, "corrected_agent_response": heard, "event_id": event_id}
    return {"type": "agent_response_correction", "agent_response_correction_event": fields}


def tool(kind: str, call_id: str, *, tool_type: str = "client", name: str = "look") -> Event:
    return {"type": kind, kind: {"tool_name": name, "tool_call_id": call_id, "tool_type": tool_type, "event_id": 9}}


METADATA: Event = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {
        "conversation_id": "conv_1",
        "agent_output_audio_format": f"pcm_{RATE}",
        "user_input_audio_format": "pcm_16000",
    },
}


class Told:
    """A tracker that is told a conversation."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.clock = Clock()
        self.tracker = TurnTracker(clock=self.clock)
        if is_open:
            self.agent(METADATA)

    def agent(self, *events: Event | bytes) -> None:
        """The agent sends events, and audio as bytes."""
        for event in events:
            if isinstance(event, bytes):
                self.tracker.audio(event, 0, len(event))
            else:
                self.tracker.from_agent(event["type"], event)

    def types(self, text: str) -> None:
        """The client sends a written message."""
        self.tracker.from_client({"type": "user_message", "text": text})

    def play_out(self) -> None:
        """Let the client play what it has, and some time pass."""
        self.clock.tick(max(0.0, self.tracker.takeover(self.clock.now).unplayed_seconds) + 2.0)

    @property
    def is_idle(self) -> bool:
        return self.tracker.is_idle(self.clock.now)

    def due(self, seconds_later: float = 0.0) -> str | None:
        """What is overdue after so many seconds."""
        return self.tracker.due(self.clock.tick(seconds_later), PATIENCE)

    def words(self) -> list[tuple[str, str]]:
        """Who said what, as another leg is told."""
        return [(turn.speaker, turn.text) for turn in self.tracker.takeover(self.clock.now).history]


def in_words(texts: Iterable[str]) -> list[str]:
    """The words of texts, one behind the other."""
    return [word for text in texts for word in text.split()]
