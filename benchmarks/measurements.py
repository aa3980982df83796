"""What a run does: each function here loads running parts in one way, and notes what came of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.conversation_load import ClientConversation, Outcome, conversations, lead
from benchmarks.fake_upstream import speech_path
from benchmarks.loop import Loop
from benchmarks.metrics import quantile
from benchmarks.parts import Parts, running_parts
from benchmarks.processes import Usage, UsageMeter, memory_bytes
from benchmarks.speech_load import SpeechClient
from benchmarks.targets import Target

LOADS = ("memory", "voice", "speech", "flood")
IDLE_CONVERSATIONS = 500
VOICE_CONVERSATIONS = 50
FLOOD_CONVERSATIONS = 4
VOICE_WARM_UP_SECONDS = 4.0
VOICE_SECONDS = 20.0
FLOOD_SECONDS = 2.0
FLOOD_ROUNDS = 2
SETTLE_SECONDS = 1.0
SPEECH_PAIRS = 300
BULK_REQUESTS = 6
_SHORT_SPEECH = speech_path(chunks=2, chunk_bytes=4096, gap_ms=5)
_BULK_SPEECH = speech_path(chunks=2048, chunk_bytes=8192, gap_ms=0)


@dataclass
class Run:
    """One run's results: `values` by metric, `delays` (ms) by (target, direction), CPU `usages` by load."""

    values: dict[str, float] = field(default_factory=dict)
    delays: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    usages: dict[str, Usage] = field(default_factory=dict)

    @contextmanager
    def metered(self, load: str, parts: Parts) -> Iterator[None]:
        """Note what the block's load uses."""
        meter = UsageMeter(upstream_pid=parts.upstream_pid, worker_pids=parts.service.worker_pids)
        yield
        self.usages[load] = meter.read()

    def note_losses(self, outcomes: Sequence[Outcome]) -> None:
        """Count what was lost or out of turn."""
        wrong = sum(abs(outcome.lost) + outcome.disordered for outcome in outcomes)
        self.values["audio_lost"] = self.values.get("audio_lost", 0) + wrong


def measure(loads: Collection[str] = LOADS) -> Run:
    """One run of these loads; all of them take about a minute."""
    run, loop = Run(), Loop()
    if "memory" in loads:
        with running_parts() as parts:
            _warm_up(loop, parts)
            _measure_idle_memory(run, loop, parts)
    if set(loads) - {"memory"}:
        with running_parts() as parts:
            _warm_up(loop, parts)
            if "voice" in loads:
                _measure_voice(run, loop, parts)
            if "speech" in loads:
                _measure_speech(run, parts)
            if "flood" in loads:
                _measure_floods(run, loop, parts)
    return run


def _warm_up(loop: Loop, parts: Parts) -> None:
    """Have everything loaded and allocated that the first conversations bring about."""
    with conversations(loop, [parts.direct, parts.service], 10) as led:
        lead(loop, led, "voice", 1.0)
    with SpeechClient(parts.service) as client:
        for _ in range(10):
            client.speak(_SHORT_SPEECH)


def _measure_idle_memory(run: Run, loop: Loop, parts: Parts) -> None:
    _settle(loop)
    before = memory_bytes(parts.service.worker_pids)
    with ExitStack() as stack:
        with run.metered("opening conversations", parts):
            stack.enter_context(conversations(loop, [parts.service], IDLE_CONVERSATIONS))
        _settle(loop)
        after = memory_bytes(parts.service.worker_pids)
    run.values["memory_idle"] = (after - before) / IDLE_CONVERSATIONS / 1000
    run.values["setup_cpu"] = run.usages["opening conversations"].worker / IDLE_CONVERSATIONS * 1000


def _measure_voice(run: Run, loop: Loop, parts: Parts) -> None:
    """Both targets at the same time, so that whatever disturbs one disturbs the other."""
    worker = parts.service.worker_pids
    before = memory_bytes(worker)
    with conversations(loop, [parts.direct, parts.service], VOICE_CONVERSATIONS) as led:
        lead(loop, led, "voice", VOICE_WARM_UP_SECONDS)
        warm = memory_bytes(worker)
        with run.metered("voice", parts):
            outcomes = lead(loop, led, "voice", VOICE_SECONDS)
        after = memory_bytes(worker)
    run.values["memory_active"] = (after - before) / VOICE_CONVERSATIONS / 1000
    run.values["memory_growth"] = (after - warm) / VOICE_CONVERSATIONS / 1000
    run.note_losses(outcomes)
    frames = sum(outcome.frames for outcome in _of(parts.service, led, outcomes))
    run.values["frame_cpu_voice"] = run.usages["voice"].worker / frames * 1e6
    for direction in ("up", "down"):
        _note_delays(run, parts, direction, led, outcomes)


def _note_delays(
    run: Run, parts: Parts, direction: str, led: Sequence[ClientConversation], outcomes: Sequence[Outcome]
) -> None:
    for target in (parts.direct, parts.service):
        found = _of(target, led, outcomes)
        delays = [delay / 1000 for outcome in found for delay in outcome.delays(direction)]
        run.delays[target.name, direction] = delays
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            run.values[f"audio_{direction}_{target.name}_{name}"] = quantile(delays, share)
    for name in ("p50", "p99"):
        through = run.values[f"audio_{direction}_service_{name}"]
        run.values[f"audio_{direction}_added_{name}"] = through - run.values[f"audio_{direction}_direct_{name}"]


def _of(target: Target, led: Sequence[ClientConversation], outcomes: Sequence[Outcome]) -> list[Outcome]:
    pairs = zip(led, outcomes, strict=True)
    return [outcome for conversation, outcome in pairs if conversation.target == target]


def _measure_speech(run: Run, parts: Parts) -> None:
    with SpeechClient(parts.direct) as direct, SpeechClient(parts.service) as service:
        with run.metered("speech", parts):
            pairs = [(direct.speak(_SHORT_SPEECH), service.speak(_SHORT_SPEECH)) for _ in range(SPEECH_PAIRS)]
        with run.metered("speech in bulk", parts):
            size = sum(service.speak(_BULK_SPEECH).size for _ in range(BULK_REQUESTS))
    straight, through = (
        statistics.median(speech.first_byte_seconds for speech in speeches) * 1000
        for speeches in zip(*pairs, strict=True)
    )
    run.values["speech_direct_p50"] = straight
    run.values["speech_service_p50"] = through
    run.values["speech_added_p50"] = through - straight
    run.values["speech_request_cpu"] = run.usages["speech"].worker / SPEECH_PAIRS * 1000
    run.values["speech_cpu_per_megabyte"] = run.usages["speech in bulk"].worker * 1000 / (size / 1e6)


def _measure_floods(run: Run, loop: Loop, parts: Parts) -> None:
    """As fast as a few conversations go, one way at a time and in turn."""
    frames = {"flood_up": 0, "flood_down": 0}
    cpu = dict.fromkeys(frames, 0.0)
    with conversations(loop, [parts.service], FLOOD_CONVERSATIONS) as led:
        for _ in range(FLOOD_ROUNDS):
            for kind in frames:
                with run.metered(kind.replace("_", " "), parts):
                    outcomes = lead(loop, led, kind, FLOOD_SECONDS)
                run.note_losses(outcomes)
                frames[kind] += sum(outcome.frames for outcome in outcomes)
                cpu[kind] += run.usages[kind.replace("_", " ")].worker
    for kind, count in frames.items():
        run.values[f"frame_cpu_{kind}"] = cpu[kind] / count * 1e6
        run.values[f"{kind}_rate"] = count / FLOOD_ROUNDS / FLOOD_SECONDS


def _settle(loop: Loop) -> None:
    """Let what is under way come to its end: there is no condition to ask a foreign process's memory for."""
    passed: list[bool] = []
    loop.at(time.monotonic() + SETTLE_SECONDS, lambda: passed.append(True))
    loop.run_until(lambda: bool(passed), limit_seconds=SETTLE_SECONDS * 5, what="settling")
