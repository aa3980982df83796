"""What the senders of a plan write, and when; the loop and its clock are the real ones, the wire keeps what it gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.generator.audio_frames import UP
from benchmarks.generator.frames import PING, FrameWalker, build_frame
from benchmarks.generator.loop import Loop
from benchmarks.generator.plans import PIECES, PLANS, Job, Plan, Sender, Tally

SECONDS = 0.5


class Wire:
    """Takes everything at once, and keeps it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.has_backlog = False
        self.on_drained: Callable[[], None] | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def write_when_drained(self, refill: Callable[[], None]) -> None:
        self.on_drained = refill
        for _ in range(3):
            refill()

    def numbers(self) -> list[int]:
        """Of the audio messages that the bytes are, in their order."""
        frames = FrameWalker().feed(b"".join(self.written))
        return [UP.read_stamp(frame.head)[0] for frame in frames if UP.is_audio(frame.head)]


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def begin(loop: Loop, kind: str, wire: Wire) -> tuple[Sender, Tally, list[bool]]:
    tally, done = Tally(), list[bool]()
    plan = Plan(kind=kind, starts_at=time.monotonic(), seconds=SECONDS, phase=0.1)
    sender = PLANS[kind][0](Job(loop, wire, UP, plan, tally, lambda: done.append(True)))
    sender.start()
    return sender, tally, done


def run(loop: Loop, done: list[bool]) -> None:
    loop.run_until(lambda: bool(done), limit_seconds=30, what="the end of the plan")


def test_a_voice_says_a_message_at_each_of_its_times(loop: Loop) -> None:
    wire = Wire()
    _, tally, done = begin(loop, "voice", wire)
    run(loop, done)
    assert wire.numbers() == [1, 2]
    assert tally.sent == len(tally.lateness) == SECONDS * UP.rate
    assert len(wire.written) == 2


def test_a_voice_in_pieces_says_the_same_in_eight_writes_each(loop: Loop) -> None:
    wire = Wire()
    _, tally, done = begin(loop, "voice in pieces", wire)
    run(loop, done)
    assert wire.numbers() == [1, 2]
    assert len(wire.written) == PIECES * 2
    assert tally.sent == 2


def test_no_frame_comes_between_the_pieces_of_another(loop: Loop) -> None:
    wire = Wire()
    sender, _, done = begin(loop, "voice in pieces", wire)
    loop.run_until(lambda: len(wire.written) == 3, limit_seconds=30, what="three pieces")
    sender.put(build_frame(PING, b"between", mask=None))
    run(loop, done)
    frames = FrameWalker().feed(b"".join(wire.written))
    assert [frame.opcode == PING for frame in frames] == [False, True, False]


def test_a_flood_writes_blocks_whenever_the_wire_is_empty_until_the_plan_ends(loop: Loop) -> None:
    wire = Wire()
    _, tally, done = begin(loop, "flood up", wire)
    loop.run_until(lambda: bool(wire.written), limit_seconds=30, what="the first block")
    loop.run_for(SECONDS)
    assert not done
    refill = wire.on_drained
    assert refill is not None
    refill()
    assert done
    assert wire.on_drained is None
    assert len(wire.numbers()) == tally.sent > 0


def test_a_talker_makes_up_for_what_it_could_not_send_and_waits_while_the_wire_is_full(loop: Loop) -> None:
    wire = Wire()
    wire.has_backlog = True
    _, tally, done = begin(loop, "talker", wire)
    loop.run_for(SECONDS / 2)
    assert tally.sent == 0
    wire.has_backlog = False
    run(loop, done)
    assert tally.sent == 5000
    assert wire.numbers() == list(range(1, 5001))


def test_who_has_nothing_to_send_is_done_when_the_plan_begins(loop: Loop) -> None:
    wire = Wire()
    _, tally, done = begin(loop, "flood down", wire)
    run(loop, done)
    assert (wire.written, tally.sent) == ([], 0)


def test_a_wait_that_is_too_long_names_what_was_waited_for(loop: Loop) -> None:
    with pytest.raises(TimeoutError, match="the moon: not within 0"):
        loop.run_until(lambda: False, limit_seconds=0.01, what="the moon")
