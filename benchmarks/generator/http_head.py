"""The head of an HTTP/1.1 message, read as far as a load generator needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """The first line in three words, and the headers by their names in lower case."""

    words: tuple[str, str, str]
    headers: Mapping[str, str]

    @property
    def target(self) -> str:
        """A request's path and query."""
        return self.words[1]

    @property
    def status(self) -> int:
        """An answer's status."""
        return int(self.words[1])

    @property
    def content_length(self) -> int:
        """The length that the head announces; 0 if it announces none."""
        return int(self.headers.get("content-length", "0"))


def read_head(data: bytes) -> tuple[Head, bytes] | None:
    """The head at the start of `data` and what follows it; None until it is whole."""
    raw, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, last = (*first.split(" ", 2), "", "")[:3]
    pairs = (line.partition(":") for line in lines)
    return Head((method, target, last), {name.lower(): value.strip() for name, _, value in pairs}), rest
