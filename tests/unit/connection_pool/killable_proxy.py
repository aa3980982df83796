"""An echo server behind a TCP proxy that can be cut, made to hang and brought back: the far end of a pool's sockets.

It uses threads, so it runs in a plain process and in a gevent-patched one alike. `open_socket`, `close_socket` and
`is_silent` are what a pool needs to lend connections to it.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send RST: how a peer that crashed looks."""


class EchoServer:
    """Sends back what comes; `live` is how many connections it has now: the count outside any pool."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.live = 0
        self.accepted = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with self._lock:
                    self.live += 1
                    self.accepted += 1
                threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            while data := sock.recv(4096):
                sock.sendall(data)
        with self._lock:
            self.live -= 1

    def close(self) -> None:
        """Take no more connections."""
        _end_listener(self._listener)


class KillableProxy:
    """Forwards to `upstream_port`, unless it is down (connections are refused) or hangs (they are never served)."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._held: list[socket.socket] = []
        self._lock = threading.Lock()
        self._hangs = False
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                if self._hangs:
                    self._held.append(near)
                    continue
                far = socket.create_connection(("127.0.0.1", self._upstream_port))
                with self._lock:
                    self._pairs.append((near, far))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
        with self._lock:
            pairs = [pair for pair in self._pairs if source in pair]
            self._pairs = [pair for pair in self._pairs if source not in pair]
        for pair in pairs:
            _end_pair(pair)

    def kill_some(self, share: float = 1.0) -> int:
        """Reset each connection with the probability `share`; the result is how many."""
        with self._lock:
            chosen = [pair for pair in self._pairs if random.random() < share]
            self._pairs = [pair for pair in self._pairs if pair not in chosen]
        for pair in chosen:
            _end_pair(pair)
        return len(chosen)

    def go_down(self) -> None:
        """Refuse connections, and reset those there are."""
        _end_listener(self._listener)
        self.kill_some()

    def come_back(self) -> None:
        """Listen again where it listened before."""
        self._listener = self._listen(self.port)

    def hang(self) -> None:
        """Accept connections, but serve none."""
        self._hangs = True

    def close(self) -> None:
        """End everything."""
        self.go_down()
        for sock in self._held:
            sock.close()


def _end_listener(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept(), which close() does not
    listener.close()


def _end_pair(pair: tuple[socket.socket, socket.socket]) -> None:
    for sock in pair:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.shutdown(socket.SHUT_RDWR)  # wakes the thread in recv()
        sock.close()


def open_socket(port: int) -> socket.socket:
    """Connect and make sure that somebody answers."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    try:
        exchange(sock, b"hello")
    except BaseException:
        sock.close()
        raise
    return sock


def exchange(sock: socket.socket, data: bytes) -> None:
    """Send `data` and wait for its echo."""
    sock.sendall(data)
    heard = b""
    while len(heard) < len(data):
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionResetError("the far end is gone")
        heard += piece
    assert heard == data


def close_socket(sock: socket.socket) -> None:
    """End it."""
    sock.close()


def is_silent(sock: socket.socket) -> bool:
    """Whether the connection is there and nothing unasked has come."""
    timeout = sock.gettimeout()
    try:
        sock.setblocking(False)  # with a timeout, Python would wait for that first
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.settimeout(timeout)
    return False
