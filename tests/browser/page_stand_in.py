"""A server for tests of the page alone: real sockets, and the test decides every event that is sent.

The key decision: nothing here is scripted. The handler thread only reads; the test holds the `Talk` and drives it, so
that a test reads like the conversation it describes. The service itself and the sandbox have tests of their own.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import queue
import struct
import threading
from collections import deque
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from flask_sock import Sock
from simple_websocket import Server  # type: ignore[import-untyped]
from werkzeug.serving import WSGIRequestHandler, make_server

from service.errors import SocketError
from service.websocket import SERVER_OPTIONS, WebSocketConnection, WithoutCompression, take_over

WEB = Path(__file__).resolve().parents[2] / "service" / "web"
WAIT_SECONDS = 10.0
CHUNK_SECONDS = 0.1
SECONDS_PER_CHARACTER = 0.06

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class Talk:
    """One open conversation socket, seen from the server."""

    def __init__(self, wire: WebSocketConnection, query: dict[str, str]) -> None:
        self.query = query
        self.closed_with: int | None = None
        self._wire = wire
        self._closing = threading.Lock()
        self._changed = threading.Condition()
        self._received: list[dict[str, Any]] = []

    # --- What the page did ---------------------------------------------------------------------------------------

    def expect(self, kind: str) -> dict[str, Any]:
        """Wait for the next event of the type; earlier events of other types stay to be expected later."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._first(kind), timeout=WAIT_SECONDS)
            assert found is not None, f"no {kind} came; got {[event.get('type') for event in self._received]}"
            self._received.remove(found)
            return found

    def expect_audio(self) -> bytes:
        """Wait for the next chunk of the microphone."""
        return base64.b64decode(self.expect("user_audio_chunk")["user_audio_chunk"])

    def count(self, kind: str) -> int:
        with self._changed:
            return sum(_kind_of(event) == kind for event in self._received)

    def forget_audio(self) -> None:
        with self._changed:
            self._received = [event for event in self._received if _kind_of(event) != "user_audio_chunk"]

    def expect_close(self) -> int | None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.closed_with is not None, timeout=WAIT_SECONDS)
            return self.closed_with

    def _first(self, kind: str) -> dict[str, Any] | None:
        return next((event for event in self._received if _kind_of(event) == kind), None)

    def read_until_closed(self) -> None:
        """Run by the handler's thread for as long as the socket lives."""
        try:
            while True:
                frame = self._wire.receive().data
                with self._changed:
                    self._received.append(json.loads(frame))
                    self._changed.notify_all()
        except SocketError as closed:
            with self._changed:
                self.closed_with = closed.code
                self._changed.notify_all()
        with self._closing:  # the server writes its HTTP answer when this thread returns: behind our close frame
            pass

    # --- What the server says ------------------------------------------------------------------------------------

    def send(self, kind: str, **fields: Any) -> None:
        self._wire.send_text(json.dumps({"type": kind, **fields}))

    def hello(self, conversation_id: str = "conv_1", *, output: str = "pcm_16000", input: str = "pcm_16000") -> None:
        event = {
            "conversation_id": conversation_id,
            "agent_output_audio_format": output,
            "user_input_audio_format": input,
        }
        self.send("conversation_initiation_metadata", conversation_initiation_metadata_event=event)

    def say(self, text: str, event_id: int, *, seconds: float | None = None, aligned: bool = False) -> None:
        """Send an answer and all its audio at once, as fast as the network takes it."""
        self.send("agent_response", agent_response_event={"agent_response": text, "event_id": event_id})
        self.voice(event_id, seconds or len(text) * SECONDS_PER_CHARACTER, text if aligned else "")

    def voice(self, event_id: int, seconds: float, text: str = "", rate: int = 16000) -> None:
        count = max(1, round(seconds / CHUNK_SECONDS))
        for index in range(count):
            event: dict[str, Any] = {"audio_base_64": tone(CHUNK_SECONDS, rate), "event_id": event_id}
            if text:
                part = text[len(text) * index // count : len(text) * (index + 1) // count]
                event["alignment"] = alignment(part)
            self.send("audio", audio_event=event)

    def transcribe(self, text: str, event_id: int, *, tentative: bool = False) -> None:
        prefix = "tentative_user" if tentative else "user"
        event = {"user_transcript": text, "event_id": event_id}
        self.send(f"{prefix}_transcript", **{f"{prefix}_transcription_event": event})

    def interrupt(self, event_id: int) -> None:
        self.send("interruption", interruption_event={"event_id": event_id})

    # --- What only our own server says -------------------------------------------------------------------------------

    def give_token(self, token: str, seconds: float = 120) -> None:
        """Let the page go on with this conversation over another socket."""
        self.send("connection_token", connection_token_event={"token": token, "expires_in_seconds": seconds})

    def resume(self, token: str, *, received: int, replayed: int = 0) -> None:
        """Answer a page that wants to go on; `received` of its messages had arrived."""
        event = {"conversation_id": "conv_1", "received": received, "replayed": replayed}
        self.send("connection_resumed", connection_resumed_event=event)
        self.give_token(token)

    def miss(self, *said: tuple[str, str]) -> None:
        """Say that what was missed cannot be had any more; `said` is the history by speaker and text."""
        lines = [
            {"sequence": number, "speaker": speaker, "text": text}
            for number, (speaker, text) in enumerate(said, start=1)
        ]
        self.send("connection_discontinuity", connection_discontinuity_event={"reason": "taken_over", "history": lines})

    def change_agent(self, to: str, *, spliced: bool = False) -> None:
        others = {"local": "elevenlabs", "elevenlabs": "local"}
        event = {"from": others.get(to, "elevenlabs"), "to": to, "cause": "connection_lost", "spliced": spliced}
        self.send("agent_changed", agent_changed_event=event)

    def leave(self, seconds: float) -> None:
        """Close for a restart, with a hint."""
        self.send("connection_draining", connection_draining_event={"reconnect_in_seconds": seconds})
        self.close(1012, "service restart")

    # --- How it ends -------------------------------------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        with self._closing:
            # A browser answers when its page has come so far, and loses our code if we end the connection before that.
            self._wire.close(code, reason, timeout=WAIT_SECONDS)

    def drop(self) -> None:
        """Lose the connection without a word: the browser sees 1006."""
        self._wire.abort()


class StandIn:
    """The page, its tickets and its socket on one free port. Use it as a context manager."""

    def __init__(self, *, sandbox: bool = True) -> None:
        self.ticket_answers: deque[tuple[int, Any]] = deque()
        self.tickets_asked = 0
        self._sandbox = sandbox
        self._talks: queue.Queue[Talk] = queue.Queue(maxsize=100)
        self._server = make_server("127.0.0.1", 0, self._build(), threaded=True, request_handler=_QuietHandler)
        self.url = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(timeout=WAIT_SECONDS)
        self._server.server_close()

    def next_talk(self) -> Talk:
        """Wait for the page to open its next socket."""
        return self._talks.get(timeout=WAIT_SECONDS)

    def _build(self) -> Flask:
        app = Flask("page_stand_in", static_folder=str(WEB / "static"), template_folder=str(WEB / "templates"))
        app.config["SOCK_SERVER_OPTIONS"] = {**SERVER_OPTIONS, "subprotocols": ["convai"]}
        app.wsgi_app = WithoutCompression(app.wsgi_app)  # type: ignore[method-assign]
        app.add_url_rule("/", view_func=self._page)
        app.add_url_rule("/chat/tickets", view_func=self._ticket, methods=["POST"])
        app.after_request(_with_policy)
        Sock(app).route("/v1/convai/conversation")(self._conversation)
        return app

    def _page(self) -> str:
        return render_template(
            "chat.html", agent_id="agent_demo", languages="es,fr", sandbox=self._sandbox, version="0.1.0"
        )

    def _ticket(self) -> tuple[Response, int]:
        assert request.headers["Content-Type"] == "application/json"
        assert request.get_json() == {}
        self.tickets_asked += 1
        address = f"ws://{request.host}/v1/convai/conversation?agent_id=agent_demo&conversation_signature=cvtkn_1"
        status, body = 200, {"signed_url": address, "expires_in": 60}
        if self.ticket_answers:
            status, body = self.ticket_answers.popleft()
        return jsonify(body), status

    def _conversation(self, wire: Server) -> None:
        talk = Talk(take_over(wire), request.args.to_dict())
        self._talks.put(talk, timeout=WAIT_SECONDS)
        talk.read_until_closed()


class _QuietHandler(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """A test's output is for the test."""


@functools.lru_cache(maxsize=8)
def tone(seconds: float, rate: int = 16000) -> str:
    """Half-scale 440 Hz, in whole periods so that chunks join, as base64 PCM."""
    samples = (round(16000 * math.sin(2 * math.pi * 440 * index / rate)) for index in range(round(seconds * rate)))
    pcm = b"".join(struct.pack("<h", sample) for sample in samples)
    return base64.b64encode(pcm).decode()


def alignment(text: str) -> dict[str, list[Any]]:
    """Spread the characters evenly over one chunk."""
    step = CHUNK_SECONDS * 1000 / max(1, len(text))
    return {
        "chars": list(text),
        "char_start_times_ms": [round(index * step) for index in range(len(text))],
        "char_durations_ms": [round(step) for _ in text],
    }


def _kind_of(event: dict[str, Any]) -> str:
    return "user_audio_chunk" if "user_audio_chunk" in event else str(event.get("type"))


def _with_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    return response
