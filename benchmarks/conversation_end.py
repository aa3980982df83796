"""One end of a conversation under load, the client's or the agent's: it sends by a plan and keeps a tally.

The key decision: both ends are the same program. They agree by events of ours (`bench_plan`, `bench_sent`,
`bench_delays`, `bench_tally`) that travel in the conversation itself, as unknown events do; so there is no side
channel, and what was received is counted behind everything that was sent.

A voice plan is an open loop: each message has its time, whatever became of those before it. Its stamp is the moment
of writing; nothing ever waits for an answer, so a stall of the service cannot delay a stamp. How late the writer was
is in the tally.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from benchmarks.audio_frames import DOWN, UP
from benchmarks.frame_walker import FrameWalker, Walked
from benchmarks.loop import Channel, Loop
from service.websocket.frames import CLOSE, PING, PONG, TEXT, build_frame

FLOOD_BLOCK = 24
"""Frames written at a time by a flood; a multiple of every direction's cycle of sizes."""

_DELAYS_IN_AN_EVENT = 200
_SILENCE_SECONDS = 0.3  # from the last voice to the tallies


@dataclass(frozen=True)
class Plan:
    """What both ends send: `voice` at each direction's rate, `flood_up` or `flood_down` as fast as it is taken.

    `starts_at` is in seconds of `time.monotonic()`; `phase` (0 to 1) shifts the schedule by a part of its period.
    """

    kind: str
    starts_at: float
    seconds: float
    phase: float = 0.0


@dataclass
class Tally:
    """What one end saw. `delays` and `lateness` are in microseconds; `disordered` counts numbers out of turn."""

    sent: int = 0
    received: int = 0
    disordered: int = 0
    delays: list[int] = field(default_factory=list)
    lateness: list[int] = field(default_factory=list)


class ConversationEnd:
    """An end over an upgraded socket, which it owns. `received` is what came behind the upgrade.

    `on_event` gets the protocol's other events, parsed; `on_end` is called if the peer ends the connection.
    `peer` is the other end's tally once it has come: then everything planned has been sent and has arrived.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        is_client: bool,
        on_event: Callable[[Mapping[str, Any]], None],
        on_end: Callable[[], None],
        received: bytes = b"",
    ) -> None:
        self._loop = loop
        self._sends, self._hears = (UP, DOWN) if is_client else (DOWN, UP)
        self._on_event = on_event
        self._on_end = on_end
        self._walker = FrameWalker()
        self._plan: Plan | None = None
        self._peer_has_sent: int | None = None
        self._everything_sent = False
        self._peer_delays: list[int] = []
        self.tally = Tally()
        self.peer: Tally | None = None
        self._channel = Channel(loop, sock, on_data=self._read, on_end=on_end)
        if received:
            self._read(received)

    def send_event(self, event: Mapping[str, Any]) -> None:
        """Send one event of the protocol."""
        self._channel.write(build_frame(TEXT, orjson.dumps(event), mask=self._sends.masked))

    def follow(self, plan: Plan) -> None:
        """Do our part of `plan`, and have the peer do its part."""
        self.send_event({"type": "bench_plan", **asdict(plan)})
        self._begin(plan)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    # --- Sending

    def _begin(self, plan: Plan) -> None:
        self._plan, self._peer_has_sent, self._everything_sent = plan, None, False
        self._peer_delays = []
        self.tally, self.peer = Tally(), None
        if plan.kind == "voice":
            self._loop.at(self._due(plan, 1), lambda: self._speak(plan, 1))
        elif plan.kind == f"flood_{self._sends.name}":
            self._loop.at(plan.starts_at, lambda: self._flood(plan))
        else:
            self._loop.at(plan.starts_at, self._tell_that_all_is_sent)

    def _due(self, plan: Plan, number: int) -> float:
        return plan.starts_at + (number - 1 + plan.phase) / self._sends.rate

    def _speak(self, plan: Plan, number: int) -> None:
        self.tally.lateness.append(round((time.monotonic() - self._due(plan, number)) * 1e6))
        self._channel.write(self._sends.stamped(number))
        self.tally.sent += 1
        if number < plan.seconds * self._sends.rate:
            self._loop.at(self._due(plan, number + 1), lambda: self._speak(plan, number + 1))
        else:
            # Not now: one end's tally would hold up the last messages of all those whose phase is later.
            self._loop.at(plan.starts_at + plan.seconds + _SILENCE_SECONDS, self._tell_that_all_is_sent)

    def _flood(self, plan: Plan) -> None:
        block = self._sends.unstamped(FLOOD_BLOCK)
        end = plan.starts_at + plan.seconds

        def refill() -> None:
            if time.monotonic() < end:
                self._channel.write(block)
                self.tally.sent += FLOOD_BLOCK
                return
            self._channel.on_drained = None
            self._tell_that_all_is_sent()

        self._channel.write_when_drained(refill)

    def _tell_that_all_is_sent(self) -> None:
        self._everything_sent = True
        self.send_event({"type": "bench_sent", "sent": self.tally.sent})
        self._give_tally()

    def _give_tally(self) -> None:
        if not self._everything_sent or self._peer_has_sent is None:
            return
        delays = self.tally.delays
        for start in range(0, len(delays), _DELAYS_IN_AN_EVENT):
            self.send_event({"type": "bench_delays", "delays": delays[start : start + _DELAYS_IN_AN_EVENT]})
        lateness = [max(self.tally.lateness)] if self.tally.lateness else []
        self.send_event({"type": "bench_tally", **asdict(self.tally), "delays": [], "lateness": lateness})

    # --- Receiving

    def _read(self, data: bytes | memoryview) -> None:
        frames = self._walker.feed(data)
        now = time.monotonic_ns()
        try:
            for frame in frames:
                if frame.opcode == TEXT and self._hears.is_audio(frame.head):
                    self._note_audio(frame.head, now)
                else:
                    self._handle_other(frame)
        except (ValueError, TypeError, LookupError, struct.error):  # a relay has mixed up the bytes: that is its end
            self._channel.close()
            self._on_end()

    def _note_audio(self, head: bytes, now: int) -> None:
        self.tally.received += 1
        stamp = self._hears.read_stamp(head)
        if stamp is not None:
            number, sent = stamp
            self.tally.disordered += number != self.tally.received
            self.tally.delays.append((now - sent) // 1000)

    def _handle_other(self, frame: Walked) -> None:
        if frame.opcode == PING:
            self._channel.write(build_frame(PONG, frame.head, mask=self._sends.masked))
        elif frame.opcode == CLOSE:
            self._channel.close()
            self._on_end()
        elif frame.opcode == TEXT:
            self._handle_event(orjson.loads(frame.head))

    def _handle_event(self, event: dict[str, Any]) -> None:
        match event.pop("type", None):
            case "bench_plan":
                self._begin(Plan(**event))
            case "bench_sent":
                self._peer_has_sent = event["sent"]
                self._give_tally()
            case "bench_delays":
                self._peer_delays += event["delays"]
            case "bench_tally":
                self.peer = Tally(**{**event, "delays": self._peer_delays})
            case kind:
                self._on_event({"type": kind, **event})
