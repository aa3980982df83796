"""A worker's file of numbers: as the library's, but a full disk and a broken file do no harm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from service import metrics_pages
from service.metrics_pages import FIRST_BYTES, KeptPages
from tests.parts import require
from tests.servers import ROOT, clean_environment

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_pages, "_room", metrics_pages._Room())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 256 kB."""
    require("the right to mount a tmpfs", os.geteuid() == 0, "run as root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, timeout=20, check=False)
    require("the right to mount a tmpfs", done.returncode == 0, done.stderr.decode().strip())
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], timeout=20, check=True)


def fill(disk: Path) -> Path:
    """Leave no page free."""
    file = disk / "fill"
    with file.open("ab", buffering=0) as filling:
        try:
            while True:
                filling.write(b"\1" * PAGE)
        except OSError:
            return file


def as_the_library_reads(file: Path) -> dict[str, float]:
    found = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
    return {key: value for key, value, _time, _place in found}


def test_the_library_reads_what_is_written_and_it_reads_what_the_library_wrote(tmp_path: Path) -> None:
    file = tmp_path / "counter_0.db"
    written = KeptPages(str(file))
    for number in range(1000):  # more than the file had room for
        written.write_value(f"key {number} {'of some length' * 10}", float(number), 1.5)
    written.write_value("key", 7.0, 0.0)
    assert written.read_value("key") == (7.0, 0.0)
    assert written.read_value("new") == (0.0, 0.0)
    assert len(as_the_library_reads(file)) == 1002
    assert as_the_library_reads(file)["key"] == 7.0
    written.close()
    theirs = MmapedDict(str(file))  # type: ignore[no-untyped-call]
    theirs.write_value("theirs", 3.0, 0.0)  # type: ignore[no-untyped-call]
    theirs.close()  # type: ignore[no-untyped-call]
    again = KeptPages(str(file))
    assert (again.read_value("key"), again.read_value("theirs")) == ((7.0, 0.0), (3.0, 0.0))
    again.close()
    assert not metrics_pages.has_no_room()


def test_every_page_is_there_before_anything_is_written_to_it(tmp_path: Path) -> None:
    file = tmp_path / "counter_0.db"
    written = KeptPages(str(file))
    assert file.stat().st_blocks * 512 >= FIRST_BYTES
    written.close()


def test_on_a_full_disk_what_is_there_counts_on_and_what_is_new_is_kept_in_memory(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = small_disk / "counter_0.db"
    written = KeptPages(str(file))
    written.write_value("first", 1.0, 0.0)
    filling = fill(small_disk)
    for number in range(2000):
        written.write_value(f"key {number} {'of some length' * 10}", float(number), 0.0)
    assert metrics_pages.has_no_room()
    written.write_value("first", 2.0, 0.0)
    assert written.read_value("first") == (2.0, 0.0)
    assert written.read_value(f"key 1999 {'of some length' * 10}") == (1999.0, 0.0)
    assert as_the_library_reads(file)["first"] == 2.0
    told = len(as_the_library_reads(file))
    assert told < 2001

    filling.unlink()
    last = f"key 1999 {'of some length' * 10}"
    written.write_value(last, 2000.0, 0.0)
    assert last not in as_the_library_reads(file), "it is tried again after a while, not each time"
    monkeypatch.setattr(metrics_pages.time, "monotonic", lambda: written._not_before + 1)
    written.write_value(last, 2001.0, 0.0)
    assert as_the_library_reads(file)[last] == 2001.0
    written.close()


def test_a_worker_that_starts_on_a_full_disk_counts_in_its_memory(small_disk: Path) -> None:
    fill(small_disk)
    written = KeptPages(str(small_disk / "counter_0.db"))
    written.write_value("key", 7.0, 0.0)
    assert written.read_value("key") == (7.0, 0.0)
    assert metrics_pages.has_no_room()
    written.close()


def test_a_worker_lives_on_a_full_disk_where_the_librarys_would_die(small_disk: Path) -> None:
    """In a process of its own each, because SIGBUS ends it."""
    counting = (
        "from prometheus_client import Counter\n"
        "counter = Counter('cakes', 'Cakes.', ['number'])\n"
        "for number in range(3000): counter.labels(f'{number} of some length').inc()\n"
    )
    ours = f"from service import metrics_files; metrics_files.take_place(0)\nfrom service import metrics\n{counting}"
    fill(small_disk)
    codes = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=clean_environment(PROMETHEUS_MULTIPROC_DIR=str(small_disk)),
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode
        for code in (ours, counting)
    ]
    assert codes[0] == 0
    assert codes[1] < 0, "else there would be no need for any of this"


@pytest.mark.parametrize(
    "content",
    [b"\xff" * 64, b"\x40\0\0\0" + b"\0" * 4 + b"\xff\xff\xff\x7f" + b"\0" * 80, b"\0" * 7, b"\x40\0\0\0"],
    ids=["nonsense", "lengths", "short", "head alone"],
)
def test_a_file_that_is_broken_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "counter_0.db"
    file.write_bytes(content)
    written = KeptPages(str(file))
    written.write_value("key", 7.0, 0.0)
    written.close()
    assert as_the_library_reads(file) == {"key": 7.0}


def test_without_a_folder_there_is_only_memory(tmp_path: Path) -> None:
    written = KeptPages(str(tmp_path / "nowhere" / "counter_0.db"))
    written.write_value("key", 7.0, 0.0)
    assert written.read_value("key") == (7.0, 0.0)
