"""The numbers of all workers in Prometheus' text format, added up from their files.

The key decision: one file that cannot be read costs its own numbers and not the answer. A file is empty for an instant
when its worker starts, and stays short when there is no room for it; it is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _AllWorkers(Collector):
    def __init__(self, folder: Path, on_bad_file: Callable[[Path], None]) -> None:
        self._folder = folder
        self._on_bad_file = on_bad_file

    def collect(self) -> Iterable[Metric]:
        files = sorted(self._folder.glob("*.db"))
        try:
            return _merged(files)
        except Exception:  # noqa: BLE001 (what a broken file makes the library raise is anything)
            return _merged([file for file in files if self._is_good(file)])

    def _is_good(self, file: Path) -> bool:
        try:
            _merged([file])
        except Exception:  # noqa: BLE001 (the same)
            self._on_bad_file(file)
            return False
        return True


def exposition(folder: Path, *, on_bad_file: Callable[[Path], None]) -> bytes:
    """What all workers have counted, as text; `on_bad_file` is called with each file that could not be read."""
    registry = CollectorRegistry()
    registry.register(_AllWorkers(folder, on_bad_file))
    return generate_latest(registry)


def _merged(files: list[Path]) -> Iterable[Metric]:
    merged: Iterable[Metric] = MultiProcessCollector.merge([str(file) for file in files])  # type: ignore[no-untyped-call]
    return merged
