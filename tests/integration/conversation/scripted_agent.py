"""An upstream whose every word a test decides: ElevenLabs' agents socket and signed URL, over a real socket.

The sandbox speaks as ElevenLabs does; this one says what ElevenLabs must not, at the moment that the test wants.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

LIMIT = 10.0
METADATA = {
    "type": "conversation_initiation_metadata",
    "conversation_initiation_metadata_event": {
        "conversation_id": "conv_scripted",
        "agent_output_audio_format": "pcm_16000",
        "user_input_audio_format": "pcm_16000",
    },
}


def audio(event_id: int, size: int = 64) -> str:
    return json.dumps({"type": "audio", "audio_event": {"audio_base_64": "A" * size, "event_id": event_id}})


class ScriptedAgent:
    """The server; a test takes each conversation that reaches it from `next_conversation`."""

    def __init__(self) -> None:
        self._conversations: queue.Queue[ServerConnection] = queue.Queue()
        self._over = threading.Event()
        self.refuse_with: HTTPStatus | None = None
        self.refuse_body = ""
        self._server: Server = serve(
            self._hold,
            "127.0.0.1",
            0,
            process_request=self._answer_http,
            max_size=None,
            ping_interval=None,
            close_timeout=1,
        )
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def next_conversation(self, *, greet: bool = True) -> ServerConnection:
        """The next conversation; with `greet`, its first message is read and metadata sent."""
        conversation = self._conversations.get(timeout=LIMIT)
        if greet:
            conversation.recv(LIMIT)
            conversation.send(json.dumps(METADATA))
        return conversation

    def stop(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()

    def _hold(self, connection: ServerConnection) -> None:
        self._conversations.put(connection)
        while connection.protocol.state.name in ("OPEN", "CLOSING") and not self._over.wait(0.02):
            pass

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        if "get-signed-url" not in request.path:
            return None
        if self.refuse_with is not None:
            response = connection.respond(self.refuse_with, self.refuse_body)
            response.headers["Content-Type"] = "application/json"
            return response
        url = self.url.replace("http", "ws") + "/v1/convai/conversation?agent_id=a&conversation_signature=cvtkn_x"
        return connection.respond(HTTPStatus.OK, json.dumps({"signed_url": url}))


@contextmanager
def running_agent() -> Iterator[ScriptedAgent]:
    agent = ScriptedAgent()
    try:
        yield agent
    finally:
        agent.stop()
