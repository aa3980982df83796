"""An event loop over non-blocking sockets: just enough for a load generator that must cost less than what it loads.

The key decision: no asyncio. One read, one callback; a write goes to the socket at once and only the rest is kept.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable

READ_BYTES = 262_144
"""Some 30 audio messages: the fewer reads, the less a flood costs its receiver."""

_buffer = memoryview(bytearray(READ_BYTES))  # all channels share it: nothing comes between a read and its callback


class Loop:
    """Calls back when a socket is ready or a time has come."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` at `when` (seconds of `time.monotonic()`), or as soon after it as epoll's 1 ms allows."""
        heapq.heappush(self._timers, (when, next(self._order), callback))

    def run_until(self, is_done: Callable[[], bool], *, limit_seconds: float, what: str) -> None:
        """Run until `is_done()`, which is asked after each round.

        Raises:
            TimeoutError: `what` did not happen within the limit.
        """
        end = time.monotonic() + limit_seconds
        while not is_done():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {limit_seconds:g} s")
            self.run_once()

    def run_once(self, wait_seconds: float = 0.05) -> None:
        """Wait for the next thing, at most `wait_seconds`, and do all that is due."""
        if self._timers:
            wait_seconds = min(wait_seconds, max(0.0, self._timers[0][0] - time.monotonic()))
        for key, ready in self.selector.select(wait_seconds):
            key.data(ready)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


class Channel:
    """A connected socket in a loop, which it owns.

    `on_data` gets what arrives, in a view that is valid until it returns; `on_end` is called once when the peer ends
    the connection; `on_drained`, if set, whenever everything written has left, so that a sender can write more.
    """

    __slots__ = ("_backlog", "_loop", "_on_data", "_on_end", "_paused", "_sock", "_waits_for", "on_drained")

    def __init__(
        self, loop: Loop, sock: socket.socket, *, on_data: Callable[[memoryview], None], on_end: Callable[[], None]
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._on_data = on_data
        self._on_end = on_end
        self._backlog = memoryview(b"")
        self._paused = False
        self._waits_for = selectors.EVENT_READ
        self.on_drained: Callable[[], None] | None = None
        loop.selector.register(sock, selectors.EVENT_READ, self._ready)

    def write(self, data: bytes) -> None:
        """Send `data`, now or as soon as the socket takes it; never waits."""
        if self._sock is None:
            return
        if self._backlog:
            self._backlog = memoryview(bytes(self._backlog) + data)
            return
        self._flush(memoryview(data))

    def write_when_drained(self, refill: Callable[[], None]) -> None:
        """Call `refill`, which writes more, now and whenever everything written has left."""
        self.on_drained = refill
        self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)

    def pause(self) -> None:
        """Read nothing until `resume`, so that the sockets' buffers fill."""
        self._paused = True
        self._watch(self._waits_for)

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._watch(self._waits_for | selectors.EVENT_READ)

    def detach(self) -> socket.socket:
        """Give the socket away, registered nowhere."""
        if self._sock is None:
            raise ConnectionError("the connection has ended")
        self._watch(0)
        sock, self._sock = self._sock, None
        return sock

    def close(self) -> None:
        """End the connection; may be called again."""
        if self._sock is not None:
            self._watch(0)
            self._sock.close()
            self._sock = None

    def _ready(self, ready: int) -> None:
        if ready & selectors.EVENT_WRITE and self._sock is not None:
            if self._backlog:
                self._flush(self._backlog)
            if not self._backlog and self.on_drained is not None:
                self.on_drained()
            if not self._backlog and self.on_drained is None:
                self._watch(selectors.EVENT_READ)
        if ready & selectors.EVENT_READ and self._sock is not None:
            try:
                count = self._sock.recv_into(_buffer)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if count:
                self._on_data(_buffer[:count])
            else:
                self.close()
                self._on_end()

    def _flush(self, data: memoryview) -> None:
        if self._sock is None:
            return
        try:
            data = data[self._sock.send(data) :]
        except BlockingIOError:
            pass
        except OSError:
            # What the peer said before it went is still there to be read, and then the end is.
            data, self.on_drained = memoryview(b""), None
        if data and not self._backlog:
            self._watch(selectors.EVENT_READ | selectors.EVENT_WRITE)
        self._backlog = data

    def _watch(self, events: int) -> None:
        if self._sock is None:
            return
        if self._paused:
            events &= ~selectors.EVENT_READ
        before, self._waits_for = self._waits_for, events
        if before and events:
            self._loop.selector.modify(self._sock, events, self._ready)
        elif events:
            self._loop.selector.register(self._sock, events, self._ready)
        elif before:
            self._loop.selector.unregister(self._sock)
