from __future__ import annotations

import orjson
import pytest

from service.conversation.agent_stream import AgentStream
from service.conversation.client_stream import ClientStream
from service.websocket import TEXT, Message
from soak.numbered import TURN, Script, WrongMessageError

AGENT = Script(7, is_agent=True)
CLIENT = Script(7, is_agent=False)
TWO_TURNS = range(1, 2 * TURN + 2)


@pytest.mark.parametrize("script", [AGENT, CLIENT], ids=["agent", "client"])
def test_every_message_is_what_its_number_says(script: Script) -> None:
    for number in TWO_TURNS:
        script.check(number, script.message(number))


@pytest.mark.parametrize("script", [AGENT, CLIENT], ids=["agent", "client"])
def test_no_two_messages_are_the_same_so_a_doubled_or_lost_one_is_seen(script: Script) -> None:
    assert len({script.message(number) for number in TWO_TURNS}) == len(TWO_TURNS)


@pytest.mark.parametrize("script", [AGENT, CLIENT], ids=["agent", "client"])
@pytest.mark.parametrize("number", [1, 2, 40, TURN - 1, TURN, TURN + 1])
def test_one_changed_byte_anywhere_is_seen_and_its_place_is_told(script: Script, number: int) -> None:
    message = script.message(number)
    for place in (0, len(message) // 2, len(message) - 1):
        changed = message[:place] + bytes((message[place] ^ 1,)) + message[place + 1 :]
        with pytest.raises(WrongMessageError, match=rf"message {number} of .* differs from byte {place} on"):
            script.check(number, changed)


def test_a_message_of_another_conversation_is_seen() -> None:
    with pytest.raises(WrongMessageError):
        AGENT.check(3, Script(8, is_agent=True).message(3))


def test_a_message_that_was_cut_short_is_seen() -> None:
    with pytest.raises(WrongMessageError, match="were due"):
        CLIENT.check(5, CLIENT.message(5)[:-1])


def test_the_service_passes_an_agents_whole_script_on_byte_for_byte() -> None:
    """Or the comparison would blame the relay for what the protocol's rules change."""
    sent: list[bytes] = []
    stream = AgentStream(sent.append)
    metadata = {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": {}}
    stream.handle(Message(TEXT, orjson.dumps(metadata)))
    for number in TWO_TURNS:
        stream.handle(Message(TEXT, AGENT.message(number)))
    assert sent[1:] == [AGENT.message(number) for number in TWO_TURNS]


def test_the_service_passes_a_clients_whole_script_on_byte_for_byte() -> None:
    sent: list[bytes] = []
    stream = ClientStream(sent.append, agent_id_of=lambda event_id: event_id, messages_per_second=0)
    for number in TWO_TURNS:
        stream.handle(Message(TEXT, CLIENT.message(number)))
    assert sent == [CLIENT.message(number) for number in TWO_TURNS]


def test_large_scripts_fill_the_sockets_buffers_and_have_the_same_events() -> None:
    large = Script(7, is_agent=True, large=True)
    assert min(len(large.message(number)) for number in range(2, TURN - 1)) > 16_000
    assert large.message(TURN) == AGENT.message(TURN)
