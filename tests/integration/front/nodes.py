"""What stands behind the front in its own tests: a node that tells what it was asked and does as it is told.

The key decision: a plain server and not the service, because what is looked at is what nginx sends on and when.
"""

from __future__ import annotations

import socketserver
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.integration.front.background import Background


@dataclass
class Asked:
    """A request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Asked, socketserver.StreamRequestHandler], None]


@dataclass
class Node(Background):
    """A server at `host`:`port` whose answers are `answer`'s; it keeps what it was asked."""

    host: str
    answer: Answer
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> Node:
        node = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                node.connections += 1
                while asked := _read(self):
                    node.asked.append(asked)
                    node.answer(asked, self)
                    if self.wfile.closed:
                        return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self._server = Server((self.host, self.port), Handler)
        self.port = self._server.server_address[1]
        self._serve()
        return self

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def _read(handler: socketserver.StreamRequestHandler) -> Asked | None:
    try:
        line = handler.rfile.readline().decode().strip()
        headers: dict[str, str] = {}
        while (head := handler.rfile.readline().decode().strip()) != "":
            name, _, value = head.partition(":")
            headers[name.lower()] = value.strip()
    except OSError:
        return None
    if not line:
        return None
    return Asked(line, headers, handler.rfile.read(int(headers.get("content-length", "0"))))


def say(text: str, status: str = "200 OK") -> Answer:
    """Answer so, and keep the connection."""

    def answer(_: Asked, handler: socketserver.StreamRequestHandler) -> None:
        body = text.encode()
        handler.wfile.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return answer


def hang_up(_: Asked, handler: socketserver.StreamRequestHandler) -> None:
    """Take the request and end the connection without an answer, as a node does that dies."""
    handler.connection.close()
    handler.wfile.close()
