"""The journal of one rollback: what was begun, what was done, what was found, a line of JSON each.

The key decision: it is only ever added to, each line is on the disk before what it announces happens, and each carries
a checksum. So after a power cut at most the last line is torn, which says nothing and is cut off; any other line that
is not whole means that somebody or something wrote into the file, and then nothing is done on the strength of it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.reversal.failures import RefusedError

FILE = "journal.jsonl"


@dataclass(frozen=True)
class Entry:
    """One line. `event` says what kind it is: started, begun, done, failed, turned, stopped, noted, ended."""

    at: str
    event: str
    step: str | None
    data: Mapping[str, Any]


Observer = Callable[[Entry], None]


class Journal:
    """The journal in `folder`; `observers` hear of each entry once it is on the disk."""

    def __init__(self, folder: Path, *, observers: tuple[Observer, ...] = ()) -> None:
        self.path = folder / FILE
        self._observers = observers

    def entries(self) -> list[Entry]:
        """All of it; empty if there is none yet.

        Raises:
            RefusedError: it is damaged.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return []
        *whole, _torn = raw.split(b"\n")
        return [self._read(line, number) for number, line in enumerate(whole, 1)]

    def add(self, event: str, step: str | None = None, **data: Any) -> Entry:
        """Write an entry down; it is on the disk when this returns.

        Raises:
            OSError: it could not be written, and a part of it that was is taken back if possible.
        """
        entry = Entry(datetime.now(UTC).isoformat(timespec="milliseconds"), event, step, data)
        body = json.dumps([entry.at, entry.event, entry.step, entry.data], separators=(",", ":"), ensure_ascii=False)
        line = f"{zlib.crc32(body.encode()):08x} {body}\n".encode()
        try:
            _append(self.path, line)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, str(self.path)) from exc  # os.write does not tell which file
        for observe in self._observers:
            observe(entry)
        return entry

    def _read(self, line: bytes, number: int) -> Entry:
        try:
            checksum, body = line[:8], line[9:]
            if int(checksum, 16) != zlib.crc32(body):
                raise ValueError
            at, event, step, data = json.loads(body)
            return Entry(at, event, step, data)
        except (ValueError, TypeError):
            raise RefusedError(
                f"The journal is damaged: line {number} of {self.path}. Nothing was changed;"
                " see docs/rollback.md, 'A damaged journal'."
            ) from None


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        end = _cut_off_torn_line(descriptor)
        try:
            written = 0
            while written < len(line):  # a disk that is nearly full takes a part
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def _cut_off_torn_line(descriptor: int) -> int:
    """Take away what a crash has torn; where the file ends then."""
    size = os.fstat(descriptor).st_size
    end = _end_of_last_line(descriptor, size)
    if end < size:
        os.ftruncate(descriptor, end)
    return end


def _end_of_last_line(descriptor: int, size: int) -> int:
    """Where the last whole line ends: what lies behind was torn off by a crash."""
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    return os.pread(descriptor, size, 0).rfind(b"\n") + 1


def make_private_folder(folder: Path) -> None:
    """Make `folder`, for nobody's eyes but ours, and have its name on the disk."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
