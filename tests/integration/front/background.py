"""A server that answers in a thread of its own for as long as a block lasts."""

from __future__ import annotations

import socketserver
import threading


class Background:
    """Whoever sets `_server` before its block begins is served by it until the block's end."""

    _server: socketserver.BaseServer

    def _serve(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
