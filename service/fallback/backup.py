"""The backup of a process: its local legs and its speech, built from the settings.

The key decision: both speak with one set of parts: a process has one voice, one dialogue and at most one pair of ears.
"""

from __future__ import annotations

from service.config import Settings
from service.fallback.backup_parts import BackupParts, PartsOptions, RemoteParts
from service.fallback.backup_profile import BackupProfiles
from service.fallback.local_leg import LocalLegs
from service.fallback.local_speech import LocalSpeech
from service.fallback.voice_choice import VoiceMap


class Backup:
    """What speaks when no provider does. `legs` opens conversations' legs, `speech` answers speech requests."""

    def __init__(self, parts: BackupParts, *, voices: VoiceMap, any_language: bool) -> None:
        self._parts = parts
        self.legs = LocalLegs(parts, profiles=BackupProfiles(voices, any_language=any_language))
        self.speech = LocalSpeech(parts, voices=voices)

    def start(self) -> None:
        """Open the voice and the dialogue; the ears open with the first conversation that needs them.

        Raises:
            SettingsError: the FAQ file is wrong.
            ConfigurationError: an installation is broken.
        """
        self._parts.start()

    def close(self) -> None:
        """End the ears' process and the idle connections; legs that are open end with their owners."""
        self._parts.close()


def make_backup(settings: Settings) -> Backup:
    """Build the backup that the settings describe; it opens nothing before `start`.

    Raises:
        SettingsError: a voice is mapped that there is not.
    """
    has_remote_voice = settings.openai_speech_model is not None
    voices = VoiceMap(settings.fallback_voices or {}, has_remote=has_remote_voice)
    options = PartsOptions(
        faq=settings.fallback_faq,
        loudness_dbfs=settings.fallback_loudness_dbfs,
        ears_folder=settings.fallback_ears_folder if settings.fallback_ears else None,
        remote=_remote_parts(settings),
    )
    return Backup(BackupParts(options), voices=voices, any_language=settings.openai_chat_model is not None)


def _remote_parts(settings: Settings) -> RemoteParts | None:
    models = (settings.openai_chat_model, settings.openai_speech_model, settings.openai_transcription_model)
    if not any(models):
        return None
    return RemoteParts(
        base_url=settings.openai_base_url,
        key=settings.openai_api_key,
        chat_model=settings.openai_chat_model,
        speech_model=settings.openai_speech_model,
        speech_voice=settings.openai_speech_voice,
        transcription_model=settings.openai_transcription_model,
        system_prompt=settings.openai_system_prompt,
        seconds=settings.openai_seconds,
        speech_seconds=settings.openai_speech_seconds,
    )
