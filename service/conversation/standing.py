"""Where a conversation stands: all that another leg, or another worker, must know to go on with it.

The key decision: it is learned from what passes by, never asked for, so it costs nothing while all is well; and it is
made into a value (`Takeover`) at the one moment at which somebody else has to go on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from service.conversation.ledger_history import History
from service.conversation.resume_state import ResumeFacts
from service.conversation.turns import TurnTracker
from service.elevenlabs.vocabulary import DEFAULT_AGENT_AUDIO_FORMAT
from service.fallback.takeover import Takeover
from service.fallback.talk_history import PastTurn
from service.storage.conversation_records import Speaker

Message = Mapping[str, Any]


class Standing:
    """One conversation with `agent_id`, as far as it has come."""

    def __init__(self, agent_id: str, tracker: TurnTracker) -> None:
        self.agent_id = agent_id
        self.tracker = tracker
        self.conversation_id = ""
        self.output_format = DEFAULT_AGENT_AUDIO_FORMAT
        self.input_format = DEFAULT_AGENT_AUDIO_FORMAT
        self.initiation: Message = {}

    def restore(self, conversation_id: str, facts: ResumeFacts, turns: tuple[PastTurn, ...]) -> None:
        """Go on with a conversation that another worker has led until now."""
        self.conversation_id = conversation_id
        self.output_format, _, self.input_format = facts.formats.partition(" ")
        self.tracker.output_format = self.output_format
        initiation = orjson.loads(facts.initiation) if facts.initiation else {}
        self.initiation = initiation if isinstance(initiation, dict) else {}
        self.tracker.text_only = self.text_only
        self.tracker.restore(turns[:-1] if turns and turns[-1].speaker == "user" else turns)

    @property
    def facts(self) -> ResumeFacts:
        """What another worker has to be told of it, besides the words."""
        formats = f"{self.output_format} {self.input_format}"
        return ResumeFacts(self.agent_id, formats=formats, initiation=orjson.dumps(dict(self.initiation)))

    def from_client(self, message: Message) -> None:
        """A message of the client's that is no audio."""
        if message.get("type") == "conversation_initiation_client_data":
            self.initiation = message
            self.tracker.text_only = self.text_only
        self.tracker.from_client(message)

    def from_agent(self, kind: str, message: Message) -> None:
        """An event of the agent's that is no audio."""
        if kind == "conversation_initiation_metadata":
            self._note_metadata(message)
        self.tracker.from_agent(kind, message)

    def _note_metadata(self, metadata: Message) -> None:
        fields = metadata.get("conversation_initiation_metadata_event")
        if not isinstance(fields, dict):
            return
        self.conversation_id = str(fields.get("conversation_id") or "")
        self.output_format = str(fields.get("agent_output_audio_format") or self.output_format)
        self.input_format = str(fields.get("user_input_audio_format") or self.input_format)
        self.tracker.output_format = self.output_format

    @property
    def is_greeted(self) -> bool:
        """Whether the client has been told that the conversation is open."""
        return bool(self.conversation_id)

    @property
    def text_only(self) -> bool:
        """Whether the client asked for no audio."""
        override = _section(self.initiation, "conversation_config_override")
        return override.get("text_only") is True or _section(override, "conversation").get("text_only") is True

    @property
    def language(self) -> str | None:
        """The language that the client asked for."""
        override = _section(self.initiation, "conversation_config_override")
        language = _section(override, "agent").get("language")
        return language if isinstance(language, str) and language else None

    def takeover(self, conversation_id: str) -> Takeover:
        """What the next leg has to know; `conversation_id` is the conversation's, or the one that it is to have."""
        left = self.tracker.takeover(time.monotonic())
        return Takeover(
            agent_id=self.agent_id,
            conversation_id=conversation_id,
            language=self.language,
            output_format=self.output_format,
            input_format=self.input_format,
            text_only=self.text_only,
            history=left.history,
            initiation=self.initiation,
            greets=not self.is_greeted,
            rest=left.rest,
            full_text=left.full_text,
            announce=not left.announced,
            unplayed_seconds=left.unplayed_seconds,
            question=left.question,
        )


def turns_of(history: History) -> tuple[PastTurn, ...]:
    """What was said, as the ledger has it."""
    names: Mapping[Speaker, Literal["user", "agent"]] = {Speaker.USER: "user", Speaker.AGENT: "agent"}
    return tuple(PastTurn(names[each.speaker], each.text) for each in history.utterances if each.speaker in names)


def _section(message: Message, name: str) -> Message:
    inner = message.get(name)
    return inner if isinstance(inner, dict) else {}
