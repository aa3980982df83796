"""An OpenAI-compatible endpoint as the backup's voice, ears and words, and what happens when it fails."""

from __future__ import annotations

import base64
import json
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from service.fallback.audio_formats import resample, wav_header
from service.fallback.backup_parts import BackupParts, PartsOptions, RemoteParts
from service.fallback.local_ears import EarsError
from service.fallback.local_leg import PastTurn, Takeover
from service.fallback.local_voice import SpokenPiece, Voice, open_voice
from service.fallback.loudness import speech_level_dbfs
from service.fallback.openai_chat import MAX_ANSWER_CHARACTERS
from service.fallback.openai_endpoint import EndpointError
from service.fallback.openai_speech import SAMPLE_RATE
from service.fallback.patience import FAILURES
from service.fallback.substitutes import NoVoiceError
from service.fallback.tone_voice import ToneVoice
from tests.integration.providers.conftest import make_legs, remote_of
from tests.integration.providers.leg_talk import LegTalk
from tests.integration.providers.openai_server import OpenAiServer
from tests.servers import ROOT

KEY = "sk-very-secret-4711"
BROKEN = [
    pytest.param((500, "text/plain", b"oops"), id="500"),
    pytest.param((429, "application/json", b'{"error":{"message":"slow down"}}'), id="429"),
    pytest.param((302, "text/html", b"elsewhere"), id="redirection"),
    pytest.param((200, "text/html", b"<html>log in</html>"), id="a page"),
    pytest.param((200, "application/json", b"{}"), id="an empty object"),
    pytest.param((200, "application/json", b""), id="nothing"),
]


@pytest.fixture
def server(openai: OpenAiServer) -> OpenAiServer:
    openai.reset()
    return openai


@contextmanager
def opened(remote: RemoteParts, *, voice: Any = open_voice, **options: Any) -> Iterator[BackupParts]:
    parts = BackupParts(PartsOptions(remote=remote, **options), open_local_voice=voice)
    parts.start()
    try:
        yield parts
    finally:
        parts.close()


def speak(voice: Voice, text: str, **options: Any) -> list[SpokenPiece]:
    pieces = list(voice.speak(text, **options))
    assert "".join(piece.text for piece in pieces) == text
    return pieces


# --- Words


def test_the_model_is_told_who_it_is_what_was_said_and_in_which_language(server: OpenAiServer) -> None:
    history = (PastTurn("user", "Hello."), PastTurn("agent", "Good day."))
    with opened(remote_of(server, system_prompt="Be brief.", key=SecretStr(KEY))) as parts:
        reply = parts.dialogue.reply("And in Lima?", language="en", history=history, context=["It is noon."])

    path, document = server.requests[0]
    assert path == "/chat/completions"
    assert [(each["role"], each["content"]) for each in document["messages"][1:]] == [
        ("user", "Hello."), ("assistant", "Good day."), ("user", "And in Lima?"),
    ]  # fmt: skip
    instruction = document["messages"][0]["content"]
    assert document["messages"][0]["role"] == "system"
    assert instruction.startswith("Be brief.")
    assert "It is noon." in instruction
    assert "'en'" in instruction
    assert 0 < document["max_tokens"] < 1_000
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert (reply.topic, reply.language) == (None, "en")
    assert "*" not in reply.text


def test_what_the_operators_file_says_is_told_to_the_model_and_a_goodbye_needs_none(server: OpenAiServer) -> None:
    with opened(remote_of(server)) as parts:
        parts.dialogue.reply("When will it work again?", language="en")
        goodbye = parts.dialogue.reply("Goodbye.", language="en")

    assert "matter of minutes" in server.requests[0][1]["messages"][0]["content"]
    assert goodbye.topic == "goodbye"
    assert len(server.requests) == 1


def test_a_model_that_wants_the_newer_name_of_the_limit_gets_it(server: OpenAiServer) -> None:
    refusal = b'{"error":{"message":"Unsupported parameter: max_tokens. Use max_completion_tokens instead."}}'
    real = server.answer

    def answer(path: str, body: bytes, headers: dict[str, str]) -> Any:
        if "max_tokens" in json.loads(body):
            return 400, "application/json", refusal
        return real(path, body, headers)

    server.answer = answer  # type: ignore[method-assign]  # this server's own behaviour, for one test
    try:
        with opened(remote_of(server)) as parts:
            for _ in range(2):
                assert parts.dialogue.reply("And in Lima?").text.startswith("You asked")
    finally:
        del server.answer
    assert len(server.requests) == 2


def test_a_long_answer_is_cut_between_two_sentences(server: OpenAiServer) -> None:
    content = "This is one sentence of many. " * 200
    document = {"choices": [{"message": {"content": content}}]}
    server.answers["/chat/completions"] = (200, "application/json", json.dumps(document).encode())
    with opened(remote_of(server)) as parts:
        text = parts.dialogue.reply("And in Lima?").text

    assert MAX_ANSWER_CHARACTERS - 40 < len(text) <= MAX_ANSWER_CHARACTERS
    assert text.endswith("many.")


@pytest.mark.parametrize("answer", BROKEN)
def test_an_answer_that_is_none_is_given_by_the_file(server: OpenAiServer, answer: Any) -> None:
    server.answers["/chat/completions"] = answer
    with opened(remote_of(server)) as parts:
        reply = parts.dialogue.reply("When will it work again?", language="en")

    assert reply.topic == "when-back"


def test_an_endpoint_that_keeps_failing_is_left_alone(server: OpenAiServer) -> None:
    server.answers["/chat/completions"] = (500, "text/plain", b"oops")
    with opened(remote_of(server)) as parts:
        for _ in range(FAILURES + 3):
            assert parts.dialogue.reply("When will it work again?").topic == "when-back"

    assert len(server.requests) == FAILURES


def test_an_endpoint_that_hangs_is_not_waited_for(server: OpenAiServer) -> None:
    server.hang = threading.Event()
    with opened(remote_of(server, seconds=0.2)) as parts:
        assert parts.dialogue.reply("When will it work again?").topic == "when-back"


def test_an_endpoint_that_is_not_there_costs_nothing_but_the_attempt() -> None:
    nowhere = RemoteParts(base_url="http://127.0.0.1:9", chat_model="m", speech_model="s", key=SecretStr(KEY))
    with opened(nowhere) as parts:
        assert parts.dialogue.reply("When will it work again?").topic == "when-back"
        assert speak(parts.voice, "Good day.")


# --- Voice


def test_every_sentence_is_asked_for_by_itself_and_is_as_loud_as_wanted(server: OpenAiServer) -> None:
    text = "Good day. This is the second sentence of it."
    with opened(remote_of(server, speech_voice="nova"), loudness_dbfs=-20.0) as parts:
        pieces = speak(parts.voice, text, speed=1.1, variant="calm-man/onyx")
        speak(parts.voice, "Good day.", variant="calm-man")

    assert [document["input"] for _, document in server.requests[:2]] == [
        "Good day.",
        "This is the second sentence of it.",
    ]
    assert [document["voice"] for _, document in server.requests] == ["onyx", "onyx", "nova"]
    first = server.requests[0][1]
    assert (first["response_format"], first["speed"]) == ("pcm", 1.1)
    assert {piece.sample_rate for piece in pieces} == {SAMPLE_RATE}
    for piece in pieces:
        assert abs(speech_level_dbfs(piece.pcm, piece.sample_rate) + 20.0) < 2.0
        assert len(piece.alignment.ends) == len(piece.text)
        assert piece.alignment.ends[-1] == pytest.approx(piece.duration)


def test_a_voice_that_fails_in_the_middle_is_followed_by_the_local_one(server: OpenAiServer) -> None:
    with opened(remote_of(server)) as parts:
        pieces = parts.voice.speak("One sentence. Another sentence. And a third one.")
        first = next(pieces)
        server.answers["/audio/speech"] = (503, "text/plain", b"")
        others = list(pieces)

    assert first.sample_rate == SAMPLE_RATE
    assert [piece.text for piece in others] == ["Another sentence. ", "And a third one."]
    assert {piece.sample_rate for piece in others} == {22_050}
    levels = [speech_level_dbfs(piece.pcm, piece.sample_rate) for piece in (first, *others)]
    assert max(levels) - min(levels) < 2.0, "the change of voices jumps"


@pytest.mark.parametrize("answer", BROKEN)
def test_what_is_no_speech_is_never_played(server: OpenAiServer, answer: Any) -> None:
    server.answers["/audio/speech"] = answer
    with opened(remote_of(server)) as parts:
        assert {piece.sample_rate for piece in speak(parts.voice, "Good day.")} == {22_050}


def test_a_server_that_sends_wav_whatever_it_is_asked_for_is_understood(server: OpenAiServer) -> None:
    pcm = b"".join(piece.pcm for piece in open_voice().speak("Good day."))
    server.answers["/audio/speech"] = (200, "audio/wav", wav_header(len(pcm), 22_050) + pcm)
    with opened(remote_of(server)) as parts:
        pieces = speak(parts.voice, "Good day.")
    assert [(piece.sample_rate, len(piece.pcm)) for piece in pieces] == [(22_050, len(pcm))]


def test_silence_with_200_is_no_speech(server: OpenAiServer) -> None:
    server.answers["/audio/speech"] = (200, "audio/pcm", bytes(48_000))
    with opened(remote_of(server)) as parts:
        assert {piece.sample_rate for piece in speak(parts.voice, "Good day.")} == {22_050}


def test_with_no_voice_of_its_own_the_backup_never_falls_back_on_tones(server: OpenAiServer) -> None:
    with opened(remote_of(server), voice=ToneVoice) as parts:
        assert parts.can_speak
        assert {piece.sample_rate for piece in speak(parts.voice, "Good day.")} == {SAMPLE_RATE}
        server.answers["/audio/speech"] = (500, "text/plain", b"")
        with pytest.raises(NoVoiceError):
            list(parts.voice.speak("Good day."))


# --- Ears


def test_what_the_user_says_is_understood_and_answered(server: OpenAiServer) -> None:
    parts, legs = make_legs(PartsOptions(remote=remote_of(server)), any_language=True)
    parts.start()
    talk = LegTalk(legs.open(Takeover(agent_id="a", conversation_id="c", language="en-GB")))
    recorded = _recorded()
    for begin in range(0, len(recorded), 6_400):
        chunk = base64.b64encode(recorded[begin : begin + 6_400]).decode()
        talk.leg.socket.send_text(json.dumps({"user_audio_chunk": chunk}))
    talk.wait_for("agent_response")
    talk.end()
    parts.close()

    assert talk.wait_for("user_transcript")["user_transcription_event"]["user_transcript"] == server.heard
    assert server.heard in talk.answers()[0]
    form = server.requests[0][1]
    assert b"ears-1" in form
    assert b"\r\n\r\nen\r\n" in form
    assert form[form.index(b"RIFF") + 8 :].startswith(b"WAVE")


@pytest.mark.parametrize("answer", BROKEN)
def test_ears_that_fail_are_the_ears_error_that_the_agent_knows(server: OpenAiServer, answer: Any) -> None:
    server.answers["/audio/transcriptions"] = answer
    with opened(remote_of(server)) as parts:
        ears = parts.listening_ears()
        assert ears is not None
        with pytest.raises(EarsError):
            ears.transcribe(bytes(32_000), 16_000)


# --- Secrets


def test_no_error_names_the_key_or_what_was_said(server: OpenAiServer) -> None:
    server.answers["/chat/completions"] = (400, "application/json", b'{"error":"you said: my secret is 42"}')
    with opened(remote_of(server, key=SecretStr(KEY))) as parts:
        dialogue: Any = parts.dialogue
        with pytest.raises(EndpointError) as caught:
            dialogue._first.reply("my secret is 42")

    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    shown = " ".join(repr(each) for each in chain)
    assert KEY not in shown
    assert "42" not in shown
    assert KEY not in repr(remote_of(server, key=SecretStr(KEY)))


def _recorded() -> bytes:
    """A spoken question and a second of silence, 16 kHz."""
    with wave.open(str(ROOT / "tests" / "data" / "question-hours-en.wav")) as file:
        pcm, rate = file.readframes(file.getnframes()), file.getframerate()
    return resample(pcm, source_rate=rate, target_rate=16_000) + bytes(32_000)
