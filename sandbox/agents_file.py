"""Read the file of the sandbox's agents: every key, its default and its bounds stand here.

The key decision: a wrong file stops the sandbox with one line that names the place; a key that nobody knows is an
error, because it is a typing mistake that would otherwise silently change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sandbox.catalog import find_voice
from service.errors import ConfigurationError
from service.fallback.local_agent_profile import (
    ALWAYS_SENT,
    DEFAULT_CLIENT_EVENTS,
    AgentProfile,
    ClientTool,
    Trigger,
)

BUILT_IN = Path(__file__).with_name("agents.yaml")

Language = Literal["en", "es"]
AudioFormat = Literal[
    "pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"
]  # fmt: skip
ClientEvent = Literal[
    "audio", "agent_response", "agent_response_correction", "agent_chat_response_part",
    "agent_reasoning_response_part", "interruption", "user_transcript", "tentative_user_transcript",
    "conversation_initiation_metadata", "client_tool_call", "rich_content", "agent_tool_request",
    "agent_tool_response", "agent_tool_response_full_payload", "mcp_tool_call", "mcp_connection_status", "vad_score",
    "ping", "context_usage", "asr_initiation_metadata", "guardrail_triggered", "internal_turn_probability",
    "internal_tentative_agent_response", "agent_typing", "external_agent_connected", "external_agent_disconnected",
]  # fmt: skip
OverrideField = Literal[
    "first_message", "language", "prompt", "llm", "tool_ids", "native_mcp_server_ids", "knowledge_base",
    "max_conversation_duration_message", "voice_id", "stability", "similarity_boost", "speed", "model_id",
    "pronunciation_dictionary_locators", "keywords", "soft_timeout_config", "text_only", "client_events",
    "max_duration_seconds",
]  # fmt: skip
Seconds = Annotated[float, Field(gt=0, le=7200)]


@dataclass(frozen=True)
class SandboxAgent:
    """An agent of the account: who it is, and whether anybody may talk to it."""

    profile: AgentProfile
    public: bool


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _ToolEntry(_Strict):
    name: str = Field(min_length=1, max_length=64)
    phrases: list[str] = []
    topics: list[str] = []
    parameters: dict[str, Any] = {}
    timeout_seconds: Seconds = 5.0
    answers: dict[Language, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_called(self) -> _ToolEntry:
        if not self.phrases and not self.topics:
            raise ValueError("needs phrases or topics, or nothing ever calls it")
        return self


class _AgentEntry(_Strict):
    name: str = Field("Agent", min_length=1)
    public: bool = False
    languages: list[Language] = Field(["en"], min_length=1)
    first_message: dict[Language, str] = {}
    prompt: str = ""
    voice_id: str = "sbEnEmmaCalm00000001"
    speed: float = Field(1.0, ge=0.7, le=5)
    text_only: bool = False
    output_format: AudioFormat = "pcm_16000"
    input_format: AudioFormat = "pcm_16000"
    client_events: list[ClientEvent] | None = None
    overrides: list[OverrideField] = []
    client_tools: list[_ToolEntry] = []
    goodbye_phrases: list[str] | None = None
    goodbye_topics: list[str] | None = None
    turn_timeout_seconds: Seconds | Literal[-1] = 7.0
    silence_end_call_seconds: Seconds | Literal[-1] = -1
    max_duration_seconds: Seconds = 600.0
    input_timeout_seconds: Seconds = 60.0

    @model_validator(mode="after")
    def _fits_together(self) -> _AgentEntry:
        if find_voice(self.voice_id) is None:
            raise ValueError(f"voice_id: there is no voice {self.voice_id!r}")
        missing = [language for language in self.languages if self.first_message and language not in self.first_message]
        if missing:
            raise ValueError(f"first_message: is missing for the language {missing[0]!r}")
        return self


class _AgentsFile(_Strict):
    agents: dict[Annotated[str, Field(pattern=r"^agent_[A-Za-z0-9_]{1,60}$")], _AgentEntry] = Field(min_length=1)


def load_agents(path: Path | None = None) -> Mapping[str, SandboxAgent]:
    """Read the agents of a file, or the built-in ones, by id.

    Raises:
        ConfigurationError: the file cannot be read, or one line saying what is wrong where.
    """
    path = path or BUILT_IN
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The agents' file {path} cannot be read: {exc}.") from exc
    except yaml.YAMLError as exc:
        place = getattr(exc, "problem_mark", None)
        where = f", line {place.line + 1}" if place else ""
        raise ConfigurationError(f"The agents' file {path}{where} is not YAML.") from exc
    try:
        entries = _AgentsFile.model_validate(document).agents
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"] if step != "[key]")
        raise ConfigurationError(f"The agents' file {path}: {where or 'the document'}: {first['msg']}.") from None
    return {agent_id: SandboxAgent(_profile(agent_id, entry), entry.public) for agent_id, entry in entries.items()}


def variant_of(voice_id: str) -> str | None:
    """Find the local voice's variant for a voice id of the account."""
    voice = find_voice(voice_id)
    return None if voice is None else voice.variant


def _profile(agent_id: str, entry: _AgentEntry) -> AgentProfile:
    usual = AgentProfile(agent_id).goodbye
    return AgentProfile(
        agent_id,
        name=entry.name,
        languages=tuple(entry.languages),
        language=entry.languages[0],
        follows_language=len(entry.languages) > 1,
        first_messages={str(language): text for language, text in entry.first_message.items()},
        prompt=entry.prompt,
        voice_id=entry.voice_id,
        voice_variant=variant_of(entry.voice_id),
        variant_of=variant_of,
        speed=entry.speed,
        text_only=entry.text_only,
        output_format=entry.output_format,
        input_format=entry.input_format,
        client_events=DEFAULT_CLIENT_EVENTS if entry.client_events is None else ALWAYS_SENT.union(entry.client_events),
        overrides=frozenset(entry.overrides),
        tools=tuple(_tool(tool) for tool in entry.client_tools),
        goodbye=Trigger(
            topics=usual.topics if entry.goodbye_topics is None else frozenset(entry.goodbye_topics),
            phrases=usual.phrases if entry.goodbye_phrases is None else tuple(entry.goodbye_phrases),
        ),
        turn_timeout_seconds=_limit(entry.turn_timeout_seconds),
        silence_end_call_seconds=_limit(entry.silence_end_call_seconds),
        max_duration_seconds=entry.max_duration_seconds,
        input_timeout_seconds=entry.input_timeout_seconds,
    )


def _limit(seconds: float) -> float | None:
    return None if seconds == -1 else seconds  # ElevenLabs writes "no limit" as -1


def _tool(entry: _ToolEntry) -> ClientTool:
    return ClientTool(
        entry.name,
        trigger=Trigger(topics=frozenset(entry.topics), phrases=tuple(entry.phrases)),
        answers={str(language): text for language, text in entry.answers.items()},
        parameters=entry.parameters,
        timeout_seconds=entry.timeout_seconds,
    )
