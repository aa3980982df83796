"""A real agents socket (the `websockets` library's server) that plays a test's script; it also signs URLs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

WAIT_SECONDS = 10.0
METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {
        "conversation_id": "conv_1",
        "agent_output_audio_format": "pcm_24000",
        "user_input_audio_format": "pcm_16000",
    },
}


class Agent:
    """One conversation, seen from the upstream."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    def hear(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.connection.recv(WAIT_SECONDS))
        return event

    def say(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.connection.send(json.dumps(event))

    def close(self, code: int, reason: str = "") -> None:
        self.connection.close(code, reason)

    def await_hang_up(self) -> int | None:
        """The close code that the client sends."""
        try:
            while True:
                self.connection.recv(WAIT_SECONDS)
        except ConnectionClosed:
            return self.connection.close_code


def response(text: str, event_id: int) -> dict[str, Any]:
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def part(text: str, kind: str, event_id: int) -> dict[str, Any]:
    return {
        "type": "agent_chat_response_part",
        "text_response_part": {"text": text, "type": kind, "event_id": event_id},
    }


def audio(data: bytes, event_id: int) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"type": "audio", "audio_event": {"audio_base_64": encoded, "event_id": event_id}}


@dataclass
class AgentUpstream:
    """`script` runs for every conversation; `refuse` answers an upgrade, `sign` a request for a signed URL."""

    script: Callable[[Agent], None]
    refuse: tuple[int, str] | None = None
    sign: Callable[[str], tuple[int, str]] | None = None
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        # Without a queue's limit the server goes on reading (our pongs, our close) while a script only talks.
        self._server = serve(
            self._serve, "127.0.0.1", 0, process_request=self._process, compression=None, max_queue=None
        )
        self.port = self._server.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.raw_items()})
        if "/get-signed-url" in request.path:
            query = request.path.partition("?")[2]
            signed = f"ws://127.0.0.1:{self.port}/v1/convai/conversation?{query}&conversation_signature=cvtkn_1"
            status, body = self.sign(signed) if self.sign else (200, json.dumps({"signed_url": signed}))
            return connection.respond(HTTPStatus(status), body)
        if self.refuse is not None:
            return connection.respond(HTTPStatus(self.refuse[0]), self.refuse[1])
        return None

    def _serve(self, connection: ServerConnection) -> None:
        try:
            self.script(Agent(connection))
        except ConnectionClosed:
            pass  # the client hung up, which is what some scripts are about
        except BaseException as exc:
            self.failures.append(exc)

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(WAIT_SECONDS)
        assert not self.failures, self.failures
