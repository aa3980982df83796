"""Who a local agent is: its languages, words, voice, tools and limits, as the operator configured them.

The key decision: a profile is a frozen value in the vocabulary of ElevenLabs' agent configuration. What a client may
change for one conversation makes a new profile (`service.fallback.local_agent_initiation`); nothing changes in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

# ElevenLabs sends the first seven when nothing is configured (agents.asyncapi.yaml, `client_events`). The others have
# no use but to be acted on, so an agent of ours sends them too unless told otherwise.
DEFAULT_CLIENT_EVENTS = frozenset(
    {
        "audio", "interruption", "agent_response", "user_transcript", "tentative_user_transcript",
        "conversation_initiation_metadata", "ping",
        "agent_response_correction", "agent_chat_response_part", "client_tool_call",
    }
)  # fmt: skip
ALWAYS_SENT = frozenset({"conversation_initiation_metadata", "error"})

# Bytes of one second of sound in each format of the Agents protocol.
BYTES_PER_SECOND = {
    "pcm_8000": 16_000, "pcm_16000": 32_000, "pcm_22050": 44_100, "pcm_24000": 48_000,
    "pcm_44100": 88_200, "pcm_48000": 96_000, "ulaw_8000": 8_000,
}  # fmt: skip


@dataclass(frozen=True)
class Lines:
    """What an agent says about itself in one language."""

    cannot_hear: str
    cannot_see: str
    still_there: str
    farewell: str
    tool_failed: str


LINES: Mapping[str, Lines] = {
    "en": Lines(
        cannot_hear="I noticed that you spoke, but I cannot understand speech here: the local extra is not installed."
        " Please type your question.",
        cannot_see="I cannot look at files. Please tell me in words.",
        still_there="Are you still there?",
        farewell="Goodbye, and thank you for talking to me.",
        tool_failed="I am sorry, that did not work on your side.",
    ),
    "es": Lines(
        cannot_hear="He notado que hablaba, pero aquí no puedo entender la voz: el extra local no está instalado."
        " Por favor, escriba su pregunta.",
        cannot_see="No puedo ver archivos. Por favor, dígamelo con palabras.",
        still_there="¿Sigue usted ahí?",
        farewell="Hasta luego, y gracias por hablar conmigo.",
        tool_failed="Lo siento, eso no ha funcionado en su dispositivo.",
    ),
}


@dataclass(frozen=True)
class Trigger:
    """When something other than a plain answer is due: a dialogue topic, or words within what the user said."""

    topics: frozenset[str] = frozenset()
    phrases: tuple[str, ...] = ()

    def matches_words(self, said: str) -> bool:
        """Tell whether one of the phrases stands in `said`, whatever the case and the punctuation."""
        words = f" {_words(said)} "
        return any(f" {_words(phrase)} " in words for phrase in self.phrases)


def _words(text: str) -> str:
    return " ".join("".join(char if char.isalnum() else " " for char in text.casefold()).split())


@dataclass(frozen=True)
class ClientTool:
    """A function of the client's that the agent calls; `answers` by language hold `{result}` for what came back.

    `timeout_seconds` is how long the agent waits for the result before it says that it failed.
    """

    name: str
    trigger: Trigger
    answers: Mapping[str, str]
    parameters: Mapping[str, object] = field(default_factory=dict)
    timeout_seconds: float = 5.0


@dataclass(frozen=True)
class AgentProfile:
    """One agent. Durations are seconds; None means without limit.

    `first_messages` and `lines` are by language; `languages` lists those that it speaks, `language` is the one in use.
    `variant_of` finds the local voice's variant for a voice id that a client asks for, or None for an id that does
    not exist; without it any id is accepted and the agent keeps its own variant. `overrides` are the fields that a
    client may override, by their leaf names. `follows_language`: the agent answers in the user's language, as long as
    it speaks it; a client that asks for one language gets that one throughout.
    `refuse_unknown_events`: ElevenLabs ends the conversation at an event that it does not know.
    """

    agent_id: str
    name: str = "Agent"
    languages: tuple[str, ...] = ("en",)
    language: str = "en"
    follows_language: bool = False
    first_messages: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, Lines] = field(default_factory=lambda: LINES)
    prompt: str = ""
    voice_id: str | None = None
    voice_variant: str | None = None
    variant_of: Callable[[str], str | None] | None = None
    speed: float = 1.0
    text_only: bool = False
    output_format: str = "pcm_16000"
    input_format: str = "pcm_16000"
    client_events: frozenset[str] = DEFAULT_CLIENT_EVENTS
    overrides: frozenset[str] = frozenset()
    tools: tuple[ClientTool, ...] = ()
    goodbye: Trigger = Trigger(topics=frozenset({"goodbye"}))
    turn_timeout_seconds: float | None = 7.0
    silence_end_call_seconds: float | None = None
    max_duration_seconds: float = 600.0
    input_timeout_seconds: float = 60.0
    refuse_unknown_events: bool = True

    @property
    def expected_language(self) -> str | None:
        """The language that the user is known to speak; None when it is to be found out."""
        return None if self.follows_language else self.language

    def in_language(self, language: str) -> AgentProfile:
        """The agent as it goes on after somebody spoke `language`."""
        follows = self.follows_language and language in self.languages
        return replace(self, language=language) if follows else self

    @property
    def first_message(self) -> str:
        """What the agent says first in the language in use; empty means that it waits for the user."""
        return self.first_messages.get(self.language, "")

    @property
    def words(self) -> Lines:
        """The agent's lines in the language in use, or in English."""
        return self.lines.get(self.language) or self.lines.get("en") or LINES["en"]

    def tool_by_words(self, question: str) -> ClientTool | None:
        """The tool that is asked for with these very words."""
        return next((tool for tool in self.tools if tool.trigger.matches_words(question)), None)

    def tool_by_topic(self, topic: str | None) -> ClientTool | None:
        """The tool that answers questions about `topic`."""
        return next((tool for tool in self.tools if topic in tool.trigger.topics), None)

    def sends(self, event_type: str) -> bool:
        """Tell whether this agent's clients get events of that type."""
        return event_type in self.client_events or event_type in ALWAYS_SENT
