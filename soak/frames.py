"""Ten million frames through the service: none lost, doubled, out of turn or changed, and no memory kept for them.

The conversations live for the whole run, talk both ways at once as fast as they are taken, and are ordinary ones: event
ids, the rate count and all else that the service does to a frame is done. Every byte that arrives is compared with what
its number says (`soak.numbered`), by the client and by the agent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from soak.caller import Caller
from soak.fates import Fate
from soak.parts import Parts, running_parts
from soak.progress import Progress
from soak.result import Result
from soak.service_log import failures_in

FRAMES = 10_000_000
CONVERSATIONS = 16
WARM_UP_SHARE = 0.1
"""Of the frames: after these the memory is what it will be."""

GROWTH_BYTES = 4_000_000
"""How much larger the worker may be at any later time: a leak of one byte a frame would be twice this."""

SLOWEST_RATE = 2_000.0
"""Frames a second below which the run is ended as failed."""

STANDSTILL_SECONDS = 30.0
LOOK_SECONDS = 0.1


def run(frames: int = FRAMES) -> Result:
    """Carry so many frames, half of them each way."""
    with running_parts() as parts:
        return asyncio.run(_Run(parts, frames).result())


class _Run:
    """One run over running parts."""

    def __init__(self, parts: Parts, frames: int) -> None:
        self._parts = parts
        self._each = max(1, frames // CONVERSATIONS // 2)
        self._frames = self._each * CONVERSATIONS * 2
        self._memory: list[tuple[int, int]] = []  # (frames so far, bytes)
        self._callers: list[Caller] = []

    async def result(self) -> Result:
        """Do it."""
        worker = self._parts.worker
        before = worker.look().memory
        begin, used, used_by_agents, used_by_us = time.monotonic(), worker.cpu, worker.agents_cpu, time.process_time()
        failures = await self._carry()
        seconds = time.monotonic() - begin
        used, used_by_agents = worker.cpu - used, worker.agents_cpu - used_by_agents
        used_by_us = time.process_time() - used_by_us
        self._memory.append((self._done, worker.look().memory))
        growth = self._growth()
        if growth > GROWTH_BYTES:
            failures.append(f"the worker grew by {growth / 1e6:.1f} MB, at most {GROWTH_BYTES / 1e6:.1f} are allowed")
        failures += failures_in(self._parts.service_log)
        rows = [
            ("what", "value", "unit"),
            ("frames carried and compared byte for byte", f"{self._done:,}", ""),
            ("conversations with one lost, changed or out of turn", str(self._wrong), ""),
            ("frames", f"{self._done / seconds:,.0f}", "1/s"),
            ("CPU of the worker for a frame", self._for_a_frame(used), "µs"),
            ("CPU of the client for a frame", self._for_a_frame(used_by_us), "µs"),
            ("CPU of the agents for a frame", self._for_a_frame(used_by_agents), "µs"),
            ("memory of the worker before, at its most, at the end", self._memory_shown(before), "MB"),
            (f"its growth after the first {WARM_UP_SHARE:.0%} of the frames", f"{growth / 1e6:.2f}", "MB"),
        ]
        return Result("frames", seconds, rows, failures)

    async def _carry(self) -> list[str]:
        finished: list[Caller] = []
        loop = asyncio.get_running_loop()
        self._callers = [
            Caller(loop, self._parts.port, Fate(seed, self._each, self._each), on_done=finished.append)
            for seed in range(1, CONVERSATIONS + 1)
        ]
        progress = Progress(self._line)
        moved, moved_at = 0, time.monotonic()
        limit = 60.0 + self._frames / SLOWEST_RATE
        while len(finished) < CONVERSATIONS:
            await asyncio.sleep(LOOK_SECONDS)
            progress.tick()
            if self._heard != moved:
                moved, moved_at = self._heard, time.monotonic()
            if time.monotonic() - moved_at > STANDSTILL_SECONDS or progress.seconds > limit:
                for caller in self._callers:
                    caller.give_up("not at its end in time")
        return [caller.failure for caller in self._callers if caller.failure]

    def _line(self, seconds: float) -> str:
        memory = self._parts.worker.memory
        # What we said and has not been heard is on its way, in the sockets' buffers at most.
        carried = self._heard
        self._memory.append((carried, memory))
        share = carried / self._frames
        return f"{carried:,} frames ({share:.0%}), {carried / seconds:,.0f}/s, worker {memory / 1e6:.1f} MB"

    @property
    def _heard(self) -> int:
        return sum(caller.progress for caller in self._callers)

    @property
    def _done(self) -> int:
        return sum(caller.frames for caller in self._callers)

    @property
    def _wrong(self) -> int:
        return sum(bool(caller.failure) for caller in self._callers)

    def _growth(self) -> int:
        warm = [memory for done, memory in self._memory if done >= self._frames * WARM_UP_SHARE]
        return max(warm) - warm[0] if warm else 0

    def _for_a_frame(self, seconds: float) -> str:
        return f"{seconds / max(1, self._done) * 1e6:.1f}"

    def _memory_shown(self, before: int) -> str:
        found: Sequence[int] = [memory for _, memory in self._memory]
        return f"{before / 1e6:.1f}, {max(found) / 1e6:.1f}, {found[-1] / 1e6:.1f}"
