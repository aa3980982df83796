"""The relay alone, under gunicorn: what comes in at `/relay/PATH` is carried to PATH of the upstream and back.

Autobahn's messages are binary, empty or nonsense, which the Agents protocol refuses; so what is tested here is the
service without its protocol: flask-sock's handshake, `take_over`, `connect` and `Relay`, in the worker that the
service's own gunicorn configuration makes. `SOAK_UPSTREAM_URL` names the upstream.
"""

from __future__ import annotations

from gevent import get_hub, monkey

monkey.patch_all()

import os  # noqa: E402  (patch, then import, as service/wsgi.py does)
import threading  # noqa: E402
from collections.abc import Callable  # noqa: E402
from types import SimpleNamespace  # noqa: E402
from typing import Any  # noqa: E402

import flask_sock  # noqa: E402
from flask import Flask, request  # noqa: E402

from service.conversation.relay import Relay  # noqa: E402
from service.errors import ConnectionClosedError, FrameError, SocketError  # noqa: E402
from service.websocket import (  # noqa: E402
    Message,
    UpgradedSocket,
    WebSocketConnection,
    WithoutCompression,
    connect,
    take_over,
)

# Far above the 16 MiB of Autobahn's longest message, and of the seconds that it takes on a busy machine.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
WAIT_SECONDS = 60.0
PASSES_UNREAD = b"*" * 32


class AsItIs:
    """A stream that lets everything through: what begins as most of Autobahn's long texts do is not even read."""

    send: Callable[[bytes, int], None]

    def passes(self, data: bytes | bytearray, start: int, _end: int) -> bool:
        """Whether the text from `start` on goes on unread."""
        return data.startswith(PASSES_UNREAD, start)

    def count(self, messages: int) -> None:
        """Nothing is counted."""

    def handle(self, message: Message) -> None:
        """Send it on."""
        self.send(message.data, message.opcode)


class LiveRelays:
    """The relays of this worker; the gunicorn configuration asks for `drain` when the worker leaves."""

    def __init__(self) -> None:
        self._live: set[Relay] = set()
        self._lock = threading.Lock()

    def carry(self, client: WebSocketConnection, upstream: WebSocketConnection) -> None:
        """Carry until either side ends, and tell the other one why."""

        from_client, from_upstream = AsItIs(), AsItIs()
        relay = Relay(
            client,
            upstream,
            loop=get_hub().loop,
            client_stream=from_client,
            agent_stream=from_upstream,
            idle_seconds=WAIT_SECONDS,
            agent_silence_seconds=WAIT_SECONDS,
        )
        from_client.send, from_upstream.send = relay.send_to_agent, relay.send_to_client
        with self._lock:
            self._live.add(relay)
        try:
            relay.run()
        except SocketError as exc:
            culprit, other = (client, upstream) if relay.ended_by_client else (upstream, client)
            _say_goodbye(exc, culprit, other)
        finally:
            with self._lock:
                self._live.discard(relay)

    def drain(self) -> None:
        """End them all."""
        with self._lock:
            leaving = list(self._live)
        for relay in leaving:
            relay.stop()


def _say_goodbye(error: SocketError, culprit: WebSocketConnection, other: WebSocketConnection) -> None:
    """A peer that broke the rules is told which; the other one hears how the first one left."""
    if isinstance(error, FrameError):
        culprit.refuse(error)
    if isinstance(error, ConnectionClosedError):
        other.close(error.code, error.reason)
    else:
        other.close(1011, "the other side broke the rules")


def create_app(upstream_url: str) -> Flask:
    """The application in front of `upstream_url` (`ws://HOST:PORT`)."""
    app = Flask(__name__)
    relays = LiveRelays()
    app.extensions["vocero"] = SimpleNamespace(conversations=relays)

    def carry(handshaken: Any, path: str) -> None:
        client = take_over(handshaken, write_deadline_seconds=WAIT_SECONDS, max_message_bytes=MAX_MESSAGE_BYTES)
        try:
            upstream = connect(
                f"{upstream_url}/{path}?{request.query_string.decode()}",
                write_deadline_seconds=WAIT_SECONDS,
                max_message_bytes=MAX_MESSAGE_BYTES,
            )
            try:
                relays.carry(client, upstream)
            finally:
                upstream.close()
        finally:
            client.close()

    flask_sock.Server = UpgradedSocket  # as the service does
    flask_sock.Sock(app).route("/relay/<path:path>")(carry)
    app.get("/livez")(lambda: "ok")
    app.wsgi_app = WithoutCompression(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented way
    return app


app = create_app(os.environ["SOAK_UPSTREAM_URL"])
