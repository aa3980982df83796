"""The official Python SDK, pointed at the service: what an integrator gets by changing one address."""

from __future__ import annotations

import array
import base64
import io
import queue
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import httpx
import pytest
import requests
from elevenlabs import ElevenLabs
from elevenlabs.conversational_ai.conversation import AudioInterface, Conversation
from elevenlabs.core.api_error import ApiError

from scripts.launcher.waiting import wait_until
from tests.parts import require_module

DATA = Path(__file__).parent.parent / "data"
LIMIT = 40.0
FRAME_BYTES = 8000  # the SDK's own microphone sends 4000 samples of 16 kHz at once
FRAME_SECONDS = 0.25
VOICE = "JBFqnCBsd6RMkjVDRZzb"


class RecordedMicrophone(AudioInterface):
    """Plays recordings into the conversation at the speed of speech, silence between them; keeps what it hears."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[bytes] = queue.Queue()
        self._over = threading.Event()
        self.heard = bytearray()
        self.interruptions = 0

    def start(self, input_callback: Callable[[bytes], None]) -> None:
        def send() -> None:
            while not self._over.wait(FRAME_SECONDS):
                try:
                    input_callback(self._waiting.get_nowait())
                except queue.Empty:
                    input_callback(bytes(FRAME_BYTES))

        self._thread = threading.Thread(target=send)
        self._thread.start()

    def speak(self, recording: str) -> None:
        with wave.open(str(DATA / recording)) as file:
            while samples := file.readframes(FRAME_BYTES // 2):
                self._waiting.put(samples.ljust(FRAME_BYTES, b"\0"))

    def stop(self) -> None:
        self._over.set()
        self._thread.join(LIMIT)

    def output(self, audio: bytes) -> None:
        self.heard += audio

    def interrupt(self) -> None:
        self.interruptions += 1


def peak(pcm: bytes) -> int:
    return max((abs(sample) for sample in array.array("h", bytes(pcm[: len(pcm) // 2 * 2]))), default=0)


@contextmanager
def sdk_at(url: str, key: str) -> Iterator[ElevenLabs]:
    with httpx.Client(timeout=LIMIT) as http:
        yield ElevenLabs(base_url=url, api_key=key, httpx_client=http)


@pytest.fixture
def client(service) -> Iterator[ElevenLabs]:
    with sdk_at(service.url, service.api_key) as sdk:
        yield sdk


class Talk:
    """A conversation of the SDK, and what it reports."""

    def __init__(self, client: ElevenLabs, agent_id: str, *, requires_auth: bool) -> None:
        self.microphone = RecordedMicrophone()
        self.transcripts: queue.Queue[str] = queue.Queue()
        self.answers: queue.Queue[str] = queue.Queue()
        self.conversation = Conversation(
            client,
            agent_id,
            requires_auth=requires_auth,
            audio_interface=self.microphone,
            callback_user_transcript=self.transcripts.put,
            callback_agent_response=self.answers.put,
        )

    def __enter__(self) -> Talk:
        self.conversation.start_session()
        return self

    def __exit__(self, *_: object) -> None:
        self.conversation.end_session()


@pytest.mark.parametrize(
    "requires_auth",
    [pytest.param(False, id="public agent", marks=pytest.mark.long), pytest.param(True, id="signed url")],
)
def test_a_spoken_conversation_of_three_turns(client, requires_auth, ears):
    with Talk(client, "agent_demo", requires_auth=requires_auth) as talk:
        assert "help" in talk.answers.get(timeout=LIMIT)
        for recording, question, answer in (
            ("question-hours-en.wav", "opening hours", "monday"),
            ("question-price-en.wav", "delivery cost", "euros"),
            ("barge-in-en.wav", "stop", ""),
        ):
            before = len(talk.microphone.heard)
            talk.microphone.speak(recording)
            assert question in talk.transcripts.get(timeout=LIMIT).lower()
            assert answer in talk.answers.get(timeout=LIMIT).lower()
            wait_for_audio(talk.microphone, before)
            assert peak(bytes(talk.microphone.heard[before:])) > 1000
    assert talk.conversation.wait_for_session_end().startswith("conv_")


def wait_for_audio(microphone: RecordedMicrophone, before: int) -> None:
    wait_until(lambda: len(microphone.heard) > before + 16_000, LIMIT, "half a second of answer")


@pytest.fixture
def ears() -> None:
    require_module("faster_whisper", "local")


def test_a_key_that_is_not_ours_is_refused_before_any_socket(service):
    with sdk_at(service.url, "nonsense") as stranger, pytest.raises(ApiError) as caught:
        stranger.conversational_ai.conversations.get_signed_url(agent_id="agent_demo")
    assert caught.value.status_code == 401


def decoded_seconds(mp3: bytes) -> float:
    with av.open(io.BytesIO(mp3)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


TEXT = "Delivery costs three euros and fifty cents."


def test_text_to_speech_convert_gives_audio_of_a_plausible_length(client):
    mp3 = b"".join(client.text_to_speech.convert(VOICE, text=TEXT))
    assert 1.5 < decoded_seconds(mp3) < 6


def test_text_to_speech_stream_gives_audible_pcm_in_pieces(client):
    pieces = list(client.text_to_speech.stream(VOICE, text=TEXT, output_format="pcm_16000"))
    assert len(pieces) > 1
    assert peak(b"".join(pieces)) > 1000


def test_text_to_speech_convert_with_timestamps_aligns_every_character(client):
    answer = client.text_to_speech.convert_with_timestamps(VOICE, text=TEXT)
    assert "".join(answer.alignment.characters) == TEXT
    assert decoded_seconds(base64.b64decode(answer.audio_base_64)) > 1.5
    ends = answer.alignment.character_end_times_seconds
    assert ends == sorted(ends)


def test_text_to_speech_stream_with_timestamps_aligns_every_character(client):
    pieces = list(client.text_to_speech.stream_with_timestamps(VOICE, text=TEXT))
    spoken = "".join("".join(piece.alignment.characters) for piece in pieces if piece.alignment)
    assert spoken == TEXT


def test_the_headers_that_tell_cost_and_concurrency_come_through(client):
    with client.text_to_speech.with_raw_response.stream(VOICE, text=TEXT) as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert int(headers["character-cost"]) == len(TEXT)
        assert {"request-id", "current-concurrent-requests", "maximum-concurrent-requests"} <= set(headers)
        assert b"".join(answer.data)


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"text": ""}, None, None),
        ({"text": "x" * 10_001}, 400, "text_too_long"),
        ({"text": TEXT, "output_format": "mp3_1_1"}, 422, None),
        ({"text": TEXT, "voice_id": "nobody"}, 404, "voice_not_found"),
        ({"text": TEXT, "model_id": "eleven_nothing"}, None, None),
    ],
)
def test_what_elevenlabs_refuses_is_refused_in_its_own_words(client, sandbox, options, status, code):
    """The same request straight to ElevenLabs' stand-in is the measure."""
    voice = options.pop("voice_id", VOICE)
    with pytest.raises(ApiError) as through:
        list(client.text_to_speech.convert(voice, **options))
    with sdk_at(sandbox.url, "sandbox-key") as straight, pytest.raises(ApiError) as direct:
        list(straight.text_to_speech.convert(voice, **options))
    assert through.value.status_code == direct.value.status_code
    assert status in (None, through.value.status_code)
    detail = through.value.body["detail"]
    assert isinstance(detail, dict)
    assert code in (None, detail["code"])
    assert detail["request_id"]


@pytest.fixture
def fault(sandbox) -> Iterator[Callable[[dict], None]]:
    def set_fault(rule: dict) -> None:
        requests.post(f"{sandbox.url}/sandbox/faults", json=[rule], timeout=5).raise_for_status()

    yield set_fault
    requests.delete(f"{sandbox.url}/sandbox/faults", timeout=5)


def test_speech_that_breaks_off_is_never_taken_for_the_whole(client, fault):
    fault({"route": "tts.stream", "drop_after_bytes": 4000})
    with pytest.raises(Exception, match=r"(?i)incomplete|peer closed"):
        list(client.text_to_speech.stream(VOICE, text=TEXT, output_format="pcm_16000"))
