"""Everything that one sandbox knows while it runs, in one process and in memory: a restart is a clean sheet.

The key decision: there are no globals. `create_app(state)` is given this, so tests can run several sandboxes at once.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.conversation_records import ConversationRecords
from sandbox.faults import Faults
from sandbox.limits import Limits
from sandbox.plans import PLANS, Plan
from sandbox.stats import Stats
from service.errors import RequestError
from service.fallback.audio_formats import AudioEncoder
from service.fallback.local_ears import LocalEars, open_ears
from service.fallback.local_voice import Voice, open_voice


@dataclass(frozen=True)
class Options:
    """How this sandbox behaves; the command line's options, see `python -m sandbox --help`.

    `latency_scale` multiplies every wait that imitates the real service's speed (0: none). `queue_seconds` is how
    long a request waits for a slot. `old_errors` answers with the error bodies of before 2026. `state_folder` is where
    the ears put their model together; without `ears` nothing is transcribed. `agent_slots`: so many conversations at
    once instead of the plan's.
    """

    plan: str = "creator"
    api_key: str | None = None
    seed: int = 0
    latency_scale: float = 1.0
    queue_seconds: float = 1.0
    old_errors: bool = False
    agents_file: Path | None = None
    state_folder: Path = Path(".vocero")
    ears: bool = True
    agent_slots: int | None = None


class SandboxState:
    """One account at one stand-in for ElevenLabs."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        plan: Plan = PLANS[self.options.plan]
        self.plan = replace(plan, agents=self.options.agent_slots or plan.agents)
        self.stats = Stats()
        self.faults = Faults(self.stats, seed=self.options.seed)
        self.conversations = ConversationRecords()
        self.limits = Limits(self.plan, queue_seconds=self.options.queue_seconds)
        self._voice: Voice | None = None
        self.ears: LocalEars | None = None

    @property
    def voice(self) -> Voice:
        """The voice that speaks, real or tones; there after `start`."""
        if self._voice is None:
            raise RuntimeError("the sandbox has not been started")
        return self._voice

    def start(self) -> None:
        """Load the voice and its encoders, and find the ears, which start at their first use."""
        self._voice = open_voice()
        # FFmpeg takes a third of a second to load, which the first request for mp3 would wait for.
        with suppress(RequestError):
            AudioEncoder("mp3_44100_128", source_rate=24_000)
        self.ears = open_ears(self.options.state_folder) if self.options.ears else None

    def close(self) -> None:
        """End what `start` began, the ears' process too."""
        if self.ears is not None:
            self.ears.close()

    def real(self) -> str:
        """Say in a few words which parts are real and which stand in."""
        return f"voice {self.voice.kind}, ears {'none' if self.ears is None else 'whisper'}"

    def wait(self, seconds: float) -> None:
        """Wait as long as the real service would take, times the latency scale."""
        if seconds * self.options.latency_scale > 0:
            time.sleep(seconds * self.options.latency_scale)

    def reset(self) -> None:
        """Forget what was counted and every fault; requests that run go on."""
        self.faults.clear()
        self.stats.reset()
        for slots in self.limits.by_name().values():
            slots.reset_peak()
