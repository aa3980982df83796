"""A TCP proxy between a browser and the service whose line can be cut: now, or in the middle of an answer.

The key decision: a cut line is reset on both sides at once and what was on its way is gone, as when a phone leaves its
Wi-Fi; nothing is said goodbye to.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

RESET = struct.pack("ii", 1, 0)
READ_BYTES = 16_384


class CuttableProxy:
    """Carries connections to `target_port` of this machine. Use it as a context manager."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._is_down = False
        self._left: int | None = None
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.cuts = 0

    def __enter__(self) -> CuttableProxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset_all()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def cut_after(self, downstream_bytes: int) -> None:
        """Cut the line when so many more bytes have gone to the browser."""
        with self._lock:
            self._left = downstream_bytes

    def cut(self) -> None:
        """Reset every connection now; new ones are carried."""
        self.cuts += 1
        self._reset_all()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Cut the line, and carry nothing until the block ends."""
        self._is_down = True
        self.cut()
        try:
            yield
        finally:
            self._is_down = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the listener was closed
                return
            if self._is_down:
                _reset(client)
                continue
            server = socket.create_connection(("127.0.0.1", self._target_port))
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, is_downstream in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._carry, args=(source, sink, is_downstream), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_downstream: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(READ_BYTES):
                kept = self._count(len(data)) if is_downstream else len(data)
                sink.sendall(data[:kept])
                if kept < len(data):
                    self.cut()
                    return
            sink.shutdown(socket.SHUT_WR)
            return
        _reset(source)

    def _count(self, length: int) -> int:
        """How many of so many bytes may still go to the browser."""
        with self._lock:
            if self._left is None or length <= self._left:
                self._left = None if self._left is None else self._left - length
                return length
            kept, self._left = self._left, None
            return kept

    def _reset_all(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _reset(each)


def _reset(each: socket.socket) -> None:
    with contextlib.suppress(OSError):  # its other side may have closed it
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        each.shutdown(socket.SHUT_RD)  # wakes the thread that reads it; a full shutdown would say goodbye
    each.close()
