"""The backup's voice, ears and words, as the settings put them together; one set for a process.

The key decision: what can be wrong in an operator's files and settings is found at the start, and what costs memory
(the ears: half a gigabyte) begins with the first conversation that needs it. Tones are for tests: no user hears them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pydantic import SecretStr

from service.fallback.faq_dialogue import FaqDialogue
from service.fallback.local_agent_hearing import Ears
from service.fallback.local_agent_thinking import Dialogue
from service.fallback.local_ears import EarsError, LocalEars, open_ears
from service.fallback.local_voice import Voice, open_voice
from service.fallback.loudness import LeveledVoice
from service.fallback.openai_chat import OpenAiChat
from service.fallback.openai_endpoint import OpenAiEndpoint
from service.fallback.openai_speech import OpenAiVoice
from service.fallback.openai_transcription import OpenAiEars
from service.fallback.substitutes import DialogueWithSubstitute, EarsWithSubstitute, VoiceWithSubstitute
from service.fallback.tone_voice import ToneVoice

log = structlog.get_logger(__name__)

DEFAULT_FAQ = Path(__file__).with_name("default_faq.yaml")
DEFAULT_PROMPT = "You stand in for a voice agent. Answer in one to three short sentences, as one speaks."


@dataclass(frozen=True, kw_only=True)
class RemoteParts:
    """An OpenAI-compatible endpoint; each part is used whose model is set. `seconds` bound one answer of it, and
    `speech_seconds` the sound of one sentence."""

    base_url: str
    key: SecretStr | None = None
    chat_model: str | None = None
    speech_model: str | None = None
    speech_voice: str = "alloy"
    transcription_model: str | None = None
    system_prompt: str = DEFAULT_PROMPT
    seconds: float = 5.0
    speech_seconds: float = 2.0


@dataclass(frozen=True, kw_only=True)
class PartsOptions:
    """Which parts there are.

    `faq` is the operator's file, None the packaged one. `ears_folder` is where the model of the local ears is put
    together, None for no local ears. `accepts_tones`: beeps will do for a voice; for tests.
    """

    faq: Path | None = None
    loudness_dbfs: float = -20.0
    ears_folder: Path | None = None
    remote: RemoteParts | None = None
    accepts_tones: bool = False


@dataclass
class _Opened:
    voice: Voice
    can_speak: bool
    dialogue: Dialogue
    ears: Ears | None
    local_ears: LocalEars | None
    endpoint: OpenAiEndpoint | None
    ears_started: threading.Event = field(default_factory=threading.Event)


class BackupParts:
    """The parts of one process; there after `start`. `open_local_voice` finds the voice of this machine."""

    def __init__(
        self, options: PartsOptions | None = None, *, open_local_voice: Callable[[], Voice] = open_voice
    ) -> None:
        self._options = options or PartsOptions()
        self._open_local_voice = open_local_voice
        self._opened: _Opened | None = None

    def start(self) -> None:
        """Open the voice and the dialogue; may be called again.

        Raises:
            SettingsError: the FAQ file is wrong.
            ConfigurationError: an installation is broken.
        """
        if self._opened is None:
            self._opened = self._open()

    def close(self) -> None:
        """End the ears' process and the connections; what runs may fail."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if opened.local_ears is not None:
            opened.local_ears.close()
        if opened.endpoint is not None:
            opened.endpoint.close()

    @property
    def can_speak(self) -> bool:
        """Whether the voice is one that users may hear."""
        return self._opened is not None and self._opened.can_speak

    @property
    def voice(self) -> Voice:
        """The voice."""
        return self._parts().voice

    @property
    def dialogue(self) -> Dialogue:
        """What finds the answers."""
        return self._parts().dialogue

    def listening_ears(self) -> Ears | None:
        """The ears, which load their model now if they have not: it takes seconds, and nobody has spoken yet."""
        opened = self._parts()
        local = opened.local_ears
        if local is not None and not opened.ears_started.is_set():
            opened.ears_started.set()
            threading.Thread(target=_start_ears, args=(local,), name="backup-ears", daemon=True).start()
        return opened.ears

    def _parts(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the backup's parts were not started")
        return self._opened

    def _open(self) -> _Opened:
        options, remote = self._options, self._options.remote
        faq = FaqDialogue.load(options.faq or DEFAULT_FAQ)
        endpoint = None if remote is None else OpenAiEndpoint(remote.base_url, key=remote.key, seconds=remote.seconds)
        local_ears = None if options.ears_folder is None else open_ears(options.ears_folder)
        voice, can_speak = self._open_voice(endpoint, remote)
        dialogue: Dialogue = faq
        ears: Ears | None = local_ears
        if endpoint is not None and remote is not None:
            if remote.chat_model:
                chat = OpenAiChat(endpoint, model=remote.chat_model, system_prompt=remote.system_prompt)
                dialogue = DialogueWithSubstitute(chat, faq)
            if remote.transcription_model:
                ears = EarsWithSubstitute(OpenAiEars(endpoint, model=remote.transcription_model), local_ears)
        return _Opened(voice, can_speak, dialogue, ears, local_ears, endpoint)

    def _open_voice(self, endpoint: OpenAiEndpoint | None, remote: RemoteParts | None) -> tuple[Voice, bool]:
        """The voice, and whether users may hear it."""
        local = self._open_local_voice()
        is_fit = self._options.accepts_tones or not isinstance(local, ToneVoice)
        leveled = LeveledVoice(local, target_dbfs=self._options.loudness_dbfs)
        if endpoint is not None and remote is not None and remote.speech_model:
            speaker = OpenAiVoice(
                endpoint, model=remote.speech_model, voice=remote.speech_voice, seconds=remote.speech_seconds
            )
            first = LeveledVoice(speaker, target_dbfs=self._options.loudness_dbfs)
            return VoiceWithSubstitute(first, leveled if is_fit else None), True
        if not is_fit:
            log.warning("the backup has no voice and takes over text-only conversations only", install="vocero[local]")
        return leveled, is_fit


def _start_ears(ears: LocalEars) -> None:
    try:
        ears.start()
    except EarsError as exc:
        log.warning("the ears did not start; the first utterance tries again", reason=str(exc))
