"""The voices and models of the sandbox's account.

The key decision: the voices are ours, with stable ids in ElevenLabs' style; ids that every tutorial uses are accepted
as other names of them, so that code written against ElevenLabs runs unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

LANGUAGES = {"en": "English", "es": "Spanish"}


@dataclass(frozen=True)
class CatalogVoice:
    """A voice of the account; `variant` names the local voice's speaker (`service.fallback.voice_variants`)."""

    voice_id: str
    name: str
    gender: str
    language: str
    accent: str
    description: str
    variant: str


@dataclass(frozen=True)
class Model:
    """A speech model. `latency` is its time to the first sound in seconds (reference, 5.4); `group` has the slots.

    `cost` is in credits a character, `limit` in characters a request.
    """

    model_id: str
    name: str
    description: str
    limit: int
    latency: float
    group: str = "standard"
    cost: float = 1.0
    languages: tuple[str, ...] = ("en", "es")
    speaks: bool = True

    @property
    def is_v3(self) -> bool:
        """Whether the limits of the v3 family hold: no context texts, no speech sockets."""
        return self.model_id.startswith("eleven_v3")


VOICES = {
    voice.voice_id: voice
    for voice in (
        CatalogVoice("sbEnEmmaCalm00000001", "Emma", "female", "en", "american", "Calm, for service", "calm-woman"),
        CatalogVoice("sbEnRuthBright000002", "Ruth", "female", "en", "american", "Bright, for news", "bright-woman"),
        CatalogVoice("sbEnGeorgeCalm000003", "George", "male", "en", "british", "Calm, for stories", "calm-man"),
        CatalogVoice("sbEsLuciaWarm0000004", "Lucía", "female", "es", "peninsular", "Warm, for service", "warm-woman"),
        CatalogVoice("sbEsMateoDeep0000005", "Mateo", "male", "es", "peninsular", "Deep, for service", "deep-man"),
        CatalogVoice("sbEsDiegoBright00006", "Diego", "male", "es", "latin american", "Bright, for ads", "bright-man"),
    )
}

_ALSO_KNOWN_AS = {
    "21m00Tcm4TlvDq8ikWAM": "sbEnEmmaCalm00000001",  # Rachel
    "EXAVITQu4vr4xnSDxMaL": "sbEnEmmaCalm00000001",  # Sarah
    "cgSgspJ2msm6clMCkdW9": "sbEnRuthBright000002",  # Jessica
    "FGY2WhTYpPnrIDTdsKH5": "sbEnRuthBright000002",  # Laura
    "XB0fDUnXU5powFXDhCwa": "sbEsLuciaWarm0000004",  # Charlotte
    "JBFqnCBsd6RMkjVDRZzb": "sbEnGeorgeCalm000003",  # George
    "cjVigY5qzO86Huf0OWal": "sbEnGeorgeCalm000003",  # Eric
    "pNInz6obpgDQGcFmaJgB": "sbEsMateoDeep0000005",  # Adam
    "nPczCjzI2devNBz1zQrb": "sbEsMateoDeep0000005",  # Brian
    "ErXwobaYiN019PkySvjV": "sbEsDiegoBright00006",  # Antoni
    "TX3LPaxmHKxFdv7VOQHJ": "sbEsDiegoBright00006",  # Liam
}

MODELS = {
    model.model_id: model
    for model in (
        Model("eleven_v3", "Eleven v3", "The most expressive model.", 3_000, 0.35),
        Model("eleven_multilingual_v2", "Eleven Multilingual v2", "Life-like, in many languages.", 10_000, 0.35),
        Model("eleven_flash_v2_5", "Eleven Flash v2.5", "Ultra low latency.", 40_000, 0.075, "turbo", 0.5),
        Model("eleven_turbo_v2_5", "Eleven Turbo v2.5", "Low latency.", 40_000, 0.25, "turbo", 0.5),
        Model("eleven_flash_v2", "Eleven Flash v2", "English only.", 30_000, 0.075, "turbo", 0.5, ("en",)),
        Model("eleven_turbo_v2", "Eleven Turbo v2", "English only.", 30_000, 0.25, "turbo", 0.5, ("en",)),
        Model("eleven_multilingual_v1", "Eleven Multilingual v1", "The first of its kind.", 10_000, 0.35),
        Model("eleven_monolingual_v1", "Eleven English v1", "English only.", 10_000, 0.35, languages=("en",)),
        Model("eleven_multilingual_sts_v2", "Eleven Multilingual v2", "Speech to speech.", 10_000, 0.35, speaks=False),
    )
}


def find_voice(voice_id: str) -> CatalogVoice | None:
    """Give the voice of that id, or of the well-known id that stands for it."""
    return VOICES.get(_ALSO_KNOWN_AS.get(voice_id, voice_id))
