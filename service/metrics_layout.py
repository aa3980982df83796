"""What stands where in one file of a worker's metrics: prometheus_client's format (`mmap_dict.py` there), read fast.

The key decision: a file is taken apart as a whole by one `struct`, made when the file is seen first or has grown: its
keys come out beside the numbers, and as long as they are the same bytes nothing has to be understood again.

A file begins with four bytes that say how many are used, and four of nothing. Then comes one entry behind the other:
the length of the key (four bytes), the key (JSON: metric, name, labels, help), spaces up to a multiple of eight, and
two doubles: the number, and a time that we do not use. Nothing in it is believed: its writer may have died meanwhile.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 1024 * 1024
"""Of a file: what has more is none of ours."""

_HEAD = 8
_NUMBERS = 16
_PAGE = 4096
_INTEGER = struct.Struct("i")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_KINDS = {"counter", "histogram", "summary"}
_MODES = {f"{live}{mode}" for live in ("", "live") for mode in ("min", "max", "sum", "all")}

Labels = tuple[tuple[str, str], ...]


class UnreadableError(Exception):
    """A file is not what it should be; it is left out."""


@dataclass(frozen=True)
class Series:
    """One number's meaning. `bound` is a bucket's upper one (`le`); `without_bound` are the labels that remain."""

    metric: str
    name: str
    labels: Labels
    help: str
    bound: float | None
    without_bound: Labels


class Layout:
    """The entries of one file, in their order; `size` is how many bytes of it they take."""

    def __init__(self, name: str, raw_keys: tuple[bytes, ...], series: list[Series]) -> None:
        self.name = name
        self.kind, self.mode, self.place = _read_name(name)
        self.raw_keys = raw_keys
        self.series = series
        self._struct = struct.Struct("=8x" + "".join(f"{len(key)}sd8x" for key in raw_keys))
        self.size = self._struct.size

    def values(self, data: bytes) -> tuple[float, ...] | None:
        """The numbers in `data`, the used part of the file; None if its entries are no longer the same."""
        if len(data) != self.size:
            return None
        found = self._struct.unpack(data)
        return found[1::2] if found[0::2] == self.raw_keys else None


def read_used(file: Path, *, expected: int) -> bytes:
    """The used part of `file`, probably `expected` bytes.

    Raises:
        UnreadableError: it has fewer bytes than it says.
        OSError: it is gone, or cannot be read.
    """
    with file.open("rb", buffering=0) as opened:
        data = opened.read(max(expected, _PAGE))
        if len(data) < _HEAD:
            raise UnreadableError
        used = _INTEGER.unpack_from(data)[0] or _HEAD  # 0: its worker is about to begin
        if not _HEAD <= used <= MOST_BYTES:
            raise UnreadableError
        if used > len(data):
            data += opened.read(used - len(data))
    if used > len(data):
        raise UnreadableError
    return data[:used]


def read_layout(name: str, data: bytes, known: MutableMapping[bytes, Series]) -> Layout:
    """What stands where in `data`, the used part of the file `name`; `known` are keys that were understood before.

    Raises:
        UnreadableError: that makes no sense.
    """
    keys, series = [], []
    for key in _raw_keys(data):
        found = known.get(key)
        if found is None:
            found = known[key] = _understand(key)
        keys.append(key)
        series.append(found)
    return Layout(name, tuple(keys), series)


def _raw_keys(data: bytes) -> Iterator[bytes]:
    """Each entry up to its numbers."""
    at = _HEAD
    while at < len(data):
        if at + _INTEGER.size > len(data):
            raise UnreadableError
        length = _INTEGER.unpack_from(data, at)[0]
        end = at + _INTEGER.size + length + (8 - (length + 4) % 8)
        if length <= 0 or end + _NUMBERS > len(data):
            raise UnreadableError
        yield data[at:end]
        at = end + _NUMBERS


def _understand(key: bytes) -> Series:
    length = _INTEGER.unpack_from(key)[0]
    try:
        metric, name, labels, help_ = json.loads(key[_INTEGER.size : _INTEGER.size + length])
        _check(metric, name, labels, help_)
        sorted_labels = tuple(sorted(labels.items()))
        bound = float(labels["le"]) if "le" in labels else None
    except (ValueError, TypeError, RecursionError):
        raise UnreadableError from None
    without = tuple(label for label in sorted_labels if label[0] != "le")
    return Series(metric, name, sorted_labels, help_, bound, without)


def _check(metric: Any, name: Any, labels: Any, help_: Any) -> None:
    texts = [metric, name, help_, *labels, *labels.values()] if isinstance(labels, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    if not all(_NAME.fullmatch(each) for each in (metric, name, *labels)):
        raise ValueError


def _read_name(name: str) -> tuple[str, str, str]:
    """Kind, mode (of a gauge) and place, from the name of a file."""
    kind, *others = name.removesuffix(".db").split("_")
    if kind == "gauge" and len(others) == 2 and others[0] in _MODES:
        return kind, others[0], others[1]
    if kind in _KINDS and len(others) == 1:
        return kind, "", others[0]
    raise UnreadableError
