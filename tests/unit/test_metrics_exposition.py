"""The ops listener's own sum of the workers' files, held equal to the library's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.metrics_exposition import AllWorkers, as_text
from service.metrics_layout import MOST_BYTES

OURS = "# HELP vocero_metrics_unreadable_files "
KINDS = ["counter", "histogram", "summary", "gauge_livemin", "gauge_livemax", "gauge_livesum", "gauge_all", "gauge_min"]
BOUNDS = ["0.5", "1.0", "2500.0", "10000000.0", "+Inf"]
NUMBERS = st.floats(allow_nan=False) | st.integers(0, 10**9).map(float) | st.just(float("nan"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LABELS = st.dictionaries(st.sampled_from(["cause", "kind", "zone"]), TEXTS, max_size=2)


class TheLibrary(Collector):
    """What prometheus_client makes of the same files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in sorted(self._folder.glob("*.db"))]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def the_librarys(folder: Path) -> str:
    registry = CollectorRegistry()
    registry.register(TheLibrary(folder))
    return generate_latest(registry).decode()


def never(file: Path) -> None:
    pytest.fail(f"{file.name} cannot be read")


def ours(workers: AllWorkers) -> str:
    """Without the line about files."""
    text, found, _ = workers.exposition().decode().rpartition(OURS)
    assert found
    return text


def write(file: Path, entries: list[tuple[str, dict[str, str], float]], *, help_: str = "A help.") -> None:
    """Entries (name, labels, number); as the library writes them. The metric is the name up to its first colon."""
    written = MmapedDict(str(file))  # type: ignore[no-untyped-call]
    for name, labels, number in entries:
        metric, _, ending = name.partition(":")
        key = mmap_key(metric, metric + ending, list(labels), list(labels.values()), help_)  # type: ignore[no-untyped-call]
        written.write_value(key, number, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]


@st.composite
def one_kinds_entries(draw: st.DrawFn, kind: str) -> list[tuple[str, dict[str, str], float]]:
    entries = []
    for name in draw(st.lists(st.sampled_from(["cakes", "pies", "buns"]), unique=True, max_size=3)):
        metric = f"{name}_{kind.replace('_', '')}"
        for labels in draw(st.lists(LABELS, max_size=3)):
            if kind == "histogram":
                entries.append((f"{metric}:_sum", labels, draw(NUMBERS)))
                entries += [(f"{metric}:_bucket", {**labels, "le": bound}, draw(NUMBERS)) for bound in BOUNDS]
            else:
                ending = {"counter": ":_total", "summary": ":_count"}.get(kind, "")
                entries.append((metric + ending, labels, draw(NUMBERS)))
    return entries


@st.composite
def all_files(draw: st.DrawFn) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    kinds = draw(st.lists(st.sampled_from(KINDS), unique=True, max_size=4))
    return {
        f"{kind}_{place}.db": draw(one_kinds_entries(kind))
        for kind in kinds
        for place in range(draw(st.integers(1, 3)))
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def emptied(folder: Path) -> Path:
    for file in folder.iterdir():
        file.unlink()
    return folder


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=all_files(), then=all_files(), help_=TEXTS)
def test_it_says_what_the_library_says_whatever_happens_to_the_files(
    folder: Path,
    first: dict[str, list[tuple[str, dict[str, str], float]]],
    then: dict[str, list[tuple[str, dict[str, str], float]]],
    help_: str,
) -> None:
    workers = AllWorkers(emptied(folder), on_bad_file=never)
    for name, entries in first.items():
        write(folder / name, entries, help_=help_)
    assert ours(workers) == the_librarys(folder)
    for name, entries in then.items():  # numbers change, series appear, files too
        write(folder / name, entries, help_=help_)
    assert ours(workers) == the_librarys(folder)
    for name in list(then)[::2]:  # a worker dies, and another one begins anew in its place
        (folder / name).unlink()
        write(folder / name, first.get(name, []), help_=help_)
    assert ours(workers) == the_librarys(folder)


def test_only_what_has_changed_is_understood_anew(folder: Path) -> None:
    write(folder / "counter_0.db", [("cakes:_total", {"kind": "plum"}, 1.0)])
    write(folder / "counter_1.db", [("cakes:_total", {"kind": "plum"}, 2.0)])
    workers = AllWorkers(folder, on_bad_file=never)
    workers.exposition()
    before = dict(workers._layouts), workers._plan
    write(folder / "counter_0.db", [("cakes:_total", {"kind": "plum"}, 5.0)])
    assert 'cakes_total{kind="plum"} 7.0' in ours(workers)
    assert (workers._layouts, workers._plan) == before
    write(folder / "counter_1.db", [("cakes:_total", {"kind": "pear"}, 1.0)])
    assert 'cakes_total{kind="pear"} 1.0' in ours(workers)
    assert workers._layouts[folder / "counter_0.db"] is before[0][folder / "counter_0.db"]


def test_another_file_with_the_same_name_and_length_is_not_taken_for_the_first(folder: Path) -> None:
    write(folder / "counter_0.db", [("cakes:_total", {"kind": "plum"}, 1.0)])
    workers = AllWorkers(folder, on_bad_file=never)
    workers.exposition()
    (folder / "counter_0.db").unlink()
    write(folder / "counter_0.db", [("cakes:_total", {"kind": "pear"}, 3.0)])
    assert ours(workers) == the_librarys(folder)


def test_a_file_that_calls_a_metric_another_kind_than_those_before_it_is_left_out(folder: Path) -> None:
    write(folder / "counter_0.db", [("cakes", {}, 1.0)])
    write(folder / "gauge_livesum_0.db", [("cakes", {}, 2.0), ("pies", {}, 3.0)])
    write(folder / "histogram_0.db", [("buns:_sum", {}, 4.0)])
    bad: list[Path] = []
    workers = AllWorkers(folder, on_bad_file=bad.append)
    for _ in range(2):
        text = workers.exposition().decode()
        assert "cakes 1.0\n" in text
        assert "buns_sum 4.0\n" in text
        assert "pies" not in text
        assert text.endswith("vocero_metrics_unreadable_files 1.0\n")
    assert bad == [folder / "gauge_livesum_0.db"]


@pytest.mark.parametrize("size", [0, 1, 4, 7, 9, 60, 100])
def test_a_file_that_was_cut_off_is_named_and_left_out_until_it_is_whole(folder: Path, size: int) -> None:
    write(folder / "counter_0.db", [("cakes:_total", {}, 1.0), ("pies:_total", {}, 1.0)])
    write(folder / "counter_1.db", [("cakes:_total", {}, 2.0)])
    whole = (folder / "counter_0.db").read_bytes()
    bad: list[Path] = []
    workers = AllWorkers(folder, on_bad_file=bad.append)
    assert "cakes_total 3.0" in ours(workers)
    os.truncate(folder / "counter_0.db", size)
    assert "cakes_total 2.0" in ours(workers)
    assert bad == [folder / "counter_0.db"]
    (folder / "counter_0.db").write_bytes(whole)
    assert "cakes_total 3.0" in ours(workers)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), garbage=st.binary(min_size=1, max_size=40), name=st.sampled_from(KINDS))
def test_garbage_anywhere_in_a_file_never_keeps_the_others_from_being_told(
    folder: Path, place: int, garbage: bytes, name: str
) -> None:
    emptied(folder)
    write(folder / "counter_0.db", [("cakes:_total", {}, 1.0)])
    broken = folder / f"{name}_1.db"
    entries = [("pies_total", {"kind": "plum"}, 1.0), ("pies_total", {"kind": "pear", "le": "1.0"}, 1.0)]
    write(broken, entries)
    bad: list[Path] = []
    workers = AllWorkers(folder, on_bad_file=bad.append)
    workers.exposition()
    with broken.open("r+b") as file:
        file.seek(place)
        file.write(garbage)
    assert "cakes_total 1.0\n" in workers.exposition().decode()
    assert set(bad) <= {broken}


def test_a_file_that_claims_to_be_enormous_is_not_read(folder: Path) -> None:
    with (folder / "counter_0.db").open("wb") as file:
        file.write((MOST_BYTES + 8).to_bytes(4, "little") + b"\0" * 4)
        file.truncate(MOST_BYTES + 100)  # it takes no room
    bad: list[Path] = []
    AllWorkers(folder, on_bad_file=bad.append).exposition()
    assert bad == [folder / "counter_0.db"]


@pytest.fixture
def counting(folder: Path) -> Iterator[threading.Event]:
    """A worker that counts without a pause, with new series now and then, and dies and comes again."""
    over = threading.Event()

    def count() -> None:
        number = 0
        while not over.is_set():
            number += 1
            series = [("cakes:_total", {"kind": f"{number % 50}"}, float(number))]
            write(folder / "counter_0.db", series)
            if number % 100 == 0:
                (folder / "counter_0.db").unlink()

    thread = threading.Thread(target=count)
    thread.start()
    yield over
    over.set()
    thread.join(10)


def test_a_file_that_is_being_written_and_removed_is_read_all_the_same(folder: Path, counting: threading.Event) -> None:
    write(folder / "counter_1.db", [("pies:_total", {}, 1.0)])
    workers = AllWorkers(folder, on_bad_file=lambda _: None)
    for _ in range(200):
        assert "pies_total 1.0\n" in workers.exposition().decode()
    counting.set()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0.0"), (1e6, "1e+06"), (1234567.5, "1.2345675e+06"), (1e22, "1e+22"), (-1e7, "-10000000.0")],
)
def test_numbers_are_written_as_go_writes_them(number: float, text: str) -> None:
    assert as_text(number) == text
