"""The two speech sockets' doors: routes, who may enter, how they end.

The key decision: what is wrong with the query or the key is told in an error frame after the upgrade, as ElevenLabs
does, because browsers cannot read the answer to a refused upgrade; only the v3 models are refused before it (403).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from flask import Flask, request
from flask_sock import Sock

from sandbox import multi_stream_input, stream_input
from sandbox.auth import key_of_request
from sandbox.broken_frames import FrameSender
from sandbox.errors import ApiError
from sandbox.faults import Fault
from sandbox.speech_session import SpeechSession, close_reason, read_order
from sandbox.state import SandboxState
from sandbox.stream_messages import StreamError
from service.errors import FrameError, SocketError
from service.websocket import WebSocketConnection, take_over
from service.websocket.server import Handshaken

Serve = Callable[[SpeechSession], None]
_ROUTES: dict[str, Serve] = {"stream-input": stream_input.serve, "multi-stream-input": multi_stream_input.serve}
_NAMES = {path: f"tts.{path.replace('-', '_')}" for path in _ROUTES}


def register(app: Flask, sock: Sock, state: SandboxState) -> None:
    """Add `/v1/text-to-speech/{voice_id}/stream-input` and `/multi-stream-input`."""

    @app.before_request
    def refuse_v3() -> None:
        model_id = request.args.get("model_id", "")
        if request.endpoint in _NAMES.values() and model_id.startswith("eleven_v3"):
            raise ApiError("model_access_denied", f"Model '{model_id}' is not available on this socket.")

    for path, serve in _ROUTES.items():
        _add(sock, state, path, serve)


def _add(sock: Sock, state: SandboxState, path: str, serve: Serve) -> None:
    name = _NAMES[path]

    @sock.route(f"/v1/text-to-speech/<voice_id>/{path}", endpoint=name)  # type: ignore[untyped-decorator]
    def route(handshaken: Handshaken, voice_id: str) -> None:
        connection = take_over(handshaken)
        fault = state.faults.next(name)
        sender = FrameSender(connection, fault, seed=state.options.seed)
        with state.stats.socket(name), suppress(SocketError):
            _serve(state, name, voice_id, connection, sender, fault, serve)
        connection.close()


def _serve(
    state: SandboxState,
    name: str,
    voice_id: str,
    connection: WebSocketConnection,
    sender: FrameSender,
    fault: Fault | None,
    serve: Serve,
) -> None:
    """Serve a socket to its end; raises SocketError when it is over."""
    try:
        sender.open()
        query, order = read_order(state, voice_id, request.args.to_dict())
        key = key_of_request() or query.authorization
        serve(SpeechSession(state, name, connection, sender, fault, query, order, key))
    except StreamError as error:
        state.stats.closed(error.code)
        sender.send(error.frame())
        connection.close(error.code, close_reason(error.message))
    except FrameError as error:
        state.stats.closed(error.code)
        raise
