"""An upstream that tells what became of each connection: when it stood, what was asked on it, and how it ended."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs

from scripts.launcher.waiting import wait_until
from service.websocket import WebSocketConnection
from service.websocket.client_handshake import accept_value

LIMIT = 10.0
METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {
        "conversation_id": "conv_warm",
        "agent_output_audio_format": "pcm_16000",
        "user_input_audio_format": "pcm_16000",
    },
}


@dataclass
class Conversation:
    """One conversation, seen from the upstream: on which connection, and with which query."""

    number: int
    query: dict[str, str]
    socket: WebSocketConnection
    sock: socket.socket
    over: threading.Event = field(default_factory=threading.Event)

    def greet(self) -> None:
        """Read the initiation and send the metadata."""
        self.socket.receive(LIMIT)
        self.socket.send_text(json.dumps(METADATA))

    def reset(self) -> None:
        """End with RST, as a crashed machine's kernel does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.over.set()

    def close(self, code: int, reason: str = "") -> None:
        self.socket.close(code, reason)
        self.over.set()


@dataclass
class WarmUpstream:
    """Signs URLs with tokens that count up (`cvtkn_1`, ...) and holds conversations.

    `refusals` are statuses that the next upgrades are answered with; with `resets_upgrades`, or on a connection that
    is `dying`, they get a reset instead.
    """

    tls: ssl.SSLContext | None = None
    accepted: int = 0
    signed_for: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    upgrades: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    resets_upgrades: bool = False
    dying: set[int] = field(default_factory=set)
    failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.conversations: queue.Queue[Conversation] = queue.Queue()
        self._lock = threading.Lock()
        self._ready: dict[int, socket.socket] = {}
        self._sockets: list[socket.socket] = []
        self._held: list[Conversation] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()
        return self

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://localhost:{self.port}"

    def ready(self) -> list[int]:
        """The connections that stand, TLS and all, and on which nothing was asked."""
        with self._lock:
            return sorted(self._ready)

    def wait_until_warm(self, count: int) -> list[int]:
        """Wait for so many connections and signed URLs; what stands then."""
        wait_until(lambda: len(self.signed_for) >= count, LIMIT, f"{count} signed URLs")  # on a connection of their own
        return self.wait_until_ready(count)

    def wait_until_ready(self, count: int) -> list[int]:
        """Wait for so many, or more: a spare one that signing URLs has left stands there too. For 0, none at all."""
        wait_until(lambda: self._has_ready(count), LIMIT, f"{count} connections ready")
        return self.ready()

    def _has_ready(self, count: int) -> bool:
        found = len(self.ready())
        return found >= count if count else not found

    def end_ready(self) -> None:
        """End those that are ready, as a load balancer does that finds them idle for too long."""
        with self._lock:
            ended = list(self._ready.values())
            self._ready.clear()
        for sock in ended:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def next_conversation(self) -> Conversation:
        found = self.conversations.get(timeout=LIMIT)
        self._held.append(found)
        return found

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(LIMIT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, self.accepted))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            sock.settimeout(None)
            with self._lock:
                self._ready[number] = sock
            self._talk(sock, number)
        except OSError:
            pass  # the client hung up, or the test did
        except BaseException as exc:
            self.failures.append(exc)
        finally:
            with self._lock:
                self._ready.pop(number, None)
            sock.close()

    def _talk(self, sock: socket.socket, number: int) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                piece = sock.recv(65_536)
                if not piece:
                    return
                data += piece
            with self._lock:
                self._ready.pop(number, None)
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            path, _, query = first.split(" ")[1].partition("?")
            fields = {name: values[0] for name, values in parse_qs(query).items()}
            if path.endswith("/get-signed-url"):
                self._sign(sock, headers, fields)
            elif self._upgrade(sock, number, headers, fields, data):
                return

    def _sign(self, sock: socket.socket, headers: dict[str, str], fields: dict[str, str]) -> None:
        with self._lock:
            self.signed_for.append(fields["agent_id"])
            self.keys.append(headers["xi-api-key"])
            token = f"cvtkn_{len(self.signed_for)}"
        place = f"ws{'s' if self.tls else ''}://localhost:{self.port}"
        url = f"{place}/v1/convai/conversation?agent_id={fields['agent_id']}&conversation_signature={token}"
        body = json.dumps({"signed_url": url}).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def _upgrade(
        self, sock: socket.socket, number: int, headers: dict[str, str], fields: dict[str, str], rest: bytes
    ) -> bool:
        self.upgrades.append(number)
        if self.resets_upgrades or number in self.dying:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return True
        if self.refusals:
            sock.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.refusals.pop(0))
            return False
        accept = accept_value(headers["sec-websocket-key"].encode())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        conversation = Conversation(number, fields, WebSocketConnection(sock, is_client=False, received=rest), sock)
        self.conversations.put(conversation)
        conversation.over.wait()
        return True

    def __exit__(self, *_: object) -> None:
        while not self.conversations.empty():
            self._held.append(self.conversations.get())
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(LIMIT)
        for conversation in self._held:
            conversation.over.set()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT)
        for sock in self._sockets:
            sock.close()
        assert not self.failures, self.failures
