"""What is kept of a conversation, as values: never rows of the database, never changed once made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

LONGEST_ID = 64
LONGEST_USER_ID = 256

GOOD_END_CODES = (1000, 1001, 1005)
"""The close codes of whoever is done, or leaves; 1005 is a close without one."""


class Speaker(StrEnum):
    """Whose words an utterance has."""

    USER = "user"
    AGENT = "agent"
    TOOL = "tool"


class EndedBy(StrEnum):
    """Who ended a conversation."""

    CLIENT = "client"
    AGENT = "agent"
    SERVICE = "service"


@dataclass(frozen=True)
class ConversationSummary:
    """A conversation without its words. `opening_seconds` is until the agent's side was open, `first_audio_seconds`
    until its first audio went to the client, both from the start; `end_code` is the close code that the client got.
    """

    id: str
    agent_id: str
    started_at: datetime
    user_id: str | None = None
    language: str | None = None
    ended_at: datetime | None = None
    ended_by: EndedBy | None = None
    end_code: int | None = None
    end_reason: str | None = None
    opening_seconds: float | None = None
    first_audio_seconds: float | None = None


@dataclass(frozen=True)
class Leg:
    """The part of a conversation that one provider spoke; `number` counts from 1."""

    conversation_id: str
    number: int
    provider: str
    started_at: datetime
    provider_conversation_id: str | None = None
    ended_at: datetime | None = None
    end_cause: str | None = None


@dataclass(frozen=True)
class Utterance:
    """What was said, the `sequence`th in its conversation (tools included).

    `interrupted`: the user broke in, and `text` ends with what was said until then. `corrected_at` is the moment of
    the newest correction of `text` (ElevenLabs corrects a reply after it knows how much of it was heard).
    """

    conversation_id: str
    sequence: int
    speaker: Speaker
    text: str
    at: datetime
    provider: str
    interrupted: bool = False
    corrected_at: datetime | None = None


@dataclass(frozen=True)
class ConversationCost:
    """What the provider says that a conversation cost, as of `fetched_at`; what it does not say is None."""

    conversation_id: str
    fetched_at: datetime
    characters: int | None = None
    credits: int | None = None
    call_seconds: int | None = None


@dataclass(frozen=True)
class JudgedAnswer:
    """How a sampled answer sounded: that of the `turn`th turn, as traces count them, in the `leg`th leg.

    `at` is when its first sound went to the client. `defects` are names of what is wrong with it; empty: nothing, None:
    not known. `score` is from 1 (bad) to 5, `deviation` what that is above the usual one of its voice; None: not known,
    or not yet.
    """

    conversation_id: str
    leg: int
    turn: int
    at: datetime
    provider: str
    defects: tuple[str, ...] | None = None
    score: float | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class ConversationRecord:
    """Everything that is kept of a conversation; legs by number, utterances by sequence.

    `judged_answers` are those whose sound was sampled; None: nobody knows, as there is no place where that is kept.
    """

    summary: ConversationSummary
    legs: tuple[Leg, ...]
    utterances: tuple[Utterance, ...]
    cost: ConversationCost | None = None
    judged_answers: tuple[JudgedAnswer, ...] | None = None


@dataclass(frozen=True)
class ConversationFilter:
    """Which conversations to look for: those that meet all that is given. `since` is included, `until` is not.

    `unended`: no end of them is known. `ended_badly`: their client's connection did not close as one that is done with.
    `switched`: more than one provider spoke.
    """

    agent_id: str | None = None
    user_id: str | None = None
    provider_conversation_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    unended: bool = False
    ended_badly: bool = False
    switched: bool = False
