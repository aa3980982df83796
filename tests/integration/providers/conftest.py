"""Every provider of a conversation's leg, and what they need: a sandbox, an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.fallback.backup_parts import BackupParts, PartsOptions, RemoteParts
from service.fallback.backup_profile import BackupProfiles
from service.fallback.local_agent_speech import Pace
from service.fallback.local_leg import LocalLegs, Takeover
from service.fallback.local_voice import Voice, open_voice
from service.fallback.openai_endpoint import CONNECTIONS
from service.fallback.tone_voice import ToneVoice
from service.fallback.voice_choice import VoiceMap
from tests.integration.providers.leg_talk import LegTalk
from tests.integration.providers.openai_server import OpenAiServer
from tests.keys import one_key
from tests.parts import require_module
from tests.servers import RunningSandbox, start_sandbox

AGENT = "agent_demo"
QUICK = Pace(factor=60.0, part_seconds=0.0)


@dataclass(frozen=True)
class Provider:
    """One provider: `open(initiation)` gives a leg whose agent greets. `has_tools`: its agent calls client tools.

    `kept_connections` is how many files of this process it may leave open for the next leg.
    """

    name: str
    open: Callable[[dict[str, Any]], LegTalk]
    has_tools: bool
    kept_connections: int = 0


@pytest.fixture(scope="module")
def openai() -> Iterator[OpenAiServer]:
    require_module("espeakng_loader", "local")
    with OpenAiServer() as server:
        yield server


def remote_of(server: OpenAiServer, **changes: Any) -> RemoteParts:
    """All three parts of a server."""
    everything = RemoteParts(
        base_url=server.url, chat_model="chat-1", speech_model="speech-1", transcription_model="ears-1", seconds=5.0,
        speech_seconds=5.0,
    )  # fmt: skip
    return replace(everything, **changes)


def make_legs(
    options: PartsOptions,
    *,
    any_language: bool = False,
    pace: Pace = QUICK,
    open_local_voice: Callable[[], Voice] = open_voice,
) -> tuple[BackupParts, LocalLegs]:
    """The parts, and the legs that use them."""
    parts = BackupParts(options, open_local_voice=open_local_voice)
    profiles = BackupProfiles(VoiceMap({}, has_remote=False), any_language=any_language)
    return parts, LocalLegs(parts, profiles=profiles, pace=pace)


@pytest.fixture(scope="module")
def elevenlabs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElevenLabsService]:
    require_module("espeakng_loader", "local")
    running: RunningSandbox = start_sandbox(tmp_path_factory.mktemp("sandbox"), "--latency-scale", "0.05", "--no-ears")
    try:
        with ElevenLabsService(running.url, keys=one_key("sk_for_the_sandbox")) as service:
            yield service
    finally:
        running.child.stop()


@pytest.fixture(params=["elevenlabs", "local", "tones", "openai"])
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    """One provider after the other; legs that a test leaves open are ended."""
    with ExitStack() as stack:
        if request.param == "elevenlabs":
            service: ElevenLabsService = request.getfixturevalue("elevenlabs")

            def open_elevenlabs(initiation: dict[str, Any]) -> LegTalk:
                event = {"type": "conversation_initiation_client_data", **initiation}
                talk = LegTalk(service.open_conversation(AGENT, event))
                stack.callback(talk.end)
                return talk

            yield Provider("elevenlabs", open_elevenlabs, has_tools=True)
            return
        parts, legs = _local_legs(request)
        parts.start()
        stack.callback(parts.close)

        def open_local(initiation: dict[str, Any]) -> LegTalk:
            override = initiation.get("conversation_config_override", {})
            text_only = override.get("conversation", {}).get("text_only", False)
            leg = legs.open(
                Takeover(
                    agent_id=AGENT, conversation_id="conv_1", initiation=initiation, greets=True, text_only=text_only
                )
            )
            talk = LegTalk(leg)
            stack.callback(talk.end)
            return talk

        # Both ends of a connection that lies ready are in this process.
        kept = 2 * CONNECTIONS if request.param == "openai" else 0
        yield Provider(request.param, open_local, has_tools=False, kept_connections=kept)


def _local_legs(request: pytest.FixtureRequest) -> tuple[BackupParts, LocalLegs]:
    if request.param == "openai":
        server: OpenAiServer = request.getfixturevalue("openai")
        server.reset()
        return make_legs(PartsOptions(remote=remote_of(server)), any_language=True)
    if request.param == "tones":
        return make_legs(PartsOptions(accepts_tones=True), open_local_voice=ToneVoice)
    require_module("espeakng_loader", "local")
    return make_legs(PartsOptions())
