"""Send a socket's frames, and let a fault happen to them: late, hanging, cut off, closed with a code, or noise.

The key decision: whoever serves a socket sends through this and needs not know about faults; when the fault ends the
connection, `send` raises what a lost client would raise.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.faults import Fault
from service.errors import ConnectionClosedError
from service.websocket import WebSocketConnection

LOOK_SECONDS = 0.05
"""How often a fault that hangs looks whether the client is still there."""


class FrameSender:
    """Sends JSON events over `connection`; safe from several threads.

    A frame that crosses `drop_after_bytes` (bytes of audio, before base64) is the last that is sent. `on_struck` is
    told when the fault begins to be seen by the client.
    """

    def __init__(self, connection: WebSocketConnection, fault: Fault | None, *, seed: int = 0) -> None:
        self._connection = connection
        self._dice = random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()
        self.on_struck: Callable[[], None] = _nobody_asks
        self.arm(fault)

    def arm(self, fault: Fault | None) -> None:
        """Let this fault happen from now on instead of the one there was."""
        self._fault = fault or Fault()
        self._place = _Place(self._fault)
        self._frames = 0
        self._audio_bytes = 0

    def open(self) -> None:
        """Let those faults happen that strike before the first frame. Call it once, after the upgrade.

        Raises:
            ConnectionClosedError: the fault ended the connection.
        """
        if self._place.is_reached and self._is_over():
            self._end()

    def send(self, event: Mapping[str, Any], *, audio_bytes: int = 0) -> None:
        """Send one event that carries so many bytes of audio.

        Raises:
            ConnectionClosedError: the client is gone, or the fault ended the connection.
            WriteDeadlineError: the client does not read.
        """
        was_reached = self._place.is_reached
        if self._place.begins_before(event) and not was_reached and self._is_over():
            self._end()
        with self._lock:
            first = self._place.is_reached and self._frames == 0
            self._frames += self._place.is_reached
            self._audio_bytes += audio_bytes if self._place.is_reached else 0
        if first and self._fault.latency:
            self.on_struck()
            self._wait(self._fault.latency)
        payload = json.dumps(event, ensure_ascii=False)
        if self._fault.garbage and self._place.is_reached:
            self.on_struck()
            payload = self._noise(len(payload))
        self._connection.send_text(payload)
        self._place.sent(event)
        if self._place.is_reached and self._is_over():
            self._end()

    def _is_over(self) -> bool:
        fault = self._fault
        if fault.drop_after_frames is not None:
            return self._frames >= fault.drop_after_frames
        if fault.drop_after_bytes is not None:
            return self._audio_bytes >= fault.drop_after_bytes
        return fault.hang is not None or fault.close_code is not None

    def _end(self) -> None:
        self.on_struck()
        self._wait(self._fault.hang or 0)
        code = self._fault.close_code
        if code is None:
            self._connection.abort()
        else:
            self._connection.close(code, self._fault.close_reason)
        raise ConnectionClosedError(code or 1006, "ended by a fault rule")

    def _wait(self, seconds: float) -> None:
        """Wait, but not for a client that has left: its place is somebody else's."""
        end = time.monotonic() + seconds
        while self._connection.is_open and (left := end - time.monotonic()) > 0:
            time.sleep(min(LOOK_SECONDS, left))

    def _noise(self, length: int) -> str:
        return "<" + self._dice.randbytes(length // 2).hex()  # "<" begins no JSON value


class _Place:
    """Where in a conversation a fault begins; one without a `turn` has begun before the first frame."""

    def __init__(self, fault: Fault) -> None:
        self._turn = fault.turn
        self._after_characters = fault.after_characters
        self._answers = 0
        self._characters = 0
        self.is_reached = fault.turn is None

    def begins_before(self, event: Mapping[str, Any]) -> bool:
        """Look at an event that is about to be sent; whether the fault has begun."""
        if self._turn is not None and self._after_characters is None and event.get("type") == "agent_response":
            self.is_reached = self.is_reached or self._answers + 1 >= self._turn
        return self.is_reached

    def sent(self, event: Mapping[str, Any]) -> None:
        """Note an event that was sent."""
        kind = event.get("type")
        if kind == "agent_response":
            self._answers += 1
            self._characters = 0
        elif kind == "audio":
            self._characters += len(event["audio_event"].get("alignment", {}).get("chars", ()))
        if self._turn is not None and self._after_characters is not None:
            is_in_turn = self._answers == self._turn and self._characters >= self._after_characters
            self.is_reached = self.is_reached or is_in_turn


def _nobody_asks() -> None:
    pass
