"""A worker's side of audio quality: takes answers that were put aside, has them judged, tells what was found.

The key decision: nobody waits for it. Whoever hands an answer in goes on at once; a thread sends one after the other
to the process that judges (`judging.py`), and when too many wait, the newest is dropped and counted.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from service import metrics_quality
from service.audio_quality import wire
from service.audio_quality.defects import FAULTS
from service.audio_quality.sample import AnswerName, Sample
from service.audio_quality.speech_models import models_are_installed
from service.elevenlabs.fault_actions import FailoverCause, Fault, FaultAction, FaultDomain
from service.fallback.two_part_wire import BrokenError
from service.metrics_quality import Defect, SampleOutcome
from service.storage import Capability, JudgedAnswer

log = structlog.get_logger(__name__)

MOST_WAITING = 8
"""Answers of a worker; each has up to a megabyte."""

ANSWER_SECONDS = 30.0
"""That a judgement may take, with what other workers have asked before, and with a start of the process."""

_JOIN_SECONDS = 2.0

OnBroken = Callable[[str, str, Defect], None]
"""Hears of an answer that nobody could understand: the provider, the capability's name, what was wrong."""


OnJudged = Callable[[JudgedAnswer], None]
"""Takes what was found about an answer, at once: its defects, or its score; each may come first."""


class _Fallback(Protocol):
    def failed(self, provider: str, capability: Capability, fault: Fault, /) -> None: ...


def breaker_teller(fallback: _Fallback) -> OnBroken:
    """What tells `fallback` (a `FallbackService`) of broken answers, as of any other failure of a provider."""

    def tell(provider: str, capability: str, defect: Defect) -> None:
        fallback.failed(provider, Capability(capability), fault_of_defect(defect))

    return tell


def fault_of_defect(defect: Defect) -> Fault:
    """A broken answer as a failure. It speaks against the provider; nobody has to go elsewhere, since it was played."""
    return Fault(
        domain=FaultDomain.PROVIDER,
        action=FaultAction.REPORT,
        code=f"audio_{defect.value}",
        cause=_CAUSES[defect],
        is_evidence=defect in FAULTS,
    )


_CAUSES = dict.fromkeys(Defect, FailoverCause.BROKEN_PROTOCOL) | {
    Defect.SILENT: FailoverCause.SILENT,
    Defect.TRUNCATED: FailoverCause.TRUNCATED,
}


class AudioInspector:
    """Has answers judged at the Unix socket `address`; None: there is nobody who judges, and nothing is sampled.

    `providers` are those that may speak, for their metrics.
    """

    def __init__(
        self,
        address: str | None,
        *,
        providers: Sequence[str],
        on_broken: OnBroken,
        on_judged: OnJudged = lambda _: None,
    ) -> None:
        self._address = address
        self._providers = providers
        self._on_broken = on_broken
        self._on_judged = on_judged
        self._waiting: queue.Queue[Sample | None] = queue.Queue(MOST_WAITING)
        self._connection: socket.socket | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is somebody who judges."""
        return self._address is not None

    def start(self) -> None:
        """Begin; nothing is connected before the first answer."""
        metrics_quality.start_quality_series(self._providers)
        if self._address is None:
            return
        metrics_quality.models_run(models_are_installed())
        self._thread = threading.Thread(target=self._run, name="audio-quality", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; what waits is not judged any more. May be called again."""
        self._is_closed = True
        with contextlib.suppress(queue.Full):  # then it is not waiting for a sample
            self._waiting.put_nowait(None)
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread; close() does not
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def submit(self, sample: Sample) -> None:
        """Have an answer judged some time; at once back."""
        if self._address is None or self._is_closed:
            return
        try:
            self._waiting.put_nowait(sample)
        except queue.Full:
            metrics_quality.sample_ended(sample.provider, SampleOutcome.DROPPED)

    def _run(self) -> None:
        while (sample := self._waiting.get()) is not None and not self._is_closed:
            try:
                found, with_models = self._ask(self._address or "", sample)
            except (BrokenError, TimeoutError, OSError) as exc:
                self._disconnect()  # its answer would be taken for the next one's
                if not self._is_closed:
                    log.warning("an answer was not judged", reason=type(exc).__name__)
                    metrics_quality.sample_ended(sample.provider, SampleOutcome.FAILED)
            else:
                metrics_quality.models_run(with_models)
                self._tell_safely(sample, found)
        self._disconnect()

    def _ask(self, address: str, sample: Sample) -> tuple[wire.Found | None, bool]:
        deadline = time.monotonic() + ANSWER_SECONDS
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._connection = connection
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(address)
        wire.write_sample(self._connection, sample, deadline)
        return wire.read_verdict(self._connection, deadline)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _tell_safely(self, sample: Sample, found: wire.Found | None) -> None:
        try:
            self._tell(sample, found)
        except Exception:  # a worker loop: whoever was told may fail, and the next answer is judged all the same
            log.exception("what was found about an answer could not be told")

    def _tell(self, sample: Sample, found: wire.Found | None) -> None:
        if found is None:
            metrics_quality.sample_ended(sample.provider, SampleOutcome.FAILED)
            return
        if not found.will_be_scored:
            metrics_quality.sample_ended(sample.provider, SampleOutcome.SIGNAL_ONLY)
        self._hand_on(sample, found)
        for score in found.scores:  # earlier answers' among them, of other workers' too: all are added up
            metrics_quality.answer_scored(score.provider, score.score, score.deviation)
            metrics_quality.sample_ended(score.provider, SampleOutcome.SCORED)
        for defect in found.defects:
            metrics_quality.answer_is_broken(sample.provider, defect)
            write = log.warning if defect in FAULTS else log.info
            write("an answer sounds wrong", provider=sample.provider, voice=sample.voice, defect=defect.value)
            if defect in FAULTS:
                self._on_broken(sample.provider, sample.capability, defect)

    def _hand_on(self, sample: Sample, found: wire.Found) -> None:
        if sample.answer is not None:
            defects = tuple(defect.value for defect in Defect if defect in found.defects)
            self._on_judged(replace(_named(sample.answer, sample.provider), defects=defects))
        for score in found.scores:
            if score.answer is not None:
                named = _named(score.answer, score.provider)
                self._on_judged(replace(named, score=score.score, deviation=score.deviation))


def _named(answer: AnswerName, provider: str) -> JudgedAnswer:
    at = datetime.fromtimestamp(answer.began_at, UTC)
    return JudgedAnswer(answer.conversation_id, answer.leg, answer.turn, at, provider)
