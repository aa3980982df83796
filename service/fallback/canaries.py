"""What a provider that was left alone is asked for, to see whether it is well again.

The key decision: the real thing in its smallest form, and not a health page. Speech is two letters of audio with a
sound in it; a conversation is opened as far as its metadata. A probe that stays off the path which failed brings a
provider back too early (Envoy's documentation of its outlier detection warns of that). What they cost is in
docs/fallback.md.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping

from service.config import Settings
from service.deadline import within_deadline
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.vocabulary import ClientEvent
from service.errors import UpstreamProtocolError, UpstreamTimeoutError
from service.storage import Capability

TEXT = "ok"
MODEL = "eleven_flash_v2_5"
FORMAT = "pcm_16000"
OPENING_SECONDS = 10.0
"""For the metadata, where no deadline is shorter."""

MOST_AUDIO_BYTES = 320_000
"""Ten seconds: two letters take one."""

QUIETEST_SPEECH = 328
"""Peak of 16-bit samples, a hundredth of full scale: speech has ten times that, silence a tenth at most."""


class ElevenLabsCanary:
    """Probes accounts of ElevenLabs, by their names in the chain; see `shared_breaker.Canary`.

    Without an `agent_id` a conversation is probed by speech too.
    """

    def __init__(self, services: Mapping[str, ElevenLabsService], *, voice_id: str, agent_id: str | None) -> None:
        self._services = services
        self._voice_id = voice_id
        self._agent_id = agent_id

    def __call__(self, provider: str, capability: Capability) -> None:
        """Ask for a little. Raises VoceroError."""
        service = self._services[provider]
        if capability is Capability.CONVERSATION and self._agent_id is not None:
            open_a_conversation(service, self._agent_id)
        else:
            self._speak(service)

    def _speak(self, service: ElevenLabsService) -> None:
        audio = bytearray()
        with service.generate_audio(TEXT, voice_id=self._voice_id, model_id=MODEL, output_format=FORMAT) as stream:
            for piece in stream:
                audio += piece
                if len(audio) > MOST_AUDIO_BYTES:
                    break
        audible(audio)


def audible(audio: bytes | bytearray) -> array[int]:
    """The 16-bit samples of `audio`. Raises UpstreamProtocolError if there is no sound in them."""
    samples = array("h", bytes(audio[: len(audio) // 2 * 2]))
    if max(max(samples, default=0), -min(samples, default=0)) < QUIETEST_SPEECH:
        raise UpstreamProtocolError(f"There is no sound in {len(audio)} bytes of audio.", code="silent")
    return samples


def open_a_conversation(service: ElevenLabsService, agent_id: str) -> None:
    """Open one as far as its metadata, and end it. Raises VoceroError."""
    initiation = {"type": ClientEvent.CONVERSATION_INITIATION_CLIENT_DATA}
    with service.open_conversation(agent_id, initiation) as conversation:
        ends_at = time.monotonic() + within_deadline(OPENING_SECONDS)
        while conversation.conversation_id is None:
            try:
                event = conversation.receive_event(max(0.0, ends_at - time.monotonic()))
            except TimeoutError:
                raise UpstreamTimeoutError("The conversation's metadata does not come.", code="read_timeout") from None
            if event is None:
                raise UpstreamProtocolError("The conversation ended before its metadata.", code="missing_metadata")


def make_canary(settings: Settings, services: Mapping[str, ElevenLabsService]) -> ElevenLabsCanary:
    """Build it as the settings say, for the accounts that `services` reach."""
    return ElevenLabsCanary(services, voice_id=settings.canary_voice_id, agent_id=canary_agent(settings))


def canary_agent(settings: Settings) -> str | None:
    """The agent that a conversation is tried with; None: there is none that anybody may talk to."""
    return settings.elevenlabs_agent_id or min(settings.public_agents, default=None)
