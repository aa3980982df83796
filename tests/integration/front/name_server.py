"""A name server with one name, whose addresses a test changes: what Docker's is to a scaled service."""

from __future__ import annotations

import itertools
import socket
import socketserver
import struct

from tests.integration.front.background import Background

NAME = "service.test"
SECONDS_TO_LIVE = 600
"""Long on purpose: Docker's is too, and the front must not believe it."""

_A = b"\0\1"


class NameServer(Background):
    """Answers at `address` (HOST:PORT); `addresses` are those of `NAME` now. The first `loses` questions are lost."""

    def __init__(self, *addresses: str, place: tuple[str, int] = ("127.0.0.1", 0), loses: int = 0) -> None:
        self.addresses = list(addresses)
        questions = itertools.count(1)
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                if next(questions) > loses:
                    sock.sendto(outer._answer(data), self.client_address)

        self._server = socketserver.ThreadingUDPServer(place, Handler)
        self.address = f"{place[0]}:{self._server.server_address[1]}"

    def __enter__(self) -> NameServer:
        self._serve()
        return self

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035: the question again, and an A record for each address if those were asked for."""
        end = question.index(b"\0", 12) + 5
        addresses = list(self.addresses) if question[end - 4 : end - 2] == _A else []
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, SECONDS_TO_LIVE, 4) + socket.inet_aton(address)
            for address in addresses
        )
        head = struct.pack(">2sHHHHH", question[:2], 0x8180, 1, len(addresses), 0, 0)
        return head + question[12:end] + records
