"""How a local agent listens: the client's sound chunks in, begins of speech and understood questions out.

The key decisions: an utterance begins, and thereby interrupts the agent, after a quarter of a second of voice: a cough
must not silence the agent, and a "no" must. And somebody who pauses within a question gets one answer to all of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from service.errors import RequestError
from service.fallback import companding
from service.fallback.local_agent_threads import Action, Worker
from service.fallback.local_ears import EarsError, Transcript
from service.fallback.utterances import SpeechEnded, SpeechEvent, SpeechStarted, UtteranceDetector

log = structlog.get_logger(__name__)

BARGE_IN_SECONDS = 0.25
_BYTES_PER_SAMPLE = 2


class Ears(Protocol):
    """What understands an utterance: `LocalEars`, or a transcription endpoint."""

    def transcribe(self, pcm: bytes, sample_rate: int, language: str | None = None) -> Transcript | None:
        """Recognise s16le mono sound; None or an empty text when no speech was found.

        Raises:
            EarsError: nothing was understood, because the ears are overloaded or broken.
        """


class Listener:
    """What the agent does with the client's sound; for the agent's thread, but for the ears' own work.

    `language` is what the user speaks, or None to find out.

    `on_started` is called when the user begins to speak, `on_transcript(text)` for each utterance that was
    understood, then `on_question(text)` once the user has stopped; `on_nothing` when nothing was understood at all,
    and `on_deaf` for each utterance when there are no ears.
    """

    def __init__(
        self,
        ears: Ears | None,
        *,
        input_format: str,
        language: str | None,
        worker: Worker,
        post: Callable[[Action], bool],
        on_started: Action,
        on_transcript: Callable[[str], None],
        on_question: Callable[[str], None],
        on_nothing: Action,
        on_deaf: Action,
    ) -> None:
        self._ears = ears
        self._hearing = Hearing(input_format)
        self._language = language
        self._worker = worker
        self._post = post
        self._on_started = on_started
        self._on_transcript = on_transcript
        self._on_question = on_question
        self._on_nothing = on_nothing
        self._on_deaf = on_deaf
        self._understood: list[str] = []
        self._transcribing = 0

    @property
    def user_is_speaking(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._hearing.user_is_speaking

    def feed(self, chunk: str) -> None:
        """Take one base64 chunk. Raises RequestError as `Hearing.feed`."""
        for heard in self._hearing.feed(chunk):
            if isinstance(heard, SpeechStarted):
                self._on_started()
            elif isinstance(heard, SpeechEnded):
                self._take_utterance(heard.pcm)

    def forget(self) -> None:
        """The user has said something else in writing: what was understood so far needs no answer."""
        self._understood.clear()

    def _take_utterance(self, pcm: bytes) -> None:
        if self._ears is None:
            self._on_deaf()
        elif self._worker.is_full:
            log.warning("utterance dropped, too many wait for the ears")
        else:
            self._transcribing += 1
            self._worker.submit(partial(self._transcribe, self._ears, pcm))

    def _transcribe(self, ears: Ears, pcm: bytes) -> None:
        """Understand an utterance, on the ears' worker."""
        transcript: Transcript | None = None
        try:
            transcript = ears.transcribe(pcm, self._hearing.sample_rate, self._language)
        except EarsError as exc:
            log.warning("the ears failed", error=str(exc))
        finally:
            self._post(partial(self._take_transcript, transcript))

    def _take_transcript(self, transcript: Transcript | None) -> None:
        self._transcribing -= 1
        text = transcript.text.strip() if transcript else ""
        if text:
            self._on_transcript(text)
            self._understood.append(text)
        if self._transcribing or self.user_is_speaking:
            return
        if self._understood:
            question = " ".join(self._understood)
            self._understood.clear()
            self._on_question(question)
        else:
            self._on_nothing()


class Hearing:
    """One conversation's listening; `input_format` is one of the Agents protocol."""

    def __init__(self, input_format: str) -> None:
        codec, _, rate = input_format.partition("_")
        self._is_ulaw = codec == "ulaw"
        self.sample_rate = int(rate)
        self._detector = UtteranceDetector(self.sample_rate, start_seconds=BARGE_IN_SECONDS)
        self._odd = b""

    @property
    def user_is_speaking(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._detector.speaking

    def feed(self, chunk: str) -> list[SpeechEvent]:
        """Take one base64 chunk; return what became certain by it.

        Raises:
            RequestError: it is not base64 (`invalid_message`).
        """
        try:
            sound = base64.b64decode(chunk, validate=True)
        except (binascii.Error, ValueError):
            raise RequestError("Invalid message received", code="invalid_message", param="user_audio_chunk") from None
        if self._is_ulaw:
            return self._detector.feed(companding.expand(sound, "ulaw").astype("<i2").tobytes())
        sound = self._odd + sound
        whole = len(sound) - len(sound) % _BYTES_PER_SAMPLE
        self._odd = sound[whole:]
        return self._detector.feed(sound[:whole])
