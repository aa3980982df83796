"""mp3 and Ogg Opus through FFmpeg (PyAV, in the `local` extra): streaming encoders, and a decoder of whole files.

The key decision: only this module imports `av`, and only `service.fallback.audio_formats` loads it, when asked for a
format that needs it.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from service.errors import RequestError
from service.fallback.companding import Samples

_PAGE_MICROSECONDS = "60000"  # Ogg's default page is one second: the first sound would wait for it
MAX_DECODED_SECONDS = 600


def open_packer(codec: Literal["mp3", "opus"], sample_rate: int, kilobits: int) -> Mp3Packer | OggOpusPacker:
    """Return the encoder of that codec for s16 mono samples of `sample_rate` Hz."""
    return Mp3Packer(sample_rate, kilobits) if codec == "mp3" else OggOpusPacker(sample_rate, kilobits)


class Mp3Packer:
    """Encodes to bare mp3 frames; any frame boundary is a valid begin, as in ElevenLabs' streams."""

    def __init__(self, sample_rate: int, kilobits: int) -> None:
        context = av.CodecContext.create("libmp3lame", "w")
        assert isinstance(context, AudioCodecContext)  # noqa: S101 (narrows PyAV's union for the type checker)
        context.sample_rate = sample_rate
        context.layout = "mono"
        context.format = "s16p"
        context.bit_rate = kilobits * 1000
        context.options = {"compression_level": "7"}  # half the time of the default, no difference for speech
        context.open()
        self._context = context
        self._frames = _Framing(sample_rate, context.frame_size, "s16p")

    def pack(self, samples: Samples) -> bytes:
        """Return the mp3 frames that are complete."""
        return self._encoded(self._frames.take(samples))

    def finish(self) -> bytes:
        """Return the last frames."""
        return self._encoded(self._frames.rest()) + self._encoded([None])

    def _encoded(self, frames: list[AudioFrame] | list[None]) -> bytes:
        return b"".join(bytes(packet) for frame in frames for packet in self._context.encode(frame))


class OggOpusPacker:
    """Encodes to an Ogg stream of Opus packets (RFC 7845) with short pages."""

    def __init__(self, sample_rate: int, kilobits: int) -> None:
        self._sink = _Sink()
        self._container: Any = av.open(self._sink, "w", format="ogg", options={"page_duration": _PAGE_MICROSECONDS})
        self._stream: Any = self._container.add_stream("libopus", rate=sample_rate, layout="mono")
        self._stream.bit_rate = kilobits * 1000
        self._stream.format = "s16"
        self._stream.codec_context.open()
        self._frames = _Framing(sample_rate, self._stream.codec_context.frame_size or sample_rate // 50, "s16")

    def pack(self, samples: Samples) -> bytes:
        """Return the Ogg pages that are complete."""
        return self._muxed(self._frames.take(samples))

    def finish(self) -> bytes:
        """Return the last pages."""
        self._muxed(self._frames.rest())
        self._muxed([None])
        self._container.close()
        return self._sink.taken()

    def _muxed(self, frames: list[AudioFrame] | list[None]) -> bytes:
        for frame in frames:
            self._container.mux(self._stream.encode(frame))
        return self._sink.taken()


def decode_file(data: bytes, *, sample_rate: int) -> bytes:
    """Return the sound of an audio file of any kind as s16le mono of `sample_rate` Hz, at most 10 minutes of it.

    Raises:
        RequestError: `invalid_audio`: FFmpeg finds no sound in it.
    """
    resampler = AudioResampler(format="s16", layout="mono", rate=sample_rate)
    limit = 2 * sample_rate * MAX_DECODED_SECONDS
    pcm = bytearray()
    try:
        with av.open(io.BytesIO(data), "r") as container:
            for frame in container.decode(audio=0):
                for part in resampler.resample(frame):
                    pcm += part.to_ndarray().astype("<i2").tobytes()
                if len(pcm) >= limit:
                    break
    except (FFmpegError, IndexError, ValueError) as exc:
        raise RequestError("The file holds no sound that can be read.", code="invalid_audio", param="file") from exc
    return bytes(pcm[:limit])


class _Framing:
    """Cuts samples into the frames of a codec's size, with rising time stamps."""

    def __init__(self, sample_rate: int, frame_size: int, sample_format: str) -> None:
        self._sample_rate = sample_rate
        self._frame_size = frame_size
        self._sample_format = sample_format
        self._fifo = AudioFifo()

    def take(self, samples: Samples) -> list[AudioFrame]:
        if samples.size:
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], self._sample_format, "mono")
            frame.sample_rate = self._sample_rate
            frame.pts = None
            self._fifo.write(frame)
        return self._fifo.read_many(self._frame_size)

    def rest(self) -> list[AudioFrame]:
        last = self._fifo.read(0, partial=True)
        return [] if last is None else [last]


class _Sink(io.RawIOBase):
    """A file that is only written to; `taken` empties it."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken
