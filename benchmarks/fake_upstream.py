"""A stand-in for ElevenLabs that costs next to nothing: `python -m benchmarks.fake_upstream --port N`.

It signs URLs, answers the agents socket with metadata and then does what the client's plan says, and streams as many
bytes of "speech" as the voice's id asks for. The sandbox is the one to talk to; this one is only fast.
"""

from __future__ import annotations

import argparse
import gc
import re
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Any

import orjson
from websockets.utils import accept_key

from benchmarks.conversation_end import ConversationEnd
from benchmarks.http_head import Head, read_head
from benchmarks.loop import Channel, Loop

SIGNED_URL_PATH = "/v1/convai/conversation/get-signed-url"
CONVERSATION_PATH = "/v1/convai/conversation"
_SPEECH_PATH = re.compile(r"/v1/text-to-speech/bench_(\d+)x(\d+)_(\d+)ms/stream")
_SECONDS_FOR_A_REQUEST = 10.0
METADATA: Mapping[str, Any] = {
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
    """The server at `port` of the loopback interface, over `loop`."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._port = port
        self._ends: dict[int, ConversationEnd] = {}
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        loop.selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _ready: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        _HttpConnection(self, self._loop, sock)

    def signed_url(self) -> bytes:
        """The answer to a request for a signed URL."""
        query = "agent_id=agent_bench&conversation_signature=bench"
        return orjson.dumps({"signed_url": f"ws://127.0.0.1:{self._port}{CONVERSATION_PATH}?{query}"})

    def converse(self, sock: socket.socket, rest: bytes) -> None:
        """Be the agent on an upgraded socket."""

        def answer(event: Mapping[str, Any]) -> None:
            if event["type"] == "conversation_initiation_client_data":
                end.send_event(METADATA)

        def forget() -> None:
            self._ends.pop(id(end), None)

        end = ConversationEnd(self._loop, sock, is_client=False, on_event=answer, on_end=forget, received=rest)
        self._ends[id(end)] = end


class _HttpConnection:
    """A keep-alive connection until it is upgraded or ended."""

    def __init__(self, server: FakeUpstream, loop: Loop, sock: socket.socket) -> None:
        self._server = server
        self._loop = loop
        self._sock = sock
        self._data = b""
        self._channel = Channel(loop, sock, on_data=self._read, on_end=lambda: None)

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
            self._send("application/json", self._server.signed_url())
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
        self._server.converse(self._channel.detach(), self._data)

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


def main() -> None:
    """Serve until somebody ends the process."""
    parser = argparse.ArgumentParser(description="A stand-in for ElevenLabs, for benchmarks.")
    parser.add_argument("--port", type=int, required=True)
    loop = Loop()
    FakeUpstream(loop, parser.parse_args().port)
    gc.freeze()
    gc.disable()  # nothing here makes cycles worth a pause in the middle of a measurement
    while True:
        loop.run_once()


if __name__ == "__main__":
    main()
