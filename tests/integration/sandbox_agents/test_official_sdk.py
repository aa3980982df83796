"""The official Python SDK holds conversations with the sandbox: spoken and written, with and without authentication."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import AudioInterface, Conversation

from tests.parts import require_module
from tests.servers import ROOT, RunningSandbox
from tests.unit.fallback_agent.talk import read_wav

# The ears load their model at the first utterance.
LIMIT = 45.0
CHUNK_BYTES = 8_000  # what the SDK's own interface sends: 250 ms
SILENCE = bytes(32_000 * 1)


class WavInterface(AudioInterface):
    """A microphone that a test speaks into with recordings, and a loudspeaker that remembers."""

    def __init__(self) -> None:
        self._take: Callable[[bytes], None] | None = None
        self._changed = threading.Condition()
        self._played = bytearray()
        self.interrupted = threading.Event()

    def start(self, input_callback: Callable[[bytes], None]) -> None:
        self._take = input_callback

    def stop(self) -> None:
        self._take = None

    def output(self, audio: bytes) -> None:
        with self._changed:
            self._played += audio
            self._changed.notify_all()

    def interrupt(self) -> None:
        self.interrupted.set()

    def say(self, path: Path) -> None:
        """Speak a recording, and be silent for a second."""
        sound = read_wav(path)[0] + SILENCE
        for begin in range(0, len(sound), CHUNK_BYTES):
            assert self._take is not None
            self._take(sound[begin : begin + CHUNK_BYTES])

    def wait_for_sound(self, seconds: float) -> bytes:
        """Wait for so much more sound than was played before."""
        with self._changed:
            before = len(self._played)
            wanted = before + int(seconds * 32_000)
            assert self._changed.wait_for(lambda: len(self._played) >= wanted, LIMIT)
            return bytes(self._played[before:])


class Heard:
    """What the SDK's callbacks told, in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._told: list[tuple[str, str]] = []

    def tell(self, kind: str) -> Callable[..., None]:
        """Make a callback that remembers its first argument."""

        def remember(value: object, *_: object) -> None:
            with self._changed:
                self._told.append((kind, str(value)))
                self._changed.notify_all()

        return remember

    def all(self, kind: str) -> list[str]:
        """What was told of that kind."""
        return [value for each, value in self._told if each == kind]

    def wait_for(self, kind: str, count: int) -> str:
        """Wait until something of that kind was told for the `count`-th time."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all(kind)) >= count, LIMIT), self._told
            return self.all(kind)[count - 1]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def start_conversation(sandbox: RunningSandbox, heard: Heard) -> Iterator[Callable[..., Conversation]]:
    """Start the SDK's conversation with an agent of the sandbox."""
    started: list[Conversation] = []
    with httpx.Client(timeout=LIMIT) as client:
        sdk = ElevenLabs(base_url=sandbox.url, api_key="sandbox-key", httpx_client=client)

        def start(agent_id: str, *, requires_auth: bool, interface: AudioInterface | None) -> Conversation:
            conversation = Conversation(
                sdk,
                agent_id,
                requires_auth=requires_auth,
                audio_interface=interface,
                callback_agent_response=heard.tell("answer"),
                callback_agent_response_correction=heard.tell("correction"),
                callback_agent_chat_response_part=heard.tell("part"),
                callback_user_transcript=heard.tell("transcript"),
                callback_latency_measurement=heard.tell("latency"),
                callback_audio_alignment=heard.tell("alignment"),
                callback_disconnect=heard.tell("disconnect"),
            )
            conversation.start_session()
            started.append(conversation)
            return conversation

        yield start
        for conversation in started:
            conversation.end_session()
            conversation.wait_for_session_end()


@pytest.mark.parametrize(("agent_id", "requires_auth"), [("agent_demo", False), ("agent_private", True)])
def test_a_spoken_question_is_understood_and_answered_aloud(
    start_conversation: Callable[..., Conversation], heard: Heard, agent_id: str, requires_auth: bool
) -> None:
    for package in ("espeakng_loader", "faster_whisper", "webrtcvad"):
        require_module(package, "local")
    interface = WavInterface()
    start_conversation(agent_id, requires_auth=requires_auth, interface=interface)
    heard.wait_for("answer", 1)
    interface.wait_for_sound(0.3)
    interface.say(ROOT / "tests" / "data" / "question-hours-en.wav")

    assert interface.interrupted.wait(LIMIT)
    transcript = heard.wait_for("transcript", 1)
    answer = heard.wait_for("answer", 2)
    sound = np.frombuffer(interface.wait_for_sound(2.0), dtype="<i2").astype(np.float64)
    assert "opening hours" in " ".join(heard.all("transcript")).casefold(), transcript
    assert "Monday" in answer
    assert np.sqrt(np.mean(sound**2)) > 500
    assert heard.all("correction")
    assert heard.all("alignment")


def test_a_written_conversation_streams_its_answers_and_is_ended_by_the_agent(
    start_conversation: Callable[..., Conversation], heard: Heard
) -> None:
    conversation = start_conversation("agent_text", requires_auth=False, interface=None)
    heard.wait_for("answer", 1)
    conversation.send_contextual_update("The user is on the contact page.")
    conversation.register_user_activity()
    conversation.send_user_message("When are you open?")
    answer = heard.wait_for("answer", 2)
    conversation.send_user_message("Goodbye!")

    assert "Monday" in answer
    assert answer in "".join(heard.all("part"))
    assert "reason='agent'" in heard.wait_for("disconnect", 1)
    assert conversation.wait_for_session_end()
