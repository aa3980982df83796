"""Send a socket's frames, and let a fault happen to them: late, hanging, cut off, closed with a code, or noise.

The key decision: whoever serves a socket sends through this and needs not know about faults; when the fault ends the
connection, `send` raises what a lost client would raise.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from typing import Any

from sandbox.faults import Fault
from service.errors import ConnectionClosedError
from service.websocket import WebSocketConnection


class FrameSender:
    """Sends JSON events over `connection`; safe from several threads.

    A frame that crosses `drop_after_bytes` (bytes of audio, before base64) is the last that is sent.
    """

    def __init__(self, connection: WebSocketConnection, fault: Fault | None, *, seed: int = 0) -> None:
        self._connection = connection
        self._fault = fault or Fault()
        self._dice = random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()
        self._frames = 0
        self._audio_bytes = 0

    def open(self) -> None:
        """Let those faults happen that strike before the first frame. Call it once, after the upgrade.

        Raises:
            ConnectionClosedError: the fault ended the connection.
        """
        if self._is_over():
            self._end()

    def send(self, event: Mapping[str, Any], *, audio_bytes: int = 0) -> None:
        """Send one event that carries so many bytes of audio.

        Raises:
            ConnectionClosedError: the client is gone, or the fault ended the connection.
            WriteDeadlineError: the client does not read.
        """
        with self._lock:
            first = self._frames == 0
            self._frames += 1
            self._audio_bytes += audio_bytes
        if first and self._fault.latency:
            time.sleep(self._fault.latency)
        payload = json.dumps(event, ensure_ascii=False)
        self._connection.send_text(self._noise(len(payload)) if self._fault.garbage else payload)
        if self._is_over():
            self._end()

    def _is_over(self) -> bool:
        fault = self._fault
        if fault.drop_after_frames is not None:
            return self._frames >= fault.drop_after_frames
        if fault.drop_after_bytes is not None:
            return self._audio_bytes >= fault.drop_after_bytes
        return fault.hang is not None or fault.close_code is not None

    def _end(self) -> None:
        time.sleep(self._fault.hang or 0)
        code = self._fault.close_code
        if code is None:
            self._connection.abort()
        else:
            self._connection.close(code, self._fault.close_reason)
        raise ConnectionClosedError(code or 1006, "ended by a fault rule")

    def _noise(self, length: int) -> str:
        return "<" + self._dice.randbytes(length // 2).hex()  # "<" begins no JSON value
