"""The file that a worker's numbers of one kind lie in, which stays safe when its disk is full.

The key decision: every page is asked for before it is mapped. The library makes a file longer without that, and then
the first number on a page that a full disk cannot give ends the worker with SIGBUS, in the middle of a count. Where
there is no room, what is new is counted in the worker's memory instead: nobody sees it, but everything goes on, and
from time to time it is tried again.

A file that an earlier worker left broken is begun anew: the library would refuse to start.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client.mmap_dict import MmapedDict

FIRST_BYTES = 65_536
"""Of a file that is new; it doubles when it is full."""

AGAIN_SECONDS = 10.0
"""After which room is asked for again."""

_INTEGER = struct.Struct("i")
_NUMBERS = struct.Struct("dd")
_HEAD = 8


@dataclass
class _Room:
    """Whether this process has ever had to do without."""

    is_lacking: bool = False


_room = _Room()


def has_no_room() -> bool:
    """Tell whether something is counted in memory alone, because the disk was full."""
    return _room.is_lacking


class KeptPages(MmapedDict):
    """As the library's: a dict of doubles in a file. Not thread-safe, as that one: its caller has a lock."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if read_mode:
            super().__init__(filename, read_mode=True)  # type: ignore[no-untyped-call]
            return
        self._fname = filename
        self._f: Any = None
        self._m: Any = None
        self._capacity = 0
        self._used = 0
        self._positions: dict[str, int] = {}
        self._in_memory: dict[str, tuple[float, float]] = {}
        self._not_before = 0.0
        self._has_room(0)

    def read_value(self, key: str) -> tuple[float, float]:
        """The number and the time of `key`; both are 0 from now on if it is new."""
        if key not in self._positions and key not in self._in_memory:
            self._place(key, 0.0, 0.0)
        if key in self._in_memory:
            return self._in_memory[key]
        found: tuple[float, float] = _NUMBERS.unpack_from(self._m, self._positions[key])
        return found

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set them."""
        position = self._positions.get(key)
        if position is None:
            self._place(key, value, timestamp)
        else:
            self._m[position : position + 16] = _NUMBERS.pack(value, timestamp)

    def close(self) -> None:
        """Let go of the file."""
        if self._m is not None:
            self._m.close()
        if self._f is not None:
            self._f.close()
        self._m = self._f = None

    def _place(self, key: str, value: float, timestamp: float) -> None:
        encoded = key.encode()
        padded = encoded + b" " * (8 - (len(encoded) + 4) % 8)
        entry = _INTEGER.pack(len(encoded)) + padded + _NUMBERS.pack(value, timestamp)
        if not self._has_room(len(entry)):
            self._in_memory[key] = (value, timestamp)
            return
        self._in_memory.pop(key, None)
        self._m[self._used : self._used + len(entry)] = entry
        self._use(self._used + len(entry))
        self._positions[key] = self._used - _NUMBERS.size

    def _use(self, used: int) -> None:
        self._used = used
        self._m[0 : _INTEGER.size] = _INTEGER.pack(used)  # in one piece: a reader never sees a half

    def _has_room(self, size: int) -> bool:
        """Make room for so many bytes more, if that can be."""
        if self._m is not None and self._used + size <= self._capacity:
            return True
        if time.monotonic() < self._not_before:
            return False
        try:
            if self._m is None:
                self._open()
            while self._used + size > self._capacity:
                self._grow(2 * self._capacity)
        except OSError:
            self._not_before = time.monotonic() + AGAIN_SECONDS
            _room.is_lacking = True
            return False
        return True

    def _open(self) -> None:
        descriptor = os.open(self._fname, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._f = os.fdopen(descriptor, "r+b", buffering=0)  # `close` closes it
        try:
            self._grow(max(os.fstat(descriptor).st_size, FIRST_BYTES))
        except OSError:
            self._f.close()
            self._f = None
            raise
        self._find_places()

    def _grow(self, capacity: int) -> None:
        allocate(self._f.fileno(), capacity)
        self._m = mmap.mmap(self._f.fileno(), capacity)
        self._capacity = capacity

    def _find_places(self) -> None:
        self._used = _INTEGER.unpack_from(self._m)[0]
        try:
            if _HEAD <= self._used <= self._capacity:
                for key, _value, _time, position in self._read_all_values():  # type: ignore[no-untyped-call]
                    self._positions[key] = position
                if "" not in self._positions:
                    return
        except (RuntimeError, ValueError, struct.error):
            pass  # what the library makes of nonsense
        self._positions.clear()
        self._use(_HEAD)


def allocate(descriptor: int, size: int) -> None:
    """Make a file `size` bytes long with every page of it there.

    Raises:
        OSError: there is no room; the file is as long as before.
    """
    with suppress(AttributeError):  # macOS has no such call, and maps what it has no room for
        os.posix_fallocate(descriptor, 0, size)
    if os.fstat(descriptor).st_size < size:
        os.truncate(descriptor, size)
