"""TLS over a channel, for the fake upstream: the leg to ElevenLabs is `wss:` in production.

The key decision: `ssl.MemoryBIO`, not an SSL socket. OpenSSL on a socket reads each record's head and body with a call
of its own and writes record by record; through memory a read takes what has arrived and a write sends it all, so that
the upstream stays cheaper than the relay before it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import cast

from benchmarks.generator.loop import READ_BYTES, Channel, Loop


def _later(loop: Loop, seconds: float, read: Callable[[memoryview], None]) -> Callable[[memoryview], None]:
    """`read`, a round trip after the data came; the first of it two, since connecting takes one over the network."""
    due = time.monotonic() + 2 * seconds

    def keep(data: memoryview) -> None:
        nonlocal due
        kept = memoryview(bytes(data))  # the buffer is everybody's
        due = max(due, time.monotonic() + seconds)
        loop.at(due, lambda: read(kept))

    return keep


_plain = memoryview(bytearray(READ_BYTES))  # shared, as the loop's buffer is


class TlsChannel:
    """A server's end of a TLS connection; it behaves as `Channel` does."""

    __slots__ = ("_arrived", "_channel", "_is_open", "_leaving", "_tls", "on_data", "on_end")

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        context: ssl.SSLContext,
        on_data: Callable[[memoryview], None],
        on_end: Callable[[], None],
        round_trip_seconds: float = 0.0,
    ) -> None:
        """With `round_trip_seconds` what the peer sends comes so much later, as if it were far away."""
        self.on_data = on_data
        self.on_end = on_end
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_side=True)
        self._is_open = False
        read = _later(loop, round_trip_seconds, self._read) if round_trip_seconds else self._read
        self._channel = Channel(loop, sock, on_data=read, on_end=self._end)

    @property
    def on_drained(self) -> Callable[[], None] | None:
        """As `Channel`'s."""
        return self._channel.on_drained

    @on_drained.setter
    def on_drained(self, refill: Callable[[], None] | None) -> None:
        self._channel.on_drained = refill

    @property
    def has_backlog(self) -> bool:
        """As `Channel`'s."""
        return self._channel.has_backlog

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        self._tls.write(data)
        self._channel.write(self._leaving.read())

    def write_when_drained(self, refill: Callable[[], None]) -> None:
        """As `Channel`'s."""
        self._channel.write_when_drained(refill)

    def close(self) -> None:
        """End the connection, without TLS's goodbye: nothing here depends on it."""
        self._channel.close()

    def _read(self, data: memoryview) -> None:
        self._arrived.write(data)
        try:
            if not self._is_open:
                self._tls.do_handshake()
                self._is_open = True
            while count := self._read_plain():
                self.on_data(_plain[:count])
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:  # a peer that speaks no TLS, or one that has said goodbye
            self.close()
            self.on_end()
            return
        if self._leaving.pending:
            self._channel.write(self._leaving.read())

    def _read_plain(self) -> int:
        # typeshed has bytes for both, but with a buffer to read into the result is a count.
        return cast("int", self._tls.read(READ_BYTES, cast("bytearray", _plain)))

    def _end(self) -> None:
        self.on_end()
