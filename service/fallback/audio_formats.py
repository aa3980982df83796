"""ElevenLabs' output formats: their names read into values, and s16le mono sound encoded into each of them.

The key decision: plain formats (pcm, wav, ulaw, alaw) need only numpy and soxr and always work; mp3 and opus need
FFmpeg, which comes with the `local` extra and is loaded at the first such request.
"""

from __future__ import annotations

import importlib
import importlib.util
import struct
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import soxr

from service.errors import RequestError
from service.fallback import companding

Codec = Literal["pcm", "wav", "ulaw", "alaw", "mp3", "opus"]
_CONTENT_TYPES: dict[Codec, str] = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "ulaw": "audio/basic",
    "alaw": "audio/x-alaw-basic",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class OutputFormat:
    """One output format: `sample_rate` in Hz, `kilobits` per second where the codec has a bit rate."""

    name: str
    codec: Codec
    sample_rate: int
    kilobits: int | None = None


def _formats() -> dict[str, OutputFormat]:
    rates = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
    found = [OutputFormat(f"pcm_{rate}", "pcm", rate) for rate in rates]
    found += [OutputFormat(f"wav_{rate}", "wav", rate) for rate in rates]
    found += [OutputFormat("ulaw_8000", "ulaw", 8000), OutputFormat("alaw_8000", "alaw", 8000)]
    mp3 = [(22050, 32), (24000, 48), *((44100, kilobits) for kilobits in (32, 64, 96, 128, 192))]
    found += [OutputFormat(f"mp3_{rate}_{kilobits}", "mp3", rate, kilobits) for rate, kilobits in mp3]
    found += [OutputFormat(f"opus_48000_{kilobits}", "opus", 48000, kilobits) for kilobits in (32, 64, 96, 128, 192)]
    return {entry.name: entry for entry in found}


OUTPUT_FORMATS = _formats()
"""Every format of `POST /v1/text-to-speech/{voice_id}`; source: ElevenLabs' OpenAPI, 2026-08-22."""

STREAMING_FORMATS = frozenset(name for name, entry in OUTPUT_FORMATS.items() if entry.codec != "wav")
"""The names that the streaming routes and sockets accept too: a wav file states its length at its begin."""


def parse_output_format(name: str, *, streaming: bool = False) -> OutputFormat:
    """Read a name like "pcm_16000" or "mp3_44100_128".

    Raises:
        RequestError: `invalid_output_format`: there is no such format, or none that can be streamed.
    """
    if name not in OUTPUT_FORMATS or (streaming and name not in STREAMING_FORMATS):
        allowed = ", ".join(sorted(STREAMING_FORMATS if streaming else OUTPUT_FORMATS))
        raise _refusal(f"Output format {name[:40]!r} is not supported here; choose one of {allowed}.")
    return OUTPUT_FORMATS[name]


def content_type(output_format: str | OutputFormat) -> str:
    """Return the HTTP content type of a format.

    Raises:
        RequestError: `invalid_output_format`.
    """
    return _CONTENT_TYPES[_parsed(output_format).codec]


class Packer(Protocol):
    """Turns samples of the right rate into bytes of one codec."""

    def pack(self, samples: companding.Samples) -> bytes:
        """Return what can be sent already, perhaps nothing."""

    def finish(self) -> bytes:
        """Return the rest. Called once, at the end."""


class AudioEncoder:
    """Encodes one stream of s16le mono sound, of `source_rate` Hz, piece by piece.

    Feed pieces of a quarter of a second or less on a gevent worker: mp3 and opus cost 10-20 ms a second of sound.

    Raises:
        RequestError: `invalid_output_format`: no such format, or it needs the `local` extra, which is not installed.
    """

    def __init__(self, output_format: str | OutputFormat, *, source_rate: int) -> None:
        self.format = _parsed(output_format)
        self._packer = _packer(self.format)
        self._resampler = (
            None
            if source_rate == self.format.sample_rate
            else soxr.ResampleStream(source_rate, self.format.sample_rate, 1, dtype="float32", quality="HQ")
        )
        self._odd = b""

    def feed(self, pcm: bytes) -> bytes:
        """Take sound, of any length (half a sample waits for its other half); return encoded bytes, perhaps none."""
        pcm = self._odd + pcm
        whole = len(pcm) - len(pcm) % _BYTES_PER_SAMPLE
        self._odd = pcm[whole:]
        return self._packer.pack(self._resampled(np.frombuffer(pcm[:whole], dtype="<i2"), last=False))

    def finish(self) -> bytes:
        """Return what is still inside; the encoder is of no more use."""
        rest = self._packer.pack(self._resampled(np.zeros(0, dtype="<i2"), last=True))
        return rest + self._packer.finish()

    def _resampled(self, samples: companding.Samples, *, last: bool) -> companding.Samples:
        if self._resampler is None:
            return samples
        return _whole(self._resampler.resample_chunk(samples.astype(np.float32), last=last))


def encode(pcm: bytes, output_format: str | OutputFormat, *, source_rate: int) -> bytes:
    """Encode a whole sound at once; see `AudioEncoder`."""
    encoder = AudioEncoder(output_format, source_rate=source_rate)
    return encoder.feed(pcm) + encoder.finish()


def resample(pcm: bytes, *, source_rate: int, target_rate: int) -> bytes:
    """Return s16le mono sound at another rate (Hz)."""
    if source_rate == target_rate:
        return pcm
    samples = np.frombuffer(pcm[: len(pcm) // _BYTES_PER_SAMPLE * _BYTES_PER_SAMPLE], dtype="<i2")
    resampled = soxr.resample(samples.astype(np.float32), source_rate, target_rate, quality="HQ")
    return _whole(resampled).astype("<i2").tobytes()


def _whole(samples: npt.NDArray[np.float32]) -> companding.Samples:
    """Round to 16 bits. soxr's own 16-bit mode adds noise against rounding, so that no two runs are alike."""
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


class _PcmPacker:
    def pack(self, samples: companding.Samples) -> bytes:
        return samples.astype("<i2").tobytes()

    def finish(self) -> bytes:
        return b""


class _CompandingPacker(_PcmPacker):
    def __init__(self, law: companding.Law) -> None:
        self._law = law

    def pack(self, samples: companding.Samples) -> bytes:
        return companding.compress(samples, self._law)


class _WavPacker(_PcmPacker):
    """Holds the sound back, since the header before it states its length. The text's length bounds it."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._body = bytearray()

    def pack(self, samples: companding.Samples) -> bytes:
        self._body += super().pack(samples)
        return b""

    def finish(self) -> bytes:
        return wav_header(len(self._body), self._sample_rate) + bytes(self._body)


def wav_header(body_bytes: int, sample_rate: int) -> bytes:
    """Return the 44 bytes before `body_bytes` of s16le mono sound (RIFF, Microsoft and IBM, 1991)."""
    rate_bytes = sample_rate * _BYTES_PER_SAMPLE
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, rate_bytes, _BYTES_PER_SAMPLE, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + body_bytes, b"WAVE") + layout + struct.pack("<4sI", b"data", body_bytes)


def _packer(wanted: OutputFormat) -> Packer:
    if wanted.codec == "pcm":
        return _PcmPacker()
    if wanted.codec == "wav":
        return _WavPacker(wanted.sample_rate)
    if wanted.codec == "ulaw" or wanted.codec == "alaw":
        return _CompandingPacker(wanted.codec)
    if importlib.util.find_spec("av") is None:
        raise _refusal(f"Output format {wanted.name} needs FFmpeg: install it with `pip install 'vocero[local]'`.")
    # FFmpeg is 60 MB that a server without mp3 clients never needs, and may not be installed at all.
    compressed = importlib.import_module("service.fallback.compressed_audio")
    packer: Packer = compressed.open_packer(wanted.codec, wanted.sample_rate, wanted.kilobits)
    return packer


def _parsed(output_format: str | OutputFormat) -> OutputFormat:
    return output_format if isinstance(output_format, OutputFormat) else parse_output_format(output_format)


def _refusal(message: str) -> RequestError:
    return RequestError(message, code="invalid_output_format", param="output_format")
