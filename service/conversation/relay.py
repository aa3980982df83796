"""The relay: what a client and an agent say to each other, carried by callbacks of the event loop.

The key decisions:

* No greenlet wakes for a frame. Both sockets are non-blocking; a watcher of the loop calls back when one is readable,
  and the callback reads once into a buffer that all conversations of the process share (nothing switches between the
  read and the writes). Two waiting greenlets cost half as much again, and twice the memory (docs/performance.md).
* Audio is looked at where it lies. As long as the next frames are whole and their `Stream` lets them pass, they go out
  together in one write: an agent's byte for byte, a client's with a fresh mask. Everything else is cut out as a message
  and handed to the stream, which sends on what it makes of it. Both come out in the order in which they came in.

Nothing in a callback may block, and nothing may raise out of it.

A direction is in one of three states:

* **reading**: the source's read watcher is on, and the sink has taken everything;
* **held**: a write to the sink was short. The rest waits in the sink's `Outlet`, the source is not read (so TCP slows
  its sender: a conversation holds what was read once, and what the kernel holds), and the sink has until its write
  deadline;
* **over**: either side has ended. The first end counts; the caller, who waited in `run`, takes both sockets back and
  says goodbye.

Control frames go hop by hop: a ping is answered by us, to whoever sent it, and a close ends the relay.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from service.conversation import inlet
from service.conversation.endings import SILENT_PEER
from service.conversation.event_loop import READ, Loop
from service.conversation.inlet import ROOM
from service.conversation.outlet import WOULD_BLOCK, Outlet
from service.errors import ConnectionClosedError, WriteDeadlineError
from service.websocket import Message, WebSocketConnection
from service.websocket.frames import CLOSE, PING, PONG, TEXT, Frame, build_frame, read_close_payload

KERNEL_READ_BYTES = 262_144
"""What the kernel may hold for us of one peer. Left alone that grows to 6 MB; voice needs some kilobytes a second."""

MOST_AWAITED_BYTES = 32_768
"""What the kernel may hold back of a frame until the rest is there."""

MAX_PING_SECONDS = 20.0
PINGS_BEFORE_IDLE = 3

FRAMES_AT_ONCE = 64
"""Messages of one side that are handled before the others of the process get their turn."""


class Stream(Protocol):
    """What one side says, and what is made of it. All of it runs in the loop and must not block; a VoceroError that is
    raised ends the relay as the fault of the side whose message it was."""

    def passes(self, data: bytes | bytearray, start: int, end: int, /) -> bool:
        """Whether the text message in `data[start:end]` goes on unread (see `Passes`); if not, `handle` gets it."""

    def count(self, messages: int) -> None:
        """Note so many messages that passed, before they are sent."""

    def handle(self, message: Message) -> None:
        """Take one whole message, and send to the other side what is to be sent."""


class Side:
    """One peer of the relay: reads its messages, answers its pings, and takes what is sent to it."""

    __slots__ = (
        "_awaited", "_connection", "_does_not_read", "_is_encrypted", "_masks", "_next_round", "_on_end", "_over",
        "_peer_close", "_readable", "_reader", "_reading", "_receive", "_sink", "_sock", "_source",
        "_stream", "_unsent", "last_received", "outlet",
    )  # fmt: skip

    def __init__(
        self,
        connection: WebSocketConnection,
        *,
        loop: Loop,
        stream: Stream,
        on_end: Callable[[Side, Exception], None],
    ) -> None:
        self._connection = connection
        lent = connection.lend()
        self._sock, self._reader, self._masks = lent.sock, lent.reader, lent.masks
        self._is_encrypted = lent.is_encrypted
        self._receive = inlet.receiver(lent.sock, is_encrypted=lent.is_encrypted)
        lent.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_READ_BYTES)
        self._stream = stream
        self._on_end = on_end
        self._readable = loop.io(lent.sock.fileno(), READ)
        # A timer of no time comes with the loop's next round, behind whatever sockets are ready by then; callbacks that
        # are queued in gevent's loop run for 5 ms before it looks at a socket again.
        self._next_round = loop.timer(0.0)
        self._reading = False
        self._awaited = 1
        self._over = False
        self._does_not_read = False
        self._peer_close: ConnectionClosedError | None = None
        # Silence counts from now on: nobody listened while the other side was opened, which may have taken its time.
        self.last_received = time.monotonic()
        self.outlet = Outlet(
            lent.sock,
            is_encrypted=lent.is_encrypted,
            loop=loop,
            deadline_seconds=lent.write_deadline_seconds,
            on_drained=self._on_drained,
            on_failed=self._fail,
        )
        self._sink = self.outlet
        self._source: Side | None = None
        self._unsent = lent.unsent

    def feeds(self, other: Side) -> None:
        """What is read here is written to `other`: it is not read while that one holds something back."""
        self._sink = other.outlet
        other._source = self

    def start(self) -> None:
        """Go on: first with what was read already, then with what the socket has."""
        self._next_round.start(self._take_messages)

    def flush(self) -> None:
        """Send what was left unsent before, or begin to."""
        unsent, self._unsent = self._unsent, b""
        if unsent:
            self.outlet.write(unsent)

    def send(self, data: bytes, opcode: int = TEXT) -> None:
        """Send one message, behind what was sent before."""
        if not self._over:
            self.outlet.write(build_frame(opcode, data, mask=self._masks))

    def check(self, now: float, *, ping_after: float, dead_after: float) -> None:
        """Ask a silent peer for a sign of life, and end the relay when none came for too long (seconds)."""
        if self.outlet.holds_back:
            # No ping would reach it behind what it is sent. What it takes is a sign of life, and has its own deadline.
            self.last_received = now
            return
        silent = now - self.last_received
        if silent > dead_after:
            self._fail(ConnectionClosedError(1006, SILENT_PEER))
        elif silent >= ping_after:
            self.outlet.write(build_frame(PING, b"", mask=self._masks))

    def halt(self) -> None:
        """Read and send no more."""
        self._over = True
        self._pause()
        self._next_round.stop()

    def give_back(self) -> None:
        """Give the socket back to its connection."""
        self.halt()
        self._readable.close()
        self._next_round.close()
        self.outlet.close()
        if self._awaited != 1:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._connection.take_back(
            unsent=self._unsent + self.outlet.unsent, last_received=self.last_received, peer_close=self._peer_close
        )
        if self._does_not_read:  # waiting once more, for it to take our goodbye, would be in vain
            self._connection.abort()

    # --- Called back by the loop

    def _on_readable(self) -> None:
        if self._over:
            return
        try:
            count = self._receive()
        except WOULD_BLOCK:
            return
        except OSError:
            self._fail(ConnectionClosedError(1006, "the connection was lost"))
            return
        if not count:
            self._fail(ConnectionClosedError(1006, "the connection ended without a close frame"))
            return
        self.last_received = time.monotonic()
        self._reader.feed(inlet.buffer, ROOM, ROOM + count)
        self._take_messages()
        self._reader.keep()

    def _take_messages(self) -> None:
        """Send on or hand up what is whole; go on reading, or come back later, or wait until the sink takes more."""
        reader, sink, left = self._reader, self._sink, FRAMES_AT_ONCE
        try:
            while left > 0:
                if self._over or sink.holds_back:
                    self._pause()
                    return
                run, count = reader.next_run(self._stream.passes, left)
                if count:
                    with run:  # a buffer that is looked at cannot grow, not even for an error's traceback
                        self._stream.count(count)
                        sink.write(run)
                    left -= count
                elif not reader.missing and (found := reader.next()):
                    left -= 1
                    if isinstance(found, Message):
                        self._stream.handle(found)
                    else:
                        self._handle_control(found)
                if reader.missing and not sink.holds_back:
                    # A frame of which not even the end came, behind no other, comes in many packets.
                    awaited = reader.missing if left == FRAMES_AT_ONCE else 1
                    if awaited != self._awaited or not self._reading:
                        self._read_on(awaited)
                    return
        except Exception as exc:  # noqa: BLE001 (a callback's edge: the loop would print it and the talk would hang)
            self._fail(exc)
        else:
            # There may be more: the others first.
            self._pause()
            self._next_round.start(self._take_messages)

    def _read_on(self, awaited: int) -> None:
        """Read when there is more; the kernel may wait until there are `awaited` bytes."""
        if self._over:
            return
        awaited = 1 if self._is_encrypted else min(awaited, MOST_AWAITED_BYTES)  # a record's bytes are no frame's
        if awaited != self._awaited:
            self._awaited = awaited
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, awaited)
        if not self._reading:
            self._reading = True
            self._readable.start(self._on_readable)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._readable.stop()

    def _handle_control(self, frame: Frame) -> None:
        # While something is held back, a ping goes unanswered: pongs must not pile up, and the peer reads none anyway.
        if frame.opcode == PING and not self.outlet.holds_back:
            self.outlet.write(build_frame(PONG, frame.payload, mask=self._masks))
        elif frame.opcode == CLOSE:
            code, reason = read_close_payload(frame.payload)
            raise ConnectionClosedError(code, reason)

    def _on_drained(self) -> None:
        if self._source is not None and not self._over:
            self._source.start()

    def _fail(self, error: Exception) -> None:
        if self._over:
            return
        if isinstance(error, ConnectionClosedError):
            self._peer_close = error
        self._does_not_read = isinstance(error, WriteDeadlineError)
        self._on_end(self, error)


def _nothing() -> None:
    pass


def _ping_seconds(silence_seconds: float) -> float:
    return min(MAX_PING_SECONDS, silence_seconds / PINGS_BEFORE_IDLE)


class Relay:
    """Carries between two connections until either ends; what each side says goes through its stream.

    `send_to_agent` and `send_to_client` put a message between those that pass. A client's connection counts as lost
    after `idle_seconds` without a byte, the agent's after `agent_silence_seconds`; each is pinged three times before.
    """

    def __init__(
        self,
        client: WebSocketConnection,
        agent: WebSocketConnection,
        *,
        loop: Loop,
        client_stream: Stream,
        agent_stream: Stream,
        idle_seconds: float,
        agent_silence_seconds: float,
    ) -> None:
        self._client = Side(client, loop=loop, stream=client_stream, on_end=self._end)
        self._agent = Side(agent, loop=loop, stream=agent_stream, on_end=self._end)
        self._client.feeds(self._agent)
        self._agent.feeds(self._client)
        self.send_to_client = self._client.send
        self.send_to_agent = self._agent.send
        self._patience = ((self._client, idle_seconds), (self._agent, agent_silence_seconds))
        round_seconds = min(map(_ping_seconds, (idle_seconds, agent_silence_seconds)))
        self._clock = loop.timer(round_seconds, round_seconds)
        self._over = threading.Event()
        self._error: Exception | None = None
        self.ended_by_client = False
        for side in (self._client, self._agent):
            side.flush()

    def run(self, begin: Callable[[], None] = _nothing) -> None:
        """Carry until a side ends or `stop` is called; `begin` is called first, and may send what goes before the rest.

        Raises:
            VoceroError: why it ended; `ended_by_client` tells which side that was. Nothing after `stop`.
            Exception: whatever a message's callback raised that nobody foresaw.
        """
        self._clock.start(self._check)
        try:
            begin()
            self._agent.start()
            self._client.start()
            self._over.wait()
        finally:
            self._clock.close()
            self._client.give_back()
            self._agent.give_back()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End it from outside; may be called from any thread of the loop."""
        self._over.set()

    def break_off(self, error: Exception) -> None:
        """End it because of the agent; `run` raises `error`. For a callback of the loop."""
        self._end(self._agent, error)

    def _check(self) -> None:
        now = time.monotonic()
        for side, seconds in self._patience:
            side.check(now, ping_after=_ping_seconds(seconds), dead_after=seconds)

    def _end(self, side: Side, error: Exception) -> None:
        if self._error is None:
            self._error = error
            self.ended_by_client = side is self._client
        self._client.halt()
        self._agent.halt()
        self._over.set()
