from __future__ import annotations

import io
import subprocess
import sys
import wave

import numpy as np
import pytest

from service.errors import RequestError
from service.fallback import companding
from service.fallback.audio_formats import (
    OUTPUT_FORMATS,
    STREAMING_FORMATS,
    AudioEncoder,
    content_type,
    encode,
    parse_output_format,
    resample,
)
from tests.parts import require_module

SOURCE_RATE = 22_050
SECONDS = 2.0
COMPRESSED = ("mp3", "opus")
PLAIN_FORMATS = [name for name, entry in OUTPUT_FORMATS.items() if entry.codec not in COMPRESSED]
COMPRESSED_FORMATS = [name for name, entry in OUTPUT_FORMATS.items() if entry.codec in COMPRESSED]


def tone(rate: int = SOURCE_RATE, hertz: float = 440.0) -> bytes:
    """A tone of `SECONDS`, a third of full scale, with soft begin and end."""
    times = np.arange(int(SECONDS * rate)) / rate
    fade = np.minimum(1, np.minimum(times, SECONDS - times) / 0.05)
    return (10_000 * fade * np.sin(2 * np.pi * hertz * times)).astype("<i2").tobytes()


def in_pieces(name: str, pcm: bytes, size: int) -> tuple[list[bytes], bytes]:
    """What feeding piece by piece gave, and the end."""
    encoder = AudioEncoder(name, source_rate=SOURCE_RATE)
    return [encoder.feed(pcm[begin : begin + size]) for begin in range(0, len(pcm), size)], encoder.finish()


def loudness(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


def strongest_hertz(samples: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples.astype(float)))) * rate / len(samples))


def decoded_plain(name: str, data: bytes) -> np.ndarray:
    codec = OUTPUT_FORMATS[name].codec
    if codec == "wav":
        with wave.open(io.BytesIO(data)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert file.getframerate() == OUTPUT_FORMATS[name].sample_rate
            data = file.readframes(file.getnframes())
    if codec == "ulaw" or codec == "alaw":
        return companding.expand(data, codec)
    return np.frombuffer(data, dtype="<i2")


def decoded_by_ffmpeg(data: bytes) -> tuple[np.ndarray, int]:
    import av

    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate(frames)
    return samples * 32_768 if samples.dtype.kind == "f" else samples, rate


def assert_is_the_tone(samples: np.ndarray, rate: int, *, padding_seconds: float) -> None:
    assert len(samples) / rate == pytest.approx(SECONDS, abs=padding_seconds)
    assert loudness(samples) == pytest.approx(
        loudness(np.frombuffer(tone(), dtype="<i2")), rel=0.08
    )  # LAME lowers low rates by 0.6 dB
    assert strongest_hertz(samples, rate) == pytest.approx(440, abs=1.5)


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_a_plain_format_keeps_length_level_and_pitch(name: str) -> None:
    pieces, end = in_pieces(name, tone(), 1001)  # odd, so samples are torn

    samples = decoded_plain(name, b"".join(pieces) + end)
    assert_is_the_tone(samples, OUTPUT_FORMATS[name].sample_rate, padding_seconds=0.001)


@pytest.mark.parametrize("name", COMPRESSED_FORMATS)
def test_a_compressed_format_decodes_to_the_same_length_level_and_pitch(name: str) -> None:
    require_module("av", "local")
    pieces, end = in_pieces(name, tone(), 1001)

    data = b"".join(pieces) + end
    samples, rate = decoded_by_ffmpeg(data)
    assert rate == OUTPUT_FORMATS[name].sample_rate
    assert_is_the_tone(samples, rate, padding_seconds=0.09)  # mp3 pads to whole frames, and delays by two


@pytest.mark.parametrize("name", [name for name in COMPRESSED_FORMATS if OUTPUT_FORMATS[name].codec == "mp3"])
def test_an_mp3_has_the_bit_rate_of_its_name(name: str) -> None:
    require_module("av", "local")
    data = encode(tone(), name, source_rate=SOURCE_RATE)

    kilobits = OUTPUT_FORMATS[name].kilobits
    assert kilobits is not None
    assert len(data) * 8 / 1000 / SECONDS == pytest.approx(kilobits, rel=0.06)


@pytest.mark.parametrize("name", sorted(STREAMING_FORMATS))
def test_a_streaming_format_gives_its_first_bytes_within_a_quarter_of_a_second_of_sound(name: str) -> None:
    if OUTPUT_FORMATS[name].codec in COMPRESSED:
        require_module("av", "local")
    pieces, _ = in_pieces(name, tone(), SOURCE_RATE // 4 * 2)

    assert all(pieces[:-1])  # the last is what is left over, perhaps a single sample


@pytest.mark.parametrize("name", PLAIN_FORMATS)
def test_encoding_piece_by_piece_leaves_no_seams(name: str) -> None:
    pieces, end = in_pieces(name, tone(), 777)

    seamed = decoded_plain(name, b"".join(pieces) + end).astype(int)
    whole = decoded_plain(name, encode(tone(), name, source_rate=SOURCE_RATE)).astype(int)
    step = 512 if OUTPUT_FORMATS[name].codec in ("ulaw", "alaw") else 1  # a rounding, worth one code at this level
    assert len(seamed) == len(whole)
    assert np.abs(seamed - whole).max() <= step


@pytest.mark.parametrize("name", ["pcm_16000", "ulaw_8000", "wav_44100"])
def test_no_sound_encodes_to_no_samples(name: str) -> None:
    assert len(decoded_plain(name, encode(b"", name, source_rate=SOURCE_RATE))) == 0


def test_no_sound_encodes_to_an_mp3_and_opus_that_end() -> None:
    require_module("av", "local")
    for name in ("mp3_44100_128", "opus_48000_64"):
        encode(b"", name, source_rate=SOURCE_RATE)


def test_downsampling_leaves_no_mirror_of_what_is_above_the_new_limit() -> None:
    """6 kHz cannot be held at 8 kHz samples; without a filter it would be heard as 2 kHz."""
    high = np.frombuffer(resample(tone(hertz=6000), source_rate=SOURCE_RATE, target_rate=8000), dtype="<i2")

    assert loudness(high) < 20


@pytest.mark.parametrize(
    "name", ["", "mp3", "pcm_16001", "MP3_44100_128", "pcm_16000 ", "flac_44100", "mp3_44100_999", "x" * 10_000]
)
def test_an_unknown_format_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(RequestError) as refused:
        AudioEncoder(name, source_rate=SOURCE_RATE)

    assert (refused.value.code, refused.value.param) == ("invalid_output_format", "output_format")
    assert "mp3_44100_128" in refused.value.message
    assert len(refused.value.message) < 1000


def test_wav_cannot_be_streamed() -> None:
    assert parse_output_format("wav_16000").codec == "wav"
    with pytest.raises(RequestError, match="not supported here"):
        parse_output_format("wav_16000", streaming=True)


@pytest.mark.parametrize(
    ("name", "kind"), [("mp3_44100_128", "audio/mpeg"), ("pcm_16000", "audio/pcm"), ("opus_48000_32", "audio/ogg")]
)
def test_the_content_type_names_the_codec(name: str, kind: str) -> None:
    assert content_type(name) == kind


def test_without_the_extra_mp3_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(RequestError, match=r"vocero\[local\]") as refused:
        AudioEncoder("mp3_44100_128", source_rate=SOURCE_RATE)
    assert refused.value.code == "invalid_output_format"
    assert encode(tone(), "ulaw_8000", source_rate=SOURCE_RATE)


def test_a_file_of_any_kind_is_decoded_and_rubbish_is_refused() -> None:
    require_module("av", "local")
    from service.fallback.compressed_audio import decode_file

    for name in ("mp3_44100_64", "opus_48000_64", "wav_24000"):
        data = encode(tone(), name, source_rate=SOURCE_RATE)
        samples = np.frombuffer(decode_file(data, sample_rate=16_000), dtype="<i2")
        assert_is_the_tone(samples, 16_000, padding_seconds=0.09)
    for rubbish in (b"", b"not a sound", bytes(10_000)):
        with pytest.raises(RequestError) as refused:
            decode_file(rubbish, sample_rate=16_000)
        assert refused.value.code == "invalid_audio"


def test_importing_the_engine_loads_nothing_heavy() -> None:
    modules = ("local_voice", "audio_formats", "utterances", "local_ears", "faq_dialogue")
    program = (
        f"import sys\nfrom service.fallback import {', '.join(modules)}\n"
        "print([name for name in ('av', 'faster_whisper', 'ctranslate2', 'webrtcvad', 'onnxruntime', 'gevent', 'flask')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True, text=True)

    assert done.stdout.strip() == "[]"
