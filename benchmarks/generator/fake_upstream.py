"""A stand-in for ElevenLabs that costs next to nothing: `python -m benchmarks.generator.fake_upstream --help`.

It signs URLs, answers the agents socket with metadata and then does what the client's plan says, and streams as many
bytes of "speech" as the voice's id asks for. The sandbox is the one to talk to; this one is only fast.
"""

from __future__ import annotations

import argparse
import gc
import re
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from websockets.utils import accept_key

from benchmarks.generator.conversation_end import ConversationEnd
from benchmarks.generator.http_head import Head, read_head
from benchmarks.generator.loop import Channel, Loop
from benchmarks.generator.targets import AGENT_ID, CONVERSATION_PATH
from benchmarks.generator.tls_channel import TlsChannel

SIGNED_URL_PATH = "/v1/convai/conversation/get-signed-url"
_SPEECH_PATH = re.compile(r"/v1/text-to-speech/bench_(\d+)x(\d+)_(\d+)ms/stream")
_METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {
        "conversation_id": "conv_bench",
        "agent_output_audio_format": "pcm_16000",
        "user_input_audio_format": "pcm_16000",
    },
}


def speech_path(chunks: int, chunk_bytes: int, gap_ms: int) -> str:
    """The path that is answered with so many chunks, the first at once, the others `gap_ms` apart."""
    return f"/v1/text-to-speech/bench_{chunks}x{chunk_bytes}_{gap_ms}ms/stream"


class FakeUpstream:
    """The server over `loop`; `listen` opens a port."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._ends: dict[int, ConversationEnd] = {}

    def listen(self, port: int, tls: ssl.SSLContext | None = None, round_trip_seconds: float = 0.0) -> None:
        """Serve at `port` of the loopback interface, with TLS if there is a context, and as from far away."""
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        listener.setblocking(False)

        def accept(_events: int) -> None:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            _HttpConnection(self, self._loop, sock, tls, round_trip_seconds)

        self._loop.watch(listener.fileno(), accept)

    def converse(self, channel: Channel | TlsChannel, rest: bytes) -> None:
        """Be the agent on an upgraded connection."""

        def answer(event: Mapping[str, Any]) -> None:
            if event["type"] == "conversation_initiation_client_data":
                end.send_event(_METADATA)

        def forget() -> None:
            self._ends.pop(id(end), None)

        end = ConversationEnd(self._loop, channel, is_client=False, on_event=answer, on_end=forget)
        self._ends[id(end)] = end
        end.read(rest)


class _HttpConnection:
    """A keep-alive connection until it is upgraded or ended."""

    def __init__(
        self,
        server: FakeUpstream,
        loop: Loop,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
        round_trip_seconds: float,
    ) -> None:
        self._server = server
        self._loop = loop
        self._data = b""
        self._place = f"{'wss' if tls else 'ws'}://127.0.0.1:{sock.getsockname()[1]}"
        self._channel: Channel | TlsChannel
        if tls is None:
            self._channel = Channel(loop, sock, on_data=self._read, on_end=_ignore)
        else:
            self._channel = TlsChannel(
                loop, sock, context=tls, on_data=self._read, on_end=_ignore, round_trip_seconds=round_trip_seconds
            )

    def _read(self, data: memoryview) -> None:
        self._data += data
        found = read_head(self._data)
        if found is None:
            return
        head, rest = found
        if len(rest) < head.content_length:
            return
        self._data = rest[head.content_length :]
        self._answer(head)

    def _answer(self, head: Head) -> None:
        path = head.target.partition("?")[0]
        speech = _SPEECH_PATH.fullmatch(path)
        if path == SIGNED_URL_PATH:
            query = f"agent_id={AGENT_ID}&conversation_signature=bench"
            self._send("application/json", orjson.dumps({"signed_url": f"{self._place}{CONVERSATION_PATH}?{query}"}))
        elif path == CONVERSATION_PATH and "sec-websocket-key" in head.headers:
            self._upgrade(head.headers["sec-websocket-key"])
        elif speech:
            chunks, size, gap_ms = (int(number) for number in speech.groups())
            self._stream(chunks, size, gap_ms / 1000)
        else:
            self._channel.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def _send(self, media_type: str, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._channel.write(head.encode() + body)

    def _upgrade(self, key: str) -> None:
        answer = (
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
        )
        self._channel.write(answer.encode())
        self._server.converse(self._channel, self._data)

    def _stream(self, chunks: int, size: int, gap_seconds: float) -> None:
        chunk = b"%x\r\n%b\r\n" % (size, bytes(size))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
        self._channel.write(head + chunk)
        left = chunks - 1

        def next_chunk() -> None:
            nonlocal left
            if left > 0:
                left -= 1
                self._channel.write(chunk)
                if gap_seconds:
                    self._loop.at(time.monotonic() + gap_seconds, next_chunk)
                return
            self._channel.on_drained = None
            self._channel.write(b"0\r\n\r\n")

        if gap_seconds:
            self._loop.at(time.monotonic() + gap_seconds, next_chunk)
        else:
            self._channel.write_when_drained(next_chunk)


def _ignore() -> None:
    """Nothing is kept of a connection that was not upgraded."""


def tls_context(certificate: Path) -> ssl.SSLContext:
    """A server's context over a PEM file with its key and its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def main() -> None:
    """Serve until somebody ends the process."""
    parser = argparse.ArgumentParser(description="A stand-in for ElevenLabs, for benchmarks.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-port", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True, help="for the TLS port: key and certificate, PEM")
    parser.add_argument("--round-trip-ms", type=float, default=0.0, help="how far away the TLS port is")
    options = parser.parse_args()
    loop = Loop()
    upstream = FakeUpstream(loop)
    upstream.listen(options.port)
    upstream.listen(options.tls_port, tls_context(options.certificate), options.round_trip_ms / 1000)
    gc.freeze()
    gc.disable()  # nothing here makes cycles worth a pause in the middle of a measurement
    while True:
        loop.run_once()


if __name__ == "__main__":
    main()
