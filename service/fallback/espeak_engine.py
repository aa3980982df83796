"""espeak-ng inside our process, through ctypes: one utterance at a time, as samples and the begins of its words.

The key decision: espeak-ng keeps its state in C globals, so a process has one engine and one lock, whoever asks for
it. The wheel `espeakng-loader` (GPL-3.0, an optional extra) brings the library and its data.
C API: https://github.com/espeak-ng/espeak-ng/blob/master/src/include/espeak-ng/speak_lib.h
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import threading
from dataclasses import dataclass

from service.errors import ConfigurationError

_OUTPUT_SYNCHRONOUS = 2
_BUFFER_MILLISECONDS = 200
_OPTION_DO_NOT_EXIT = 0x8000
_RATE, _PITCH = 1, 3
_CHARACTERS_UTF8, _PAUSE_AT_END = 0x1, 0x1000
_POSITION_CHARACTER = 1
_EVENT_LAST, _EVENT_WORD = 0, 1
_FALLBACK_VOICE = "en-us"
LOCK_SECONDS = 10.0


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Utterance:
    """Samples (s16le mono) and, for each word, the index of its first character and its begin in seconds."""

    pcm: bytes
    words: tuple[tuple[int, float], ...]


class EspeakEngine:
    """The process's one espeak-ng; get it from `shared_engine`."""

    def __init__(self, library_path: str, data_path: str) -> None:
        self._lock = threading.Lock()
        self._library = ctypes.CDLL(library_path)
        self._declare()
        self.sample_rate: int = self._library.espeak_Initialize(
            _OUTPUT_SYNCHRONOUS, _BUFFER_MILLISECONDS, data_path.encode(), _OPTION_DO_NOT_EXIT
        )
        if self.sample_rate <= 0:
            raise ConfigurationError("espeak-ng found no data of its own: reinstall the package espeakng-loader.")
        self._pcm = bytearray()
        self._words: list[tuple[int, float]] = []
        self._callback = _Callback(self._take)  # espeak-ng keeps only the address: we must keep the object
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, *, voice: str, suffix: str, rate: int, pitch: int) -> Utterance:
        """Speak `text` with espeak-ng's `voice` and variant `suffix`; `rate` in words a minute, `pitch` 0-99.

        Blocks its thread for about 1.5 ms a second of speech, so texts should be single sentences.

        Raises:
            TimeoutError: another thread held the engine for `LOCK_SECONDS`.
        """
        payload = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        if not self._lock.acquire(timeout=LOCK_SECONDS):
            raise TimeoutError(f"espeak-ng was busy for {LOCK_SECONDS} s")
        try:
            self._pcm, self._words = bytearray(), []
            self._choose(voice, suffix)
            self._library.espeak_SetParameter(_RATE, rate, 0)
            self._library.espeak_SetParameter(_PITCH, pitch, 0)
            self._library.espeak_Synth(
                payload, len(payload), 0, _POSITION_CHARACTER, 0, _CHARACTERS_UTF8 | _PAUSE_AT_END, None, None
            )
            return Utterance(bytes(self._pcm), tuple(self._words))
        finally:
            self._lock.release()

    def _choose(self, voice: str, suffix: str) -> None:
        if self._library.espeak_SetVoiceByName(f"{voice}+{suffix}".encode()):
            self._library.espeak_SetVoiceByName(f"{_FALLBACK_VOICE}+{suffix}".encode())

    def _take(self, samples: int | None, count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count > 0:
            self._pcm += ctypes.string_at(samples, 2 * count)
        index = 0
        while (event := events[index]).type != _EVENT_LAST:
            if event.type == _EVENT_WORD:
                self._words.append((event.text_position - 1, event.audio_position / 1000))
            index += 1
        return 0

    def _declare(self) -> None:
        self._library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        self._library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        self._library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip


_engine_lock = threading.Lock()


def shared_engine() -> EspeakEngine:
    """Return the process's engine, loading it at the first call (about 10 ms).

    Raises:
        ConfigurationError: the package is not installed or its library does not load here.
    """
    with _engine_lock:
        return _load_engine()


@functools.cache
def _load_engine() -> EspeakEngine:
    try:
        loader = importlib.import_module("espeakng_loader")
        return EspeakEngine(loader.get_library_path(), loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as exc:
        raise ConfigurationError(f"espeak-ng cannot be loaded: {exc}") from exc
