"""The numbers of all workers in Prometheus' text format, added up from their files.

The key decision: what stands in a file besides its numbers is read once. A series keeps its place in its file for as
long as the file lives, so a file is taken apart with one compiled `struct`, whose keys are compared with those of the
last time, and every line's text and sources are known beforehand (`_Plan`). The library reads and sorts everything
anew each time, which takes ten times as long; a test holds both answers equal.

A file that cannot be read costs its own numbers and not the answer. A file is empty for an instant when its worker
starts, and stays short when there is no room for it; it is left out, named and counted. Standard library only, because
this runs beside every service.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from service.metrics_layout import Layout, Series, UnreadableError, read_layout, read_used

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

UNREADABLE = "vocero_metrics_unreadable_files"
_UNREADABLE_HELP = "Files of workers' metrics that could not be read and are left out of this answer."


class _Step(Enum):
    """What is done with a line's sources."""

    SUM = auto()
    SMALLEST = auto()
    LARGEST = auto()
    LAST = auto()
    FIRST_BUCKET = auto()
    NEXT_BUCKET = auto()  # a bucket holds those before it, too
    COUNT = auto()  # what the last bucket holds
    TEXT = auto()  # no number at all


_STEP_OF_MODE = {"min": _Step.SMALLEST, "max": _Step.LARGEST, "sum": _Step.SUM, "all": _Step.LAST}
_Line = tuple[str, _Step, list[int]]


class AllWorkers:
    """What all workers have counted in the files of `folder`.

    `on_bad_file` is called with each file that cannot be read, once until it can be read again.
    """

    def __init__(self, folder: Path, *, on_bad_file: Callable[[Path], None]) -> None:
        self._folder = folder
        self._on_bad_file = on_bad_file
        self._lock = threading.Lock()
        self._layouts: dict[Path, Layout] = {}
        self._series: dict[bytes, Series] = {}
        self._plan = _Plan([])
        self._bad: set[Path] = set()

    def exposition(self) -> bytes:
        """The text of now."""
        with self._lock:
            read = list(self._read())
            if not self._plan.is_for([layout for layout, _ in read]):
                self._rebuild([layout for layout, _ in read])
            values = [value for layout, found in read if layout not in self._plan.refused for value in found]
            text = self._plan.text(values)
            bad = len(self._bad) + len(self._plan.refused)
        ours = f"# HELP {UNREADABLE} {_UNREADABLE_HELP}\n# TYPE {UNREADABLE} gauge\n{UNREADABLE} {bad}.0\n"
        return f"{text}{ours}".encode(errors="replace")

    def _read(self) -> Iterator[tuple[Layout, tuple[float, ...]]]:
        files = sorted(self._folder.glob("*.db"))
        self._layouts = {file: self._layouts[file] for file in files if file in self._layouts}
        self._bad &= set(files)
        for file in files:
            try:
                found = self._read_one(file)
            except FileNotFoundError:
                continue  # its worker has ended meanwhile
            except (OSError, UnreadableError):
                self._layouts.pop(file, None)
                if file not in self._bad:
                    self._bad.add(file)
                    self._on_bad_file(file)
            else:
                self._bad.discard(file)
                yield self._layouts[file], found

    def _read_one(self, file: Path) -> tuple[float, ...]:
        layout = self._layouts.get(file)
        data = read_used(file, expected=0 if layout is None else layout.size)
        found = None if layout is None else layout.values(data)
        if found is not None:
            return found
        self._layouts[file] = layout = read_layout(file.name, data, self._series)
        found = layout.values(data)
        if found is None:
            raise UnreadableError
        return found

    def _rebuild(self, layouts: list[Layout]) -> None:
        self._plan = _Plan(layouts)
        used = {key for layout in layouts for key in layout.raw_keys}
        self._series = {key: series for key, series in self._series.items() if key in used}
        for layout in self._plan.refused:
            self._on_bad_file(self._folder / layout.name)


@dataclass
class _Family:
    """A metric; `lines` and `buckets` are by the labels without `le`, and say at which places the numbers are."""

    kind: str
    mode: str
    help: str
    lines: dict[tuple[tuple[str, str], ...], dict[tuple[str, tuple[tuple[str, str], ...]], list[int]]] = field(
        default_factory=dict
    )
    buckets: dict[tuple[tuple[str, str], ...], dict[float, list[int]]] = field(default_factory=dict)


class _Plan:
    """Every line of the answer, and the places of its numbers among those of all `layouts`, one behind the other.

    A file that says another kind of a metric than the files before it is `refused`.
    """

    def __init__(self, layouts: list[Layout]) -> None:
        self._layouts = layouts
        self.refused: list[Layout] = []
        self._families: dict[str, _Family] = {}
        place = 0
        for layout in layouts:
            if self._disagrees(layout):
                self.refused.append(layout)
                continue
            for series in layout.series:
                self._add(layout, series, place)
                place += 1
        self._lines = [line for name, family in self._families.items() for line in _lines(name, family)]

    def is_for(self, layouts: list[Layout]) -> bool:
        """Tell whether these are the very same ones."""
        return len(layouts) == len(self._layouts) and all(map(_is, layouts, self._layouts))

    def text(self, values: list[float]) -> str:
        """The answer for these numbers."""
        lines: list[str] = []
        held = 0.0
        for text, step, places in self._lines:
            if step is _Step.TEXT:
                lines.append(text)
                continue
            if step is _Step.SMALLEST:
                number = min([values[place] for place in places])
            elif step is _Step.LARGEST:
                number = max([values[place] for place in places])
            elif step is _Step.LAST:
                number = values[places[-1]]
            elif step is _Step.COUNT:
                number = held
            else:
                number = 0.0
                for place in places:
                    number += values[place]
                if step is _Step.NEXT_BUCKET:
                    number += held
                if step is not _Step.SUM:
                    held = number
            lines.append(f"{text}{as_text(number)}\n")
        return "".join(lines)

    def _disagrees(self, layout: Layout) -> bool:
        known = (self._families.get(series.metric) for series in layout.series)
        return any(family and (family.kind, family.mode) != (layout.kind, layout.mode) for family in known)

    def _add(self, layout: Layout, series: Series, place: int) -> None:
        family = self._families.setdefault(series.metric, _Family(layout.kind, layout.mode, series.help))
        if series.bound is not None and layout.kind == "histogram":
            family.buckets.setdefault(series.without_bound, {}).setdefault(series.bound, []).append(place)
            return
        labels = series.labels
        if layout.mode in {"all", "liveall"}:
            labels = (*labels, ("pid", layout.place))
        family.lines.setdefault(labels, {}).setdefault((series.name, labels), []).append(place)


def _is(one: object, other: object) -> bool:
    return one is other


def _lines(name: str, family: _Family) -> Iterator[_Line]:
    shown = f"{name}_total" if family.kind == "counter" else name
    escaped = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {shown} {escaped}\n# TYPE {shown} {family.kind}\n", _Step.TEXT, []
    step = _STEP_OF_MODE[family.mode.removeprefix("live")] if family.kind == "gauge" else _Step.SUM
    for labels in [*family.lines, *(labels for labels in family.buckets if labels not in family.lines)]:
        for (sample, shown_labels), places in family.lines.get(labels, {}).items():
            yield _start_of_line(sample, shown_labels), step, places
        if labels in family.buckets:
            yield from _bucket_lines(name, labels, family.buckets[labels])


def _bucket_lines(name: str, labels: tuple[tuple[str, str], ...], buckets: dict[float, list[int]]) -> Iterator[_Line]:
    step = _Step.FIRST_BUCKET
    for bound, places in sorted(buckets.items()):
        yield _start_of_line(f"{name}_bucket", (*labels, ("le", as_text(bound)))), step, places
        step = _Step.NEXT_BUCKET
    yield _start_of_line(f"{name}_count", labels), _Step.COUNT, []


def _start_of_line(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return f"{name} "
    shown = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(labels))
    return f"{name}{{{shown}}} "


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def as_text(number: float) -> str:
    """A number as Go writes it, which is how bounds of buckets have to look."""
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if math.isnan(number):
        return "NaN"
    text = repr(number)
    dot = text.find(".")
    if number > 0 and dot > 6:
        mantissa = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{mantissa}e+{dot - 1:02d}"
    return text
