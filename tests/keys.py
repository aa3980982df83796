"""A key for a test's `ElevenLabsService`."""

from __future__ import annotations

from service.elevenlabs.keys import KeyChoice
from service.secret import Secret


def one_key(key: str = "sk_invented") -> KeyChoice:
    """The choice of the only key there is."""
    return KeyChoice(lambda: [Secret(key)])
