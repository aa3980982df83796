"""The child process that listens: `python -m service.fallback.ears_process CACHE_FOLDER`, started by `LocalEars`.

The key decision: it lives exactly as long as its standard input. When the parent goes, even by kill -9, the kernel
closes the other end, the next read finds the end of the stream, and the process is over.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import faster_whisper  # type: ignore[import-untyped]  # it has no stubs
import numpy as np
import numpy.typing as npt

from service.fallback import audio_formats, ears_wire
from service.fallback.whisper_model_files import assemble_model

_LANGUAGES = ("en", "es")
_MODEL_RATE = 16_000
_THREADS = 2
_NICENESS = 5
_SHORTEST_SECONDS = 0.1
_QUIETEST = 0.001  # root mean square of full scale: digital silence, on which Whisper says "You"
_NO_SPEECH, _LOW_LOG_PROBABILITY, _HIGHEST_COMPRESSION = 0.6, -1.0, 2.4
_TOKENS_PER_SECOND = 15  # fast speech has 8; without a bound, noise can be "I'm sorry" fifty times
_TOKENS_MORE = 10


class _Model(faster_whisper.WhisperModel):  # type: ignore[misc]  # it has no stubs, so the base is Any
    """Whisper that encodes a sound once: detecting the language and recognising the words need the same encoding.

    faster-whisper 1.2 encodes anew for the second, which doubles the time of a short utterance. The two inputs differ
    in one column, the last of the sound, which the second leaves out.
    """

    _encoded: tuple[npt.NDArray[np.float32], Any] | None = None

    def encode(self, features: npt.NDArray[np.float32]) -> Any:
        """Return the encoder's output for the log-mel `features`, from memory if it was just made."""
        kept, self._encoded = self._encoded, None
        if kept is not None and _differing_columns(kept[0], features) <= 1:
            return kept[1]
        output = super().encode(features)
        self._encoded = (features, output)
        return output


def main(cache_folder: Path) -> None:
    """Load the model, say so, and answer requests until the parent is gone."""
    requests, answers = _take_over_standard_streams()
    os.nice(_NICENESS)  # audio that is being relayed goes before words that are being guessed
    folder = assemble_model(cache_folder)
    model = _Model(str(folder), device="cpu", compute_type="int8", cpu_threads=_THREADS, local_files_only=True)
    ears_wire.write_answer(answers, {"ready": True})
    while (request := ears_wire.read_request(requests)) is not None:
        ears_wire.write_answer(answers, _answer(model, *request))


def _take_over_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep the parent's two streams for ourselves, so that a library's print cannot get among the answers."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return requests, answers


def _answer(model: Any, request: ears_wire.Request, pcm: bytes) -> ears_wire.Answer:
    try:
        return _recognise(model, request, pcm)
    except Exception as exc:  # noqa: BLE001 (a worker loop: one bad sound must not cost the next caller a reload)
        return {"error": type(exc).__name__}


def _recognise(model: Any, request: ears_wire.Request, pcm: bytes) -> ears_wire.Answer:
    sound = _floats(audio_formats.resample(pcm, source_rate=request.sample_rate, target_rate=_MODEL_RATE))
    if len(sound) < _SHORTEST_SECONDS * _MODEL_RATE or float(np.sqrt(np.mean(sound * sound))) < _QUIETEST:
        return {"text": "", "language": request.language or "en", "language_probability": 0.0, "words": []}
    segments, info = _run(model, sound, request, request.language)
    if info.language not in _LANGUAGES:
        chances = {name: chance for name, chance in info.all_language_probs or [] if name in _LANGUAGES}
        # Nothing is decoded before `segments` is read, so the first run cost its language detection only.
        segments, info = _run(model, sound, request, max(chances, key=lambda name: chances[name], default="en"))
    found = [segment for segment in segments if _is_speech(segment)]
    return {
        "text": " ".join(segment.text.strip() for segment in found).strip(),
        "language": info.language,
        "language_probability": float(info.language_probability),
        "words": [
            [word.word.strip(), float(word.start), float(word.end)] for segment in found for word in segment.words or []
        ],
    }


def _is_speech(segment: Any) -> bool:
    """Leave out what Whisper dreams up on noise and silence; the bounds are those of OpenAI's reference decoder."""
    silent = segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _LOW_LOG_PROBABILITY
    return not silent and segment.compression_ratio < _HIGHEST_COMPRESSION


def _run(model: Any, sound: npt.NDArray[np.float32], request: ears_wire.Request, language: str | None) -> Any:
    return model.transcribe(
        sound,
        language=language,
        beam_size=2,
        temperature=0.0,  # the default tries six temperatures on noise, six times the time
        condition_on_previous_text=False,
        word_timestamps=request.with_words,
        max_new_tokens=min(220, _TOKENS_MORE + int(_TOKENS_PER_SECOND * len(sound) / _MODEL_RATE)),
    )


def _differing_columns(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> int:
    if first.shape != second.shape:
        return int(first.shape[-1])
    return int(np.count_nonzero((first != second).any(axis=tuple(range(first.ndim - 1)))))


def _floats(pcm: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)  # the parent is gone, or Ctrl-C reached the whole group: nobody waits for us
