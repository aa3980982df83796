"""Text to speech over HTTP: one request after the other on a kept-alive connection, read as it comes."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from benchmarks.generator.conversation_load import LoadError
from benchmarks.generator.http_head import read_head
from benchmarks.generator.loop import READ_BYTES
from benchmarks.generator.targets import Target

ANSWER_SECONDS = 20.0
_BODY = b'{"text":"How much does it add?","model_id":"eleven_flash_v2_5"}'


@dataclass(frozen=True)
class Speech:
    """What one request took: seconds to the first byte of audio, and how many bytes of answer came."""

    first_byte_seconds: float
    size: int


class SpeechClient:
    """A kept-alive connection to `target`; use it in a `with` block. It connects at the first request.

    The answers must be chunked, as ElevenLabs' and ours are.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sock: socket.socket | None = None

    def __enter__(self) -> SpeechClient:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def speak(self, path: str) -> Speech:
        """Ask for `path` and read its answer to the end.

        Raises:
            LoadError: refused, or broken off.
        """
        sock = self._connected()
        request = self._request(path)
        asked = time.monotonic()
        sock.sendall(request)
        data = b""
        while (found := read_head(data)) is None or not found[1]:
            data += self._receive(sock)
        first_byte = time.monotonic()
        head, rest = found
        if head.status != 200 or head.headers.get("transfer-encoding", "").lower() != "chunked":
            raise LoadError(f"{self._target.name} answered a speech request with {head.status}")
        size = len(rest)
        tail = rest[-5:]
        # The fake upstream's audio is zero bytes, so nothing but the end of the answer looks like its last chunk.
        while not tail.endswith(b"0\r\n\r\n"):
            data = self._receive(sock)
            size += len(data)
            tail = (tail + data)[-5:]
        return Speech(first_byte - asked, size)

    def _connected(self) -> socket.socket:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._target.port), timeout=ANSWER_SECONDS)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._sock

    def _request(self, path: str) -> bytes:
        head = (
            f"POST {path}?output_format=mp3_44100_128 HTTP/1.1\r\nHost: 127.0.0.1:{self._target.port}\r\n"
            f"xi-api-key: {self._target.api_key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(_BODY)}\r\n\r\n"
        )
        return head.encode() + _BODY

    def _receive(self, sock: socket.socket) -> bytes:
        data = sock.recv(READ_BYTES)
        if not data:
            raise LoadError(f"{self._target.name} broke off")
        return data
