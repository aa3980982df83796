"""The metrics of speech sockets: how many are open of how many there may be, and who spoke.

The key decision: as in `metrics.py`, callers tell what happened and labels come from closed sets. The requests to
ElevenLabs behind them are counted as all others (`metrics_elevenlabs.py`).
"""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import Counter, Gauge

from service import metrics  # noqa: F401 (first of all: it decides where every metric of the process lies)


class SpeechSocketEnd(StrEnum):
    """What became of a speech socket."""

    ELEVENLABS = "elevenlabs"  # spoke until its end
    LOCAL = "local"  # the backup spoke, from the beginning or after ElevenLabs had failed
    NO_PLACE = "no_place"  # the worker had no room, or was leaving


OPEN = Gauge(
    "vocero_speech_sockets_open",
    "Speech sockets of clients that are open now.",
    multiprocess_mode="livesum",
)
CAPACITY = Gauge(
    "vocero_speech_socket_capacity",
    "Speech sockets that may be open at once, of all workers.",
    multiprocess_mode="livesum",
)
ENDED = Counter(
    "vocero_speech_sockets_ended",
    "Speech sockets that ended: who spoke last (elevenlabs, local), or no_place: the worker had no room for it.",
    ["end"],
)
for _end in SpeechSocketEnd:
    ENDED.labels(end=_end.value)


def speech_socket_places(capacity: int) -> None:
    """Tell how many this worker takes."""
    CAPACITY.set(capacity)


def speech_socket_opened() -> None:
    """Tell that one more is open."""
    OPEN.inc()


def speech_socket_ended(end: SpeechSocketEnd) -> None:
    """Count what became of one. Read by: on call, when integrators hear the backup or get no place."""
    ENDED.labels(end=end.value).inc()
    if end is not SpeechSocketEnd.NO_PLACE:
        OPEN.dec()
