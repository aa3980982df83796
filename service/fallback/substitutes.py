"""Parts that have a substitute: an endpoint's voice, dialogue or ears, and the local one for when those fail.

The key decision: a failure costs one sentence or one answer at most, never the conversation. What the first part has
done is not done again: the substitute goes on behind the last sentence that was spoken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from service.errors import VoceroError
from service.fallback.faq_dialogue import FaqDialogue, Reply
from service.fallback.local_agent_hearing import Ears
from service.fallback.local_agent_thinking import Dialogue
from service.fallback.local_ears import EarsError, Transcript
from service.fallback.local_voice import Voice
from service.fallback.openai_endpoint import EndpointError
from service.fallback.patience import Patience
from service.fallback.spoken_piece import SpokenPiece
from service.fallback.talk_history import PastTurn
from service.fallback.voice_choice import VoiceChoice
from service.metrics import BackupPart, backup_part_failed

log = structlog.get_logger(__name__)

GOODBYE = "goodbye"


class NoVoiceError(VoceroError):
    """The endpoint does not speak, and there is no voice on this machine: this answer cannot be heard."""


class _Attempts:
    """What asking an endpoint for one part has come to."""

    def __init__(self, part: BackupPart) -> None:
        self._part = part
        self.patience = Patience()

    def failed(self, error: EndpointError) -> None:
        self.patience.failed()
        backup_part_failed(self._part, error.cause)
        log.warning("the endpoint failed, the local part does it", part=self._part.value, reason=str(error))


class VoiceWithSubstitute:
    """Speaks with `first` as long as that works, else with `substitute` (None: there is none that is fit to hear)."""

    def __init__(self, first: Voice, substitute: Voice | None) -> None:
        self._first = first
        self._substitute = substitute
        self._attempts = _Attempts(BackupPart.SPEECH)

    @property
    def kind(self) -> str:
        """The kind of the first one."""
        return self._first.kind

    def speak(
        self, text: str, *, language: str = "en", speed: float = 1.0, variant: str | None = None
    ) -> Iterator[SpokenPiece]:
        """Yield one piece a sentence, see `service.fallback.local_voice.Voice`.

        Raises:
            NoVoiceError: neither speaks.
        """
        spoken = 0
        if self._attempts.patience.is_left:
            try:
                for piece in self._first.speak(text, language=language, speed=speed, variant=variant):
                    self._attempts.patience.worked()
                    spoken += len(piece.text)
                    yield piece
            except EndpointError as exc:
                self._attempts.failed(exc)
            else:
                return
        if self._substitute is None:
            raise NoVoiceError("the endpoint does not speak, and no voice is installed here")
        local = VoiceChoice.parse(variant).local
        yield from self._substitute.speak(text[spoken:], language=language, speed=speed, variant=local)


class DialogueWithSubstitute:
    """Answers from a language model as long as that works, else from the FAQ.

    What the FAQ knows about a question is told to the model; and who says goodbye gets the FAQ's goodbye, which is what
    ends a conversation.
    """

    def __init__(self, first: Dialogue, faq: FaqDialogue) -> None:
        self._first = first
        self._faq = faq
        self._attempts = _Attempts(BackupPart.CHAT)

    def reply(
        self,
        question: str,
        *,
        language: str | None = None,
        history: Sequence[PastTurn] = (),
        context: Sequence[str] = (),
    ) -> Reply:
        """Answer, see `service.fallback.local_agent_thinking.Dialogue`."""
        known = self._faq.reply(question, language=language, history=history)
        if known.topic == GOODBYE or not self._attempts.patience.is_left:
            return known
        if known.topic is not None:
            context = [*context, f"The operator's own answer to what was asked last: {known.text}"]
        try:
            reply = self._first.reply(question, language=language, history=history, context=context)
        except EndpointError as exc:
            self._attempts.failed(exc)
            return known
        self._attempts.patience.worked()
        return reply


class EarsWithSubstitute:
    """Hears with `first` as long as that works, else with `substitute` (None: there is none)."""

    def __init__(self, first: Ears, substitute: Ears | None) -> None:
        self._first = first
        self._substitute = substitute
        self._attempts = _Attempts(BackupPart.TRANSCRIPTION)

    def transcribe(self, pcm: bytes, sample_rate: int, language: str | None = None) -> Transcript | None:
        """Recognise, see `service.fallback.local_agent_hearing.Ears`."""
        if self._attempts.patience.is_left:
            try:
                heard = self._first.transcribe(pcm, sample_rate, language)
            except EndpointError as exc:
                self._attempts.failed(exc)
            else:
                self._attempts.patience.worked()
                return heard
        if self._substitute is None:
            raise EarsError("the endpoint does not hear, and no ears are installed here")
        return self._substitute.transcribe(pcm, sample_rate, language)
