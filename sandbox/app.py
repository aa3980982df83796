"""Build the sandbox's WSGI application from its parts.

The key decision: every answer, also of the agents' routes, goes through `sandbox.door`: there requests are counted,
refused by fault rules and broken on the way out. A part only registers its routes. The endpoint's name is the route's
name in rules and statistics (`tts.stream`, `agents.conversation`).
"""

from __future__ import annotations

from flask import Flask
from flask_sock import Sock

from sandbox import account, agents, control, door, speech_routes, speech_sockets, transcription
from sandbox.state import SandboxState
from service.websocket import SERVER_OPTIONS, WithoutCompression

MAX_BODY_BYTES = 64 * 1024 * 1024


def create_app(state: SandboxState) -> Flask:
    """Give the application for one sandbox; nothing is opened."""
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it, the base class does not
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["SOCK_SERVER_OPTIONS"] = {**SERVER_OPTIONS, "subprotocols": ["convai"]}
    sock = Sock(app)
    door.register(app, state)
    control.register(app, state)
    account.register(app, state)
    speech_routes.register(app, state)
    speech_sockets.register(app, sock, state)
    transcription.register(app, state)
    agents.register(app, sock, state)
    app.wsgi_app = WithoutCompression(app.wsgi_app)  # type: ignore[method-assign]  # Flask's way to wrap it
    return app
