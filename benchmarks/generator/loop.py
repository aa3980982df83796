"""An event loop over non-blocking sockets: just enough for a load generator that must cost less than what it loads.

The key decision: no asyncio, no selectors. One epoll, one read, one callback; a write goes to the socket at once and
only the rest is kept.
"""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import time
from collections.abc import Callable

READ_BYTES = 262_144
"""Some 30 audio messages: the fewer reads, the less a flood costs its receiver."""

GRAIN_SECONDS = 0.0002
"""Timers within this of each other are served together. epoll's own millisecond would make bursts of what is due."""

COARSE_SECONDS = 0.002
"""From here on epoll's milliseconds are good enough, and one call is cheaper than two."""

_EVENTS_AT_ONCE = 256
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR

_buffer = memoryview(bytearray(READ_BYTES))  # all channels share it: nothing comes between a read and its callback


class Loop:
    """Calls back when a socket is ready or a time has come."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def watch(self, fd: int, callback: Callable[[int], None], *, writable: bool = False) -> None:
        """Call `callback(events)` whenever `fd` is readable, or also writable; replaces what was asked before."""
        events = select.EPOLLIN | (select.EPOLLOUT if writable else 0)
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = callback

    def forget(self, fd: int) -> None:
        """Watch `fd` no more; it must still be open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` at `when` (seconds of `time.monotonic()`), or up to a grain later."""
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

    def run_for(self, seconds: float) -> None:
        """Run so long: for what no condition can be asked for, such as a foreign process's memory coming to rest."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.run_once()

    def run_once(self, wait_seconds: float = 0.05) -> None:
        """Wait for the next thing, at most `wait_seconds`, and do all that is due."""
        if self._timers:
            wait_seconds = min(wait_seconds, max(0.0, self._timers[0][0] + GRAIN_SECONDS - time.monotonic()))
        if 0 < wait_seconds < COARSE_SECONDS:  # epoll waits in whole milliseconds, select in microseconds
            select.select((self._epoll,), (), (), wait_seconds)
            wait_seconds = 0
        for fd, events in self._epoll.poll(wait_seconds, _EVENTS_AT_ONCE):
            handler = self._handlers.get(fd)
            if handler is not None:  # else: closed by one that came before it
                handler(events)
        timers = self._timers
        while timers and timers[0][0] <= time.monotonic():
            heapq.heappop(timers)[2]()

    def close(self) -> None:
        """Give the epoll back; sockets are their channels'."""
        self._epoll.close()


class Channel:
    """A connected socket in a loop, which it owns.

    `on_data` gets what arrives, in a view that is valid until it returns; `on_end` is called once when the peer ends
    the connection; `on_drained`, if set, whenever everything written has left, so that a sender can write more.
    All three may be exchanged at any time.
    """

    __slots__ = ("_backlog", "_loop", "_sock", "on_data", "on_drained", "on_end")

    def __init__(
        self, loop: Loop, sock: socket.socket, *, on_data: Callable[[memoryview], None], on_end: Callable[[], None]
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._backlog = b""
        self.on_data = on_data
        self.on_end = on_end
        self.on_drained: Callable[[], None] | None = None
        loop.watch(sock.fileno(), self._ready)

    @property
    def has_backlog(self) -> bool:
        """Whether the kernel has not taken everything yet."""
        return bool(self._backlog)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, now or as soon as the socket takes it; never waits, and keeps nothing of the caller's."""
        if self._sock is None:
            return
        if self._backlog:
            self._backlog += data
            return
        self._backlog = rest = self._send(data)
        if rest:
            self._watch(writable=True)

    def write_when_drained(self, refill: Callable[[], None]) -> None:
        """Call `refill`, which writes more, now and whenever everything written has left."""
        self.on_drained = refill
        self._watch(writable=True)

    def close(self) -> None:
        """End the connection; may be called again."""
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._write_more()
        if events & _READABLE and self._sock is not None:
            try:
                count = self._sock.recv_into(_buffer)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if count:
                self.on_data(_buffer[:count])
            else:
                self.close()
                self.on_end()

    def _write_more(self) -> None:
        if self._backlog:
            self._backlog = self._send(self._backlog)
        if not self._backlog and self.on_drained is not None:
            self.on_drained()
        if not self._backlog and self.on_drained is None:
            self._watch(writable=False)

    def _send(self, data: bytes | bytearray | memoryview) -> bytes:
        """Send, and return what was not taken."""
        if self._sock is None:
            return b""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            self.on_end()
            return b""
        return b"" if sent == len(data) else bytes(memoryview(data)[sent:])

    def _watch(self, *, writable: bool) -> None:
        if self._sock is not None:
            self._loop.watch(self._sock.fileno(), self._ready, writable=writable)
