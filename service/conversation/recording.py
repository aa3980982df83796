"""What is kept of a conversation: that it began and ended, and what was said in it, as values in their order.

The key decision: this runs in the callbacks that carry the audio, so it waits for nothing: `note` takes a value and
puts it aside, and who writes it down is somebody else's concern. Audio itself is never kept, and with no words wanted
(`keeps_words` false) none are even looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from service.elevenlabs.vocabulary import PROVIDER
from service.logs import log_context
from service.storage.conversation_records import ConversationSummary, EndedBy, Leg, Speaker, Utterance
from service.storage.record_writer import Record

Note = Callable[[Record], None]
"""Takes a record, at once."""

MAX_TEXT_CHARACTERS = 20_000
"""Of one utterance; what is longer is cut. A spoken minute has a thousand."""

MAX_UTTERANCES = 10_000
"""Of one conversation."""

_MAX_NAME_CHARACTERS = 256


class Recording:
    """The record of one conversation with `agent_id`, told to `note`.

    The lines of the log that its thread writes name it, as soon as it has a name.
    """

    def __init__(self, note: Note, *, agent_id: str, keeps_words: bool = True) -> None:
        self._note = note
        self._keeps_words = keeps_words
        self._begun = time.monotonic()
        self._summary = ConversationSummary(id="", agent_id=agent_id, started_at=datetime.now(UTC))
        self._leg: Leg | None = None
        self._provider = PROVIDER
        self._log_context = log_context()
        self._sequence = 0
        self._before_it_was_open: list[tuple[Speaker, str]] = []
        self._last_of_agent: Utterance | None = None

    @property
    def leg(self) -> Leg | None:
        """The one that speaks, or has spoken last; None before the metadata."""
        return self._leg

    @property
    def agent_id(self) -> str:
        """Whom it is with."""
        return self._summary.agent_id

    @property
    def started_at(self) -> datetime:
        """When it began, at whatever worker."""
        return self._summary.started_at

    # --- Its course

    def _begin(self, initiation: Mapping[str, Any]) -> None:
        """Take who it is with from the client's `conversation_initiation_client_data`."""
        override = initiation.get("conversation_config_override")
        agent = override.get("agent") if isinstance(override, dict) else None
        language = agent.get("language") if isinstance(agent, dict) else None
        self._summary = replace(self._summary, user_id=_name(initiation.get("user_id")), language=_name(language))

    def _open(self, metadata: Mapping[str, Any]) -> None:
        conversation_id = _name(_field(metadata, "conversation_initiation_metadata_event", "conversation_id"))
        if conversation_id is None or self._leg is not None:
            return  # without a name nobody could find it again
        seconds = time.monotonic() - self._begun
        self._summary = replace(self._summary, id=conversation_id, opening_seconds=round(seconds, 4))
        self._note(self._summary)
        self._leg = Leg(conversation_id, 1, self._provider, datetime.now(UTC), provider_conversation_id=conversation_id)
        self._note(self._leg)
        self._log_context.conversation_id, self._log_context.leg = conversation_id, 1
        waiting, self._before_it_was_open = self._before_it_was_open, []
        for speaker, text in waiting:
            self._say(speaker, text)

    def _note_first_audio(self) -> None:
        if self._summary.first_audio_seconds is not None:
            return  # the first audio of each turn is told
        self._summary = replace(self._summary, first_audio_seconds=round(time.monotonic() - self._begun, 4))

    def begin_leg(self, provider: str) -> None:
        """`provider` speaks first."""
        self._provider = provider

    def change_leg(self, provider: str, *, provider_conversation_id: str | None, cause: str) -> None:
        """Another provider speaks from now on, because of `cause`."""
        self._provider = provider
        self._last_of_agent = None
        if self._leg is None:
            return
        now = datetime.now(UTC)
        self._note(replace(self._leg, ended_at=now, end_cause=cause))
        self._leg = Leg(
            self._leg.conversation_id,
            self._leg.number + 1,
            provider,
            now,
            provider_conversation_id=provider_conversation_id,
        )
        self._note(self._leg)
        self._log_context.leg = self._leg.number

    def restore(self, records: Iterable[Record]) -> None:
        """Go on with what another worker has kept of the conversation; its leg is over."""
        for record in records:
            if isinstance(record, ConversationSummary):
                self._summary = replace(record, ended_at=None, ended_by=None, end_code=None, end_reason=None)
            elif isinstance(record, Leg):
                self._leg = record
            else:
                self._sequence = max(self._sequence, record.sequence)
        self._log_context.conversation_id = self._summary.id or None
        self._log_context.leg = self._leg.number if self._leg is not None else None

    def leave(self, cause: str) -> None:
        """It goes on elsewhere, or nowhere: its leg has ended, because of `cause`."""
        if self._leg is not None:
            self._note(replace(self._leg, ended_at=datetime.now(UTC), end_cause=cause))

    def end(self, by: str, code: int, reason: str) -> None:
        """It is over; nothing is kept of one that never was open."""
        if self._leg is None:
            return
        now = datetime.now(UTC)
        self._note(replace(self._leg, ended_at=now, end_cause=f"{by} {code}"))
        self._note(replace(self._summary, ended_at=now, ended_by=EndedBy(by), end_code=code, end_reason=reason[:200]))

    # --- What is said

    def from_client(self, message: Mapping[str, Any]) -> None:
        """A message of the client's that is no audio."""
        kind = message.get("type")
        if kind == "user_message":
            self._say(Speaker.USER, message.get("text"))
        elif kind == "conversation_initiation_client_data":
            self._begin(message)

    def from_agent(self, kind: str, message: Mapping[str, Any]) -> None:
        """An event of the agent's that is no audio; of audio, at least the first of each turn, the kind alone."""
        if kind == "user_transcript":
            self._say(Speaker.USER, _field(message, "user_transcription_event", "user_transcript"))
        elif kind == "agent_response":
            said = self._say(Speaker.AGENT, _field(message, "agent_response_event", "agent_response"))
            self._last_of_agent = said or self._last_of_agent
        elif kind == "agent_response_correction":
            self._correct(_field(message, "agent_response_correction_event", "corrected_agent_response"))
        elif kind == "conversation_initiation_metadata":
            self._open(message)
        elif kind == "audio":
            self._note_first_audio()
        elif kind == "agent_tool_response":
            self._say(Speaker.TOOL, _field(message, "agent_tool_response", "tool_name"))

    def _say(self, speaker: Speaker, text: object) -> Utterance | None:
        if not self._keeps_words or not isinstance(text, str) or not text.strip():
            return None
        if self._leg is None:
            if len(self._before_it_was_open) < MAX_UTTERANCES:
                self._before_it_was_open.append((speaker, text))
            return None
        if self._sequence >= MAX_UTTERANCES:
            return None
        self._sequence += 1
        said = Utterance(
            self._summary.id, self._sequence, speaker, text[:MAX_TEXT_CHARACTERS], datetime.now(UTC), self._provider
        )
        self._note(said)
        return said

    def _correct(self, text: object) -> None:
        """What the user has heard of the last reply before breaking in."""
        if self._last_of_agent is None or not isinstance(text, str):
            return
        self._last_of_agent = replace(
            self._last_of_agent, text=text[:MAX_TEXT_CHARACTERS], interrupted=True, corrected_at=datetime.now(UTC)
        )
        self._note(self._last_of_agent)


def _field(message: Mapping[str, Any], event: str, name: str) -> object:
    inner = message.get(event)
    return inner.get(name) if isinstance(inner, dict) else None


def _name(value: object) -> str | None:
    return value[:_MAX_NAME_CHARACTERS] if isinstance(value, str) and value else None
