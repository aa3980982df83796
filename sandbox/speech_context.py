"""One context of a speech socket: texts are spoken one after the other while more come in.

The key decision: a thread of its own for each context, fed by a bounded queue. So the socket's reader keeps reading
(and answering pings) while sound goes out at its pace, and a client that writes too fast is held back by TCP.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from sandbox.errors import ApiError
from sandbox.faults import Fault
from sandbox.limits import SlotsTakenError
from sandbox.speech_routes import too_many_requests
from sandbox.state import SandboxState
from sandbox.stream_messages import StreamError, as_stream_error
from sandbox.synthesis import Order, speak
from service.errors import SocketError
from service.fallback.timed_audio import Chunk, with_sound

MAX_WAITING_TEXTS = 100
_PUT_SECONDS = 60.0


class SpeechContext:
    """Speaks the texts that `say` is given, in the voice and format of `order`.

    `on_chunk` gets each chunk, `on_end` is called once when all is spoken after `finish`, `on_failure` when something
    refuses. They are called on the context's own thread and may raise SocketError: then the context is over.
    """

    def __init__(
        self,
        state: SandboxState,
        order: Order,
        *,
        route: str,
        fault: Fault | None,
        on_chunk: Callable[[Chunk], None],
        on_end: Callable[[], None],
        on_failure: Callable[[StreamError], None],
    ) -> None:
        self._state = state
        self._order = order
        self._route = route
        self._fault = fault
        self._on_chunk = on_chunk
        self._on_end = on_end
        self._on_failure = on_failure
        self._texts: queue.Queue[str | None] = queue.Queue(MAX_WAITING_TEXTS)
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="speech-context", daemon=True)

    def start(self) -> None:
        """Begin to speak."""
        self._thread.start()

    def say(self, text: str) -> None:
        """Speak `text` after what is waiting; "" does nothing. Waits while too much is waiting already.

        Raises:
            StreamError: too much was waiting for too long.
        """
        if text:
            self._put(text)

    def finish(self) -> None:
        """Say that no more text will come: `on_end` follows the last sound."""
        self._put(None)

    def cancel(self) -> None:
        """Stop at the next chunk; nobody is called any more."""
        self._cancelled.set()
        try:
            self._texts.put_nowait(None)
        except queue.Full:
            return  # the thread has work to do and will see the event

    def _put(self, text: str | None) -> None:
        try:
            self._texts.put(text, timeout=_PUT_SECONDS)
        except queue.Full:
            raise StreamError("queue_overflow", f"More than {MAX_WAITING_TEXTS} texts are waiting.") from None

    def _run(self) -> None:
        with suppress(SocketError):  # the client is gone: the socket's reader sees it too and ends the session
            self._speak_all()

    def _speak_all(self) -> None:
        try:
            while (text := self._texts.get()) is not None and not self._cancelled.is_set():
                self._speak(text)
            if not self._cancelled.is_set():
                self._on_end()
        except SlotsTakenError as taken:
            self._on_failure(as_stream_error(too_many_requests(taken)))
        except ApiError as refused:
            self._on_failure(as_stream_error(refused))

    def _speak(self, text: str) -> None:
        order = replace(self._order, text=text)
        with self._state.limits.speech(order.model.group).lease():
            self._state.stats.spoken(self._route, order.voice.voice_id, text)
            for chunk in with_sound(speak(self._state, order, self._fault)):
                if self._cancelled.is_set():
                    return
                self._on_chunk(chunk)
