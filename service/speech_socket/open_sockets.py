"""The speech sockets of this worker: how many there may be, and how they end when it leaves.

The key decision: they have places of their own, so that neither they nor conversations can take all of a worker's
connections. A socket is mostly there for one text; a worker that leaves waits for that, as it does for a turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

from service.conversation.draining import SERVICE_RESTART
from service.conversation.endings import RESTARTS
from service.errors import ServiceUnavailableError
from service.metrics_speech_sockets import (
    SpeechSocketEnd,
    speech_socket_ended,
    speech_socket_opened,
    speech_socket_places,
)

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.1


class OpenSocket(Protocol):
    """A speech socket as its worker sees it."""

    @property
    def is_local(self) -> bool:
        """Whether the backup speaks, or has spoken last."""

    def end(self, code: int, reason: str) -> None:
        """End it now."""


class OpenSpeechSockets:
    """Holds them; `capacity` is how many this worker takes, `drain_seconds` how long it waits for them at its end."""

    def __init__(self, *, capacity: int, drain_seconds: float) -> None:
        self._capacity = capacity
        self._drain_seconds = drain_seconds
        self._open: set[OpenSocket] = set()
        self._lock = threading.Lock()
        self._is_draining = False
        speech_socket_places(capacity)

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def place(self, socket: OpenSocket) -> Iterator[None]:
        """A place for as long as the block runs.

        Raises:
            ServiceUnavailableError: all are taken, or the worker is leaving.
        """
        with self._lock:
            if self._is_draining or len(self._open) >= self._capacity:
                speech_socket_ended(SpeechSocketEnd.NO_PLACE)
                raise ServiceUnavailableError("No speech socket can be opened now; try again.", retry_after=2.0)
            self._open.add(socket)
        speech_socket_opened()
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(socket)
            speech_socket_ended(SpeechSocketEnd.LOCAL if socket.is_local else SpeechSocketEnd.ELEVENLABS)

    def drain(self) -> None:
        """Take no more, wait for those that are open, and end those that are still there then (1012)."""
        with self._lock:
            self._is_draining = True
        latest, pause = time.monotonic() + self._drain_seconds, threading.Event()
        while self._open and time.monotonic() < latest:
            pause.wait(_LOOK_SECONDS)
        with self._lock:
            late = list(self._open)
        for socket in late:
            # Each has its own thread: one client that does not read must not keep the others waiting.
            threading.Thread(target=socket.end, args=(SERVICE_RESTART, RESTARTS), daemon=True).start()
        if late:
            log.info("speech sockets were ended", count=len(late))
