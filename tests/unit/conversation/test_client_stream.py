"""What is refused of a client's messages, and that the rest is passed on untouched."""

from __future__ import annotations

import json

import pytest

from service.conversation.client_stream import BURST_SECONDS, ClientStream
from service.errors import RequestError, TooManyRequestsError
from service.websocket import BINARY, TEXT, Message


@pytest.fixture
def stream() -> ClientStream:
    return ClientStream([].append, agent_id_of=lambda event_id: event_id - 100, messages_per_second=0)


@pytest.mark.parametrize(
    "data",
    [
        b'{"user_audio_chunk":"AAAA"}',
        b' { "user_audio_chunk" : "" , "more": "\xc3\xb1"}',
        b'{"type":"brand_new","x":1}',
        b'{"type": "pong", "event_id": 7}',
    ],
)
def test_messages_pass_byte_for_byte(stream, data):
    assert stream.read(Message(TEXT, data)) is data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed_json"),
        (b"hello", "malformed_json"),
        (b'{"user_audio_chunk":"AAAA', "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b"[]", "invalid_message"),
        (b'"text"', "invalid_message"),
        (b'{"text":"no type"}', "invalid_message"),
        (b'{"type":5}', "invalid_message"),
    ],
)
def test_what_is_no_message_is_refused_with_1008(stream, data, code):
    with pytest.raises(RequestError) as caught:
        stream.read(Message(TEXT, data))
    assert (caught.value.close_code, caught.value.code) == (1008, code)


def test_binary_messages_are_refused_with_1003(stream):
    with pytest.raises(RequestError) as caught:
        stream.read(Message(BINARY, b'{"type":"pong"}'))
    assert caught.value.close_code == 1003


def test_feedback_names_the_agents_own_event(stream):
    data = json.dumps({"type": "feedback", "event_id": 107, "score": "like"}).encode()
    assert json.loads(stream.read(Message(TEXT, data))) == {"type": "feedback", "event_id": 7, "score": "like"}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"type": "conversation_initiation_client_data"}, "conversation_initiation_client_data"),
        ({"type": "enclave_setup_config"}, "enclave_setup_config"),
        ({"type": "user_message", "text": "hi"}, "user_message"),
        ({"user_audio_chunk": "AAAA"}, "user_audio_chunk"),
    ],
)
def test_a_conversation_can_open_with(stream, message, kind):
    assert stream.read_first(Message(TEXT, json.dumps(message).encode()))[0] == kind


def test_an_unknown_first_message_is_refused_with_the_one_that_is_expected(stream):
    with pytest.raises(RequestError, match="conversation_initiation_client_data"):
        stream.read_first(Message(TEXT, b'{"type":"hello"}'))


def test_more_messages_than_the_bound_end_the_conversation_after_the_burst():
    stream = ClientStream([].append, agent_id_of=int, messages_per_second=10)
    message = Message(TEXT, b'{"user_audio_chunk":""}')
    for _ in range(10 * BURST_SECONDS):
        stream.read(message)
    with pytest.raises(TooManyRequestsError):
        for _ in range(10 * BURST_SECONDS):
            stream.read(message)


@pytest.mark.parametrize("start", [b'{"user_audio_chunk":"', b'{"user_audio_chunk": "', b' {  "user_audio_chunk" : "'])
def test_audio_passes_in_whatever_way_this_client_writes_it(stream, start):
    data = start + b"A" * 200 + b'"}'
    stream.handle(Message(TEXT, data))
    assert stream.passes(b"before" + data + b"behind", 6, 6 + len(data))


@pytest.mark.parametrize("data", [b'{"type":"user_message","text":"hi"}', b"", b'"}', b'["user_audio_chunk":"'])
def test_what_is_no_audio_does_not_pass_unread(stream, data):
    assert not stream.passes(data, 0, len(data))


def test_messages_that_passed_count_towards_the_bound():
    stream = ClientStream([].append, agent_id_of=int, messages_per_second=10)
    with pytest.raises(TooManyRequestsError):
        stream.count(20 * BURST_SECONDS)


def test_what_a_killed_worker_had_heard_already_is_not_heard_a_second_time():
    sent: list[bytes] = []
    seen: list[object] = []
    stream = ClientStream(
        sent.append, agent_id_of=lambda event_id: event_id, messages_per_second=0, observe=seen.append
    )
    stream.heard_already = "Where is the shop?"
    for text in ("Where is the shop?", "Where is the shop?"):
        stream.handle(Message(TEXT, json.dumps({"type": "user_message", "text": text}).encode()))
    assert len(sent) == len(seen) == 1, "who asks again later means it"
    assert stream.received == 2


def test_feedback_and_results_for_a_leg_that_is_over_go_to_nobody():
    sent: list[bytes] = []
    stream = ClientStream(sent.append, agent_id_of=lambda _: None, messages_per_second=0)
    stream.stale_tool_calls.add("call_1")
    for message in (
        {"type": "feedback", "event_id": 3, "score": "like"},
        {"type": "client_tool_result", "tool_call_id": "call_1", "result": "x", "is_error": False},
        {"type": "client_tool_result", "tool_call_id": "call_2", "result": "x", "is_error": False},
    ):
        stream.handle(Message(TEXT, json.dumps(message).encode()))
    assert [json.loads(data)["tool_call_id"] for data in sent] == ["call_2"]
