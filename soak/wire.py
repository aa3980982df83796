"""A connected socket in asyncio's loop, by callbacks, which can also misbehave: not read, or reset."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

READ_BYTES = 262_144
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_buffer = memoryview(bytearray(READ_BYTES))  # all share it: nothing comes between a read and its callback


class Wire:
    """Owns `sock`. `on_data` gets what arrives, in a view that is valid until it returns; `on_end` is called once when
    the peer has ended the connection and everything it said is read. Both may be exchanged.
    """

    __slots__ = ("_backlog", "_loop", "_reads", "_refill", "_sock", "_writes", "on_data", "on_end")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        on_data: Callable[[memoryview], None],
        on_end: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._backlog = bytearray()
        self._refill: Callable[[], None] | None = None
        self._reads = self._writes = False
        self.on_data = on_data
        self.on_end = on_end
        self.resume()

    def write(self, data: bytes) -> None:
        """Send `data`, now or as soon as the socket takes it; never waits."""
        if self._sock is None:
            return
        self._backlog += data
        if len(self._backlog) == len(data):
            self._flush()

    def write_when_drained(self, refill: Callable[[], None] | None) -> None:
        """Call `refill`, which writes more, whenever everything written has left; None: no more."""
        self._refill = refill
        self._watch_writing()

    def hold_less(self, size: int) -> None:
        """Have the kernel keep only some `size` bytes for us to read."""
        if self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def pause(self) -> None:
        """Read nothing until `resume`, so that the sockets' buffers fill."""
        if self._sock is not None and self._reads:
            self._loop.remove_reader(self._sock)
            self._reads = False

    def resume(self) -> None:
        """Read again."""
        if self._sock is not None and not self._reads:
            self._loop.add_reader(self._sock, self._read)
            self._reads = True

    def close(self) -> None:
        """End the connection; may be called again."""
        if self._sock is None:
            return
        self.pause()
        self._backlog.clear()
        self.write_when_drained(None)
        self._sock.close()
        self._sock = None

    def reset(self) -> None:
        """End the connection with RST."""
        if self._sock is not None:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    # --- Called back by the loop

    def _read(self) -> None:
        if self._sock is None:
            return
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
            self._flush()
        elif self._refill is not None:
            self._refill()

    def _flush(self) -> None:
        if self._sock is None:
            return
        try:
            del self._backlog[: self._sock.send(self._backlog)]
        except BlockingIOError:
            pass
        except OSError:
            # What the peer said before it went is still there to be read, and then the end is.
            self._backlog.clear()
            self._refill = None
        self._watch_writing()

    def _watch_writing(self) -> None:
        wanted = self._sock is not None and (bool(self._backlog) or self._refill is not None)
        if self._sock is None or wanted == self._writes:
            return
        self._writes = wanted
        if wanted:
            self._loop.add_writer(self._sock, self._write_more)
        else:
            self._loop.remove_writer(self._sock)
