"""A second account of ElevenLabs': it goes on with what was said, and is not asked for what it cannot do."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.conftest import StartSandbox, StartService
from tests.integration.failover.conftest import LIMIT, PATIENT, Dial


def test_the_second_account_knows_what_was_said_and_the_client_sees_one_conversation(
    start_sandbox: StartSandbox, start_service: StartService, dial: Dial, database_url: str
) -> None:
    first, second = start_sandbox("--latency-scale", "0"), start_sandbox("--latency-scale", "0")
    service = start_service(
        ELEVENLABS_BASE_URL=first.url,
        VOCERO_DATABASE_URL=database_url,
        VOCERO_ELEVENLABS_2_BASE_URL=second.url,
        VOCERO_ELEVENLABS_2_API_KEY="sandbox",
        **{**PATIENT, "VOCERO_FALLBACK_CHAIN": "elevenlabs,elevenlabs_2"},
    )
    talk = dial(service)
    talk.until("agent_response")
    talk.ask("Where is the shop?")
    place = talk.until("agent_response")["agent_response_event"]["agent_response"]
    while "".join(_spoken(talk.events, place)) != place:
        talk.until("audio")
    first.child.kill()
    assert talk.until("agent_changed")["agent_changed_event"] == {
        "from": "elevenlabs", "to": "elevenlabs_2", "cause": "connection_lost", "spliced": False,
    }  # fmt: skip
    talk.ask("What are your opening hours?")
    answer = talk.until("agent_response")["agent_response_event"]
    assert "Monday" in answer["agent_response"]
    audio = talk.until("audio")["audio_event"]
    ids = [event["audio_event"]["event_id"] for event in talk.events if event["type"] == "audio"]
    assert ids == sorted(ids)
    assert audio["event_id"] == answer["event_id"]
    kinds = [event["type"] for event in talk.events]
    assert kinds.count("conversation_initiation_metadata") == 1
    greetings = [event for event in talk.events if "demo shop" in json.dumps(event.get("agent_response_event", {}))]
    assert len(greetings) == 1


def _spoken(events: list[dict[str, Any]], text: str) -> list[str]:
    """The characters that were spoken since `text` was announced."""
    texts = [event.get("agent_response_event", {}).get("agent_response") for event in events]
    return [
        character
        for event in events[texts.index(text) :]
        if event["type"] == "audio"
        for character in event["audio_event"].get("alignment", {}).get("chars", [])
    ]


def test_an_agent_that_is_only_silent_is_kept_when_nobody_else_can_be_had(
    start_sandbox: StartSandbox, start_service: StartService, dial: Dial, database_url: str
) -> None:
    sandbox = start_sandbox("--latency-scale", "0")
    service = start_service(
        ELEVENLABS_BASE_URL=sandbox.url,
        VOCERO_DATABASE_URL=database_url,
        VOCERO_ELEVENLABS_2_BASE_URL="http://127.0.0.1:1",
        VOCERO_ELEVENLABS_2_API_KEY="sandbox",
        **{**PATIENT, "VOCERO_FALLBACK_CHAIN": "elevenlabs,elevenlabs_2"},
    )
    rule = {"route": "agents.conversation", "turn": 2, "silence": True}
    request = urllib.request.Request(f"{sandbox.url}/sandbox/faults", data=json.dumps(rule).encode())
    urllib.request.urlopen(request, timeout=10).close()
    talk = dial(service)
    talk.until("audio")
    talk.ask("Where is the shop?")
    talk.until("agent_response")
    service.wait_for_log("nobody goes on", limit=LIMIT)
    talk.ask("What are your opening hours?")
    assert "Monday" in talk.until("agent_response")["agent_response_event"]["agent_response"]
    assert not any(event["type"] == "agent_changed" for event in talk.events)
