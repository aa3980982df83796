"""What judging audio costs: `python -m benchmarks.audio_quality`, with `--check` as a test of the bound.

The key decision: CPU time of one thread, over the seconds of sound that were judged, with answers of the length that
answers have. It is the cost of a process beside the service; what a worker pays is told apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import wave
from pathlib import Path

# Before numpy is there: this measures what a thread does, and the process that judges has one.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

from service.audio_quality.judge import Judge
from service.audio_quality.sample import Sample
from service.audio_quality.speech_models import SpeechModels
from service.audio_quality.tap import AnswerTap
from tests.unit.audio_quality.damage import RECORDINGS, audio_event

MOST_MILLISECONDS = 40.0
"""Of CPU for each second of sound that is judged."""

_DATA = Path(__file__).parent.parent / "tests" / "data"
_FRAME_SECONDS = 0.25
_RATE = 16_000


def main() -> int:
    """Measure and tell; 1 if `--check` was given and the bound was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help=f"fail above {MOST_MILLISECONDS:g} ms")
    parser.add_argument("--answers", type=int, default=80, help="how many answers are judged")
    options = parser.parse_args()
    samples = [_sample(RECORDINGS[number % len(RECORDINGS)], voices=4, number=number) for number in range(4)]
    seconds = sum(_seconds(sample) for sample in samples) / len(samples) * options.answers
    with_models = _cost(Judge(SpeechModels()), samples, options.answers) / seconds
    without = _cost(Judge(None), samples, options.answers) / seconds
    print(f"judged with models:    {with_models:6.1f} ms of CPU for a second of sound (at most {MOST_MILLISECONDS:g})")
    print(f"checked for defects:   {without:6.2f} ms")
    print(f"put aside by a worker: {_tap_cost() * 1e6:6.2f} us for a message, {_peak_megabytes():.0f} MB at most here")
    return int(options.check and with_models > MOST_MILLISECONDS)


def _sample(name: str, *, voices: int, number: int) -> Sample:
    with wave.open(str(_DATA / f"{name}.wav")) as file:
        pcm = file.readframes(file.getnframes())
    size = int(_FRAME_SECONDS * _RATE) * 2
    return Sample(
        provider="elevenlabs",
        capability="conversation",
        voice=f"voice {number % voices}",
        sound_format=f"pcm_{_RATE}",
        characters=36,
        messages=tuple(audio_event(pcm[begin : begin + size]) for begin in range(0, len(pcm), size)),
    )


def _seconds(sample: Sample) -> float:
    return _FRAME_SECONDS * len(sample.messages)


def _cost(judge: Judge, samples: list[Sample], answers: int) -> float:
    """Milliseconds of CPU for all of them; the first judgement, which warms up, is not counted."""
    judge.judge(samples[0])
    begun = time.process_time()
    for number in range(answers):
        judge.judge(samples[number % len(samples)])
    return (time.process_time() - begun) * 1000


def _tap_cost() -> float:
    tap = AnswerTap(1.0, lambda _: None, capability="conversation")
    message, rounds = audio_event(bytes(8000)), 200
    begun = time.process_time()
    for _ in range(rounds):
        tap.begins("elevenlabs", "voice", "pcm_16000")
        for _ in range(60):
            tap.frame(message)
        tap.ends("Hello.")
    return (time.process_time() - begun) / rounds / 60


def _peak_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    sys.exit(main())
