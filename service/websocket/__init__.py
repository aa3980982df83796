"""The wire: RFC 6455 handshakes and frames, and the one wrapper around a WebSocket's socket that both our sides use.

The key decision: handshakes and frames are ours, with libraries as the judges in the tests. The libraries' own paths
lose bytes when a reader pauses, read without bound, cost 5 to 10 times as much for each frame and a millisecond more
for each conversation that is opened (docs/architecture.md).
"""

from service.websocket.client import connect, dial, open_tcp, upgrade
from service.websocket.connection import LentSocket, WebSocketConnection
from service.websocket.frames import BINARY, TEXT
from service.websocket.liveness import is_quiet
from service.websocket.messages import Message, MessageReader
from service.websocket.server import SERVER_OPTIONS, UpgradedSocket, WithoutCompression, take_over

__all__ = [
    "BINARY",
    "SERVER_OPTIONS",
    "TEXT",
    "LentSocket",
    "Message",
    "MessageReader",
    "UpgradedSocket",
    "WebSocketConnection",
    "WithoutCompression",
    "connect",
    "dial",
    "is_quiet",
    "open_tcp",
    "take_over",
    "upgrade",
]
