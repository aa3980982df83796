"""Every event of a whole conversation through the service is one that ElevenLabs could have sent, to the letter."""

from __future__ import annotations

import base64
import json
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.unit.fallback_agent.contract import open_contract

LIMIT = 30.0


class Caller:
    """A client that checks each event against the contract, both the ones it sends and the ones it gets."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._contract = open_contract()
        self.seen: list[dict[str, Any]] = []

    def send(self, **event: Any) -> None:
        self._contract.check_client_event(event)
        self._socket.send(json.dumps(event))

    def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read up to the first event of `kind` whose payload has these fields; pings are answered on the way."""
        while True:
            event = json.loads(self._socket.recv(LIMIT))
            self._contract.check_server_event(event)
            self.seen.append(event)
            if event["type"] == "ping":
                self.send(type="pong", event_id=event["ping_event"]["event_id"])
            payload = next((value for value in event.values() if isinstance(value, dict)), {})
            if event["type"] == kind and all(payload.get(name) == value for name, value in fields.items()):
                return event

    def until_closed(self) -> int:
        try:
            while True:
                self.until("error")
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return closed.rcvd.code


def call(service, agent_id: str) -> Any:
    return connect(f"{service.ws_url}/v1/convai/conversation?agent_id={agent_id}", close_timeout=1)


def test_a_voice_conversation_with_barge_in_tool_feedback_and_goodbye(service):
    with call(service, "agent_demo") as socket:
        caller = Caller(socket)
        caller.send(
            type="conversation_initiation_client_data",
            conversation_config_override={"agent": {"language": "en", "first_message": "Hello, who is there?"}},
            dynamic_variables={"name": "Ana"},
        )
        assert caller.until("conversation_initiation_metadata") is caller.seen[0]
        assert caller.until("agent_response")["agent_response_event"]["agent_response"] == "Hello, who is there?"
        caller.send(type="contextual_update", text="The user looks at the returns page.")
        caller.send(type="user_activity")
        caller.send(user_audio_chunk=base64.b64encode(bytes(3200)).decode())
        caller.send(type="user_message", text="How do returns work?")
        first = caller.until("agent_response")["agent_response_event"]
        caller.until("audio", event_id=first["event_id"])
        caller.send(type="user_message", text="What time is it on my device?")
        assert caller.until("interruption")["interruption_event"]["event_id"] == first["event_id"]
        correction = caller.until("agent_response_correction")["agent_response_correction_event"]
        assert first["agent_response"].startswith(correction["corrected_agent_response"].rstrip(". "))
        tool = caller.until("client_tool_call")["client_tool_call"]
        caller.send(type="client_tool_result", tool_call_id=tool["tool_call_id"], result="nine", is_error=False)
        answer = caller.until("agent_response")["agent_response_event"]
        assert "nine" in answer["agent_response"]
        audio = caller.until("audio")["audio_event"]
        assert audio["event_id"] > first["event_id"]
        caller.send(type="feedback", event_id=answer["event_id"], score="like")
        caller.send(type="user_message", text="Goodbye!")
        assert caller.until_closed() == 1000
        ids = [event["audio_event"]["event_id"] for event in caller.seen if event["type"] == "audio"]
        assert ids == sorted(ids)


def test_a_written_conversation_streams_its_text_and_sends_no_audio(service):
    with call(service, "agent_text") as socket:
        caller = Caller(socket)
        caller.send(
            type="conversation_initiation_client_data",
            conversation_config_override={"conversation": {"text_only": True}},
        )
        caller.until("agent_chat_response_part", type="stop")  # the greeting
        caller.send(type="user_message", text="How much does delivery cost?")
        caller.until("agent_chat_response_part", type="start")
        caller.until("agent_chat_response_part", type="stop")
        parts = [event["text_response_part"]["text"] for event in caller.seen if "text_response_part" in event]
        assert "euros" in "".join(parts)
        assert not [event for event in caller.seen if event["type"] == "audio"]


def test_a_refused_override_ends_with_an_error_event_and_1008(service, sandbox):
    headers = {"xi-api-key": service.api_key}
    url = f"{service.ws_url}/v1/convai/conversation?agent_id=agent_strict"
    with connect(url, close_timeout=1, additional_headers=headers) as socket:
        caller = Caller(socket)
        caller.send(
            type="conversation_initiation_client_data",
            conversation_config_override={"agent": {"first_message": "Say this instead."}},
        )
        assert caller.until_closed() == 1008
        assert "first_message" in caller.seen[-1]["error_event"]["message"]
