"""One account at a running sandbox, as a test uses it: plain HTTP, the official SDK, sockets, faults and statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import requests
from elevenlabs.client import ElevenLabs
from websockets.sync.client import ClientConnection, connect

KEY = "sandbox-key"
RACHEL = "21m00Tcm4TlvDq8ikWAM"
SENTENCE = "The parcel left our store this morning and will be with you on Friday."
SECONDS = 10.0


@dataclass(frozen=True)
class Account:
    """`url` is the sandbox's, without a slash at its end; `sdk` is the official client on it."""

    url: str
    sdk: ElevenLabs
    log_path: Path | None = None

    def speak(self, path: str = "", *, key: str | None = KEY, voice: str = RACHEL, **request: Any) -> requests.Response:
        """POST to a text-to-speech route; `query` is its query, `stream` as in requests, the rest is the body."""
        query = request.pop("query", {"output_format": "pcm_16000"})
        stream = request.pop("stream", False)
        return requests.post(
            f"{self.url}/v1/text-to-speech/{voice}{path}",
            params=query,
            headers={} if key is None else {"xi-api-key": key},
            json={"text": SENTENCE, **request},
            stream=stream,
            timeout=SECONDS,
        )

    def get(self, path: str, **query: Any) -> requests.Response:
        """GET a route with the key."""
        return requests.get(f"{self.url}{path}", params=query, headers={"xi-api-key": KEY}, timeout=SECONDS)

    def faults(self, *rules: dict[str, Any]) -> None:
        """Put fault rules in force."""
        answer = requests.post(f"{self.url}/sandbox/faults", json=list(rules), timeout=SECONDS)
        assert answer.status_code == 201, answer.text

    def stats(self) -> dict[str, Any]:
        """Give what the sandbox counted."""
        counted: dict[str, Any] = requests.get(f"{self.url}/sandbox/stats", timeout=SECONDS).json()
        return counted

    def reset(self) -> None:
        """Forget counters and faults."""
        requests.post(f"{self.url}/sandbox/reset", timeout=SECONDS).raise_for_status()

    @contextmanager
    def socket(
        self, path: str = "stream-input", *, key: str | None = KEY, voice: str = RACHEL, **query: Any
    ) -> Iterator[ClientConnection]:
        """Open a speech socket."""
        asked = {"output_format": "pcm_16000", "model_id": "eleven_flash_v2_5", **query}
        url = f"{self.url}/v1/text-to-speech/{voice}/{path}".replace("http://", "ws://")
        prepared = requests.Request("GET", url.replace("ws://", "http://"), params=asked).prepare()
        headers = {} if key is None else {"xi-api-key": key}
        address = str(prepared.url).replace("http://", "ws://")
        # Without max_queue=None the client stops reading at 16 frames and then waits for its close in vain.
        with connect(
            address, additional_headers=headers, open_timeout=SECONDS, close_timeout=SECONDS, max_queue=None
        ) as socket:
            yield socket


@contextmanager
def open_account(url: str) -> Iterator[Account]:
    """Give an account at the sandbox with that address."""
    with httpx.Client(timeout=SECONDS) as client:
        yield Account(url, ElevenLabs(api_key=KEY, base_url=url, httpx_client=client))


def say(socket: ClientConnection, **message: Any) -> None:
    """Send one JSON message."""
    socket.send(json.dumps(message))


def hear(socket: ClientConnection) -> dict[str, Any]:
    """Receive one JSON message."""
    heard: dict[str, Any] = json.loads(socket.recv(SECONDS))
    return heard
