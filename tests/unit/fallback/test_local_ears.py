from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.fallback.audio_formats import resample
from service.fallback.local_ears import EarsError, LocalEars, Transcript, _Child, open_ears
from tests.unit.fallback.conftest import EARS_PACKAGES, recording

SAID = {
    "question-hours-en.wav": ("en", "hello what are your opening hours"),
    "question-price-en.wav": ("en", "how much does delivery cost please"),
    "question-hours-es.wav": ("es", "hola cuál es su horario de atención"),
    "barge-in-en.wav": ("en", "wait stop i have another question"),
}
TOLD = ("question-hours-en.wav", "question-hours-es.wav")
"""Of each language one is heard with the language told as well, which is the easier task."""
LIMIT_SECONDS = 60.0


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def is_running(process_id: int) -> bool:
    """Whether the process lives; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        # The other two are understood below: with the times of its words, and by a child that takes a dead one's place.
        *(pytest.param(name, False, marks=[] if "hours" in name else [pytest.mark.long]) for name in SAID),
        *(pytest.param(name, True, marks=pytest.mark.long) for name in TOLD),
    ],
    ids=str,
)
def test_the_recordings_are_understood(ears: LocalEars, name: str, told: bool) -> None:
    language, words = SAID[name]
    transcript = ears.transcribe(recording(name), 16_000, language if told else None)

    assert plain(transcript.text) == words
    assert transcript.language == language
    assert transcript.language_probability > 0.8


def test_telephone_sound_is_understood(ears: LocalEars) -> None:
    sound = resample(recording("question-hours-es.wav"), source_rate=16_000, target_rate=8_000)

    assert plain(ears.transcribe(sound, 8_000).text) == SAID["question-hours-es.wav"][1]


def test_words_come_with_their_times_when_asked_for(ears: LocalEars) -> None:
    name = "question-price-en.wav"
    transcript = ears.transcribe(recording(name), 16_000, "en", with_words=True)

    assert plain(" ".join(word.text for word in transcript.words)) == SAID[name][1]
    times = [moment for word in transcript.words for moment in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] < 2.8
    assert ears.transcribe(recording(name), 16_000, "en").words == ()


@pytest.mark.parametrize("kind", ["nothing", "silence", "hiss", "a moment"])
def test_what_is_no_speech_gives_no_text(ears: LocalEars, kind: str) -> None:
    sounds = {
        "nothing": b"",
        "silence": bytes(64_000),
        "hiss": np.random.default_rng(5).normal(0, 2_000, 32_000).clip(-32_768, 32_767).astype("<i2").tobytes(),
        "a moment": recording("barge-in-en.wav")[16_000:17_000],
    }

    assert ears.transcribe(sounds[kind], 16_000).text == ""


@pytest.mark.parametrize("language", ["de", *(pytest.param(it, marks=pytest.mark.long) for it in ("xx", ""))])
def test_a_language_beyond_english_and_spanish_is_taken_for_unknown(ears: LocalEars, language: str) -> None:
    assert ears.transcribe(recording("question-hours-es.wav"), 16_000, language).language == "es"


@pytest.mark.long  # one that is killed in mid-work is replaced too
def test_a_child_killed_between_calls_is_replaced(ears: LocalEars) -> None:
    before = ears.process_id
    assert before is not None
    os.kill(before, signal.SIGKILL)

    assert plain(ears.transcribe(recording("barge-in-en.wav"), 16_000, "en").text) == SAID["barge-in-en.wav"][1]
    assert ears.process_id != before
    assert not is_running(before)


def test_a_child_killed_in_mid_work_is_replaced_and_the_call_still_answered(ears: LocalEars) -> None:
    ears.start()
    before = ears.process_id
    assert before is not None
    answers: list[Transcript] = []
    sound = recording("question-price-en.wav") * 4  # 11 s, so the work takes a second or more
    caller = threading.Thread(target=lambda: answers.append(ears.transcribe(sound, 16_000, "en")))

    idle = cpu_ticks(before)
    caller.start()
    wait_until(lambda: cpu_ticks(before) > idle + 10)  # it works: a tenth of a second of CPU since the call
    os.kill(before, signal.SIGKILL)
    caller.join(timeout=LIMIT_SECONDS)

    assert "delivery" in answers[0].text.lower()
    assert ears.process_id != before
    assert plain(ears.transcribe(recording("barge-in-en.wav"), 16_000, "en").text) == SAID["barge-in-en.wav"][1]


def cpu_ticks(process_id: int) -> int:
    """CPU time used, in hundredths of a second (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_an_answer_that_takes_too_long_is_given_up_and_the_child_with_it(model_folder: Path) -> None:
    hasty = LocalEars(model_folder, timeout_seconds=0.05)
    hasty.start()
    try:
        before = hasty.process_id
        assert before is not None
        with pytest.raises(EarsError, match=r"no answer in 0\.05 s"):
            hasty.transcribe(recording("barge-in-en.wav"), 16_000)
        assert not is_running(before)
    finally:
        hasty.close()


def test_loading_the_model_takes_nothing_from_the_call_that_waits_for_it(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a slow machine would load it, have no time left to listen, and end the child that it has just started."""
    waited = 0.0
    load = _Child.spawn

    def load_for_a_minute(folder: Path, start_seconds: float) -> _Child:
        nonlocal waited
        child = load(folder, start_seconds)
        waited += 60
        return child

    monkeypatch.setattr(_Child, "spawn", load_for_a_minute)
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + waited)
    patient = LocalEars(model_folder, timeout_seconds=50)
    try:
        assert plain(patient.transcribe(recording("barge-in-en.wav"), 16_000, "en").text) == SAID["barge-in-en.wav"][1]
    finally:
        patient.close()


def test_callers_beyond_the_bound_are_told_at_once(ears: LocalEars, model_folder: Path) -> None:
    narrow = LocalEars(model_folder, max_waiting=1)
    narrow.start()
    sound = recording("question-price-en.wav") * 4
    try:
        process_id = narrow.process_id
        assert process_id is not None
        answers: list[Transcript] = []
        caller = threading.Thread(target=lambda: answers.append(narrow.transcribe(sound, 16_000, "en")))
        idle = cpu_ticks(process_id)
        caller.start()
        wait_until(lambda: cpu_ticks(process_id) > idle + 5)
        with pytest.raises(EarsError, match="too many"):
            narrow.transcribe(sound, 16_000, "en")
        caller.join(timeout=LIMIT_SECONDS)
        assert "delivery" in answers[0].text.lower()
    finally:
        narrow.close()


def test_closing_ends_the_child_and_whoever_waits_for_it(model_folder: Path) -> None:
    closing = LocalEars(model_folder)
    closing.start()
    process_id = closing.process_id
    assert process_id is not None
    failures: list[EarsError] = []

    def listen() -> None:
        try:
            closing.transcribe(recording("question-price-en.wav") * 8, 16_000)
        except EarsError as exc:
            failures.append(exc)

    caller = threading.Thread(target=listen)
    idle = cpu_ticks(process_id)
    caller.start()
    wait_until(lambda: cpu_ticks(process_id) > idle + 5)
    closing.close()
    closing.close()
    caller.join(timeout=LIMIT_SECONDS)

    assert len(failures) == 1
    assert not is_running(process_id)
    with pytest.raises(EarsError, match="closed"):
        closing.transcribe(b"", 16_000)


def test_no_orphan_is_left_when_the_parent_is_killed(model_folder: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from service.fallback.local_ears import LocalEars\n"
        "ears = LocalEars(pathlib.Path(sys.argv[1]))\n"
        "ears.start()\n"
        "print(ears.process_id, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(model_folder)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    wait_until(lambda: not is_running(child))


def test_ears_that_cannot_start_say_so(tmp_path: Path, model_folder: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("not a folder")
    broken = LocalEars(blocked)

    with pytest.raises(EarsError, match="did not start"):
        broken.start()
    assert broken.process_id is None


@pytest.mark.parametrize("package", EARS_PACKAGES)
def test_without_the_extra_there_are_no_ears(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    assert open_ears(tmp_path) is None
