"""What a client and the agent hear of each other through the service."""

from __future__ import annotations

import json
import struct

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.conversation.conftest import assert_closed_with_error, read_to_the_close
from tests.integration.conversation.scripted_agent import LIMIT, METADATA, audio


def test_the_initiation_reaches_the_agent_untouched_and_metadata_comes_first(talk, scripted_agent):
    initiation = '{"type":"conversation_initiation_client_data", "dynamic_variables":{"name":"Ana"},"x" : [1]}'
    client = talk(initiation=initiation)
    agent = scripted_agent.next_conversation(greet=False)
    assert agent.recv(LIMIT) == initiation
    ping = {"type": "ping", "ping_event": {"event_id": 1, "ping_ms": None}}
    agent.send(json.dumps(ping))
    agent.send(json.dumps(METADATA))
    agent.send(json.dumps(METADATA))
    agent.send(audio(1))
    assert [json.loads(client.recv(LIMIT))["type"] for _ in range(3)] == [
        "conversation_initiation_metadata",
        "ping",
        "audio",
    ]


@pytest.mark.parametrize(
    "message",
    [
        '{"user_audio_chunk":"AAAA"}',
        '{"type":"pong","event_id":4}',
        '{"type":"user_message","text":"¿Hola?"}',
        '{"type":"user_activity"}',
        '{"type":"contextual_update","text":"on page 3","context_id":"page"}',
        '{"type":"client_tool_result","tool_call_id":"t1","result":"12:00","is_error":false}',
        '{"type":"mcp_tool_approval_result","tool_call_id":"t2","is_approved":true}',
        '{"type":"multimodal_message","text":{"type":"user_message","text":"this"},"file":{"file_id":"f"}}',
        '{"type":"feedback","event_id":3,"score":"like"}',
        '{"type":"an_event_of_tomorrow","anything":{"goes":["here"]}}',
    ],
)
def test_every_client_event_reaches_the_agent(talk, scripted_agent, message):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.send(message)
    assert json.loads(agent.recv(LIMIT)) == json.loads(message)


@pytest.mark.parametrize(
    "message",
    [
        '{"type":"client_tool_call","client_tool_call":{"tool_name":"n","tool_call_id":"i","parameters":{},"event_id":2}}',
        '{"type":"vad_score","vad_score_event":{"vad_score":0.5}}',
        '{"type" : "an_event_of_tomorrow", "x" : {"deep":[1,2,{"type":"audio"}]}}',
        '{"type":"agent_chat_response_part","text_response_part":{"text":"Ho","type":"delta","event_id":1}}',
    ],
)
def test_every_agent_event_reaches_the_client_byte_for_byte(talk, scripted_agent, message):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    agent.send(message)
    assert client.recv(LIMIT) == message


def test_a_client_may_open_with_audio_and_nothing_of_it_is_lost(talk, scripted_agent):
    client = talk(initiation='{"user_audio_chunk":"AAAA"}')
    client.send('{"user_audio_chunk":"BBBB"}')
    agent = scripted_agent.next_conversation(greet=False)
    assert [agent.recv(LIMIT), agent.recv(LIMIT)] == ['{"user_audio_chunk":"AAAA"}', '{"user_audio_chunk":"BBBB"}']


def test_an_on_premises_setup_message_is_not_passed_to_elevenlabs(talk, scripted_agent):
    client = talk(initiation='{"type":"enclave_setup_config"}')
    client.send('{"type":"conversation_initiation_client_data"}')
    agent = scripted_agent.next_conversation(greet=False)
    assert json.loads(agent.recv(LIMIT))["type"] == "conversation_initiation_client_data"


def test_a_first_frame_in_the_upgrades_segment_of_elevenlabs_is_passed_on(talk, scripted_agent):
    """As a browser's: whatever the segments, the first message is there without another one behind it."""
    client = talk()
    scripted_agent.next_conversation()
    assert json.loads(client.recv(LIMIT)) == METADATA


def test_late_audio_is_dropped_and_a_reused_id_rises_for_the_client(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    response = json.dumps({"type": "agent_response", "agent_response_event": {"agent_response": "a", "event_id": 4}})
    for message in (
        audio(4),
        json.dumps({"type": "interruption", "interruption_event": {"event_id": 4}}),
        audio(4, 8),
        response,
        audio(4, 16),
    ):
        agent.send(message)
    events = [json.loads(client.recv(LIMIT)) for _ in range(5)]
    assert [event["type"] for event in events[1:]] == ["audio", "interruption", "agent_response", "audio"]
    assert (events[4]["audio_event"]["event_id"], len(events[4]["audio_event"]["audio_base_64"])) == (5, 16)
    client.send('{"type":"feedback","event_id":5,"score":"like"}')
    assert json.loads(agent.recv(LIMIT))["event_id"] == 4


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1002, "llm_timeout"),
        (1008, "Override for field 'first_message' is not allowed by config."),
        (1011, "unknown_websocket_crash"),
        (3000, "The AI agent you are trying to reach does not exist."),
        (3008, "too many concurrent connections"),
    ],
)
def test_the_agents_close_reaches_the_client_with_code_and_reason_after_an_error_event(
    talk, scripted_agent, code, reason
):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    agent.close(code, reason)
    assert_closed_with_error(client, code, reason)


def test_the_agents_goodbye_is_a_plain_close(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    agent.close(1000, "Agent ended the conversation")
    assert read_to_the_close(client) == ([], 1000, "Agent ended the conversation")


def test_an_error_event_of_elevenlabs_is_not_followed_by_one_of_ours(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    agent.send('{"type":"error","error_event":{"code":1002,"message":"This request exceeds your quota limit."}}')
    agent.close(1002, "This request exceeds your quota limit.")
    events, code, _ = read_to_the_close(client)
    assert ([event["type"] for event in events], code) == (["error"], 1002)


def test_an_agent_that_is_cut_off_is_told_as_a_lost_connection(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    agent.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: close sends a reset
    agent.socket.close()
    assert_closed_with_error(client, 1011, "lost")


def test_an_agent_that_breaks_the_protocol_is_told_and_the_client_too(talk, scripted_agent):
    client = talk()
    conversation = scripted_agent.next_conversation()
    client.recv(LIMIT)
    conversation.socket.sendall(b"\xc1\x00")  # reserved bits, without an extension
    assert_closed_with_error(client, 1011, "broke the protocol")
    with pytest.raises(ConnectionClosed) as caught:
        conversation.recv(LIMIT)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1002


def test_an_agent_that_sends_garbage_ends_the_conversation(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    agent.send("<html>")
    assert_closed_with_error(client, 1011, "not a JSON object")


def test_a_client_that_leaves_ends_the_agents_side_at_once(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    client.close()
    with pytest.raises(ConnectionClosed) as closed:
        agent.recv(LIMIT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


def test_messages_of_megabytes_pass_in_both_directions(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    large = audio(1, 15_000_000)
    agent.send(large)
    assert client.recv(LIMIT) == large
    upward = json.dumps({"user_audio_chunk": "A" * 900_000})
    client.send([upward[:10], upward[10:500_000], upward[500_000:]])
    assert agent.recv(LIMIT) == upward
