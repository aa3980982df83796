"""A relay as the documentation of flask-sock and simple-websocket leads one to write it, for gunicorn's gevent worker.

Nothing is tuned. It has the faults that the service was built to avoid (docs/architecture.md): a slow reader gets
garbage, because simple-websocket does not look at how much of a frame was sent.
"""

from __future__ import annotations

import threading
from typing import Any

import simple_websocket  # type: ignore[import-untyped]  # it ships none
from flask import Flask
from flask_sock import Sock

from benchmarks.generator.targets import CONVERSATION_PATH


def create_app(upstream_port: int) -> Flask:
    """The application, relaying to the fake upstream at this port."""
    app = Flask(__name__)
    sock = Sock(app)

    @sock.route(CONVERSATION_PATH)  # type: ignore[untyped-decorator]  # flask-sock has no types
    def relay(client: Any) -> None:
        agent = simple_websocket.Client(f"ws://127.0.0.1:{upstream_port}{CONVERSATION_PATH}")
        back = threading.Thread(target=_pump, args=(agent, client), daemon=True)
        back.start()
        _pump(client, agent)
        back.join()

    return app


def _pump(source: Any, sink: Any) -> None:
    try:
        while True:
            sink.send(source.receive())
    except simple_websocket.ConnectionClosed:
        try:
            sink.close()
        except simple_websocket.ConnectionClosed:
            return
