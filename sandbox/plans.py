"""The plans that an account can have: how many requests may run at once and how many characters are paid for.

Concurrency is ElevenLabs' published table (documentation, 2025-08); the character limits are those of its price page
of the same time. They are data for tests, not a promise: the truth about an account is what its headers say.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """`standard` and `turbo` are the slots of the two groups of speech models; the rest are slots by product."""

    name: str
    standard: int
    turbo: int
    transcription: int
    agents: int
    priority: int
    character_limit: int

    @property
    def rank(self) -> int:
        """The plan's place among the plans, 0 for the free one: features are sold "from this plan up"."""
        return list(PLANS).index(self.name)


PLANS = {
    plan.name: plan
    for plan in (
        Plan("free", standard=2, turbo=4, transcription=8, agents=4, priority=3, character_limit=10_000),
        Plan("starter", standard=3, turbo=6, transcription=12, agents=6, priority=4, character_limit=30_000),
        Plan("creator", standard=5, turbo=10, transcription=20, agents=10, priority=5, character_limit=100_000),
        Plan("pro", standard=10, turbo=20, transcription=40, agents=20, priority=5, character_limit=500_000),
        Plan("scale", standard=15, turbo=30, transcription=75, agents=30, priority=5, character_limit=2_000_000),
        Plan("business", standard=15, turbo=30, transcription=75, agents=30, priority=5, character_limit=11_000_000),
    )
}
