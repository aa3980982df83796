"""A real voice and a real dialogue for conversations with the local agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.fallback.faq_dialogue import FaqDialogue
from service.fallback.local_voice import EspeakVoice, Voice
from tests.parts import require_module
from tests.servers import ROOT
from tests.unit.fallback_agent.talk import Talk, profile

RECORDINGS = ROOT / "tests" / "data"

OpenTalk = Callable[..., Talk]


@pytest.fixture(scope="session")
def voice() -> Voice:
    require_module("espeakng_loader", "local")
    return EspeakVoice()


@pytest.fixture(scope="session")
def dialogue() -> FaqDialogue:
    return FaqDialogue.load(ROOT / "sandbox" / "faq.yaml")


@pytest.fixture
def start_talk(voice: Voice, dialogue: FaqDialogue) -> Iterator[OpenTalk]:
    """Start an agent: `start_talk(text_only=True, options={"ping_seconds": 1})`; fields are the profile's."""
    talks: list[Talk] = []

    def start(options: dict[str, Any] | None = None, **fields: Any) -> Talk:
        parts: dict[str, Any] = {"voice": voice, "dialogue": dialogue, **(options or {})}
        talks.append(Talk(profile(**fields), **parts))
        return talks[-1]

    yield start
    for talk in talks:
        talk.close()


@pytest.fixture
def open_talk(start_talk: OpenTalk) -> OpenTalk:
    """Start an agent and open the conversation with it."""

    def start(options: dict[str, Any] | None = None, **fields: Any) -> Talk:
        talk = start_talk(options, **fields)
        talk.open()
        return talk

    return start


@pytest.fixture
def recording() -> Callable[[str], Path]:
    """The path of a spoken question: `recording("question-hours-en")`."""
    return lambda name: RECORDINGS / f"{name}.wav"
