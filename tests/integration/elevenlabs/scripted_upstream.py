"""A real upstream on a real socket that does, byte by byte, what a test's script says."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """One accepted connection, seen from the upstream."""

    def __init__(self, sock: socket.socket, upstream: ScriptedUpstream) -> None:
        self.sock = sock
        self._upstream = upstream
        self._rest = b""

    def read_request(self) -> Request | None:
        """The next request, or None when the client has hung up."""
        while b"\r\n\r\n" not in self._rest:
            piece = self.sock.recv(65_536)
            if not piece:
                return None
            self._rest += piece
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            self._rest += self.sock.recv(65_536)
        body, self._rest = self._rest[:length], self._rest[length:]
        method, target, _ = first.split(" ")
        request = Request(method, target, headers, body)
        self._upstream.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self, status: str = "200 OK", **headers: str) -> None:
        given = {"content_type": "audio/mpeg", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
        self.send(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode())

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def answer(self, body: bytes, status: str = "200 OK", **headers: str) -> None:
        self.head(status, content_length=str(len(body)), **headers)
        self.send(body)

    def await_hang_up(self) -> bool:
        """Whether the client ends the connection in time."""
        try:
            while self.sock.recv(65_536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def has_hung_up(self, seconds: float) -> bool:
        """Whether the client ends the connection within `seconds`."""
        readable, _, _ = select.select([self.sock], [], [], seconds)
        return bool(readable)

    def reset(self) -> None:
        """End with RST, as a crashed machine's kernel does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Peer], None]


@dataclass
class ScriptedUpstream:
    """Runs `script` for every connection that it accepts, each in a thread of its own."""

    script: Script
    tls: ssl.SSLContext | None = None
    port: int = 0
    accepted: int = 0
    requests: list[Request] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._peers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://localhost:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(WAIT_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            self._peers.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._peers.append(sock)
            self.script(Peer(sock, self))
        except OSError:
            pass  # the client hung up, which is what many scripts are about
        except BaseException as exc:
            self.failures.append(exc)
        finally:
            sock.close()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(WAIT_SECONDS)
        for sock in self._peers:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        for sock in self._peers:
            sock.close()
        assert not self.failures, self.failures
