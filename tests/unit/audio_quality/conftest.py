"""The models of the `quality` extra, loaded once."""

from __future__ import annotations

import pytest

from service.audio_quality.speech_models import SpeechModels
from tests.parts import require_module


@pytest.fixture(scope="session")
def models() -> SpeechModels:
    require_module("onnxruntime", "quality")
    require_module("speechmos", "quality")
    return SpeechModels()
