"""The speakers that every local voice can imitate, under names of ours.

The key decision: the names say what one hears and belong to no engine and no provider, so that a voice id of
ElevenLabs can be mapped to one of them by whoever knows such ids.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VoiceVariant:
    """One speaker: espeak-ng's voice variant and pitch (0-99), and the base frequency in Hz of the tones."""

    name: str
    gender: str
    espeak_suffix: str
    espeak_pitch: int
    tone_hertz: float


VOICE_VARIANTS = {
    variant.name: variant
    for variant in (
        VoiceVariant("calm-woman", "female", "f2", 50, 220.0),
        VoiceVariant("bright-woman", "female", "f4", 65, 262.0),
        VoiceVariant("warm-woman", "female", "linda", 45, 196.0),
        VoiceVariant("calm-man", "male", "m3", 45, 123.0),
        VoiceVariant("deep-man", "male", "m7", 25, 98.0),
        VoiceVariant("bright-man", "male", "m1", 60, 147.0),
    )
}
DEFAULT_VARIANT = "calm-woman"


def find_variant(name: str | None) -> VoiceVariant:
    """Return the variant of that name, or the default one for None.

    Raises:
        ValueError: there is no such variant; the message names those there are.
    """
    try:
        return VOICE_VARIANTS[name or DEFAULT_VARIANT]
    except KeyError:
        raise ValueError(f"No voice variant {name!r}; there are {', '.join(VOICE_VARIANTS)}.") from None
