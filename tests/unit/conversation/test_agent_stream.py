"""The order that every client understands, whatever the agent's side sends."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.conversation.agent_stream import MAX_HELD_MESSAGES, AgentStream
from service.conversation.events import peek_audio
from service.errors import UpstreamProtocolError
from service.websocket import TEXT, Message

METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {
        "conversation_id": "conv_1",
        "agent_output_audio_format": "pcm_16000",
        "user_input_audio_format": "pcm_16000",
    },
}


def audio(event_id: int) -> dict[str, object]:
    return {"type": "audio", "audio_event": {"audio_base_64": "AAAA" * 50, "event_id": event_id}}


def interruption(event_id: int) -> dict[str, object]:
    return {"type": "interruption", "interruption_event": {"event_id": event_id}}


def response(event_id: int) -> dict[str, object]:
    return {"type": "agent_response", "agent_response_event": {"agent_response": "Hi", "event_id": event_id}}


def bytes_through(*messages: object, peeking: bool = True) -> list[bytes]:
    """What comes out, with the relay's short cut for what passes as it is, or all of it handled."""
    sent: list[bytes] = []
    stream = AgentStream(sent.append)
    for message in messages:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        if peeking and stream.passes(b"before" + data + b"behind", 6, 6 + len(data)):
            sent.append(data)
        else:
            stream.handle(Message(TEXT, data))
    return sent


def through(*messages: object) -> list[dict[str, object]]:
    return [json.loads(data) for data in bytes_through(*messages)]


def test_metadata_comes_first_and_what_came_before_it_follows():
    ping = {"type": "ping", "ping_event": {"event_id": 1, "ping_ms": None}}
    assert through(ping, audio(1), METADATA, audio(2)) == [METADATA, ping, audio(1), audio(2)]


def test_a_second_metadata_event_is_not_passed_on():
    assert through(METADATA, METADATA, audio(1)) == [METADATA, audio(1)]


def test_an_agent_that_never_sends_metadata_is_at_fault_after_a_bounded_wait():
    with pytest.raises(UpstreamProtocolError):
        through(*[audio(1)] * (MAX_HELD_MESSAGES + 1))


def test_late_audio_of_an_interrupted_turn_is_dropped():
    correction = {"type": "agent_response_correction", "agent_response_correction_event": {"event_id": 3}}
    assert through(METADATA, audio(3), interruption(3), audio(3), correction, audio(2)) == [
        METADATA,
        audio(3),
        interruption(3),
        correction,
    ]


def test_the_next_turn_is_heard_also_when_elevenlabs_reuses_the_interrupted_turns_id():
    """elevenlabs-python#829: the SDK drops audio whose id is not above the interruption's."""
    sent = through(METADATA, audio(3), interruption(3), response(3), audio(3), audio(3), response(4), audio(4))
    assert sent[3:] == [response(4), audio(4), audio(4), response(5), audio(5)]


def test_a_pings_id_is_never_changed():
    ping = {"type": "ping", "ping_event": {"event_id": 3, "ping_ms": 10}}
    sent = through(METADATA, interruption(3), response(1), ping)
    assert sent[-1] == ping


def test_a_client_that_names_an_event_means_the_agents_own_id():
    sent: list[bytes] = []
    stream = AgentStream(sent.append)
    for message in (METADATA, response(5), interruption(5), response(5), response(6)):
        stream.handle(Message(TEXT, json.dumps(message).encode()))
    assert [json.loads(data)["agent_response_event"]["event_id"] for data in (sent[1], *sent[3:])] == [5, 6, 7]
    assert [stream.agent_id_of(event_id) for event_id in (5, 6, 7)] == [5, 5, 6]


def test_a_flat_error_is_given_the_nested_form_that_clients_read():
    sent = through({"type": "error", "message": "This request exceeds your quota limit."})
    assert sent[0]["error_event"] == {"code": 1011, "message": "This request exceeds your quota limit."}


def test_unknown_events_pass_byte_for_byte():
    strange = b'{"type" :"brand_new", "x":{"a":[1, 2]} , "y": "\xc3\xb1"}'
    assert bytes_through(METADATA, strange)[-1] is strange


@pytest.mark.parametrize("garbage", [b"", b"nonsense", b"[1]", b'"text"', b'{"type":'])
def test_what_is_no_json_object_is_the_agents_fault(garbage):
    with pytest.raises(UpstreamProtocolError):
        through(METADATA, garbage)


shapes = st.sampled_from(
    [
        lambda i: f'{{"type":"audio","audio_event":{{"audio_base_64":"QUJD","event_id":{i}}}}}',
        lambda i: f'{{"audio_event": {{"audio_base_64": "QUJD", "event_id": {i}}}, "type": "audio"}}',
        lambda i: f'{{"type":"audio","audio_event":{{"event_id":{i},"audio_base_64":"QUJD"}}}}',
        lambda i: (
            f'{{"type":"audio","audio_event":{{"audio_base_64":"","event_id":{i},"alignment":{{"chars":["a"]}}}}}}'
        ),
        lambda i: (
            f'{{"audio_event":{{"audio_base_64":"Q","alignment":{{"chars":["a"]}},"event_id":{i}}},"type":"audio"}}'
        ),
        lambda i: f' {{ "type" : "audio" , "audio_event" : {{ "audio_base_64" : "Q" , "event_id" : {i} }} }} ',
    ]
)


@given(shapes, st.integers(0, sys.maxsize))
def test_the_peek_finds_the_id_that_a_parser_finds_or_nothing(shape, event_id):
    data = shape(event_id).encode()
    peek = peek_audio(data)
    assert peek is None or int(data[peek.id_begin : peek.id_end]) == json.loads(data)["audio_event"]["event_id"]
    assert peek is None or peek.event_id == event_id


@given(st.integers(0, 9))
def test_words_inside_another_event_are_not_taken_for_audio(event_id):
    tool = {"type": "client_tool_call", "client_tool_call": {"parameters": audio(event_id), "event_id": 1}}
    assert peek_audio(json.dumps(tool).encode()) is None


turns = st.lists(
    st.one_of(st.integers(0, 6).map(audio), st.integers(0, 6).map(interruption), st.integers(0, 6).map(response)),
    max_size=30,
)


@given(turns)
def test_no_audio_that_a_client_gets_is_at_or_below_an_interruption(messages):
    last = -1
    for event in through(METADATA, *messages)[1:]:
        if event["type"] == "interruption":
            last = max(last, event["interruption_event"]["event_id"])
        elif event["type"] == "audio":
            assert event["audio_event"]["event_id"] > last


shaped = st.tuples(shapes, st.integers(0, 6)).map(lambda drawn: drawn[0](drawn[1]).encode())


@given(st.lists(st.one_of(shaped, st.integers(0, 6).map(interruption), st.integers(0, 6).map(response)), max_size=40))
def test_the_short_cut_for_audio_sends_what_the_long_way_would(messages):
    assert bytes_through(METADATA, *messages) == bytes_through(METADATA, *messages, peeking=False)


def test_audio_takes_the_short_cut_only_like_the_message_before_it_and_not_after_an_interruption():
    stream = AgentStream([].append)

    def passes(message: dict[str, object]) -> bool:
        data = json.dumps(message).encode()
        return stream.passes(data, 0, len(data))

    stream.handle(Message(TEXT, json.dumps(audio(1)).encode()))
    assert not passes(audio(1)), "before the metadata nothing goes out"
    stream.handle(Message(TEXT, json.dumps(METADATA).encode()))
    stream.handle(Message(TEXT, json.dumps(audio(1)).encode()))
    assert (passes(audio(1)), passes(audio(2)), passes(response(1))) == (True, False, False)
    stream.handle(Message(TEXT, json.dumps(interruption(1)).encode()))
    assert not passes(audio(1))


def test_audio_whose_id_was_moved_on_takes_no_short_cut_to_the_id_of_before():
    """Found by the test above: a reply has the interrupted turn's id again, and its audio one that was seen before."""
    events = [METADATA, interruption(0), audio(1), response(0), audio(1)]
    assert bytes_through(*events) == bytes_through(*events, peeking=False)
    assert [event["audio_event"]["event_id"] for event in through(*events) if event["type"] == "audio"] == [1, 2]


def legs(*groups: tuple[object, ...], drops_greeting: bool = False) -> list[dict[str, object]]:
    """What the client gets of several legs, one after the other."""
    sent: list[bytes] = []
    stream = AgentStream(sent.append)
    for number, messages in enumerate(groups):
        if number:
            stream.begin_leg(drops_greeting=drops_greeting)
        for message in messages:
            if message is USER:
                stream.user_speaks()
            else:
                stream.handle(Message(TEXT, json.dumps(message).encode()))
    return [json.loads(data) for data in sent]


USER = object()


def test_ids_rise_over_legs_and_nothing_of_the_second_legs_opening_is_seen():
    opening = {"type": "asr_initiation_metadata", "asr_initiation_metadata_event": {}}
    sent = legs((METADATA, response(1), audio(4)), (METADATA, opening, response(1), audio(1), audio(2)))
    assert sent == [METADATA, response(1), audio(4), response(5), audio(5), audio(6)]


def test_a_leg_after_an_interruption_is_heard():
    sent = legs((METADATA, audio(3), interruption(3)), (METADATA, response(1), audio(1)))
    assert sent[-2:] == [response(4), audio(4)]


def test_a_leg_that_broke_before_its_metadata_is_as_if_it_had_not_been():
    assert legs((response(1),), (METADATA, response(1), audio(1))) == [METADATA, response(1), audio(1)]


def test_a_greeting_that_cannot_be_suppressed_is_kept_from_the_client_and_its_late_audio_too():
    greeting_and_answer = (METADATA, response(1), audio(1), USER, audio(1), response(2), audio(2))
    sent = legs((METADATA, response(1), audio(1)), greeting_and_answer, drops_greeting=True)
    assert [message.get("type") for message in sent[3:]] == ["agent_response", "audio"]


def test_feedback_on_what_an_earlier_leg_said_is_for_nobody():
    stream = AgentStream(lambda _: None)
    for message in (METADATA, response(7)):
        stream.handle(Message(TEXT, json.dumps(message).encode()))
    stream.begin_leg()
    stream.handle(Message(TEXT, json.dumps(response(1)).encode()))
    assert (stream.agent_id_of(7), stream.agent_id_of(8)) == (None, 1)


def test_an_error_event_is_held_for_who_knows_better_and_goes_out_if_the_leg_goes_on():
    sent: list[bytes] = []
    stream = AgentStream(sent.append, holds_errors=True)
    error = {"type": "error", "error_event": {"code": 1011, "message": "oops"}}
    for message in (METADATA, error):
        stream.handle(Message(TEXT, json.dumps(message).encode()))
    assert len(sent) == 1
    assert json.loads(stream.error_event) == error
    stream.handle(Message(TEXT, json.dumps(audio(1)).encode()))
    assert [json.loads(data) for data in sent[1:]] == [error, audio(1)]


def test_where_the_audio_lies_is_told_with_the_agents_own_id():
    noted: list[tuple[str, int]] = []
    stream = AgentStream(
        lambda _: None,
        note_audio=lambda data, begin, end, event_id: noted.append((bytes(data[begin:end]).decode(), event_id)),
    )
    messages = [json.dumps(each).encode() for each in (METADATA, audio(3), audio(3))]
    for data in messages[:2]:
        stream.handle(Message(TEXT, data))
    assert stream.passes(b"before" + messages[2], 6, 6 + len(messages[2]))
    assert noted == [(messages[1].decode(), 3), (messages[2].decode(), 3)]


def test_the_announcement_of_a_normal_end_is_no_error_to_hold():
    sent: list[bytes] = []
    stream = AgentStream(sent.append, holds_errors=True)
    error = {"type": "error", "error_event": {"code": 1000, "message": "max_duration_exceeded"}}
    for message in (METADATA, error):
        stream.handle(Message(TEXT, json.dumps(message).encode()))
    assert json.loads(sent[-1]) == error
