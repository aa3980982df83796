"""What is kept of a conversation, from the messages that go through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.conversation.agent_stream import AgentStream
from service.conversation.client_stream import ClientStream
from service.conversation.recording import MAX_TEXT_CHARACTERS, MAX_UTTERANCES, Recording
from service.storage.conversation_records import ConversationSummary, EndedBy, Leg, Speaker, Utterance
from service.storage.record_writer import Record
from service.websocket import TEXT, Message


class Talk:
    """A conversation's two streams, and what is kept of them."""

    def __init__(self, *, keeps_words: bool = True) -> None:
        self.kept: list[Record] = []
        self.recording = Recording(self.kept.append, agent_id="agent_one", keeps_words=keeps_words)
        self.to_client: list[bytes] = []
        self.agent_stream = AgentStream(self.to_client.append, observe=self.recording.from_agent)
        self.client_stream = ClientStream(
            lambda _: None, agent_id_of=lambda number: number, messages_per_second=0, observe=self.recording.from_client
        )

    def agent(self, kind: str, **event: Any) -> None:
        names = {
            "user_transcript": "user_transcription_event",
            "conversation_initiation_metadata": "conversation_initiation_metadata_event",
        }
        name = names.get(kind, f"{kind}_event") if kind != "agent_tool_response" else kind
        self.agent_stream.handle(Message(TEXT, json.dumps({"type": kind, name: event}).encode()))

    def client(self, **message: Any) -> None:
        self.client_stream.handle(Message(TEXT, json.dumps(message).encode()))

    def open(self) -> None:
        self.agent("conversation_initiation_metadata", conversation_id="conv_one")

    def utterances(self) -> list[Utterance]:
        return [record for record in self.kept if isinstance(record, Utterance)]

    def newest(self) -> list[tuple[int, Speaker, str, bool]]:
        """The utterances as the database has them: a later record of the same sequence in place of the one before."""
        found = {
            said.sequence: (said.sequence, said.speaker, said.text, said.interrupted) for said in self.utterances()
        }
        return [found[sequence] for sequence in sorted(found)]


def test_a_conversation_is_kept_with_who_it_was_with_its_leg_its_words_and_its_end() -> None:
    talk = Talk()
    talk.client(
        type="conversation_initiation_client_data",
        user_id="user_seven",
        conversation_config_override={"agent": {"language": "es"}},
    )
    talk.open()
    talk.agent("agent_response", agent_response="Hola.", event_id=1)
    talk.agent("audio", audio_base_64="AAAA", event_id=1)
    talk.agent("user_transcript", user_transcript="¿A qué hora abren?", event_id=2)
    talk.agent("agent_tool_response", tool_name="opening_hours", tool_call_id="1", tool_type="client", event_id=2)
    talk.agent("agent_response", agent_response="A las nueve.", event_id=2)
    talk.client(type="user_message", text="Gracias")
    talk.recording.end("client", 1000, "")

    began, leg = talk.kept[:2]
    assert isinstance(began, ConversationSummary)
    assert (began.id, began.agent_id, began.user_id, began.language) == ("conv_one", "agent_one", "user_seven", "es")
    assert began.opening_seconds is not None
    assert isinstance(leg, Leg)
    assert (leg.number, leg.provider, leg.provider_conversation_id) == (1, "elevenlabs", "conv_one")
    assert talk.newest() == [
        (1, Speaker.AGENT, "Hola.", False),
        (2, Speaker.USER, "¿A qué hora abren?", False),
        (3, Speaker.TOOL, "opening_hours", False),
        (4, Speaker.AGENT, "A las nueve.", False),
        (5, Speaker.USER, "Gracias", False),
    ]
    ended = talk.kept[-1]
    assert isinstance(ended, ConversationSummary)
    assert (ended.ended_by, ended.end_code, ended.end_reason) == (EndedBy.CLIENT, 1000, "")
    assert ended.first_audio_seconds is not None
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at


def test_the_first_sound_is_that_of_the_conversation_and_not_of_its_last_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("service.conversation.recording.time.monotonic", lambda: clock[0])
    talk = Talk()
    talk.open()
    for clock[0] in (100.5, 107.0, 120.0):
        talk.agent("audio")
    talk.recording.end("client", 1000, "")
    ended = talk.kept[-1]
    assert isinstance(ended, ConversationSummary)
    assert ended.first_audio_seconds == 0.5


def test_what_the_user_broke_into_is_kept_as_it_was_heard() -> None:
    talk = Talk()
    talk.open()
    talk.agent("agent_response", agent_response="We are open from nine to six every day.", event_id=1)
    talk.agent("interruption", event_id=1)
    talk.agent(
        "agent_response_correction",
        original_agent_response="We are open from nine to six every day.",
        corrected_agent_response="We are open from nine...",
        event_id=1,
    )
    assert talk.newest() == [(1, Speaker.AGENT, "We are open from nine...", True)]
    assert talk.utterances()[-1].corrected_at is not None


def test_audio_is_passed_on_and_never_kept() -> None:
    talk = Talk()
    talk.open()
    for _ in range(50):
        talk.agent("audio", audio_base_64="QVVESU8=", event_id=1)
        talk.client(user_audio_chunk="QVVESU8=")
    assert len(talk.to_client) == 51
    assert "QVVESU8" not in repr(talk.kept)
    assert talk.utterances() == []


def test_when_no_words_are_wanted_none_are_kept_but_that_it_took_place_is() -> None:
    talk = Talk(keeps_words=False)
    talk.client(type="user_message", text="before it was open")
    talk.open()
    talk.agent("agent_response", agent_response="Hello.", event_id=1)
    talk.agent("agent_response_correction", corrected_agent_response="Hel", event_id=1)
    talk.recording.end("agent", 1000, "")
    assert [type(record) for record in talk.kept] == [ConversationSummary, Leg, Leg, ConversationSummary]


def test_a_conversation_that_never_opened_leaves_nothing() -> None:
    talk = Talk()
    talk.client(type="user_message", text="Is anybody there?")
    talk.recording.end("service", 1013, "No conversation can be taken now; try again.")
    assert talk.kept == []


def test_words_from_before_the_metadata_are_kept_behind_it() -> None:
    talk = Talk()
    talk.client(type="user_message", text="Is anybody there?")
    talk.open()
    assert talk.newest() == [(1, Speaker.USER, "Is anybody there?", False)]


def test_late_words_of_an_interrupted_turn_which_the_client_never_gets_are_not_kept_either() -> None:
    talk = Talk()
    talk.open()
    talk.agent("user_transcript", user_transcript="Hello.", event_id=5)
    talk.agent("interruption", event_id=5)
    before = len(talk.to_client)
    talk.agent("audio", audio_base_64="AAAA", event_id=5)
    assert len(talk.to_client) == before
    assert len(talk.utterances()) == 1


@pytest.mark.parametrize(
    "say",
    [
        lambda talk: talk.client(type="user_message"),
        lambda talk: talk.client(type="user_message", text=None),
        lambda talk: talk.client(type="user_message", text=["a list"]),
        lambda talk: talk.client(type="user_message", text="   "),
        lambda talk: talk.client(type="conversation_initiation_client_data", user_id={"a": 1}),
        lambda talk: talk.client(type="conversation_initiation_client_data", conversation_config_override=[1]),
        lambda talk: talk.agent("agent_response", event_id=1),
        lambda talk: talk.agent("agent_response", agent_response=7, event_id=1),
        lambda talk: talk.agent("agent_response_correction", corrected_agent_response="nothing before it", event_id=1),
        lambda talk: talk.agent("conversation_initiation_metadata", conversation_id="conv_two"),
        lambda talk: talk.agent("something_new", event_id=1),
    ],
)
def test_what_makes_no_sense_is_not_kept_and_disturbs_nobody(say: Callable[[Talk], None]) -> None:
    talk = Talk()
    talk.open()
    say(talk)
    assert talk.utterances() == []
    assert [record.id for record in talk.kept if isinstance(record, ConversationSummary)] == ["conv_one"]


def test_what_is_kept_of_a_conversation_is_bounded() -> None:
    talk = Talk()
    talk.open()
    talk.client(type="user_message", text="a" * (MAX_TEXT_CHARACTERS + 1))
    assert len(talk.utterances()[0].text) == MAX_TEXT_CHARACTERS
    for _ in range(MAX_UTTERANCES + 10):
        talk.recording.from_client({"type": "user_message", "text": "again"})
    assert len(talk.utterances()) == MAX_UTTERANCES
