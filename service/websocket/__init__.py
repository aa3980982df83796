"""The wire: RFC 6455 frames and the one wrapper around a WebSocket's socket that both our sides use.

The key decision: libraries do the handshakes (simple-websocket under flask-sock for servers, `websockets` for
clients) and never see a frame; frames are ours, because the libraries' own paths lose bytes when a reader pauses,
read without bound, and cost 5 to 10 times as much for each frame (docs/architecture.md).
"""

from service.websocket.client import connect
from service.websocket.connection import LentSocket, WebSocketConnection
from service.websocket.frames import BINARY, TEXT
from service.websocket.messages import Message, MessageReader
from service.websocket.server import SERVER_OPTIONS, WithoutCompression, take_over

__all__ = [
    "BINARY",
    "SERVER_OPTIONS",
    "TEXT",
    "LentSocket",
    "Message",
    "MessageReader",
    "WebSocketConnection",
    "WithoutCompression",
    "connect",
    "take_over",
]
