"""One end of a conversation under load, the client's or the agent's: it sends by a plan and keeps a tally.

The key decision: both ends are the same program. They agree by events of ours (`bench_plan`, `bench_sent`,
`bench_delays`, `bench_tally`) that travel in the conversation itself, as unknown events do; so there is no side
channel, and what was received is counted behind everything that was sent.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from benchmarks.generator.audio_frames import DOWN, MASK, UP
from benchmarks.generator.frames import CLOSE, PING, PONG, TEXT, FrameWalker, Walked, build_frame
from benchmarks.generator.loop import Channel, Loop
from benchmarks.generator.plans import BLOCK_PLANS, PLANS, Job, Plan, Sender, Tally
from benchmarks.generator.tls_channel import TlsChannel

_DELAYS_IN_AN_EVENT = 200


class ConversationEnd:
    """An end over an upgraded channel, which it owns from now on.

    `on_event` gets the protocol's other events, parsed; `on_end` is called if the peer ends the connection.
    `peer` is the other end's tally once it has come: then everything planned has been sent and has arrived.
    """

    def __init__(
        self,
        loop: Loop,
        channel: Channel | TlsChannel,
        *,
        is_client: bool,
        on_event: Callable[[Mapping[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._is_client = is_client
        self._sends, self._hears = (UP, DOWN) if is_client else (DOWN, UP)
        self._mask = MASK if is_client else None
        self._on_event = on_event
        self._on_end = on_end
        self._walker = FrameWalker()
        self._hears_blocks = False
        self._peer_has_sent: int | None = None
        self._everything_sent = False
        self._peer_delays: list[int] = []
        self.tally = Tally()
        self.peer: Tally | None = None
        self._sender: Sender | None = None
        self._channel = channel
        channel.on_data, channel.on_end = self.read, on_end

    def send_event(self, event: Mapping[str, Any]) -> None:
        """Send one event of the protocol."""
        self._send(TEXT, orjson.dumps(event))

    def follow(self, plan: Plan) -> None:
        """Do our part of `plan`, and have the peer do its part."""
        self.send_event({"type": "bench_plan", **vars(plan)})
        self._begin(plan)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    # --- Sending

    def _send(self, opcode: int, payload: bytes) -> None:
        frame = build_frame(opcode, payload, mask=self._mask)
        if self._sender is None:
            self._channel.write(frame)
        else:
            self._sender.put(frame)

    def _begin(self, plan: Plan) -> None:
        self._peer_has_sent, self._everything_sent = None, False
        self._hears_blocks = plan.kind in BLOCK_PLANS
        self._peer_delays = []
        self.tally, self.peer = Tally(), None
        make_sender = PLANS[plan.kind][0 if self._is_client else 1]
        job = Job(self._loop, self._channel, self._sends, plan, self.tally, self._tell_that_all_is_sent)
        self._sender = make_sender(job)
        self._sender.start()

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
        self.send_event({"type": "bench_tally", **vars(self.tally), "delays": [], "lateness": lateness})

    # --- Receiving

    def read(self, data: bytes | memoryview) -> None:
        """Take what has arrived; the channel does this, but for what came behind the upgrade."""
        frames = self._walker.feed(data)
        now = time.monotonic_ns()
        self.tally.reads += 1
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
        tally = self.tally
        tally.received += 1
        if self._hears_blocks:
            tally.disordered += not self._hears.is_of_block(head, tally.received)
            return
        number, sent = self._hears.read_stamp(head)
        tally.disordered += number != tally.received
        tally.delays.append((now - sent) // 1000)

    def _handle_other(self, frame: Walked) -> None:
        if frame.opcode == PING:
            self._send(PONG, frame.head)
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
