"""One answer of an agent: its typed events, and when it is complete.

The key decision: the protocol has no "that was all" that is sure to come. In text mode an answer is complete with
its `stop` part and its full text; in voice mode when its full text is there and no more audio comes for a while
(audio arrives faster than real time, in bursts).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.elevenlabs.live_conversation import payload
from service.elevenlabs.vocabulary import ServerEvent
from service.errors import UpstreamProtocolError


@dataclass(frozen=True, kw_only=True)
class PastTurn:
    """What was said before, by whom."""

    role: Literal["user", "agent"]
    text: str


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """The next piece of the answer's text, while it is made."""

    text: str
    event_id: int


@dataclass(frozen=True, kw_only=True)
class FinalText:
    """The answer's whole text."""

    text: str
    event_id: int


@dataclass(frozen=True, kw_only=True)
class CorrectedText:
    """What was in truth said of an answer that was interrupted."""

    text: str
    event_id: int


@dataclass(frozen=True, kw_only=True)
class AudioPart:
    """The next piece of the answer's audio, in `audio_format` (`pcm_16000`)."""

    audio: bytes
    audio_format: str
    event_id: int


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """The agent wants a tool of its client's to be run."""

    tool_name: str
    tool_call_id: str
    parameters: Mapping[str, Any]
    event_id: int


ResponseEvent = TextPart | FinalText | CorrectedText | AudioPart | ToolCall


class AgentAnswer:
    """Reads the events that follow a question; those up to `after_event_id` belong to earlier turns.

    `audio_format` is that of the metadata event.
    """

    def __init__(self, *, audio_format: str, text_only: bool, after_event_id: int | None = None) -> None:
        self._audio_format = audio_format
        self._text_only = text_only
        self._after_event_id = after_event_id
        self._part_started = False
        self._part_stopped = False
        self.has_final_text = False
        self.is_complete = False

    def take(self, event: Mapping[str, Any]) -> Iterator[ResponseEvent]:
        """What one event adds to the answer.

        Raises:
            UpstreamProtocolError: the event's fields make no sense.
        """
        try:
            yield from self._take(event)
        except (KeyError, TypeError, ValueError, binascii.Error):
            # The cause can quote what the agent said.
            raise UpstreamProtocolError("ElevenLabs sent a senseless event.", code="senseless_frame") from None

    def _take(self, event: Mapping[str, Any]) -> Iterator[ResponseEvent]:
        match event["type"]:
            case ServerEvent.AGENT_CHAT_RESPONSE_PART:
                yield from self._take_part(payload(event, "text_response_part"))
            case ServerEvent.AGENT_RESPONSE:
                yield from self._take_final(payload(event, "agent_response_event"))
            case ServerEvent.AGENT_RESPONSE_CORRECTION:
                fields = payload(event, "agent_response_correction_event")
                if not self._is_earlier(fields):
                    yield CorrectedText(text=fields["corrected_agent_response"], event_id=_event_id(fields))
            case ServerEvent.AUDIO:
                yield from self._take_audio(payload(event, "audio_event"))
            case ServerEvent.CLIENT_TOOL_CALL:
                fields = payload(event, "client_tool_call")
                self.has_final_text = False  # the answer goes on with what the tool says
                yield ToolCall(
                    tool_name=fields["tool_name"],
                    tool_call_id=fields["tool_call_id"],
                    parameters=fields.get("parameters") or {},
                    event_id=_event_id(fields),
                )
            case ServerEvent.AGENT_RESPONSE_COMPLETE:
                self.is_complete = self.has_final_text

    def _take_part(self, fields: Mapping[str, Any]) -> Iterator[ResponseEvent]:
        if self._is_earlier(fields):
            return
        self._part_started = True
        self._part_stopped = fields["type"] == "stop"
        if fields.get("text"):
            yield TextPart(text=fields["text"], event_id=_event_id(fields))
        self._note_text()

    def _take_final(self, fields: Mapping[str, Any]) -> Iterator[ResponseEvent]:
        if self._is_earlier(fields):
            return
        self.has_final_text = True
        yield FinalText(text=fields["agent_response"], event_id=_event_id(fields))
        self._note_text()

    def _take_audio(self, fields: Mapping[str, Any]) -> Iterator[ResponseEvent]:
        if self._is_earlier(fields):
            return
        audio = base64.b64decode(fields["audio_base_64"], validate=True)
        if audio:
            yield AudioPart(audio=audio, audio_format=self._audio_format, event_id=_event_id(fields))

    def _note_text(self) -> None:
        # Parts come in text mode only, where no audio follows; an agent may be set up to send none.
        all_parts = self._part_stopped if self._part_started else self._text_only
        self.is_complete = self.has_final_text and all_parts

    def _is_earlier(self, fields: Mapping[str, Any]) -> bool:
        return self._after_event_id is not None and _event_id(fields) <= self._after_event_id


def _event_id(fields: Mapping[str, Any]) -> int:
    number = fields.get("event_id")
    return number if isinstance(number, int) else 0
