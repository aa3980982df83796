"""The bounds of a conversation, as its owner sets them.

The key decision: every wait in a conversation has its bound here, so that whoever reads one knows them all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a conversation; the units are those of the settings of the same names."""

    first_frame_seconds: float
    idle_seconds: float
    messages_per_second: int
    leg_silence_seconds: float = 10.0
    first_audio_seconds: float = 1.0
    drain_turn_seconds: float = 20.0
