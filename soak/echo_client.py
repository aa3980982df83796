"""A client that repeats every message until its peer ends the talk; made with `websockets`, as `echo_server` is."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

OPEN_SECONDS = 10.0
SILENCE_SECONDS = 60.0


def repeat(url: str) -> None:
    """Connect to `url` and send back whatever comes, until the connection ends.

    Raises:
        TimeoutError: nothing came for `SILENCE_SECONDS`.
        OSError, websockets.exceptions.InvalidHandshake: no connection.
    """
    with connect(
        url, compression=None, max_size=None, ping_interval=None, open_timeout=OPEN_SECONDS, close_timeout=OPEN_SECONDS
    ) as peer:
        try:
            while True:
                peer.send(peer.recv(timeout=SILENCE_SECONDS))
        except ConnectionClosed:
            return


def ask(url: str) -> str:
    """The one text message that a server says at `url`; raises as `repeat`."""
    with connect(url, compression=None, open_timeout=OPEN_SECONDS) as peer:
        return str(peer.recv(timeout=SILENCE_SECONDS))
