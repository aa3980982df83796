"""What goes out to one peer of the relay, without ever waiting.

The key decision: a write that is short is not an error and not a wait. The rest is kept here, a watcher sends it when
the socket takes more, and the relay meanwhile does not read from whoever it came from: so the rest stays small.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable

from service.conversation.event_loop import WRITE, Loop
from service.conversation.inlet import unwrapped
from service.errors import ConnectionClosedError, WriteDeadlineError

UNSENT_BYTES = 131_072
"""What the kernel takes of us before the peer has room for it. Left alone it takes 4 MB: memory for each reader that
stalls, seconds until a slow one is seen to have taken anything, and audio that no interruption can call back."""

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Outlet:
    """What goes out to one peer: at once if the kernel takes it, else as it can.

    `on_drained` is called when nothing is held back any more; `on_failed(error)` when the peer is gone, or has taken
    nothing for `deadline_seconds`. (Not everything: what is held back may be many frames, and a slow reader is no dead
    one.)
    """

    __slots__ = ("_deadline", "_on_drained", "_on_failed", "_send", "_waiting", "_writable", "holds_back")

    def __init__(
        self,
        sock: socket.socket,
        *,
        is_encrypted: bool,
        loop: Loop,
        deadline_seconds: float,
        on_drained: Callable[[], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._send = (sock if is_encrypted else unwrapped(sock)).send
        with contextlib.suppress(OSError):  # not every socket is one of TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._writable = loop.io(sock.fileno(), WRITE)
        self._deadline = loop.timer(deadline_seconds, deadline_seconds)
        self._on_drained = on_drained
        self._on_failed = on_failed
        self._waiting: list[bytes | memoryview] = []
        self.holds_back = False

    @property
    def unsent(self) -> bytes:
        """What is held back: it begins with the rest of a frame, perhaps."""
        return b"".join(self._waiting)

    def write(self, data: bytes | memoryview) -> None:
        """Send `data`, after what is held back; what cannot go out now is copied, so `data` may change afterwards."""
        if self.holds_back:
            self._waiting.append(bytes(data))
            return
        try:
            # Until it would block, and not just once: TLS sends one record of 16 kB a call.
            while (sent := self._send(data)) < len(data):
                _check_progress(sent)
                data = memoryview(data)[sent:]
        except WOULD_BLOCK:
            self.holds_back = True
            self._waiting.append(bytes(data))
            self._writable.start(self._write_more)
            self._await_progress()
        except OSError:
            self._on_failed(ConnectionClosedError(1006, "the connection was lost"))

    def _write_more(self) -> None:
        waiting, progress = self._waiting, False
        try:
            while waiting:
                sent = self._send(waiting[0])
                _check_progress(sent)
                progress = True
                if sent < len(waiting[0]):
                    waiting[0] = memoryview(waiting[0])[sent:]
                else:
                    waiting.pop(0)
        except WOULD_BLOCK:
            if progress:
                self._await_progress()
            return
        except OSError:
            self._on_failed(ConnectionClosedError(1006, "the connection was lost"))
            return
        self.holds_back = False
        self._writable.stop()
        self._deadline.stop()
        self._on_drained()

    def _await_progress(self) -> None:
        self._deadline.again(self._on_failed, WriteDeadlineError(1013, "the peer does not read"))

    def close(self) -> None:
        """Watch no more; what is unsent stays in `unsent`."""
        self._writable.close()
        self._deadline.close()


def _check_progress(sent: int) -> None:
    """gevent's TLS sockets return 0 where others raise; asked again at once, they would keep the whole loop busy."""
    if not sent:
        raise BlockingIOError
