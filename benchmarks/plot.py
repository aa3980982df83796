"""Later."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.results import Record


def draw_all(folder: Path, records: Mapping[str, Record]) -> None: ...
