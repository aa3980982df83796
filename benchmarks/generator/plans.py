"""What the two ends of a conversation send: a `Plan`, and for each kind of plan and role the sender that does it.

The key decision: a table. A plan's kind names what clients send and what agents send; an end that has nothing to send
is done at once. A kind is one more line in `PLANS`.

A voice is an open loop: each message has its time, whatever became of those before it. Its stamp is the moment of
writing; nothing ever waits for an answer, so a stall of the relay cannot delay a stamp.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.generator.audio_frames import BLOCK_FRAMES, Direction
from benchmarks.generator.loop import Loop

SILENCE_SECONDS = 0.3
"""From the last voice to the tallies: one end's tally would hold up the last messages of those whose phase is later."""

PIECES = 8
"""Packets that a client's frame of 10.7 kB takes on an Ethernet."""

PIECE_GAP_SECONDS = 0.002
TALKER_RATE = 10_000
"""Messages a second of one talker who floods a worker that others talk through."""

_TALKER_TICK_SECONDS = 0.001


class Wire(Protocol):
    """What a sender writes to: a `Channel`, or one with TLS."""

    on_drained: Callable[[], None] | None

    @property
    def has_backlog(self) -> bool:
        """Whether what was written has not left yet."""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send, now or as soon as possible."""

    def write_when_drained(self, refill: Callable[[], None], /) -> None:
        """Call back now and whenever everything has left."""


@dataclass(frozen=True)
class Plan:
    """What both ends send, by its kind's name in `PLANS`.

    `starts_at` is in seconds of `time.monotonic()`; `phase` (0 to 1) shifts the schedule by a part of its period.
    """

    kind: str
    starts_at: float
    seconds: float
    phase: float = 0.0

    @property
    def ends_at(self) -> float:
        """When the last message may be sent."""
        return self.starts_at + self.seconds


@dataclass
class Tally:
    """What one end saw.

    `delays` and `lateness` are in microseconds; `disordered` counts numbers out of turn; `reads` are the times that
    something arrived.
    """

    sent: int = 0
    received: int = 0
    disordered: int = 0
    reads: int = 0
    delays: list[int] = field(default_factory=list)
    lateness: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What a sender works with: it writes to `wire` by `plan`, counts in `tally`, and calls `on_done` at its end."""

    loop: Loop
    wire: Wire
    direction: Direction
    plan: Plan
    tally: Tally
    on_done: Callable[[], None]


class Sender(Protocol):
    """One end's part of a plan."""

    def start(self) -> None:
        """Begin, when the plan says so."""

    def put(self, frame: bytes) -> None:
        """Send a frame that is not the plan's, as soon as there is a place between two that are."""


class _WholeFrames:
    """A sender that writes no frame in pieces."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def put(self, frame: bytes) -> None:
        self._job.wire.write(frame)


class Silence(_WholeFrames):
    """Nothing to send."""

    def start(self) -> None:
        """Be done when the plan begins: not before the other end has begun it, too."""
        self._job.loop.at(self._job.plan.starts_at, self._job.on_done)


class Voice(_WholeFrames):
    """A message at each of its times."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._number = 1
        self._last = int(job.plan.seconds * job.direction.rate)
        self._due = job.plan.starts_at + job.plan.phase / job.direction.rate

    def start(self) -> None:
        """Say the first message when it is due."""
        self._job.loop.at(self._due, self._speak)

    def _speak(self) -> None:
        job, number = self._job, self._number
        job.tally.lateness.append(round((time.monotonic() - self._due) * 1e6))
        self._write(job.direction.stamped(number))
        job.tally.sent += 1
        self._number = number + 1
        self._due += 1 / job.direction.rate
        if number < self._last:
            job.loop.at(self._due, self._speak)
        else:
            job.loop.at(job.plan.ends_at + SILENCE_SECONDS, job.on_done)

    def _write(self, frame: bytearray) -> None:
        self._job.wire.write(frame)


class VoiceInPieces(Voice):
    """A voice whose frames come in several packets, apart from each other, as over a slow or lossy network."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._waiting: deque[bytes] = deque()

    def put(self, frame: bytes) -> None:
        """Send it behind the frame that is under way."""
        if self._waiting:
            self._waiting.append(frame)
        else:
            super().put(frame)

    def _write(self, frame: bytearray) -> None:
        whole, is_idle = bytes(frame), not self._waiting
        size = -(-len(whole) // PIECES)
        self._waiting.extend(whole[start : start + size] for start in range(0, len(whole), size))
        if is_idle:
            self._write_piece()

    def _write_piece(self) -> None:
        # It leaves the queue only when the next one goes: until then no other frame may come between.
        self._job.wire.write(self._waiting[0])
        self._job.loop.at(time.monotonic() + PIECE_GAP_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._waiting.popleft()
        if self._waiting:
            self._write_piece()


class Flood(_WholeFrames):
    """As fast as it is taken."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._block = job.direction.block()

    def start(self) -> None:
        """Begin on time."""
        job = self._job
        job.loop.at(job.plan.starts_at, lambda: job.wire.write_when_drained(self._refill))

    def _refill(self) -> None:
        job = self._job
        if time.monotonic() < job.plan.ends_at:
            job.wire.write(self._block)
            job.tally.sent += BLOCK_FRAMES
            return
        job.wire.on_drained = None
        job.on_done()


class Talker(_WholeFrames):
    """So many messages a second as no voice has; less if they are not taken."""

    def start(self) -> None:
        """Begin on time."""
        self._job.loop.at(self._job.plan.starts_at, self._tick)

    def _tick(self) -> None:
        job, now = self._job, time.monotonic()
        due = int((min(now, job.plan.ends_at) - job.plan.starts_at) * TALKER_RATE)
        while job.tally.sent < due and not job.wire.has_backlog:
            job.wire.write(job.direction.stamped(job.tally.sent + 1))
            job.tally.sent += 1
        if now < job.plan.ends_at:
            job.loop.at(now + _TALKER_TICK_SECONDS, self._tick)
        else:
            job.on_done()


PLANS: Mapping[str, tuple[Callable[[Job], Sender], Callable[[Job], Sender]]] = {
    # kind: (what clients send, what agents send)
    "voice": (Voice, Voice),
    "voice in pieces": (VoiceInPieces, Silence),
    "flood up": (Flood, Silence),
    "flood down": (Silence, Flood),
    "talker": (Talker, Silence),
}

BLOCK_PLANS = frozenset({"flood up", "flood down"})
"""Those whose messages carry no time, only their place in the block."""
