"""The service against our sandbox as users start it: another process, real speech, real answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.elevenlabs.agent_answer import AudioPart, FinalText, PastTurn
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import UpstreamRequestError
from tests.keys import one_key
from tests.parts import require_module
from tests.servers import RunningSandbox


@pytest.fixture
def service(sandbox: RunningSandbox) -> Iterator[ElevenLabsService]:
    require_module("espeakng_loader", "local")
    with ElevenLabsService(sandbox.url, keys=one_key("sk_for_the_sandbox")) as service:
        yield service


def test_the_sandbox_speaks_and_says_what_it_cost(service: ElevenLabsService) -> None:
    text = "We are open from nine to five."
    with service.generate_audio(text, voice_id="21m00Tcm4TlvDq8ikWAM", output_format="pcm_16000") as stream:
        audio = b"".join(stream)
    assert len(audio) > 16_000  # more than half a second of 16-bit samples
    assert len(set(audio)) > 50, "that is silence"
    assert int(stream.headers["character-cost"]) > 0
    assert "request-id" in stream.headers


def test_the_sandbox_times_its_characters(service: ElevenLabsService) -> None:
    pieces = list(service.stream_timed_audio("Hello there.", voice_id="21m00Tcm4TlvDq8ikWAM"))
    spoken = "".join(char for piece in pieces if piece.alignment for char in piece.alignment.characters)
    assert spoken.strip() == "Hello there."


def test_the_sandbox_refuses_an_unknown_agent(service: ElevenLabsService) -> None:
    with pytest.raises(UpstreamRequestError):
        list(service.generate_response("Hello?", agent_id="agent_that_is_not"))


def test_the_sandboxs_agent_answers_in_text_and_voice(service: ElevenLabsService) -> None:
    events = list(
        service.generate_response(
            "What are your opening hours?", agent_id="agent_demo", history=[PastTurn(role="user", text="Hi.")]
        )
    )
    texts = [event.text for event in events if isinstance(event, FinalText)]
    audio = b"".join(event.audio for event in events if isinstance(event, AudioPart))
    assert len(texts) == 1
    assert any(character.isdigit() for character in texts[0]) or "open" in texts[0].lower()
    assert len(audio) > 16_000


def test_the_sandboxs_text_agent_answers_without_audio(service: ElevenLabsService) -> None:
    events = list(service.generate_response("What are your opening hours?", agent_id="agent_text", text_only=True))
    assert [event for event in events if isinstance(event, FinalText)]
    assert not [event for event in events if isinstance(event, AudioPart)]
