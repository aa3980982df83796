"""Which of the backup's voices stands in for an agent's, as the operator mapped them.

The key decision: a choice travels as one string, "local/remote", because that is what a profile and a `Voice` carry;
only the two ends of it (this module) know that it has two parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from service.errors import SettingsError
from service.fallback.backup_lines import base_language
from service.fallback.voice_variants import VOICE_VARIANTS

ANY = "*"
_OF_GENDER = {"female": "calm-woman", "male": "calm-man"}


class VoiceChoice(NamedTuple):
    """A voice of this machine and one of the endpoint; None is the usual one."""

    local: str | None = None
    remote: str | None = None

    @classmethod
    def parse(cls, variant: str | None) -> VoiceChoice:
        """Read what `str()` wrote."""
        local, _, remote = (variant or "").partition("/")
        return cls(local or None, remote or None)

    def __str__(self) -> str:
        return f"{self.local or ''}/{self.remote}" if self.remote else self.local or ""


class VoiceMap:
    """The map of `VOCERO_FALLBACK_VOICES`: agent id, voice id or * -> language or * -> voice.

    Raises:
        SettingsError: a voice that does not exist, or a remote one without a model that speaks.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, str]], *, has_remote: bool) -> None:
        self._choices = {
            key: {language.lower(): _choice(key, value, has_remote) for language, value in by_language.items()}
            for key, by_language in entries.items()
        }

    def variant(self, *keys: str | None, language: str | None) -> str | None:
        """The variant for voices and agents of ElevenLabs; the first entry that fits counts. None: the usual voice."""
        tag = (language or "").lower()
        for key in (*keys, ANY):
            by_language = self._choices.get(key or "", {})
            for name in (tag, base_language(tag) or ANY, ANY):
                if name in by_language:
                    return str(by_language[name])
        return None


def _choice(key: str, value: str, has_remote: bool) -> VoiceChoice:
    choice = VoiceChoice.parse(value)
    local = _OF_GENDER.get(choice.local or "", choice.local)
    if local is not None and local not in VOICE_VARIANTS:
        names = ", ".join([*VOICE_VARIANTS, *_OF_GENDER])
        raise SettingsError(f"VOCERO_FALLBACK_VOICES: {key}: there is no voice {local!r}; choose one of {names}.")
    if choice.remote and not has_remote:
        raise SettingsError(
            f"VOCERO_FALLBACK_VOICES: {key}: the voice {choice.remote!r} needs VOCERO_OPENAI_SPEECH_MODEL."
        )
    return VoiceChoice(local, choice.remote)
