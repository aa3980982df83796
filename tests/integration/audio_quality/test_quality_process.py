"""The process that judges and a worker's side of it: found, scored, and nobody harmed when either breaks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from scripts.launcher.waiting import wait_until
from service import quality_process
from service.audio_quality import inspector as inspecting
from service.audio_quality.inspector import AudioInspector, breaker_teller, fault_of_defect
from service.audio_quality.sample import Sample
from service.elevenlabs.fault_actions import FailoverCause, Fault
from service.metrics_quality import Defect, SampleOutcome
from service.quality_process import QualityProcess
from service.storage import Capability
from tests.parts import require_module
from tests.servers import ROOT
from tests.unit.audio_quality import damage
from tests.unit.audio_quality.damage import recording, sample_of

Broken = list[tuple[str, str, Defect]]


class Log:
    """What the master's log was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, msg: str) -> None:
        self.lines.append(msg)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return quality_process.socket_in(tmp_path)


@pytest.fixture
def process(address: Path, log: Log) -> Iterator[QualityProcess]:
    process = QualityProcess(address, environment=dict(os.environ), log=log)
    process.listen()
    yield process
    process.close()


@pytest.fixture
def broken() -> Broken:
    return []


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> str:
    """A name of this test's own, since metrics are the process's."""
    return f"provider of {request.node.name}"


@pytest.fixture
def inspector(
    process: QualityProcess,
    address: Path,
    broken: Broken,
    provider: str,
) -> Iterator[AudioInspector]:
    found = AudioInspector(str(address), providers=[provider], on_broken=lambda *what: broken.append(what))
    found.start()
    yield found
    found.close()


def count(provider: str, outcome: SampleOutcome) -> float:
    labels = {"provider": provider, "outcome": outcome.value}
    return REGISTRY.get_sample_value("vocero_audio_samples_total", labels) or 0.0


def defects(provider: str, defect: Defect) -> float:
    labels = {"provider": provider, "defect": defect.value}
    return REGISTRY.get_sample_value("vocero_audio_broken_total", labels) or 0.0


def clean(provider: str) -> Sample:
    return sample_of(recording("barge-in-en"), provider=provider)


def silence(provider: str) -> Sample:
    return sample_of(damage.silent(recording("barge-in-en")), provider=provider)


def test_answers_are_scored_and_broken_ones_reported(
    process: QualityProcess, inspector: AudioInspector, broken: Broken, provider: str
) -> None:
    require_module("speechmos", "quality")
    process.keep_running()
    for _ in range(5):
        inspector.submit(clean(provider))
    inspector.submit(silence(provider))
    wait_until(lambda: count(provider, SampleOutcome.SCORED) == 6)
    assert broken == [(provider, "conversation", Defect.SILENT)]
    assert defects(provider, Defect.SILENT) == 1
    scores = {"provider": provider}
    assert REGISTRY.get_sample_value("elevenlabs_audio_quality_score_count", scores) == 6
    assert REGISTRY.get_sample_value("elevenlabs_audio_quality_score_sum", scores) == pytest.approx(5 * 3.9 + 1, abs=1)
    assert REGISTRY.get_sample_value("vocero_audio_quality_models") == 1


def test_a_defect_that_leaves_the_words_is_counted_and_not_held_against_the_provider(
    process: QualityProcess, inspector: AudioInspector, broken: Broken, provider: str
) -> None:
    process.keep_running()
    inspector.submit(sample_of(damage.clipped(recording("barge-in-en"), 15), provider=provider))
    wait_until(lambda: defects(provider, Defect.CLIPPED) == 1)
    assert broken == []


def test_what_cannot_be_read_is_a_failure_and_the_next_one_is_judged(
    process: QualityProcess, inspector: AudioInspector, provider: str
) -> None:
    process.keep_running()
    inspector.submit(replace(clean(provider), messages=(b"nonsense",)))
    inspector.submit(silence(provider))
    wait_until(lambda: defects(provider, Defect.SILENT) == 1)
    assert count(provider, SampleOutcome.FAILED) == 1


def test_a_process_that_dies_is_started_again_and_answers_what_waits(
    process: QualityProcess, inspector: AudioInspector, provider: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_process, "RESTART_SECONDS", 0.0)
    process.keep_running()
    inspector.submit(silence(provider))
    wait_until(lambda: defects(provider, Defect.SILENT) == 1)
    pid = process.process_id
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    inspector.submit(silence(provider))  # on a connection that is dead
    wait_until(lambda: count(provider, SampleOutcome.FAILED) == 1)

    inspector.submit(silence(provider))  # while there is no process: it waits in the socket

    def is_judged() -> bool:
        process.keep_running()
        return defects(provider, Defect.SILENT) == 2

    wait_until(is_judged)
    assert process.process_id != pid
    assert log.lines == ["The process that judges audio ended; it is started again."]


def test_a_process_that_hangs_costs_its_samples_and_nothing_else(
    process: QualityProcess, inspector: AudioInspector, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "ANSWER_SECONDS", 0.3)
    for _ in range(2 * inspecting.MOST_WAITING + 2):  # nobody answers: the process was not started
        inspector.submit(clean(provider))
    assert count(provider, SampleOutcome.DROPPED) >= inspecting.MOST_WAITING
    wait_until(lambda: count(provider, SampleOutcome.FAILED) >= 2)


def test_an_alarm_ends_a_process_whose_judgement_takes_too_long(tmp_path: Path) -> None:
    code = (
        "import os, socket, sys, threading\n"
        "from service.audio_quality import judging\n"
        "judging.LONGEST_SECONDS = 0.2\n"
        "class Hanging:\n"
        "    def judge(self, sample):\n"
        "        threading.Event().wait()\n"
        "process = judging.JudgingProcess(socket.socket(fileno=int(sys.argv[1])), master=os.getppid())\n"
        "process._judge = Hanging()\n"
        "process.run()\n"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        address = str(tmp_path / "socket")
        listener.bind(address)
        listener.listen()
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno())], pass_fds=[listener.fileno()], cwd=ROOT
        )
        found = AudioInspector(address, providers=["hanging"], on_broken=lambda *_: None)
        found.start()
        found.submit(clean("hanging"))
        assert child.wait(30) == -signal.SIGALRM
        found.close()


def test_the_process_ends_when_its_keeper_does(address: Path) -> None:
    code = (
        "import os\n"
        "import pathlib, sys\n"
        "from service.quality_process import QualityProcess\n"
        "process = QualityProcess(pathlib.Path(sys.argv[1]), environment=dict(os.environ), log=None)\n"
        "process.listen(); process.keep_running(); print(process.process_id, flush=True); os._exit(1)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(address)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    ).stdout
    pid = int(said)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_without_the_extra_defects_are_found_and_the_log_says_that_nothing_is_scored(
    tmp_path: Path, provider: str
) -> None:
    code = (
        "import os, socket, sys\n"
        "from service.audio_quality import judging, speech_models\n"
        "from service.logs import configure_logging\n"
        "configure_logging('warning', 'json')\n"
        "judging.models_are_installed = lambda: False\n"
        "judging.JudgingProcess(socket.socket(fileno=int(sys.argv[1])), master=os.getppid()).run()\n"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        address = str(tmp_path / "socket")
        listener.bind(address)
        listener.listen()
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        found = AudioInspector(address, providers=[provider], on_broken=lambda *_: None)
        found.start()
        for sample in (clean(provider), silence(provider)):
            found.submit(sample)
        wait_until(lambda: count(provider, SampleOutcome.SIGNAL_ONLY) == 2)
        assert REGISTRY.get_sample_value("vocero_audio_quality_models") == 0
        found.close()
        child.kill()
        _, said = child.communicate(timeout=10)
    assert said.count("and not scored") == 1
    assert defects(provider, Defect.SILENT) == 1


def test_without_a_process_nothing_is_taken_and_nothing_waits(provider: str) -> None:
    before = threading.active_count()
    found = AudioInspector(None, providers=[provider], on_broken=lambda *_: None)
    found.start()
    found.submit(clean(provider))
    found.close()
    assert not found.is_on
    assert threading.active_count() == before
    assert count(provider, SampleOutcome.DROPPED) == 0


def test_a_broken_answer_is_evidence_for_the_breaker() -> None:
    told: list[tuple[str, Capability, Fault]] = []

    class Fallback:
        def failed(self, provider: str, capability: Capability, fault: Fault) -> None:
            told.append((provider, capability, fault))

    breaker_teller(Fallback())("elevenlabs", "conversation", Defect.SILENT)
    ((provider, capability, fault),) = told
    assert (provider, capability) == ("elevenlabs", Capability.CONVERSATION)
    assert fault.is_evidence
    assert (fault.cause, fault.code) == (FailoverCause.SILENT, "audio_silent")
    assert fault_of_defect(Defect.WRONG_RATE).is_evidence
    assert not fault_of_defect(Defect.GAPS).is_evidence


def test_without_a_place_for_the_socket_the_service_goes_on_and_says_so(log: Log, tmp_path: Path) -> None:
    process = QualityProcess(tmp_path / "nowhere" / "socket", environment={}, log=log)
    process.listen()
    process.keep_running()
    process.close()
    assert process.process_id is None
    assert log.lines == ["Audio quality is not measured: no socket for it (No such file or directory)."]


def test_the_socket_goes_with_its_keeper(process: QualityProcess, address: Path) -> None:
    assert address.exists()
    process.close()
    assert not address.exists()
