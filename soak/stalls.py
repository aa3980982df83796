"""Thousands of conversations whose ends stall, vanish and break off, two hundred at a time; and what is left of them.

Afterwards the worker must hold what it held before: the same descriptors, greenlets and watchers, exactly, and the same
memory within a bound; and the upstream must have lost every socket that the service had opened. Whoever was not
killed, however often it stalled, has heard every message of its conversation.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

from soak import fates
from soak.caller import Caller
from soak.parts import Parts, running_parts
from soak.progress import Progress
from soak.result import Result
from soak.service_log import failures_in
from soak.worker import WorkerState

CONVERSATIONS = 5_000
AT_ONCE = 200
WARM_UP = 1_000
"""Conversations before the worker is looked at for the first time."""

SETTINGS = {"VOCERO_IDLE_SECONDS": "6", "VOCERO_WRITE_DEADLINE_SECONDS": "3", "VOCERO_FIRST_FRAME_SECONDS": "5"}
GROWTH_BYTES = 16_000_000
"""3.2 kB for each of 5000 conversations. What malloc keeps of 200 at once, up to 128 kB each, varies by megabytes."""

LIMIT_SECONDS = 60.0
"""For one conversation: a silent one takes 15, on a busy machine more."""

LOOK_SECONDS = 0.02
SETTLE_SECONDS = 30.0
"""For the service to notice the last of those that vanished, and say its goodbyes into the void."""


def run(conversations: int = CONVERSATIONS, *, seed: int = 1) -> Result:
    """Hold so many conversations, whose fates begin at `seed`."""
    with running_parts(SETTINGS) as parts:
        return asyncio.run(_rage(parts, conversations, seed))


async def _rage(parts: Parts, conversations: int, seed: int) -> Result:
    begin = time.monotonic()
    storm = _Storm(parts)
    after_all = seed + conversations
    await storm.rage(range(after_all, after_all + WARM_UP), "warm-up")
    before = await storm.settled(None)
    failures = await storm.rage(range(seed, after_all), "storm")
    after = await storm.settled(before)
    failures += _what_is_left(before, after) + failures_in(parts.service_log)
    return Result("stalls", time.monotonic() - begin, [*storm.rows(), *_state_rows(before, after)], failures)


class _Storm:
    """Conversations over running parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._living: dict[int, tuple[Caller, float]] = {}  # by seed, with the time at which each must be over
        self._finished: list[Caller] = []

    async def rage(self, seeds: range, name: str) -> list[str]:
        """Hold the conversations of `seeds`; the result is what went wrong."""
        self._finished = []
        to_come = iter(seeds)
        progress = Progress(lambda _: f"{name}, {len(self._finished)} of {len(seeds)} over; {self._state()}")
        while len(self._finished) < len(seeds):
            self._fill_up(to_come)
            await asyncio.sleep(LOOK_SECONDS)
            if progress.tick():
                self._end_the_late()
        return [caller.failure for caller in self._finished if caller.failure]

    def _fill_up(self, to_come: Iterator[int]) -> None:
        while len(self._living) < AT_ONCE and (seed := next(to_come, None)) is not None:
            caller = Caller(self._loop, self._parts.port, fates.draw(seed), on_done=self._note)
            self._living[seed] = caller, time.monotonic() + LIMIT_SECONDS

    def _note(self, caller: Caller) -> None:
        self._living.pop(caller.fate.seed, None)
        self._finished.append(caller)

    def _end_the_late(self) -> None:
        now = time.monotonic()
        for caller in [caller for caller, limit in self._living.values() if now > limit]:
            caller.give_up(f"not over within {LIMIT_SECONDS:g} s")

    async def settled(self, wanted: WorkerState | None) -> WorkerState:
        """The worker's state once it is `wanted` but for its memory, or does not change any more."""
        end = time.monotonic() + SETTLE_SECONDS
        found = self._parts.worker.look()
        while time.monotonic() < end and (wanted is None or found.counted != wanted.counted):
            await asyncio.sleep(1.0)
            before, found = found, self._parts.worker.look()
            if wanted is None and found.conversations == 0 and found.counted == before.counted:
                break
        return found

    def _state(self) -> str:
        found = self._parts.worker.look()
        return f"the worker has {found.conversations}, {found.files} files, {found.memory / 1e6:.1f} MB"

    def rows(self) -> list[tuple[str, ...]]:
        """What became of them."""
        kinds = Counter(caller.fate.name for caller in self._finished)
        wrong = Counter(caller.fate.name for caller in self._finished if caller.failure)
        frames: Counter[str] = Counter()
        for caller in self._finished:
            frames[caller.fate.name] += caller.frames
        head = ("what", "conversations", "messages compared", "wrong")
        return [head, *((kind, str(kinds[kind]), f"{frames[kind]:,}", str(wrong[kind])) for kind in sorted(kinds))]


def _what_is_left(before: WorkerState, after: WorkerState) -> list[str]:
    pairs = before.counted.items()
    failures = [f"{name}: {count} before, {after.counted[name]} after" for name, count in pairs
                if after.counted[name] > count]  # fmt: skip
    growth = after.memory - before.memory
    if growth > GROWTH_BYTES:
        failures.append(f"the worker grew by {growth / 1e6:.1f} MB, at most {GROWTH_BYTES / 1e6:.1f} are allowed")
    return failures


def _state_rows(before: WorkerState, after: WorkerState) -> list[tuple[str, ...]]:
    rows = [(f"the worker's {name}, before and after", str(count), str(after.counted[name]), "")
            for name, count in before.counted.items()]  # fmt: skip
    memory = (f"{state.memory / 1e6:.1f} MB" for state in (before, after))
    return [*rows, ("the worker's memory, before and after", *memory, "")]
