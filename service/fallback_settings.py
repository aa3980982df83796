"""The settings of what happens when ElevenLabs fails, a client's network drops, or a worker leaves.

The key decision: a part of `Settings` (`config.py`), which alone is loaded and handed on. Every number here is a
promise to somebody who waits, so each says what it is counted from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from service.allowed_values import ADDRESS, allow, checked_address
from service.keeping_settings import KeepingSettings

VoiceMap = dict[str, dict[str, str]]
CLOSING_SECONDS = 15
_VOICES = "JSON: an object of objects of texts"
PROVIDERS = ("elevenlabs", "elevenlabs_2", "local")


class FallbackSettings(KeepingSettings):
    """The part that concerns failures; it is built on that which concerns what is kept."""

    # --- Who speaks when ElevenLabs fails
    fallback_chain: tuple[str, ...] = Field(
        ("elevenlabs", "local"),
        alias="VOCERO_FALLBACK_CHAIN",
        json_schema_extra=allow(f"some of {', '.join(PROVIDERS)}, each once, separated by commas"),
        description="Who speaks, in the order in which they are tried, separated by commas: elevenlabs, elevenlabs_2 (a"
        " second region or account), local (an agent of our own, on this machine). elevenlabs alone: there is no"
        " fallback, and a failure of ElevenLabs ends the conversation.",
        examples=["elevenlabs,local"],
    )
    fallback_return: Literal["return", "stick"] = Field(
        "return",
        alias="VOCERO_FALLBACK_RETURN",
        description="Whether a conversation on the fallback goes back to ElevenLabs between two turns once that is well"
        " again (return), or stays where it is (stick).",
    )
    first_audio_seconds: float = Field(
        1.0,
        alias="VOCERO_FIRST_AUDIO_SECONDS",
        ge=0,
        le=60,
        description="Seconds that the first sound of an answer may be late, on top of what the agent usually needs,"
        " before the fallback answers. 0: it is waited for as long as it takes.",
    )
    agent_thinking_seconds: float = Field(
        2.0,
        alias="VOCERO_AGENT_THINKING_SECONDS",
        ge=0,
        le=60,
        description="Seconds that an agent usually needs for its answer, until that has been measured (95th percentile"
        " of its last turns).",
    )
    leg_silence_seconds: float = Field(
        10.0,
        alias="VOCERO_LEG_SILENCE_SECONDS",
        ge=1,
        le=300,
        description="Seconds without a byte from ElevenLabs, not even an answer to our ping, after which its connection"
        " counts as lost.",
    )

    # --- The backup's voice, ears and words
    fallback_faq: Path | None = Field(
        None,
        alias="VOCERO_FALLBACK_FAQ",
        description="File of questions and answers that the backup agent answers from, in the shape of"
        " service/fallback/default_faq.yaml, which is used if unset: it says honestly that little can be answered now.",
        examples=["/etc/vocero/faq.yaml"],
    )
    fallback_voices: VoiceMap | None = Field(
        None,
        alias="VOCERO_FALLBACK_VOICES",
        json_schema_extra=allow(_VOICES),
        description="The backup's voice that comes nearest to an agent's (for speech requests: to a voice's), as JSON:"
        " agent id, voice id or * -> language or * -> a voice of the backup (calm-woman, bright-woman, warm-woman,"
        " calm-man, deep-man, bright-man) or a gender (female, male); behind a slash, a voice of the OpenAI-compatible"
        " endpoint.",
        examples=['{"*": {"*": "female"}, "agent_demo": {"es": "calm-man/onyx"}}'],
    )
    fallback_loudness_dbfs: float = Field(
        -20.0,
        alias="VOCERO_FALLBACK_LOUDNESS_DBFS",
        ge=-40,
        le=-12,
        description="Loudness of the backup's speech (root mean square, in dB of full scale), so that a change of"
        " voices in the middle of a sentence does not jump. Set it to what your ElevenLabs voice has.",
    )
    fallback_ears: bool = Field(
        True,
        alias="VOCERO_FALLBACK_EARS",
        description="Understand speech by Whisper on this machine while the backup speaks: half a gigabyte of memory"
        " for each worker from its first such conversation on. Without, the backup asks its users to type.",
    )
    fallback_ears_folder: Path = Field(
        Path(".vocero"),
        alias="VOCERO_FALLBACK_EARS_FOLDER",
        description="Folder in which the model of the ears is put together once (150 MB).",
    )

    # --- Any OpenAI-compatible endpoint, in the backup's place as long as it answers
    openai_base_url: str = Field(
        "https://api.openai.com/v1",
        alias="VOCERO_OPENAI_BASE_URL",
        json_schema_extra=allow(ADDRESS),
        pattern=r"^https?://[^\s?#]+[^\s?#/]$",
        description="Where the OpenAI-compatible endpoint is, without a slash at the end. Only the parts are used whose"
        " models are set below.",
    )
    openai_api_key: SecretStr | None = Field(
        None, alias="VOCERO_OPENAI_API_KEY", description="Its key, if it wants one."
    )
    openai_chat_model: str | None = Field(
        None, alias="VOCERO_OPENAI_CHAT_MODEL", description="Its language model that finds the backup's answers."
    )
    openai_system_prompt: str = Field(
        "You stand in for a voice agent whose provider has failed just now. Go on with the conversation in the user's"
        " language. Answer in one to three short sentences, as one speaks: no lists, no markup. If you do not know"
        " something, say so.",
        alias="VOCERO_OPENAI_SYSTEM_PROMPT",
        max_length=8_000,
        description="What the language model is told about itself before every conversation.",
    )
    openai_speech_model: str | None = Field(
        None, alias="VOCERO_OPENAI_SPEECH_MODEL", description="Its model that speaks for the backup."
    )
    openai_speech_voice: str = Field(
        "alloy", alias="VOCERO_OPENAI_SPEECH_VOICE", description="The voice that it speaks with, unless mapped above."
    )
    openai_transcription_model: str | None = Field(
        None, alias="VOCERO_OPENAI_TRANSCRIPTION_MODEL", description="Its model that understands what users say."
    )
    openai_seconds: float = Field(
        5.0,
        alias="VOCERO_OPENAI_SECONDS",
        gt=0,
        le=60,
        description="Seconds that the endpoint may take to answer or to understand; then the local part does it. After"
        " three failures in a row the endpoint is left alone for 30 s.",
    )
    openai_speech_seconds: float = Field(
        2.0,
        alias="VOCERO_OPENAI_SPEECH_SECONDS",
        gt=0,
        le=60,
        description="Seconds that it may take for the sound of one sentence, while which somebody waits in silence.",
    )

    # --- When a provider is left alone
    breaker_enabled: bool = Field(
        True,
        alias="VOCERO_BREAKER_ENABLED",
        description="Leave a provider alone that fails again and again, until probes of it succeed. false: every"
        " conversation tries it again, whatever happened to others.",
    )
    breaker_window_seconds: float = Field(
        30.0,
        alias="VOCERO_BREAKER_WINDOW_SECONDS",
        gt=0,
        le=3600,
        description="Seconds over which failures and slow answers are counted.",
    )
    breaker_minimum_calls: int = Field(
        5,
        alias="VOCERO_BREAKER_MINIMUM_CALLS",
        ge=1,
        le=100_000,
        description="Calls that there must have been in that time before their shares count. As many failures in a row"
        " are enough by themselves.",
    )
    breaker_failure_rate: float = Field(
        0.5,
        alias="VOCERO_BREAKER_FAILURE_RATE",
        gt=0,
        le=1,
        description="Share of the calls whose failure is too much.",
    )
    breaker_slow_rate: float = Field(
        0.8,
        alias="VOCERO_BREAKER_SLOW_RATE",
        gt=0,
        le=1,
        description="Share of the calls whose slowness is too much.",
    )
    breaker_slow_seconds: float = Field(
        4.0,
        alias="VOCERO_BREAKER_SLOW_SECONDS",
        gt=0,
        le=300,
        description="Seconds after which a call counts as slow: until a conversation is open, until the first audio of"
        " a speech request, or of an answer on top of what its agent usually needs.",
    )
    breaker_open_seconds: float = Field(
        15.0,
        alias="VOCERO_BREAKER_OPEN_SECONDS",
        gt=0,
        le=3600,
        description="Seconds before the first probe; they double each time that the provider fails again.",
    )
    breaker_longest_open_seconds: float = Field(
        600.0,
        alias="VOCERO_BREAKER_LONGEST_OPEN_SECONDS",
        gt=0,
        le=86_400,
        description="Seconds that they become at most.",
    )
    breaker_probe_seconds: float = Field(
        10.0,
        alias="VOCERO_BREAKER_PROBE_SECONDS",
        gt=0,
        le=600,
        description="Seconds between two probes that succeed (three in a row are needed), and that one may take.",
    )
    canary_voice_id: str = Field(
        "JBFqnCBsd6RMkjVDRZzb",
        alias="VOCERO_CANARY_VOICE_ID",
        min_length=1,
        max_length=100,
        description="Voice by which it is tried whether ElevenLabs speaks again, with two letters at a time; whether it"
        " talks, with ELEVENLABS_AGENT_ID or the first of VOCERO_PUBLIC_AGENTS.",
    )
    breaker_dwell_seconds: float = Field(
        120.0,
        alias="VOCERO_BREAKER_DWELL_SECONDS",
        ge=0,
        le=3600,
        description="Seconds for which a provider is left alone at least, however well its probes go.",
    )
    breaker_ramp_seconds: float = Field(
        60.0,
        alias="VOCERO_BREAKER_RAMP_SECONDS",
        ge=0,
        le=3600,
        description="Seconds in which it gets its conversations back: a tenth, then half, then all of them.",
    )
    breaker_flap_seconds: float = Field(
        600.0,
        alias="VOCERO_BREAKER_FLAP_SECONDS",
        ge=0,
        le=86_400,
        description="Seconds in which it comes back once at most, and after which one of its failures is forgotten.",
    )

    leg_opening_seconds: float = Field(
        4.0,
        alias="VOCERO_LEG_OPENING_SECONDS",
        ge=0.5,
        le=60,
        description="Seconds that opening a conversation at a provider may take, where the next one can be asked.",
    )

    # --- A second account of ElevenLabs', if elevenlabs_2 is in the chain
    elevenlabs_2_base_url: str | None = Field(
        None,
        alias="VOCERO_ELEVENLABS_2_BASE_URL",
        json_schema_extra=allow(ADDRESS),
        pattern=r"^https?://[^\s?#]+[^\s?#/]$",
        description="Where the second account is, such as another region, without a slash at the end. Unset: where the"
        " first one is.",
        examples=["https://api.eu.residency.elevenlabs.io"],
    )
    elevenlabs_2_api_key: SecretStr | None = Field(None, alias="VOCERO_ELEVENLABS_2_API_KEY", description="Its key.")
    elevenlabs_2_agents: dict[str, str] | None = Field(
        None,
        alias="VOCERO_ELEVENLABS_2_AGENTS",
        json_schema_extra=allow("pairs of agents as agent=agent, separated by commas"),
        description="Which of its agents stands in for which of the first account's, as agent=agent, separated by"
        " commas; one that is not named has the same id. They must speak and hear the same audio formats.",
        examples=["agent_a=agent_x,agent_b=agent_y"],
    )

    # --- Networks that drop, workers that leave
    resume_seconds: int = Field(
        120,
        alias="VOCERO_RESUME_SECONDS",
        ge=0,
        le=3600,
        description="Seconds for which a conversation waits for a client whose connection was lost. 0: it does not.",
    )
    drain_turn_seconds: float = Field(
        20.0,
        alias="VOCERO_DRAIN_TURN_SECONDS",
        ge=0,
        le=300,
        description="Seconds that a turn under way may take to its end when the service stops. The whole process takes"
        " 15 seconds more at most: give it that time (docs/operations.md).",
    )
    reconnect_spread_seconds: float = Field(
        10.0,
        alias="VOCERO_RECONNECT_SPREAD_SECONDS",
        ge=0,
        le=60,
        description="Seconds over which clients are told to come back when the service stops, so that they do not come"
        " all at once.",
    )

    @property
    def graceful_seconds(self) -> int:
        """Seconds from SIGTERM to a worker's end: the last turn's, and those for goodbyes and for what is unwritten."""
        return math.ceil(self.drain_turn_seconds) + CLOSING_SECONDS

    @field_validator("fallback_voices", mode="before")
    @classmethod
    def _read_voices(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError(f"must be {_VOICES}, and is no JSON") from None

    @field_validator("fallback_chain", mode="before")
    @classmethod
    def _split_chain(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("elevenlabs_2_agents", mode="before")
    @classmethod
    def _split_agents(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(ours.strip() and theirs.strip() for ours, _, theirs in pairs):
            raise ValueError("must be pairs of agents as agent=agent, separated by commas")
        return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}

    @field_validator("fallback_chain")
    @classmethod
    def _check_chain(cls, chain: tuple[str, ...]) -> tuple[str, ...]:
        if not chain or len(set(chain)) != len(chain) or not set(chain) <= set(PROVIDERS):
            raise ValueError(f"must have each of {', '.join(PROVIDERS)} at most once, and at least one")
        return chain

    @field_validator("elevenlabs_2_base_url", "openai_base_url")
    @classmethod
    def _leads_there(cls, value: str | None) -> str | None:
        return None if value is None else checked_address(value)

    def clashes(self) -> Iterator[str]:
        """As the base class says."""
        yield from super().clashes()
        if "elevenlabs_2" in self.fallback_chain and self.elevenlabs_2_api_key is None:
            yield "elevenlabs_2 is in VOCERO_FALLBACK_CHAIN, but VOCERO_ELEVENLABS_2_API_KEY is not set."
