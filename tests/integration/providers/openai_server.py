"""A small OpenAI-compatible server: real HTTP, real speech by espeak-ng, and faults on demand."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import numpy as np

from service.fallback.audio_formats import resample
from service.fallback.local_voice import EspeakVoice
from service.fallback.openai_speech import SAMPLE_RATE

QUIETNESS = 0.2
"""Its voice is so much quieter than espeak-ng's own."""

Answer = tuple[int, str, bytes]


class OpenAiServer:
    """Listens while it is in a `with` block; `url` is the base URL.

    `requests` are the paths and documents that came. `answers` overrides what a path is answered with; `hang` is an
    event that a request waits for first, if it is set to one.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, Answer] = {}
        self.hang: threading.Event | None = None
        self.heard = "When do you open?"
        self._voice = EspeakVoice()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self.hang is not None:
            self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def reset(self) -> None:
        """Forget everything, and every fault."""
        self.requests.clear()
        self.headers.clear()
        self.answers.clear()
        if self.hang is not None:
            self.hang.set()
        self.hang = None

    def paths(self) -> list[str]:
        """The paths that were asked for, without `/v1`."""
        return [path for path, _ in self.requests]

    def answer(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """What a request gets."""
        is_form = headers.get("content-type", "").startswith("multipart/form-data")
        document = body if is_form or not body else json.loads(body)
        self.requests.append((path, document))
        self.headers.append(headers)
        if self.hang is not None:
            self.hang.wait(10)
        if path in self.answers:
            return self.answers[path]
        if path == "/chat/completions":
            return _json({"choices": [{"message": {"role": "assistant", "content": self._said(document)}}]})
        if path == "/audio/speech":
            return 200, "audio/pcm", self._spoken(document["input"])
        return _json({"text": self.heard})

    def _said(self, document: dict[str, Any]) -> str:
        question = document["messages"][-1]["content"]
        return f"You asked: {question} **That** is a good question. I will tell you all that I know about it."

    def _spoken(self, text: str) -> bytes:
        pieces = list(self._voice.speak(text))
        pcm = b"".join(piece.pcm for piece in pieces)
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) * QUIETNESS
        quiet = samples.astype("<i2").tobytes()
        return resample(quiet, source_rate=pieces[0].sample_rate, target_rate=SAMPLE_RATE)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, media_type, content = server.answer(self.path.removeprefix("/v1"), body, headers)
                self.send_response(status)
                self.send_header("content-type", media_type)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the client waited no longer
                    super().handle()

        return Handler


def _json(document: dict[str, Any]) -> Answer:
    return 200, "application/json", json.dumps(document).encode()
