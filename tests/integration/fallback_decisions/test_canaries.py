"""Probes against the sandbox: the real thing in its smallest form, judged as a conversation's failure is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from service.config import Settings
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.faults import fault_of
from service.elevenlabs.keys import KeyChoice
from service.errors import UpstreamError, VoceroError
from service.fallback.canaries import ElevenLabsCanary, make_canary
from service.secret import Secret
from service.storage import Capability
from tests.servers import RunningSandbox

VOICE = Settings().canary_voice_id  # type: ignore[call-arg]


@pytest.fixture
def elevenlabs(sandbox: RunningSandbox) -> Iterator[ElevenLabsService]:
    with ElevenLabsService(sandbox.url, keys=KeyChoice(lambda: (Secret("sandbox-key"),))) as service:
        yield service


def probe(elevenlabs: ElevenLabsService, capability: Capability, **changes: Any) -> None:
    options = {"voice_id": VOICE, "agent_id": "agent_demo", **changes}
    ElevenLabsCanary({"elevenlabs": elevenlabs}, **options)("elevenlabs", capability)


@pytest.mark.parametrize("capability", Capability)
def test_a_provider_that_is_well_passes(elevenlabs: ElevenLabsService, capability: Capability) -> None:
    probe(elevenlabs, capability)


def test_without_an_agent_a_conversation_is_probed_by_speech(elevenlabs: ElevenLabsService) -> None:
    probe(elevenlabs, Capability.CONVERSATION, agent_id=None)


def test_a_voice_or_an_agent_that_is_gone_is_not_the_providers_fault(elevenlabs: ElevenLabsService) -> None:
    for capability, changes in (
        (Capability.SPEECH, {"voice_id": "no_such_voice"}),
        (Capability.CONVERSATION, {"agent_id": "no_such_agent"}),
    ):
        with pytest.raises(VoceroError) as refused:
            probe(elevenlabs, capability, **changes)
        assert not fault_of(refused.value).is_evidence


def test_silence_and_a_closed_conversation_are_the_providers_fault(
    elevenlabs: ElevenLabsService, sandbox: RunningSandbox
) -> None:
    rules = [
        {"route": "tts.stream", "silence": True},
        {"route": "agents.conversation", "close_code": 1011},
    ]
    try:
        requests.post(f"{sandbox.url}/sandbox/faults", json=rules, timeout=10).raise_for_status()
        for capability in Capability:
            with pytest.raises(UpstreamError) as failed:
                probe(elevenlabs, capability)
            assert fault_of(failed.value).is_evidence
    finally:
        requests.delete(f"{sandbox.url}/sandbox/faults", timeout=10).raise_for_status()


def test_one_that_is_down_does_not_pass() -> None:
    keys = KeyChoice(lambda: (Secret("sandbox-key"),))
    with ElevenLabsService("http://127.0.0.1:9", keys=keys, connect_seconds=0.5) as away:
        for capability in Capability:
            with pytest.raises(UpstreamError) as failed:
                probe(away, capability)
            assert fault_of(failed.value).is_evidence


def test_the_agent_is_the_configured_one_or_one_that_anybody_may_talk_to(elevenlabs: ElevenLabsService) -> None:
    for settings in (
        {"elevenlabs_agent_id": "agent_demo"},
        {"elevenlabs_agent_id": None, "public_agents": "agent_text,agent_demo"},
        {"elevenlabs_agent_id": None},
    ):
        canary = make_canary(Settings(**settings), {"elevenlabs": elevenlabs})  # type: ignore[arg-type]
        canary("elevenlabs", Capability.CONVERSATION)
