"""Local legs: what they begin with, what they cannot do, and that nothing is left of them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from service.errors import ConfigurationError, ServiceUnavailableError
from service.fallback.backup_lines import polite_refusal
from service.fallback.backup_parts import BackupParts, PartsOptions
from service.fallback.local_leg import LocalLegs, PastTurn, Takeover
from service.fallback.local_voice import EspeakVoice
from service.fallback.spoken_piece import SpokenPiece
from service.fallback.tone_voice import ToneVoice
from tests.integration.providers.conftest import make_legs
from tests.integration.providers.leg_talk import LIMIT, LegTalk
from tests.parts import require_module
from tests.servers import ROOT

OpenLeg = Callable[..., LegTalk]


@pytest.fixture(scope="module")
def parts_and_legs() -> Iterator[tuple[BackupParts, LocalLegs]]:
    require_module("espeakng_loader", "local")
    parts, legs = make_legs(PartsOptions())
    parts.start()
    yield parts, legs
    parts.close()


@pytest.fixture
def legs(parts_and_legs: tuple[BackupParts, LocalLegs]) -> LocalLegs:
    return parts_and_legs[1]


@pytest.fixture
def open_leg(legs: LocalLegs) -> Iterator[OpenLeg]:
    """Open a leg: fields are the takeover's."""
    with ExitStack() as stack:

        def open_one(**fields: Any) -> LegTalk:
            talk = LegTalk(legs.open(Takeover(**{"agent_id": "agent_x", "conversation_id": "conv_x", **fields})))
            stack.callback(talk.end)
            return talk

        yield open_one


# --- How they begin


def test_the_rest_of_a_broken_answer_is_the_first_that_is_heard(open_leg: OpenLeg) -> None:
    rest, full = "closed on Sundays.", "We are open every day, but closed on Sundays."
    talk = open_leg(rest=rest, full_text=full, first_event_id=9)
    talk.read_until(lambda: talk.spoken(9) == rest, "rest")

    assert talk.of("agent_response") == []
    first = next(event for event in talk.events if event["type"] not in ("conversation_initiation_metadata", "ping"))
    assert first["type"] == "audio"
    assert first["audio_event"]["alignment"]["char_start_times_ms"][0] == 0


def test_the_metadata_has_the_formats_that_the_client_knows(open_leg: OpenLeg) -> None:
    talk = open_leg(output_format="ulaw_8000", input_format="ulaw_8000", rest="Hello.")
    metadata = talk.wait_for("conversation_initiation_metadata")["conversation_initiation_metadata_event"]
    talk.read_until(lambda: talk.spoken(1) == "Hello.", "rest")

    assert metadata["conversation_id"] == "conv_x"
    assert metadata["agent_output_audio_format"] == metadata["user_input_audio_format"] == "ulaw_8000"
    sound = b"".join(base64.b64decode(event["audio_event"]["audio_base_64"]) for event in talk.of("audio"))
    assert 2_000 < len(sound) < 16_000  # bytes are samples


@pytest.mark.parametrize(("language", "words"), [("en", "stand-in"), ("es-MX", "sustituyo"), (None, "stand-in")])
def test_the_first_leg_of_an_outage_says_that_it_is_one(open_leg: OpenLeg, language: str | None, words: str) -> None:
    talk = open_leg(greets=True, language=language, text_only=True)

    assert words in talk.wait_for("agent_response")["agent_response_event"]["agent_response"]


def test_a_repetition_is_asked_for_across_legs(open_leg: OpenLeg) -> None:
    history = (PastTurn("user", "When do you open?"), PastTurn("agent", "At nine."), PastTurn("user", "Sorry?"))
    talk = open_leg(history=history, question="Can you repeat that?", language="en", text_only=True)
    talk.wait_for("agent_response")

    assert talk.answers() == ["At nine."]


def test_who_is_refused_hears_a_polite_sentence_and_the_end(open_leg: OpenLeg) -> None:
    talk = open_leg(farewell=polite_refusal("es"), text_only=True)

    assert talk.wait_for_end() == 1000
    assert talk.answers() == [polite_refusal("es")]
    assert "Hasta luego" in talk.answers()[0]


# --- What clients asked for


def test_no_override_of_the_clients_can_end_the_conversation(open_leg: OpenLeg) -> None:
    override = {
        "agent": {"prompt": {"prompt": "Be kind to {{name}}.", "llm": "gpt-x"}, "language": "tlh", "first_message": 7},
        "tts": {"voice_id": "some-voice", "speed": 99, "stability": 0.4},
        "turn": "nonsense",
        "conversation": {"client_events": "all", "unknown": True},
        "asr": {"keywords": ["Vocero"]},
    }
    initiation = {"conversation_config_override": override, "dynamic_variables": {"system__x": 1, "name": ["list"]}}
    talk = open_leg(initiation=initiation, question="Hello?")

    assert talk.wait_for("agent_response")


def test_the_clients_greeting_and_variables_are_used(open_leg: OpenLeg) -> None:
    override = {"agent": {"first_message": "Hello {{name}}, {{unknown}}nice to see you."}}
    initiation = {"conversation_config_override": override, "dynamic_variables": {"name": "Ana"}}
    talk = open_leg(initiation=initiation, greets=True, text_only=True)

    talk.wait_for("agent_response")
    assert talk.answers() == ["Hello Ana, nice to see you."]


@pytest.mark.parametrize("initiation", [None, [], "x", {"conversation_config_override": 1, "dynamic_variables": []}])
def test_an_initiation_that_makes_no_sense_does_no_harm(open_leg: OpenLeg, initiation: Any) -> None:
    assert open_leg(initiation=initiation, question="Hello?", text_only=True).wait_for("agent_response")


def test_an_event_that_is_unknown_here_is_passed_over(open_leg: OpenLeg) -> None:
    talk = open_leg(text_only=True)
    talk.send("event_of_tomorrow", value=1)
    talk.write("Hello?")

    assert talk.wait_for("agent_response")


# --- What they cannot do


def test_nobody_ever_hears_tones() -> None:
    parts, legs = make_legs(PartsOptions(), open_local_voice=ToneVoice)
    assert not legs.can_speak
    parts.start()
    spoken = Takeover(agent_id="a", conversation_id="c")
    written = Takeover(agent_id="a", conversation_id="c", text_only=True, question="Hello?")

    assert not legs.can_speak
    assert (legs.can_serve(spoken), legs.can_serve(written)) == (False, True)
    with pytest.raises(ServiceUnavailableError):
        legs.open(spoken)
    talk = LegTalk(legs.open(written))
    assert talk.wait_for("agent_response")
    talk.end()


def test_a_format_that_is_unknown_is_refused_before_anything_is_opened(legs: LocalLegs) -> None:
    with pytest.raises(ServiceUnavailableError):
        legs.open(Takeover(agent_id="a", conversation_id="c", output_format="mp3_44100_128"))


def test_a_voice_that_breaks_ends_the_leg_with_an_error() -> None:
    class BrokenVoice(EspeakVoice):
        def speak(self, text: str, **options: Any) -> Iterator[SpokenPiece]:
            yield from list(super().speak(text, **options))[:1]
            raise OSError("the voice is gone")

    parts, legs = make_legs(PartsOptions(), open_local_voice=BrokenVoice)
    parts.start()
    talk = LegTalk(legs.open(Takeover(agent_id="a", conversation_id="c", rest="One. Two.", full_text="One. Two.")))

    assert talk.wait_for_end() == 1002
    assert talk.of("error")


def test_an_operators_file_that_is_broken_is_found_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "faq.yaml"
    file.write_text("topics: 7")
    with pytest.raises(ConfigurationError, match=r"faq\.yaml"):
        BackupParts(PartsOptions(faq=file)).start()


# --- That nothing is left


def test_of_200_legs_no_thread_and_no_file_is_left(legs: LocalLegs) -> None:
    before = _left()
    talks = [LegTalk(legs.open(Takeover(agent_id="a", conversation_id="c", rest="Good day."))) for _ in range(200)]
    for talk in talks:
        talk.wait_for("conversation_initiation_metadata")
    assert _left()[1] >= before[1] + 380, "each has two ends; what an earlier test left may have been closed meanwhile"
    for number, talk in enumerate(talks):
        (talk.leg.socket.abort if number % 2 else talk.leg.socket.close)()

    wait_until(lambda: all(now <= then for now, then in zip(_left(), before, strict=True)), LIMIT, "end of every leg")


def test_a_leg_whose_relay_does_not_read_ends_when_that_does(open_leg: OpenLeg) -> None:
    before = _left()
    talk = open_leg(rest="Nobody listens to this. " * 400)
    wait_until(lambda: _left()[0] > before[0], LIMIT)
    talk.leg.socket.abort()

    wait_until(lambda: _left()[0] <= before[0], LIMIT, "end of the leg")


def test_what_is_no_event_ends_the_leg_as_it_would_end_elevenlabs(open_leg: OpenLeg) -> None:
    talk = open_leg(text_only=True)
    talk.leg.socket.send_text("no JSON")

    assert talk.wait_for_end() == 1008


def test_legs_in_a_worker_stop_nobody_else_and_leave_nothing() -> None:
    require_module("espeakng_loader", "local")
    process = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("gevent_legs.py")), "30"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout.splitlines()[-1])
    assert told["spoke"] == 30
    # 30 at once take a third of a second of CPU; whoever waits for a turn must not wait for all of them.
    assert told["longest_tick"] < 0.25


def _left() -> tuple[int, int]:
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
